"""SAQ: `install(settings)`, around the settings that the worker is started with.

    queue = Queue.from_url("redis://localhost")
    settings = install({"queue": queue, "functions": [import_products]})

    await queue.enqueue("import_products", path="products.csv")

A worker that is made by hand is `Worker(**settings)`. As a job names its function by a word, whoever enqueues or
aborts needs `install` too: a process that imports the settings has it.

What SAQ cannot tell: that a worker was killed, before a sweep finds out once the job's `timeout` or `heartbeat` is
over; the state reads stalled before that, and has failed then, or is pending if the job has `retries` left. A function
that is not async goes on after its timeout, and so does its state. A job stays pending whose key SAQ does not take
though it is free, as it does not within five seconds after a sweep, or whose function no worker knows. A function whose
result SAQ cannot store has completed all the same.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

try:
    from saq import Job as SaqJob
    from saq import Queue, Status
    from saq.job import TERMINAL_STATUSES
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[saq]'", name=error.name) from None

from job_progress.errors import JobNotCancellable
from job_progress.job import Job
from job_progress.queues.lifecycle import enqueued, given_up, hook, requeued, revoked
from job_progress.task import NO_TASK, QueueTask, enter_task, held, queue_task
from job_progress.threads import in_thread

logger = logging.getLogger("job_progress")

Functions = dict[str, Callable[..., Any]]

ENQUEUED = "job_progress_enqueued"
"""In a job's `meta`: `QueueTask.enqueued`."""
CANCELLED = "job_progress_cancelled"
"""In a worker's context for a job: its run has ended as cancelled."""

_followed: WeakKeyDictionary[Queue, Functions] = WeakKeyDictionary()
"""The tracked functions of each queue."""
_sweeping: ContextVar[bool] = ContextVar("job_progress_saq_sweeping", default=False)


