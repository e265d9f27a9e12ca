"""RQ: a drop-in `Job`, and with it `Queue` and the workers.

    from job_progress.queues.rq import Queue

    queue = Queue(connection=Redis())
    queue.enqueue(import_products, "products.csv")

and `rq worker --job-class job_progress.queues.rq.Job`, whichever the worker's class; `rq worker-pool` and
`rq requeue` take it as well. Only `Job` does anything; the others here have it as their job class.

What RQ cannot tell: from inside, a job has no way to end as cancelled, so that to RQ it has finished, without
a result. Jobs that depend on it stay deferred, as after a failure. A worker that is killed itself, with its child,
is found out by RQ after a minute or two; the state reads stalled before that. Nothing is said of jobs that are
emptied out of a queue, or that expire in it, and nothing while a job waits that RQ's own classes have enqueued or
requeued: it begins anew once a worker begins with it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

try:
    import rq
    import rq.job
    import rq.worker
    from redis import RedisError, WatchError
    from rq.exceptions import InvalidJobOperation
    from rq.utils import import_attribute
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[rq]'", name=error.name) from None

from msgspec.structs import replace

from job_progress import clock
from job_progress.encoding import explain_report
from job_progress.queues.lifecycle import Absent, address_of, ended, enqueued, given_up, hook, requeued, revoked
from job_progress.state import JobState, JobStatus
from job_progress.task import Delivery, QueueTask, queue_task

logger = logging.getLogger("job_progress")

DEFERRED, QUEUED, STARTED = rq.job.JobStatus.DEFERRED, rq.job.JobStatus.QUEUED, rq.job.JobStatus.STARTED
FINISHED, FAILED = rq.job.JobStatus.FINISHED, rq.job.JobStatus.FAILED
STOPPED, CANCELED = rq.job.JobStatus.STOPPED, rq.job.JobStatus.CANCELED
ENDED = (FINISHED, FAILED, STOPPED, CANCELED)
BEGUN = (STARTED, *ENDED)

# Fields of ours in RQ's own record of a job.
ENQUEUED = "job_progress_enqueued"
"""What `QueueTask.enqueued` is."""
ADDRESS = "job_progress_address"
"""Where its state is, for a worker that cannot import the function."""
OVER = "job_progress_over"
"""That the life of its state is over, and how; empty while it is not. RQ's own classes leave it as it is."""
IS_ENDED, IS_CANCELLED, IS_BLOCKED = "ended", "cancelled", "blocked"

PATIENCE = 2.0
"""Seconds that a second delivery waits until RQ has stored the first one's return value."""


class ReturnedRetry(Exception):
    """A function has returned `rq.Retry`, by which RQ means that it is to run again."""

    def __init__(self, retry: rq.Retry) -> None:
        super().__init__("the function asked to be run again")
        self.retry = retry


def _failure_in(returned: object) -> ReturnedRetry | None:
    return ReturnedRetry(returned) if isinstance(returned, rq.Retry) else None


