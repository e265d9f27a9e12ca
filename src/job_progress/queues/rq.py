"""RQ: a drop-in `Job`, and with it `Queue` and the workers.

    from job_progress.queues.rq import Queue

    queue = Queue(connection=Redis())
    queue.enqueue(import_products, "products.csv")

and `rq worker --job-class job_progress.queues.rq.Job`, whichever the worker's class; `rq worker-pool` and
`rq requeue` take it as well. Only `Job` does anything; the others here have it as their job class.

What RQ cannot tell: from inside, a job has no way to end as cancelled, so that to RQ it has finished, without
a result. A worker that is killed itself, with its child, is found out by RQ after a minute or two; the state
reads stalled before that. Nothing is said of jobs that are emptied out of a queue, or that expire in it, and
nothing while a job waits that RQ's own classes have enqueued or requeued. A job whose function the worker
cannot import stays pending.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

try:
    import rq
    import rq.job
    import rq.worker
    from rq.exceptions import InvalidJobOperation
    from rq.utils import import_attribute
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[rq]'", name=error.name) from None

from msgspec.structs import replace

from job_progress.encoding import explain_report
from job_progress.queues.lifecycle import enqueued, given_up, requeued, revoked
from job_progress.task import QueueTask, queue_task

logger = logging.getLogger("job_progress")

STOPPED = rq.job.JobStatus.STOPPED
ENDED = (rq.job.JobStatus.FINISHED, rq.job.JobStatus.FAILED, STOPPED, rq.job.JobStatus.CANCELED)
BEGUN = (rq.job.JobStatus.STARTED, *ENDED)

ENQUEUED = "job_progress_enqueued"
"""The field of RQ's own record that holds what `QueueTask.enqueued` does."""


class ReturnedRetry(Exception):
    """A function has returned `rq.Retry`, by which RQ means that it is to run again."""

    def __init__(self, limit: int) -> None:
        super().__init__("the function asked to be run again")
        self.limit = limit


def _failure_in(returned: object) -> ReturnedRetry | None:
    return ReturnedRetry(returned.max) if isinstance(returned, rq.Retry) else None


class Job(rq.job.Job):
    """An RQ job that is pending from its first save on, and whose run knows which job it is."""

    begins = True
    """If it is saved as one that waits, a new life begins: it is not in RQ's records yet, or has ended there."""
    was_performed = False
    """It was this process that ran it, so the run has told its end itself."""
    enqueued: int | None = None
    """See `QueueTask.enqueued`."""

    def restore(self, raw_data: Any) -> None:
        """Take what RQ's record says."""
        super().restore(raw_data)
        self.begins = self.get_status(refresh=False) in ENDED
        version = raw_data.get(ENQUEUED.encode())
        self.enqueued = None if version is None else int(version)

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Make RQ's record."""
        record: dict[str, Any] = super().to_dict(*args, **kwargs)
        return record if self.enqueued is None else {**record, ENQUEUED: self.enqueued}

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it: the last that RQ does before it enqueues, schedules or defers a job."""
        if self.get_status(refresh=False) not in BEGUN:
            self.tell_enqueued()
        super().save(*args, **kwargs)

    def requeue(self, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Enqueue it again, after it has ended."""
        self.begins = True
        return super().requeue(*args, **kwargs)

    def perform(self) -> Any:
        """Run the function."""
        self.was_performed = True
        task = QueueTask(id=self.id, enqueued=self.enqueued)
        if self.worker_name != "sync":  # a queue that is not async runs it once
            task = replace(task, will_retry=self._will_retry, failure_in=_failure_in)
        with queue_task(task):
            return super().perform()

    def _will_retry(self, error: BaseException) -> bool:
        if isinstance(error, ReturnedRetry):
            return (self.number_of_retries or 0) < error.limit
        return bool(self.should_retry)

    def cancel(self, *args: Any, **kwargs: Any) -> Any:
        """Take it out of its queue: its state is cancelled. A job that runs goes on, as ever with RQ."""
        return self._without(super().cancel, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> None:
        """Forget it: if it still waits, its state is cancelled."""
        self._without(super().delete, *args, **kwargs)

    def _without(self, drop: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            waits = self.get_status() not in BEGUN
        except InvalidJobOperation:  # it is gone already
            waits = False
        dropped = drop(*args, **kwargs)
        if waits:
            self.tell(revoked)
        return dropped

    def retry(self, *args: Any, **kwargs: Any) -> None:
        """Have it run again, after an error or after its worker has died."""
        if not self.was_performed:
            self.tell(requeued, error="the worker died")
        super().retry(*args, **kwargs)

    def _handle_failure(self, exc_string: str, *args: Any, **kwargs: Any) -> None:
        if self.get_status(refresh=False) == STOPPED:
            self.tell(revoked)
        else:  # a run that was performed has told it, unless something else raised it before the run began
            self.tell(
                given_up, error=explain_report(exc_string.strip() or "the worker died"), begun=not self.was_performed
            )
        super()._handle_failure(exc_string, *args, **kwargs)

    def tell_enqueued(self, *, late: bool = False) -> None:
        """If a new life begins, tell the state. At most two round trips; raises nothing."""
        if self.begins:
            self.begins = False
            self.enqueued = self.tell(enqueued, late=late)

    def tell(self, what: Callable[..., int | None], **more: Any) -> int | None:
        """Tell the state what RQ says of the job. At most two round trips; raises nothing."""
        try:
            function, instance, args, kwargs = self.func, self.instance, self.args, self.kwargs
        except Exception as error:  # noqa: BLE001 - whatever importing or unpickling raises
            logger.debug("RQ's job %s is not known here: %r", self.id, error)
            return None
        return what(function, self.id, args if instance is None else (instance, *args), kwargs, **more)


class Queue(rq.Queue):
    """A queue whose jobs are pending from the moment they are enqueued, one round trip each."""

    job_class = Job

    def enqueue_job(self, job: rq.job.Job, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Enqueue a job, or defer it until those are done that it depends on."""
        return _saved(super().enqueue_job(job, *args, **kwargs))

    def schedule_job(self, job: rq.job.Job, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Have a job enqueued later."""
        return _saved(super().schedule_job(job, *args, **kwargs))


def _saved(job: rq.job.Job) -> rq.job.Job:
    # One that had to be unique is saved otherwise, and not at all if there was another.
    if isinstance(job, Job):
        job.tell_enqueued(late=True)
    return job


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
