"""Jobs that several processes share."""

from __future__ import annotations

from job_progress import JobState, Tracker, current_progress, tracked
from job_progress.job import Job

HEARTBEAT = 0.2
STALLED_AFTER = 1.0
SLACK = 0.5
"""How much later something may be seen on a busy machine."""


def job_at(url: str, flush_interval: float = 0.02) -> Job:
    """The job "work" on the store at *url*, with a worker's death soon noticed."""
    tracker = Tracker(url, flush_interval=flush_interval, heartbeat=HEARTBEAT, stalled_after=STALLED_AFTER)
    return Job("work", cancellable=True, tracker=tracker)


def state_of(job: Job, id: str | int) -> JobState:
    """The state of an execution that there is."""
    state = job.get(id)
    assert state
    return state


@tracked(id="number", store_result=True)
def square(number: int) -> int:
    """A job on the default tracker, for pools."""
    current_progress().update(0.5, message=f"multiplying {number}")
    return number * number


@tracked(id="number")
def refuse(number: int) -> None:
    """A job that fails."""
    raise ValueError(f"no {number}")
