"""SAQ: `install(settings)`, around the settings that the worker is started with.

    queue = Queue.from_url("redis://localhost")
    settings = install({"queue": queue, "functions": [import_products]})

    await queue.enqueue("import_products", path="products.csv")

A worker that is made by hand is `Worker(**settings)`. As a job names its function by a word, whoever enqueues or
aborts needs `install` too: a process that imports the settings has it.

What fails around a function, or whose result SAQ cannot store, has failed, as to SAQ. A function that is not async goes
on after its `timeout`. If it has no retries left it has failed, as to SAQ, and stops at its next checkpoint; else its
state goes on as well, and SAQ's next try waits for it, and is dropped once it has completed. One that ignores an abort
completes, though SAQ calls it aborted. SAQ has nothing that follows a job.

What SAQ cannot tell: that a worker was killed, before a sweep finds out once the job's `timeout` or `heartbeat` is
over; the state reads stalled before that, and has failed then, or is pending if the job has `retries` left. A job whose
function its worker does not know stays pending. SAQ's sweep may abort a job that was about to begin, and then run it
beside what it has aborted: the state is that of the run.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

try:
    from saq import Job as SaqJob
    from saq import Queue, Status
    from saq.job import TERMINAL_STATUSES
    from saq.utils import exponential_backoff
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[saq]'", name=error.name) from None

from job_progress import clock
from job_progress.errors import JobNotCancellable
from job_progress.job import Job
from job_progress.queues.lifecycle import ahook, ended, enqueued, given_up, hook, requeued, revoked, state_of
from job_progress.state import JobState, JobStatus
from job_progress.task import NO_TASK, QueueTask, enter_task, held
from job_progress.threads import in_thread, to_the_end

logger = logging.getLogger("job_progress")

Functions = dict[str, Callable[..., Any]]
Call = tuple[object, str, tuple[Any, ...], dict[str, Any]]

ENQUEUED = "job_progress_enqueued"
"""In a job's `meta`: `QueueTask.enqueued`."""
CANCELLED = "job_progress_cancelled"
"""In a worker's context for a job: its run has ended as cancelled."""

NOT_TAKEN = "SAQ has not taken it, as it does not take a key within five seconds after a sweep"

_followed: WeakKeyDictionary[Queue, Functions] = WeakKeyDictionary()
"""The tracked functions of each queue."""
_sweeping: ContextVar[datetime | None] = ContextVar("job_progress_saq_sweeping", default=None)
"""Since when."""
_sending: ContextVar[list[SaqJob] | None] = ContextVar("job_progress_saq_sending", default=None)
"""The job that is being enqueued, once its state is pending."""


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
    process = _Process(context)
    _process.set(process)
    enter_task(process.task)


async def after_process(context: Any) -> None:
    """A worker's hook: a job whose run has ended as cancelled is aborted, to SAQ."""
    _process.set(None)
    enter_task(NO_TASK)
    job: SaqJob = context["job"]
    if CANCELLED in context and job.status is not Status.ABORTED:
        queue = job.get_queue()
        stored = await queue.job(job.key)  # where whoever has aborted it has said why
        job.error = stored.error if stored and stored.status is Status.ABORTING and stored.error else "cancelled"
        await queue.finish_abort(job)


