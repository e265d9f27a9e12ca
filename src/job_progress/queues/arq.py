"""arq: `enqueue_job`, and `on_startup` among the worker's settings.

    from job_progress.queues.arq import enqueue_job, on_startup

    @tracked
    async def import_products(ctx, path: str): ...

    class WorkerSettings:
        functions = [import_products]
        on_startup = on_startup  # or awaited in an on_startup of your own, with its ctx

    await enqueue_job(redis, import_products, "products.csv")

`on_startup` has `install` see to the worker that calls it; a `Worker` that is made in code is handed to that.

What arq cannot tell: that a job has expired. A job that is enqueued by arq's own `enqueue_job`, by the name of its
function, has no state before it runs. A worker that is killed is found out by arq once the longest timeout of all its
functions is over; the state reads stalled before that. What `Job.abort` stops before it has begun is cancelled once a
worker comes by it, as to arq.
"""

# pyright: reportMissingImports=false
# arq cannot be in the environment of those who check this.

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from inspect import currentframe, signature
from time import monotonic
from typing import Any
from uuid import uuid4

try:
    from arq.connections import ArqRedis
    from arq.constants import job_key_prefix, result_key_prefix
    from arq.jobs import Job, deserialize_result
    from arq.worker import Function, Retry, RetryJob, Worker, func
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[arq]'", name=error.name) from None

from job_progress.queues.lifecycle import ahook, enqueued, given_up, revoked
from job_progress.task import QueueTask, queue_task
from job_progress.threads import in_thread

RETRIES: tuple[type[BaseException], ...] = (Retry, RetryJob)
OPTIONS = {name for name in signature(ArqRedis.enqueue_job).parameters if name.startswith("_")}
"""What is arq's own among the keyword arguments of `enqueue_job`."""


async def enqueue_job(
    redis: ArqRedis,
    function: Function | Callable[..., Any],
    *args: Any,
    _job_id: str | None = None,
    **kwargs: Any,
) -> Job | None:
    """`redis.enqueue_job`, for a function instead of its name: its job is pending before a worker sees it.

    One round trip to the store; and one more to arq's own server, if there is a *_job_id*.

    Args:
        redis: Where to enqueue it; `ctx["redis"]` in a job.
        function: The tracked function, or what arq's `func` made of it.
        args: Its arguments, without the `ctx`.
        _job_id: As for arq; by default a fresh one.
        kwargs: Its arguments, and arq's other options.

    Returns:
        The job; `None` if arq has one of that id, whose state is then left as it is.
    """
    if _job_id is not None and await redis.exists(job_key_prefix + _job_id, result_key_prefix + _job_id):
        return None
    id = _job_id or uuid4().hex
    call = (function, id, (None, *args), {name: value for name, value in kwargs.items() if name not in OPTIONS})
    await in_thread(enqueued, *call)
    try:
        return await redis.enqueue_job(func(function).name, *args, _job_id=id, **kwargs)
    except Exception as error:
        await in_thread(given_up, *call, error=error)
        raise


async def on_startup(ctx: dict[Any, Any]) -> None:
    """Have the states of tracked functions follow the jobs of the worker that calls this. No I/O."""
    await _install_in_caller()


@ahook
async def _install_in_caller() -> None:
    # arq tells its hooks everything but which worker it is, and its command makes none but its own kind.
    frame = currentframe()
    while frame is not None and not isinstance(frame.f_locals.get("self"), Worker):
        frame = frame.f_back
    if frame is None:
        raise LookupError("on_startup is for arq's workers to call; hand a Worker that is yours to install")
    install(frame.f_locals["self"])


def install(worker: Worker) -> None:
    """Have the states of tracked functions follow the jobs of a worker. No I/O; once for each worker."""
    functions = worker.functions
    worker.functions = {name: replace(one, coroutine=_tracking(worker, one)) for name, one in functions.items()}
    fail = worker.finish_failed_job

    async def finish_failed_job(job_id: str, result: bytes | None) -> None:
        await fail(job_id, result)
        await _tell_failure(worker, job_id, result)

    worker.finish_failed_job = finish_failed_job


def _tracking(worker: Worker, function: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The coroutine function of one of the worker's functions, which knows which job it is."""
    coroutine = function.coroutine

    @wraps(coroutine)
    def call(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        task = _task_of(worker, function, ctx)  # here, as its time has begun when arq calls this

        async def run() -> Any:
            with queue_task(task):
                return await coroutine(ctx, *args, **kwargs)

        return run()

    return call


def _task_of(worker: Worker, function: Any, ctx: dict[Any, Any]) -> QueueTask:
    began = monotonic()
    id: str = ctx["job_id"]
    timeout = worker.job_timeout_s if function.timeout_s is None else function.timeout_s
    most = worker.max_tries if function.max_tries is None else function.max_tries

    def was_cancelled(error: BaseException) -> bool:
        return isinstance(error, CancelledError) and id in worker.aborting_tasks

    def shown_error(error: BaseException) -> BaseException:
        if isinstance(error, CancelledError) and timeout is not None and monotonic() - began >= timeout:
            return TimeoutError(f"it took more than {timeout:g} s")
        return (error.__cause__ or error.__context__ or error) if isinstance(error, RETRIES) else error

    def will_retry(error: BaseException) -> bool:
        retried = isinstance(error, RETRIES) or isinstance(shown_error(error), CancelledError)
        return retried and worker.retry_jobs and ctx["job_try"] < most

    def end_cancelled() -> None:
        worker.aborting_tasks.add(id)  # arq's own word for what is cancelled, without which it would be run again
        raise CancelledError

    return QueueTask(
        id=id,
        will_retry=will_retry,
        was_cancelled=was_cancelled,
        shown_error=shown_error,
        end_cancelled=end_cancelled,
    )


@ahook
async def _tell_failure(worker: Worker, job_id: str, result: bytes | None) -> None:
    """Tell what has become of a job that arq has ended without running it: aborted, or tried too often."""
    if result is None:
        return
    failed = deserialize_result(result, deserializer=worker.job_deserializer)
    function = worker.functions.get(failed.function)
    call = (function, job_id, (None, *failed.args), failed.kwargs)
    if isinstance(failed.result, CancelledError):
        await in_thread(revoked, *call)
    else:
        await in_thread(given_up, *call, error=failed.result)
