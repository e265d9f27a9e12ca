"""Everything that job-progress raises on its own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_progress.state import JobState


class ProgressError(Exception):
    """The base of every error of this library; `state` is the state it is about, if there is one."""

    def __init__(self, message: str, state: JobState | None = None) -> None:
        super().__init__(message)
        self.state = state


class JobNotCancellable(ProgressError):
    """Somebody asked to cancel what cannot be cancelled (any more). Nothing was changed."""


class JobAlreadyProcessing(ProgressError):
    """A run was started while another run of the same id is alive. That one was left alone."""


class StoreUnavailable(ProgressError):
    """The store did not answer, or answered with an error. The cause is chained to it."""


class NewerFormat(StoreUnavailable):
    """A record was written by a newer version of this library, which this one cannot read. The store is well."""


class JobFailed(Exception):
    """For jobs to raise when what went wrong is meant for people: everybody who may see the job sees this text.

    Of other exceptions, those who may see one job but not list all of them see the type only. To the queue it is an
    exception like others, and is retried like them.
    """


class JobCancelled(BaseException):
    """Raised inside a job at a checkpoint, after somebody asked to cancel it.

    It is no `Exception`, as `asyncio.CancelledError` is none, so that a job's own
    `except Exception` does not swallow it. Whoever tracks the run catches it.
    """

    def __init__(self, message: str = "the job was cancelled", state: JobState | None = None) -> None:
        super().__init__(message)
        self.state = state


class JobCancelledInPool(JobCancelled, Exception):
    """`JobCancelled` as it is raised in the pools of `multiprocessing`, which pass on nothing but an `Exception`."""