class _Process:
    """A job in a worker's hands.

    Attributes:
        job: Which.
        task: What it is to the tracked function.
    """

    def __init__(self, context: Any) -> None:
        job: SaqJob = context["job"]
        self.job = job
        self._context = context
        self._worker = context["worker"]
        self.task = QueueTask(
            id=job.key,
            function=self._worker.functions.get(job.function, job),
            enqueued=job.meta.get(ENQUEUED) if job.attempts == 1 else None,
            will_retry=self._will_retry,
            retry_delay=self._retry_delay,
            was_cancelled=self._was_cancelled,
            failure_in=self._failure_in,
            shown_error=self._shown_error,
            end_cancelled=self._end_cancelled,
        )
        self._delivery = self.task.delivery

    # What the run asks.

    def _will_retry(self, error: BaseException) -> bool:
        if isinstance(error, CancelledError) and self._worker.event.is_set() and not self._took_too_long(error):
            return True  # the worker is stopped, and puts it back
        return self.job.retryable

    def _retry_delay(self, error: BaseException) -> float:
        """At most: SAQ makes it shorter by chance."""
        job = self.job
        if job.retry_backoff is False:
            return job.retry_delay
        most = None if job.retry_backoff is True else job.retry_backoff
        return exponential_backoff(job.attempts, job.retry_delay, most, jitter=False)

    def _why_aborted(self, error: BaseException) -> str | None:
        running = self._worker.job_task_contexts.get(self.job)
        return running["aborted"] if running and isinstance(error, CancelledError) else None

    def _was_cancelled(self, error: BaseException) -> bool:
        return self._why_aborted(error) not in (None, self.job.get_queue().swept_error_message)

    def _took_too_long(self, error: BaseException) -> bool:
        ran = self.job.duration("running") or 0
        is_limit = isinstance(error, (CancelledError, TimeoutError))
        return is_limit and bool(self.job.timeout) and ran >= 1000 * self.job.timeout

    def _failure_in(self, returned: object) -> BaseException | None:
        """A sweep has aborted it, and nobody could stop its thread."""
        running = self._worker.job_task_contexts.get(self.job)
        swept = self.job.get_queue().swept_error_message
        if running and running["aborted"] == swept and not self.job.retryable:
            return CancelledError(swept)
        return None

    def _shown_error(self, error: BaseException) -> BaseException:
        why = self._why_aborted(error)
        if why is not None:
            return CancelledError(why)
        return TimeoutError(f"it took more than {self.job.timeout} s") if self._took_too_long(error) else error

    def _end_cancelled(self) -> None:
        self._context[CANCELLED] = True
        running = self._worker.job_task_contexts.get(self.job)
        if running and running["aborted"] is None:
            running["aborted"] = "cancelled"  # so that the worker does not take it for complete; see after_process

    # What SAQ says.

    @property
    def is_dropped(self) -> bool:
        """Has an earlier delivery of it completed?"""
        return self._delivery.said is JobStatus.COMPLETED and not self._delivery.has_begun

    async def has_waited(self, call: Call) -> bool:
        """Was its time over while it waited for the run of another delivery, which is alive, or has completed now?"""
        error = self._context.get("exception")
        if self._delivery.has_begun or error is None or not self._took_too_long(error):
            return False
        with suppress(Exception):
            state = await in_thread(state_of, *call)
            self._delivery.is_over = state is not None and (state.is_processing or state.is_completed)
        return self._delivery.is_over

    @ahook
    async def tell_retry(self, call: Call, why: str | None) -> None:
        """SAQ is about to put it back. If its function goes on, in a thread, the next delivery waits for that."""
        if not (self._delivery.has_begun and self._delivery.is_running):
            await in_thread(ended, *call, delivery=self._delivery, error=self._error(why), will_retry=True)

    @ahook
    async def tell_end(self, call: Call, status: Status, why: str | None) -> None:
        """SAQ has done with it."""
        delivery = self._delivery
        if status is Status.COMPLETE:
            await in_thread(ended, *call, delivery=delivery)
        elif status is Status.FAILED:
            await in_thread(ended, *call, delivery=delivery, error=self._error(why))
        elif delivery.said is None and why != self.job.get_queue().swept_error_message:
            await in_thread(revoked, *call, begun=delivery.has_begun)

    def _error(self, why: str | None) -> BaseException:
        error = self._context.get("exception")
        return CancelledError(why) if error is None else self._shown_error(error)


_process: ContextVar[_Process | None] = ContextVar("job_progress_saq_process", default=None)


