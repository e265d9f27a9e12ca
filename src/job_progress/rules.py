"""The rules of the state machine: may this event happen to this state?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from job_progress.state import JobState


def always(state: JobState, event: Any, now: datetime) -> bool:
    """It may, always."""
    return True


def dead(state: JobState, event: Any, now: datetime) -> bool:
    """The run has shown no sign of life for too long."""
    return state.is_stalled_at(now)


def dead_while_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """It was asked to stop, and has died."""
    return state.is_cancelling and state.is_stalled_at(now)


def already_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """It was asked to stop before."""
    return state.is_cancelling


def cancellable(state: JobState, event: Any, now: datetime) -> bool:
    """The job allows it, at the progress it has reached."""
    return state.can_be_cancelled_at(now)


def start_is_owed(state: JobState, event: Any, now: datetime) -> bool:
    """Cancelled while waiting, its start is still under way."""
    return state.owes_start


def own_run(state: JobState, event: Any, now: datetime) -> bool:
    """The event comes from the run that the state belongs to."""
    token: str = event.token
    return state.token == token


def own_run_while_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """The same, and it was asked to stop."""
    return own_run(state, event, now) and state.is_cancelling


def same_task(state: JobState, event: Any, now: datetime) -> bool:
    """The event is about the very task of the queue that the state's latest run was, or is to be."""
    task: str | None = event.blank.task
    return task is not None and state.task == task


def its_run(state: JobState, event: Any, now: datetime) -> bool:
    """The same, and the event is about its run: that had begun, or has died, so that no other delivery is at work."""
    begun: bool = event.begun
    return same_task(state, event, now) and (begun or dead(state, event, now))


def its_run_while_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """The same, and it was asked to stop."""
    return its_run(state, event, now) and state.is_cancelling


def late(state: JobState, event: Any, now: datetime) -> bool:
    """It is about the same task, and the queue had that before it said so."""
    is_late: bool = event.late
    return is_late and same_task(state, event, now)


def same_task_while_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """It is about the same task, and that was asked to stop."""
    return same_task(state, event, now) and state.is_cancelling


def not_another_task(state: JobState, event: Any, now: datetime) -> bool:
    """It may be about the task that is waited for, as no other one is known."""
    return state.task is None or same_task(state, event, now)


def task_is_news(state: JobState, event: Any, now: datetime) -> bool:
    """Whoever locked it could not know yet which task of the queue it would be."""
    return state.task is None and event.blank.task is not None