class Job(rq.job.Job):
    """An RQ job that is pending from its first save on, and whose run knows which job it is."""

    begins = True
    """If it is saved as one that waits, a new life begins: it is not in RQ's records yet, or has ended there."""
    is_requeued = False
    """It has ended, and RQ's own classes have enqueued it once more, so that its state knows nothing of it."""
    is_of_another = False
    """When it was fetched, a worker had begun with it; so this process knows nothing of that run."""
    is_sent_here = False
    """This object has told its state that it is enqueued."""
    delivery: Delivery | None = None
    """If it was this process that ran it: what the run has told the state."""
    enqueued: int | None = None
    """See `QueueTask.enqueued`."""
    due: datetime | float | None = None
    """When it will be run, if it is scheduled."""
    address: str | None = None
    """See `ADDRESS`."""
    over: str | None = None
    """What the next save writes as `OVER`; `None`: nothing."""
    was_over = ""
    """What RQ's record had as `OVER`."""

    def restore(self, raw_data: Any) -> None:
        """Take what RQ's record says."""
        super().restore(raw_data)
        status = self.get_status(refresh=False)
        address, was_over, version = (raw_data.get(field.encode(), b"").decode() for field in (ADDRESS, OVER, ENQUEUED))
        self.address, self.was_over, self.enqueued = address or None, was_over, int(version) if version else None
        # A requeue forgets when it ended; a retry that was scheduled before it ended elsewhere does not.
        self.is_requeued = bool(was_over and status == QUEUED and self.ended_at is None)
        is_unblocked = was_over == IS_BLOCKED and status != DEFERRED
        self.begins = status in ENDED or self.is_requeued or is_unblocked
        self.is_of_another = status == STARTED

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Make RQ's record."""
        if self.address is None and (call := self._call()) is not None:
            self.address = address_of(call[0], self.id, *call[1:])
        ours = {ENQUEUED: self.enqueued, ADDRESS: self.address, OVER: self.over}
        return super().to_dict(*args, **kwargs) | {name: value for name, value in ours.items() if value is not None}

    def save(self, pipeline: Any = None, *args: Any, **kwargs: Any) -> None:
        """Save it: the last that RQ does before it enqueues, schedules or defers a job."""
        status = self.get_status(refresh=False)
        if status in ENDED:
            self.begins, self.over = True, IS_CANCELLED if self._was_cancelled() else IS_ENDED
        elif status not in BEGUN:
            self.tell_enqueued()
            if self._dependency_ids and self.is_sent_here:
                self._look_for_what_blocks()
            if self.is_sent_here and pipeline is not None:
                _Sending.of(pipeline).jobs.append(self)
        super().save(pipeline, *args, **kwargs)
        self.over = None

    def requeue(self, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Enqueue it again, after it has ended."""
        self.begins = True
        return super().requeue(*args, **kwargs)

    def perform(self) -> Any:
        """Run the function."""
        if self.is_requeued:
            self.tell_enqueued()
            self._mark("")
        call = self._call()
        task = QueueTask(
            id=self.id, function=call and call[0], enqueued=self.enqueued, end_done=self._give_the_first_result
        )
        if self.worker_name != "sync":  # a queue that is not async runs it once
            task = replace(task, will_retry=self._will_retry, retry_delay=self._retry_delay, failure_in=_failure_in)
        self.delivery = task.delivery
        with queue_task(task):
            returned = super().perform()
        failure = task.failure_in(returned)
        again = failure is not None and self._will_retry(failure)
        self.tell(ended, delivery=self.delivery, error=failure, will_retry=again)
        if self.repeats_left and self._was_cancelled():
            self.repeats_left = 0
        elif self.repeats_left and self.repeat_intervals:
            self.due = self.repeat_intervals[0]
        return returned

    def _will_retry(self, error: BaseException) -> bool:
        if isinstance(error, ReturnedRetry):
            return (self.number_of_retries or 0) < error.retry.max
        return bool(self.should_retry)

    def _retry_delay(self, error: BaseException) -> float:
        if isinstance(error, ReturnedRetry):
            return rq.Retry.get_interval(self.number_of_retries or 0, error.retry.intervals)
        return self.get_retry_interval()

    def _was_cancelled(self) -> bool:
        """Is it cancelled, though to RQ it has finished?"""
        if self.delivery is None:
            return self.was_over == IS_CANCELLED and self.get_status(refresh=False) == FINISHED
        return self.delivery.said is JobStatus.CANCELLED

    def _give_the_first_result(self, state: JobState) -> object:
        """RQ's own result of an earlier delivery, as it stores what this one returns in its place."""
        since = (state.finished_at or clock.now()) - timedelta(milliseconds=1)
        until = monotonic() + PATIENCE
        with suppress(Exception):
            while (result := self.latest_result()) is None or result.created_at < since:
                if monotonic() > until:
                    return state.result
                sleep(0.02)
            return self.return_value(refresh=True)
        return state.result

    def cancel(self, pipeline: Any = None, enqueue_dependents: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Take it out of its queue: its state is cancelled. A job that runs goes on, as ever with RQ."""
        dropped = self._without(super().cancel, pipeline, enqueue_dependents, *args, **kwargs)
        self._mark(IS_ENDED, pipeline)
        if not enqueue_dependents:
            self._end_dependents("was cancelled")
        return dropped

    def delete(self, pipeline: Any = None, remove_from_queue: bool = True, delete_dependents: bool = False) -> None:
        """Forget it: if it still waits, its state is cancelled."""
        if self.delivery is None:  # else it has ended, and what depends on it was told
            self._end_dependents("was deleted", unless_others=not delete_dependents)
        self._without(super().delete, pipeline, remove_from_queue, delete_dependents)

    def _without(self, drop: Callable[..., Any], *args: Any) -> Any:
        try:
            waits = self.get_status() not in BEGUN
        except InvalidJobOperation:  # it is gone already
            waits = False
        dropped = drop(*args)
        if waits:
            self.tell(revoked)
        return dropped

    def retry(self, *args: Any, **kwargs: Any) -> None:
        """Have it run again, after an error or after its worker has died."""
        self.begins, self.over = False, ""  # another delivery of it may have ended meanwhile
        if self.delivery is not None:
            error = sys.exception() or "RQ runs it again"
            self.tell(ended, delivery=self.delivery, error=error, will_retry=True)
        else:
            self.tell(requeued, error="the worker died", begun=not self.is_of_another)
        super().retry(*args, **kwargs)

    def _handle_failure(self, exc_string: str, *args: Any, **kwargs: Any) -> None:
        error = explain_report(exc_string.strip() or "the worker died")
        if self.get_status(refresh=False) == STOPPED:
            self.tell(revoked)
        elif self.delivery is not None:
            self.tell(ended, delivery=self.delivery, error=error)
        else:
            self.tell(given_up, error=error, begun=not self.is_of_another)
        self._end_blocked()  # RQ's clean-up asks its own class, and not this one, whether their dependencies are met
        super()._handle_failure(exc_string, *args, **kwargs)

    # What depends on it.

    def dependencies_are_met(
        self,
        parent_job: rq.job.Job | None = None,
        pipeline: Any = None,
        exclude_job_id: str | None = None,
        refresh_job_status: bool = True,
    ) -> bool:
        """May it be enqueued, now that *parent_job* has ended? If it never will, its state is told so."""
        met = super().dependencies_are_met(parent_job, pipeline, exclude_job_id, refresh_job_status)
        reason = self._blocked_by(parent_job, exclude_job_id, met=met)
        if reason is not None:
            self.will_not_come(reason)
        return met and reason is None

    @hook
    def _look_for_what_blocks(self) -> None:
        """It is enqueued after what it depends on has failed, say."""
        is_deferred = self.get_status(refresh=False) == DEFERRED
        reason = self._blocked_by(met=not is_deferred)
        if reason is not None:
            self.tell(revoked, reason=reason)
            self.over = IS_BLOCKED if is_deferred else self.over

    def _blocked_by(self, parent: rq.job.Job | None = None, without: str | None = None, *, met: bool) -> str | None:
        """Why it will not be run, if what it depends on has ended so."""
        for one in self.fetch_dependencies():
            if one.id == without:
                continue
            # What RQ has stored of the one that has just ended may be from before that.
            dependency = parent if parent is not None and parent.id == one.id else one
            if isinstance(dependency, Job) and (how := dependency.blocking(bool(self.allow_dependency_failures), met)):
                return dependency._named(how)
        return None

    def blocking(self, may_fail: bool, met: bool) -> str | None:
        """How it has ended, if that keeps what depends on it from being run; by RQ's word, unless that is *met*."""
        status = self.get_status(refresh=False)
        if self._was_cancelled() or (status == CANCELED and not met):
            return "was cancelled"
        if met:
            return None
        if status == STOPPED:
            return "was stopped"
        if status == FAILED and not may_fail:
            return "has failed"
        return "was not run" if self.was_over == IS_BLOCKED and status == DEFERRED else None

    @hook
    def will_not_come(self, reason: str) -> None:
        """It depends on what has failed, say: RQ leaves it deferred, and with it all that depends on it."""
        if self.was_over or self.get_status(refresh=False) != DEFERRED:
            return
        self.was_over = IS_BLOCKED
        self.tell(revoked, reason=reason)
        self._mark(IS_BLOCKED)
        self._end_dependents("was not run")

    @hook
    def _end_blocked(self) -> None:
        for one in self._dependents():
            reason = one._blocked_by(self, met=False)
            if reason is not None:
                one.will_not_come(reason)

    @hook
    def _end_dependents(self, how: str, *, unless_others: bool = False) -> None:
        for one in self._dependents():
            if not (unless_others and one.waits_for_others(self.id)):
                one.will_not_come(self._named(how))

    def waits_for_others(self, id: str) -> bool:
        """Does it depend on another than *id* that has not ended?"""
        return any(one.id != id and one.get_status(refresh=False) not in ENDED for one in self.fetch_dependencies())

    def _dependents(self) -> list[Job]:
        found = self.fetch_many(self.dependent_ids, connection=self.connection, serializer=self.serializer)
        return [one for one in found if isinstance(one, Job)]

    def _named(self, how: str) -> str:
        name = self.address.partition("\n")[0] if self.address else self.description
        return f"not run: {name}, before it, {how}"

    @hook
    def _mark(self, over: str, pipeline: Any = None) -> None:
        """Write it to RQ's record."""
        connection = self.connection if pipeline is None else pipeline
        if connection.hset(self.key, OVER, over) == 1:  # there was no such field: the record has gone meanwhile
            connection.hdel(self.key, OVER)

    # What is told.

    def tell_enqueued(self, *, late: bool = False) -> None:
        """If a new life begins, tell the state. At most two round trips; raises nothing."""
        if self.begins and self._call() is not None:
            self.begins, self.is_sent_here, self.over = False, True, ""
            self.enqueued = self.tell(enqueued, late=late, due=self.due)

    def tell(self, what: Callable[..., int | None], **more: Any) -> int | None:
        """Tell the state what RQ says of the job. At most two round trips; raises nothing."""
        call = self._call()
        if call is not None:
            return what(call[0], self.id, *call[1:], **more)
        return None if self.address is None else what(Absent(self.address), self.id, **more)

    def _call(self) -> tuple[Callable[..., Any] | None, tuple[Any, ...], dict[str, Any]] | None:
        """The function and its arguments, if they are known in this process."""
        try:
            function, instance, args, kwargs = self.func, self.instance, self.args, self.kwargs
        except Exception as error:  # noqa: BLE001 - whatever importing or unpickling raises
            logger.debug("RQ's job %s is not known here: %r", self.id, error)
            return None
        return function, (*(() if instance is None else (instance,)), *args), kwargs


class _Sending:
    """A pipeline's `execute`, which is when the broker may refuse the jobs that were saved to it."""

    def __init__(self, execute: Callable[..., Any]) -> None:
        self.jobs: list[Job] = []
        self._execute = execute

    @classmethod
    def of(cls, pipeline: Any) -> _Sending:
        """The one that a pipeline has got."""
        if not isinstance(pipeline.execute, cls):
            pipeline.execute = cls(pipeline.execute)
        sending: _Sending = pipeline.execute
        return sending

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        jobs, self.jobs = self.jobs, []
        try:
            return self._execute(*args, **kwargs)
        except WatchError:  # RQ tries again
            self.jobs = jobs
            raise
        except Exception as error:
            for job in jobs:
                job.tell(given_up, error=error, begun=False)
            raise


class Queue(rq.Queue):
    """A queue whose jobs are pending from the moment they are enqueued, one round trip each."""

    job_class = Job

    def enqueue_job(self, job: rq.job.Job, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Enqueue a job, or defer it until those are done that it depends on."""
        with _sent(job):
            return super().enqueue_job(job, *args, **kwargs)

    def schedule_job(self, job: rq.job.Job, datetime: datetime, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Have a job enqueued later."""
        if isinstance(job, Job):
            job.due = datetime if datetime.tzinfo else datetime.astimezone()
        with _sent(job):
            return super().schedule_job(job, datetime, *args, **kwargs)


@contextmanager
def _sent(job: rq.job.Job) -> Iterator[None]:
    if not isinstance(job, Job):
        yield
        return
    try:
        yield
    except WatchError:  # of the caller's own pipeline
        raise
    except RedisError as error:  # perhaps before it was saved
        job.tell(given_up, error=error, begun=False)
        raise
    job.tell_enqueued(late=True)  # one that had to be unique is saved otherwise, and not at all if there was another


class _Tracking(rq.worker.BaseWorker):
    """A worker of this module's `Job`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The command `rq worker` always names a class, by default RQ's own.
        given = kwargs.get("job_class")
        given = import_attribute(given) if isinstance(given, str) else given
        kwargs["job_class"] = given if isinstance(given, type) and issubclass(given, Job) else Job
        super().__init__(*args, **kwargs)


class Worker(_Tracking, rq.Worker):
    """RQ's worker that forks a child for each job."""


class SimpleWorker(_Tracking, rq.SimpleWorker):
    """RQ's worker that runs jobs in its own process."""


class SpawnWorker(_Tracking, rq.SpawnWorker):
    """RQ's worker that starts a fresh interpreter for each job."""
