"""arq: `enqueue_job`, and `on_startup` among the worker's settings.

    from job_progress.queues.arq import enqueue_job, on_startup

    @tracked
    async def import_products(ctx, path: str): ...

    class WorkerSettings:
        functions = [import_products]
        on_startup = on_startup  # or awaited in an on_startup of your own, with its ctx

    await enqueue_job(redis, import_products, "products.csv")

`on_startup` has `install` see to the worker that calls it; a `Worker` that is made in code is handed to that.

What fails around a function, or whose result arq cannot pickle, has failed, as to arq. What `Job.abort` stops before it
has begun is cancelled once a worker comes by it, as to arq. arq has nothing that follows a job.

What arq cannot tell: which function an expired job was for, so a job whose id is made of its arguments stays pending
then, and so does one for a function that the worker does not have. A job that is enqueued by arq's own `enqueue_job`,
by the name of its function, has no state before it runs. A worker that is killed is found out by arq once the longest
timeout of all its functions is over; the state reads stalled before that.
"""

# pyright: reportMissingImports=false
# arq cannot be in the environment of those who check this.

from __future__ import annotations

import pickle
from asyncio import CancelledError, sleep
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
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

from job_progress.queues.lifecycle import ahook, ended, enqueued, given_up, revoked, state_of
from job_progress.state import JobStatus
from job_progress.task import QueueTask, queue_task
from job_progress.threads import in_thread, to_the_end

Call = tuple[object, str, tuple[Any, ...], dict[str, Any]]
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
    try:
        await to_the_end(enqueued, *call, due=_due(**kwargs))
        return await redis.enqueue_job(func(function).name, *args, _job_id=id, **kwargs)
    except BaseException as error:  # whoever enqueues may be cancelled meanwhile; if arq has it, its start tells
        await to_the_end(given_up, *call, error=error, begun=False)
        raise


def _due(
    _defer_until: datetime | None = None, _defer_by: float | timedelta | None = None, **others: object
) -> datetime | float | None:
    if _defer_until is not None:
        return _defer_until.astimezone()
    return _defer_by.total_seconds() if isinstance(_defer_by, timedelta) else _defer_by


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
    _Following(worker)


class _Run:
    """A job of which the worker calls the function.

    Attributes:
        call: What its state is found by.
        task: What it is to the tracked function.
        error: What the function, with all that is around it, has raised, or why arq cannot store its result.
        will_retry: Will arq run it again, because of that?
        is_cancelled: Is that how arq has aborted it?
    """

    def __init__(self, call: Call, task: QueueTask) -> None:
        self.call = call
        self.task = task
        self.error: BaseException | None = None
        self.will_retry = False
        self.is_cancelled = False

    @property
    def is_dropped(self) -> bool:
        """Has an earlier delivery of it completed?"""
        delivery = self.task.delivery
        return delivery.said is JobStatus.COMPLETED and not delivery.has_begun

    def raised(self, error: BaseException) -> None:
        """*error* has left all that is around the function."""
        self.error = self.task.shown_error(error)
        self.will_retry = self.task.will_retry(error)
        self.is_cancelled = self.task.was_cancelled(error)


_run: ContextVar[_Run | None] = ContextVar("job_progress_arq", default=None)
"""That of the arq task, in the sense of asyncio, that is around."""


class _Following:
    """What is put in place of a worker's own methods; each does what that did, and tells."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._serialize = worker.job_serializer or pickle.dumps
        self._finish, self._fail = worker.finish_job, worker.finish_failed_job
        worker.job_serializer = self.serialize
        worker.finish_job, worker.finish_failed_job = self.finish_job, self.finish_failed_job
        functions = worker.functions
        worker.functions = {name: replace(one, coroutine=self._tracking(one)) for name, one in functions.items()}

    def _tracking(self, function: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The coroutine function of one of the worker's functions, which knows which job it is."""
        coroutine = function.coroutine

        @wraps(coroutine)
        def call(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            # Here, in arq's own context, and as its time has begun when arq calls this.
            run = _Run((function, ctx["job_id"], (ctx, *args), kwargs), _task_of(self._worker, function, ctx))
            _run.set(run)

            async def run_it() -> Any:
                try:
                    with queue_task(run.task):
                        return await coroutine(ctx, *args, **kwargs)
                except BaseException as error:
                    run.raised(error)
                    raise

            return run_it()

        return call

    def serialize(self, data: dict[str, Any]) -> bytes:
        """A job; or the result of one, for which arq puts an excuse if this raises."""
        run = _run.get() if "s" in data else None
        try:
            if run is not None and isinstance(data["r"], BaseException) and not data["s"]:
                run.error = run.error or data["r"]  # it has no `repr`, say
            return self._serialize(data)
        except Exception as error:
            if run is not None:
                run.error = run.error or error
            raise

    async def finish_job(self, job_id: str, finish: bool, result_data: bytes | None, *args: Any) -> None:
        """The function has run, and is to be run again unless it is to *finish*."""
        run = _run.get()
        if run is not None and run.will_retry:  # before anybody can take it up
            await _tell_end(run)
        if run is not None and run.is_dropped and await self._worker.pool.exists(result_key_prefix + job_id):
            result_data = None  # the first run's result stays
        await self._finish(job_id, finish, result_data, *args)
        if run is not None and not run.will_retry:
            await _tell_end(run)

    async def finish_failed_job(self, job_id: str, result: bytes | None) -> None:
        """The worker has ended it without running it."""
        await self._fail(job_id, result)
        await _tell_failure(self._worker, job_id, result)


@ahook
async def _tell_end(run: _Run) -> None:
    delivery = run.task.delivery
    if run.is_cancelled and delivery.said is None:
        await in_thread(revoked, *run.call, begun=delivery.has_begun)
    else:
        await in_thread(ended, *run.call, delivery=delivery, error=run.error, will_retry=run.will_retry)


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

    def retry_delay(error: Any) -> float:
        return (error.defer_score or 0) / 1000 if isinstance(error, Retry) else 0.0

    def end_cancelled() -> None:
        worker.aborting_tasks.add(id)  # arq's own word for what is cancelled, without which it would be run again
        raise CancelledError

    return QueueTask(
        id=id,
        function=function,
        will_retry=will_retry,
        retry_delay=retry_delay,
        was_cancelled=was_cancelled,
        shown_error=shown_error,
        end_cancelled=end_cancelled,
    )


@ahook
async def _tell_failure(worker: Worker, job_id: str, result: bytes | None) -> None:
    """Tell what has become of a job that arq has ended without running it: aborted, expired, or tried too often."""
    if result is None:
        return
    failed = deserialize_result(result, deserializer=worker.job_deserializer)
    function = worker.functions.get(failed.function)
    calls = [(function, job_id, (None, *failed.args), failed.kwargs)]
    if function is None:  # arq has forgotten which it was
        calls = [(one, job_id, (), {}) for one in worker.functions.values() if await in_thread(_waits, one, job_id)]
    for call in calls:
        if isinstance(failed.result, CancelledError):
            await in_thread(revoked, *call, begun=False)
        else:
            while await in_thread(_may_live, *call):
                await sleep(1.0)
            await in_thread(given_up, *call, error=failed.result, begun=False)


def _waits(function: object, id: str) -> bool:
    """Is this the function of a job that waits, and has arq's id?"""
    with suppress(Exception):  # its id is made of its arguments
        state = state_of(function, id)
        return state is not None and state.id == id and state.is_pending
    return False


def _may_live(*call: Any) -> bool:
    """Is there a run of it? If its worker has died, that is known in a while."""
    state = state_of(*call)
    return state is not None and state.is_processing and not state.is_stalled
