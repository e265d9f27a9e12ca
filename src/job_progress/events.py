"""What can happen to a state.

Those events that may begin a new life of an id, or come from a queue, carry `blank`: the state that the
job's settings, and the queue's task, make of it. Those of a run carry its token and what it has reported.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from job_progress.state import JobState


class Reported(Struct, frozen=True, kw_only=True):
    """What a run has reported so far; the fields are those of `JobState`, `meta` only what it added."""

    progress: float | None = 0.0
    completed: int | None = None
    total: int | None = None
    message: str | None = None
    result: Any = None
    result_omitted: str | None = None
    meta: dict[str, Any] = {}
    point_of_no_return: bool = False
    speed: float | None = None
    rate: float | None = None

    def is_in(self, state: JobState) -> bool:
        """Does *state* show all of it already? Estimates alone are not worth a write."""
        return (
            self.progress == state.progress
            and self.completed == state.completed
            and self.total == state.total
            and self.message == state.message
            and self.point_of_no_return == state.point_of_no_return
            and self.result == state.result
            and self.result_omitted == state.result_omitted
            and self.meta.items() <= state.meta.items()
        )


class Explanation(Struct, frozen=True):
    """Why something failed: all of it, and what everybody may see who may see the job. `encoding.explain` makes it."""

    text: str
    for_viewers: str


class Lock(Struct, frozen=True):
    """Somebody wants to be the one who dispatches this id."""

    blank: JobState


class Enqueue(Struct, frozen=True):
    """A queue is about to get a task for this id; or has got it already (*late*), so that a worker may have run it."""

    blank: JobState
    late: bool = False


class Start(Struct, frozen=True):
    """A worker begins a run; a *repeat*, if this delivery of its task has run it before.

    If the queue was only *asked* for the task, one that has ended may have been sent again, and nobody has told.
    """

    blank: JobState
    token: str
    repeat: bool = False
    asked: bool = False


class RequestCancel(Struct, frozen=True):
    """Somebody asks to cancel."""


class Revoke(Struct, frozen=True):
    """The queue was told not to run, or to stop, this task, and did so; or it will not run it, for a *reason*.

    If it had not *begun*, another delivery of it may be running.
    """

    blank: JobState
    begun: bool = True
    reason: Explanation | None = None


class GiveUp(Struct, frozen=True):
    """The queue says that this task has failed for good, and why: it expired, was killed, failed after its function.

    If it had not *begun*, another delivery of it may be running. Without an *error* the state keeps its own.
    """

    blank: JobState
    error: Explanation | None
    begun: bool = True


class Requeue(Struct, frozen=True):
    """The queue says that it will run this task again, and why: its worker died, or it failed *after its run*.

    If it had not *begun*, or its run is over, another delivery of it may be running.
    """

    blank: JobState
    error: Explanation
    after_run: bool = False
    begun: bool = True


class FindDead(Struct, frozen=True):
    """Somebody looks whether a run that was asked to stop has died instead."""


class Report(Struct, frozen=True):
    """The run reports, or only shows that it is alive."""

    token: str
    reported: Reported


class Complete(Struct, frozen=True):
    """The run ended well."""

    token: str
    reported: Reported


class Fail(Struct, frozen=True):
    """The run ended with an error."""

    token: str
    reported: Reported
    error: Explanation


class Retry(Struct, frozen=True):
    """The run ended, and the queue will run the job again, at *due* if it says when; without an *error*: goes on."""

    token: str
    reported: Reported
    error: Explanation | None
    due: datetime | None = None


class Acknowledge(Struct, frozen=True):
    """The run stopped because it was cancelled."""

    token: str
    reported: Reported


RunEvent = Report | Complete | Fail | Retry | Acknowledge
Event = Lock | Enqueue | Start | RequestCancel | Revoke | GiveUp | Requeue | FindDead | RunEvent