def install(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Have the states of tracked functions follow what becomes of their jobs. No I/O.

    To enqueue one costs one round trip to the store, and one more to SAQ's own: whether it has the key already.

    Args:
        settings: What `saq.Worker` takes: `queue`, `functions`, and whatever else. Of several with the same queue,
            each may have functions of its own.

    Returns:
        The same, with hooks of ours before those that were there.

    Raises:
        TypeError: There is no queue among them.
    """
    queue = settings.get("queue")
    if not isinstance(queue, Queue):
        raise TypeError(f"the settings need a queue, such as Queue.from_url('redis://localhost'), not {queue!r}")
    if queue not in _followed:
        _follow(queue, _followed.setdefault(queue, {}))
    _followed[queue].update(_tracked_functions(settings))
    return {
        **settings,
        "before_process": [before_process, *_several(settings.get("before_process"))],
        "after_process": [after_process, *_several(settings.get("after_process"))],
    }


def _tracked_functions(settings: Mapping[str, Any]) -> Functions:
    given = [*settings.get("functions", ()), *(cron.function for cron in settings.get("cron_jobs") or ())]
    named: Functions = dict(each if isinstance(each, tuple) else (each.__qualname__, each) for each in given)
    return {name: function for name, function in named.items() if Job.behind(function) is not None}


def _several(hooks: Callable[..., Any] | Collection[Callable[..., Any]] | None) -> Collection[Callable[..., Any]]:
    return [hooks] if callable(hooks) else hooks or []


async def before_process(context: Any) -> None:
    """A worker's hook: the tracked function that is about to run is this job. No I/O."""
    enter_task(_task_of(context))


async def after_process(context: Any) -> None:
    """A worker's hook: a job whose run has ended as cancelled is aborted, to SAQ."""
    enter_task(NO_TASK)
    job: SaqJob = context["job"]
    if CANCELLED in context and job.status is not Status.ABORTED:
        queue = job.get_queue()
        stored = await queue.job(job.key)  # where whoever has aborted it has said why
        job.error = stored.error if stored and stored.status is Status.ABORTING and stored.error else "cancelled"
        await queue.finish_abort(job)


def _task_of(context: Any) -> QueueTask:
    job: SaqJob = context["job"]
    worker = context["worker"]

    def why_aborted(error: BaseException) -> str | None:
        running = worker.job_task_contexts.get(job)
        return running["aborted"] if running and isinstance(error, CancelledError) else None

    def was_cancelled(error: BaseException) -> bool:
        return why_aborted(error) not in (None, job.get_queue().swept_error_message)

    def took_too_long(error: BaseException) -> bool:
        ran = job.duration("running") or 0
        return isinstance(error, CancelledError) and bool(job.timeout) and ran >= 1000 * job.timeout

    def will_retry(error: BaseException) -> bool:
        if isinstance(error, CancelledError) and worker.event.is_set() and not took_too_long(error):
            return True  # the worker is stopped, and puts it back
        return job.retryable

    def shown_error(error: BaseException) -> BaseException:
        why = why_aborted(error)
        if why is not None:
            return CancelledError(why)
        return TimeoutError(f"it took more than {job.timeout} s") if took_too_long(error) else error

    def end_cancelled() -> None:
        context[CANCELLED] = True
        running = worker.job_task_contexts.get(job)
        if running and running["aborted"] is None:
            running["aborted"] = "cancelled"  # so that the worker does not take it for complete; see after_process

    return QueueTask(
        id=job.key,
        enqueued=job.meta.get(ENQUEUED) if job.attempts == 1 else None,
        will_retry=will_retry,
        was_cancelled=was_cancelled,
        shown_error=shown_error,
        end_cancelled=end_cancelled,
    )


def _follow(queue: Queue, functions: Functions) -> None:
    """Tell the states of *functions* what *queue* does with jobs outside of their runs."""
    abort, sweep, retry, finish = queue.abort, queue.sweep, queue.retry, queue.finish

    @hook
    def tell(what: Callable[..., object], job: SaqJob, **more: Any) -> None:
        if job.function in functions:
            what(functions[job.function], job.key, (None,), job.kwargs, **more)

    @hook
    def mark_as_pending(job: SaqJob) -> None:
        version = enqueued(functions[job.function], job.key, (None,), job.kwargs)
        if version is not None:
            job.meta[ENQUEUED] = version

    async def before_enqueue(job: SaqJob) -> None:
        job.meta.pop(ENQUEUED, None)
        # Of a key that SAQ has already, it takes no second job; as with cron jobs, once a second.
        if job.function in functions and not await _has(queue, job.key):
            await in_thread(mark_as_pending, job)

    @wraps(abort)
    async def abort_tracked(job: SaqJob, *args: Any, **kwargs: Any) -> None:
        await abort(job, *args, **kwargs)
        if not _sweeping.get():
            await in_thread(tell, revoked if job.status is Status.ABORTED else _ask_to_stop, job)

    @wraps(sweep)
    async def sweep_tracked(*args: Any, **kwargs: Any) -> list[str]:
        with held(_sweeping, True):
            return await sweep(*args, **kwargs)

    @wraps(retry)
    async def retry_tracked(job: SaqJob, error: str | None) -> None:
        if _sweeping.get():
            await in_thread(tell, requeued, job, error=error or "swept")
        await retry(job, error)

    @wraps(finish)
    async def finish_tracked(job: SaqJob, status: Status, **kwargs: Any) -> None:
        if _sweeping.get():
            await in_thread(tell, given_up, job, error=kwargs.get("error") or "swept")
        await finish(job, status, **kwargs)

    queue.register_before_enqueue(before_enqueue)
    vars(queue).update(abort=abort_tracked, sweep=sweep_tracked, retry=retry_tracked, finish=finish_tracked)


async def _has(queue: Queue, key: str) -> bool:
    try:
        job = await queue.job(key)
    except Exception:
        logger.exception("SAQ does not tell whether it has a job %r", key)
        return False
    return job is not None and job.status not in TERMINAL_STATUSES


def _ask_to_stop(function: object, id: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> None:
    """The job was aborted, but the queue could not take it back: it runs, say, or is not due yet."""
    job = Job.of(function)
    with queue_task(QueueTask(id=id)):
        blank = job.blank_of_task(*job.called(*args, **kwargs or {}))
    state = job.get(blank.id)
    if state is not None and state.task == blank.task:
        with suppress(JobNotCancellable):
            state.cancel()
