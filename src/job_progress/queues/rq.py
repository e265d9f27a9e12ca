"""RQ: drop-in `Queue`, `Job` and `Worker`.

    from job_progress.queues.rq import Queue

    queue = Queue(connection=Redis())
    queue.enqueue(import_products, "products.csv")

and `rq worker --worker-class job_progress.queues.rq.Worker`, or `SimpleWorker`, or `SpawnWorker`.

What RQ cannot tell: from inside, a job has no way to end as cancelled, so that to RQ it has finished, without
a result. A worker that is killed itself, with its child, is found out by RQ after a minute or two; the state
reads stalled before that. A function that returns `rq.Retry` has completed, and begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

try:
    import rq
    import rq.job
    import rq.worker
    from rq.utils import import_attribute
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[rq]'", name=error.name) from None

from job_progress.queues.lifecycle import enqueued, given_up, hook, requeued, revoked
from job_progress.task import QueueTask, queue_task

logger = logging.getLogger("job_progress")

WAITING = (rq.job.JobStatus.QUEUED, rq.job.JobStatus.SCHEDULED, rq.job.JobStatus.DEFERRED)


class Job(rq.job.Job):
    """An RQ job whose function's run knows which job it is, and whether it will be retried."""

    was_marked = False
    """This very object was made by a queue that has marked its state as pending."""
    was_performed = False
    """It was this process that ran it, so the run has told its end itself."""

    def perform(self) -> Any:
        """Run the function."""
        self.was_performed = True
        with queue_task(QueueTask(id=self.id, will_retry=lambda error: self.should_retry)):
            return super().perform()

    def cancel(self, *args: Any, **kwargs: Any) -> dict[str, list[str]]:
        """Take it out of its queue: its state is cancelled. A job that runs goes on, as ever with RQ."""
        waits = self.get_status() in WAITING
        result = super().cancel(*args, **kwargs)
        if waits:
            self.tell(revoked)
        return result

    def retry(self, *args: Any, **kwargs: Any) -> None:
        """Have it run again, after an error or after its worker has died."""
        if not self.was_performed:
            self.tell(requeued, error="the worker died")
        super().retry(*args, **kwargs)

    def _handle_failure(self, exc_string: str, *args: Any, **kwargs: Any) -> None:
        if not self.was_performed:
            self.tell(given_up, error=exc_string.strip().rpartition("\n")[2] or "the worker died")
        super()._handle_failure(exc_string, *args, **kwargs)

    @hook
    def tell(self, what: Callable[..., object], **more: Any) -> None:
        """Tell the state what RQ says of the job. At most two round trips; raises nothing."""
        try:
            function = self.func
        except (ImportError, AttributeError, ValueError) as error:
            logger.debug("RQ's job %s is not known here: %s", self.id, error)
            return
        what(function, self.id, self.args, self.kwargs, **more)


class Queue(rq.Queue):
    """A queue whose jobs are pending from the moment they are enqueued, one round trip each."""

    job_class = Job

    def create_job(self, *args: Any, **kwargs: Any) -> rq.job.Job:
        """Make a job that is about to be enqueued."""
        job = super().create_job(*args, **kwargs)
        if isinstance(job, Job):
            job.tell(enqueued)
            job.was_marked = True
        return job

    def _enqueue_job(self, job: rq.job.Job, *args: Any, **kwargs: Any) -> rq.job.Job:
        # One that a user has made, or has requeued after it failed; and not one that is retried, or due by now.
        status = job.get_status(refresh=False)
        if isinstance(job, Job) and not job.was_marked and job.started_at is None and status not in WAITING[1:]:
            job.tell(enqueued)
        return super()._enqueue_job(job, *args, **kwargs)


class _Tracking(rq.worker.BaseWorker):
    """What RQ's workers need beyond themselves: this module's `Job`, and a word when one is stopped."""

    job_class = Job

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The command `rq worker` always names a class, by default RQ's own.
        given = kwargs.get("job_class")
        given = import_attribute(given) if isinstance(given, str) else given
        kwargs["job_class"] = given if isinstance(given, type) and issubclass(given, Job) else Job
        super().__init__(*args, **kwargs)

    def handle_job_failure(self, job: rq.job.Job, *args: Any, **kwargs: Any) -> None:
        """Also called for a job that was stopped on request."""
        if self._stopped_job_id == job.id and isinstance(job, Job):
            job.tell(revoked)
        super().handle_job_failure(job, *args, **kwargs)


class Worker(_Tracking, rq.Worker):
    """RQ's worker that forks a child for each job."""


class SimpleWorker(_Tracking, rq.SimpleWorker):
    """RQ's worker that runs jobs in its own process."""


class SpawnWorker(_Tracking, rq.SpawnWorker):
    """RQ's worker that starts a fresh interpreter for each job."""
