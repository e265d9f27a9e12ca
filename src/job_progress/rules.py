"""The rules of the state machine: may this event happen to this state?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from job_progress.events import Start
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


def dead_while_cancelling_it(state: JobState, event: Any, now: datetime) -> bool:
    """The same, and the event is not about another task."""
    return dead_while_cancelling(state, event, now) and not_another_task(state, event, now)


def already_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """It was asked to stop before."""
    return state.is_cancelling


def cancellable(state: JobState, event: Any, now: datetime) -> bool:
    """The job allows it, at the progress it has reached."""
    return state.can_be_cancelled_at(now)


def start_is_owed(state: JobState, event: Any, now: datetime) -> bool:
    """Cancelled while waiting, its start is still to come."""
    return state.owes_start


def unknown_start_is_owed(state: JobState, event: Any, now: datetime) -> bool:
    """The same, and no task of a queue was known, so the first that comes is the one."""
    return state.owes_start and state.task is None


def refused_and_owed(state: JobState, event: Any, now: datetime) -> bool:
    """This very task was cancelled, and its start had not come until now."""
    return state.owes_start and _was_cancelled(state, event)


def task_is_refused(state: JobState, event: Any, now: datetime) -> bool:
    """This very task was cancelled, however often the queue delivers it."""
    return _was_cancelled(state, event) and not _may_be_another(event)


def _was_cancelled(state: JobState, event: Any) -> bool:
    task: str | None = event.blank.task
    return task is not None and (task in state.refused or (state.task == task and state.is_cancelled))


def _may_be_another(event: Any) -> bool:
    return isinstance(event, Start) and event.asked


def delivered_again(state: JobState, event: Any, now: datetime) -> bool:
    """The event is about the very task that has ended, and no other one of the same id."""
    return same_task(state, event, now) and not _may_be_another(event)


def repeated(state: JobState, event: Any, now: datetime) -> bool:
    """The task's own function is called once more within the same delivery."""
    is_repeat: bool = event.repeat
    return is_repeat and same_task(state, event, now)


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
    """It is about the same task, or one that was cancelled, and the queue had that before it said so."""
    is_late: bool = event.late
    return is_late and (same_task(state, event, now) or task_is_refused(state, event, now))


def failed_after_run(state: JobState, event: Any, now: datetime) -> bool:
    """It is about the same task, which failed after its function had returned."""
    is_after_run: bool = event.after_run
    return is_after_run and same_task(state, event, now)


def its_lost_run(state: JobState, event: Any, now: datetime) -> bool:
    """It is about the same task, whose run has died, or was left to itself: no other delivery is at work."""
    is_after_run: bool = event.after_run
    return its_run(state, event, now) and not is_after_run


def its_lost_run_while_cancelling(state: JobState, event: Any, now: datetime) -> bool:
    """The same, and it was asked to stop."""
    return its_lost_run(state, event, now) and state.is_cancelling


def not_another_task(state: JobState, event: Any, now: datetime) -> bool:
    """It may be about the task that is waited for, as no other one is known."""
    return state.task is None or same_task(state, event, now)


def task_is_news(state: JobState, event: Any, now: datetime) -> bool:
    """The state does not know this task of the queue yet."""
    task: str | None = event.blank.task
    return task is not None and task != state.task and task not in state.other_tasks