def _follow(queue: Queue, functions: Functions) -> None:
    """Tell the states of *functions* what *queue* does with jobs outside of their runs."""
    enqueue, abort, sweep, retry, finish = queue.enqueue, queue.abort, queue.sweep, queue.retry, queue.finish

    def call_of(job: SaqJob) -> Call:
        return functions.get(job.function), job.key, (None,), job.kwargs or {}

    def process_of(job: SaqJob) -> _Process | None:
        process = _process.get()
        return process if process is not None and process.job is job and job.function in functions else None

    @hook
    def mark_as_pending(job: SaqJob) -> None:
        due = datetime.fromtimestamp(job.scheduled, UTC) if job.scheduled else None
        version = enqueued(*call_of(job), due=due)
        if version is not None:
            job.meta[ENQUEUED] = version

    async def before_enqueue(job: SaqJob) -> None:
        job.meta.pop(ENQUEUED, None)
        # Of a key that SAQ has already, it takes no second job; as with cron jobs, once a second.
        if job.function in functions and not await _has(queue, job.key):
            sending = _sending.get()
            if sending is not None:
                sending.append(job)
            await to_the_end(mark_as_pending, job)

    @wraps(enqueue)
    async def enqueue_tracked(*args: Any, **kwargs: Any) -> SaqJob | None:
        sending: list[SaqJob] = []
        try:
            with held(_sending, sending):
                taken = await enqueue(*args, **kwargs)
        except BaseException as error:  # whoever enqueues may be cancelled meanwhile; if SAQ has it, its start tells
            for job in sending:
                await to_the_end(given_up, *call_of(job), error=error, begun=False)
            raise
        for job in sending:
            if taken is None and not await _has(queue, job.key):
                await in_thread(given_up, *call_of(job), error=NOT_TAKEN, begun=False)
        return taken

    @wraps(abort)
    async def abort_tracked(job: SaqJob, *args: Any, **kwargs: Any) -> None:
        await abort(job, *args, **kwargs)
        if _sweeping.get() is None:
            await in_thread(_tell_abort, call_of(job), job.status is Status.ABORTED)

    @wraps(sweep)
    async def sweep_tracked(*args: Any, **kwargs: Any) -> list[str]:
        with held(_sweeping, clock.now()):
            return await sweep(*args, **kwargs)

    @wraps(retry)
    async def retry_tracked(job: SaqJob, error: str | None) -> None:
        since, process, call = _sweeping.get(), process_of(job), call_of(job)
        if since is not None:
            await in_thread(_tell_swept, call, requeued, error, job.stuck, since)
        elif process is not None and await process.has_waited(call):
            job.attempts -= 1
        elif process is not None:
            await process.tell_retry(call, error)
        await retry(job, error)

    @wraps(finish)
    async def finish_tracked(job: SaqJob, status: Status, **kwargs: Any) -> None:
        since, process, call = _sweeping.get(), process_of(job), call_of(job)
        error: str | None = kwargs.get("error")
        if since is not None:
            await in_thread(_tell_swept, call, given_up, error, job.stuck, since)
        elif process is not None and status is Status.FAILED and await process.has_waited(call):
            job.attempts -= 1
            return await retry(job, error)
        elif process is not None and status is Status.COMPLETE and process.is_dropped:
            kwargs["result"] = await _first_result(queue, job, kwargs.get("result"))
        await finish(job, status, **kwargs)
        if since is None and process is not None:
            await process.tell_end(call, status, error)
        return None

    queue.register_before_enqueue(before_enqueue)
    vars(queue).update(
        enqueue=enqueue_tracked, abort=abort_tracked, sweep=sweep_tracked, retry=retry_tracked, finish=finish_tracked
    )


async def _has(queue: Queue, key: str) -> bool:
    try:
        job = await queue.job(key)
    except Exception:
        logger.exception("SAQ does not tell whether it has a job %r", key)
        return False
    return job is not None and job.status not in TERMINAL_STATUSES


async def _first_result(queue: Queue, job: SaqJob, otherwise: object) -> object:
    """What SAQ has of the delivery that has completed *job*."""
    stored = await queue.job(job.key)
    if stored is not None and stored.status is Status.COMPLETE:
        return stored.result
    return otherwise if job.result is None else job.result


def _lives(call: Call, since: datetime | None = None) -> bool:
    """Is there a run of it that is alive, as it has shown *since* then?"""
    state: JobState | None = state_of(*call)
    if state is None or not state.is_processing or state.is_stalled:
        return False
    return since is None or (state.heartbeat_at is not None and state.heartbeat_at > since)


@hook
def _tell_swept(call: Call, what: Callable[..., object], error: str | None, is_stuck: bool, since: datetime) -> None:
    """A sweep ends a job, or puts it back: its worker is dead, or it is stuck; or it was about to begin, and lives."""
    if is_stuck and not _lives(call, since):
        what(*call, error=error or "swept")
    elif what is given_up:
        given_up(*call, error=error or "swept", begun=False)


@hook
def _tell_abort(call: Call, is_aborted: bool) -> None:
    """A job was aborted; or the queue could not take it back, as it runs, say, or is not due yet."""
    if is_aborted:
        revoked(*call, begun=False)
        return
    state = state_of(*call)
    if state is not None:
        with suppress(JobNotCancellable):
            state.cancel()
