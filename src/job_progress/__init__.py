"""Progress of background jobs, for every task queue: report it, watch it live, cancel it.

The names here are the public contract. Importing them loads no store driver, no task queue and
no web framework.
"""

from job_progress.current import current_progress
from job_progress.decorator import tracked
from job_progress.default import configure
from job_progress.errors import (
    JobAlreadyProcessing,
    JobCancelled,
    JobFailed,
    JobNotCancellable,
    ProgressError,
    StoreUnavailable,
)
from job_progress.job import Job
from job_progress.progress import Progress
from job_progress.progress_job import ProgressJob
from job_progress.state import JobState, JobStatus
from job_progress.tracker import Tracker

__all__ = [
    "Job",
    "JobAlreadyProcessing",
    "JobCancelled",
    "JobFailed",
    "JobNotCancellable",
    "JobState",
    "JobStatus",
    "Progress",
    "ProgressError",
    "ProgressJob",
    "StoreUnavailable",
    "Tracker",
    "configure",
    "current_progress",
    "tracked",
]
