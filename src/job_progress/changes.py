"""What an event makes of the fields of a state; `transition` sets status and version itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import structs

from job_progress.events import (
    Complete,
    Enqueue,
    Explanation,
    Fail,
    GiveUp,
    Lock,
    RequestCancel,
    Requeue,
    Retry,
    Revoke,
    RunEvent,
    Start,
)
from job_progress.state import JobState

Fields = dict[str, Any]

REMEMBERED = 32
"""How many cancelled tasks of one id are remembered: more are not under way at once."""


def unchanged(state: JobState, event: Any, now: datetime) -> Fields | None:
    """Nothing to write."""
    return None


def wait_anew(state: JobState, event: Lock | Enqueue, now: datetime) -> Fields:
    """A new life, waiting for a worker. Tasks that were cancelled in the lives before stay so, but for this one."""
    refused = tuple(task for task in state.refused if task != event.blank.task)
    return structs.asdict(event.blank) | {
        "created_at": now,
        "updated_at": now,
        "refused": refused,
        "renewed": state.version > 0,
    }


def note_task(state: JobState, event: Enqueue, now: datetime) -> Fields:
    """It was locked, or enqueued as another task, before; now this task of it is known too."""
    due = max((due for due in (state.due, event.blank.due) if due is not None), default=None)
    fields: Fields = {"due": due, "updated_at": now}
    if state.task is None:
        return fields | {"task": event.blank.task, "owner": _owner(state, event)}
    return fields | {"other_tasks": (*state.other_tasks, event.blank.task)[-REMEMBERED:]}


def _owner(state: JobState, event: Enqueue | Start) -> str | None:
    return event.blank.owner if state.owner is None else state.owner


def refuse_task(state: JobState, event: Enqueue, now: datetime) -> Fields:
    """It was cancelled when no task was known; this is the one."""
    return {"task": event.blank.task, "due": event.blank.due, "updated_at": now, "refused": _refused(state, event)}


def _refused(state: JobState, event: Any = None) -> tuple[str, ...]:
    """The cancelled tasks of this id: those before, and what the state, and the event, know of."""
    known = [*state.refused, state.task, *state.other_tasks, event.blank.task if event else None]
    return tuple(dict.fromkeys(task for task in known if task is not None))[-REMEMBERED:]


def run_anew(state: JobState, event: Start, now: datetime) -> Fields:
    """A new life, with a worker from the start."""
    return wait_anew(state, Lock(event.blank), now) | run_again(event.blank, event, now)


def run_again(state: JobState, event: Start, now: datetime) -> Fields:
    """The next attempt of the same life. What the one before noted goes; what `lock` was given stays."""
    given = state.given_meta if state.attempt else state.meta
    return {
        "settings": event.blank.settings,
        "owner": _owner(state, event),
        "task": event.blank.task,
        "other_tasks": tuple(task for task in state.other_tasks if task != event.blank.task),
        "due": None,
        "token": event.token,
        "attempt": state.attempt + 1,
        "started_at": now,
        "updated_at": now,
        "last_progress_at": now,
        "heartbeat_at": now,
        "silence": None,
        "progress": 0.0,
        "point_of_no_return": False,
        "meta": given,
        "given_meta": given,
        **dict.fromkeys(("completed", "total", "message", "result", "result_omitted", "speed", "rate")),
        **_why(None),
        **dict.fromkeys(("finished_at", "cancel_requested_at")),
    }


def swallow_start(state: JobState, event: Start, now: datetime) -> Fields:
    """The start that was owed has come; the next delivery of the same task is refused as well."""
    return {"owes_start": False, "refused": _refused(state, event)}


def request(state: JobState, event: RequestCancel, now: datetime) -> Fields:
    """Asked to stop."""
    return {"cancel_requested_at": now, "updated_at": now, "silence": state.silence_at(now)}


def cancel_before_start(state: JobState, event: Any, now: datetime) -> Fields:
    """Cancelled, with a start still to come."""
    return {
        "cancel_requested_at": now,
        "updated_at": now,
        "finished_at": now,
        "owes_start": True,
        "refused": _refused(state),
    }


def cancel_the_dead(state: JobState, event: Any, now: datetime) -> Fields:
    """Cancelled; should the run wake up, it can change nothing."""
    return {
        "cancel_requested_at": state.cancel_requested_at or now,
        "updated_at": now,
        "finished_at": now,
        "token": None,
        "refused": _refused(state),
    }


def report(state: JobState, event: RunEvent, now: datetime) -> Fields:
    """What was reported, and that the run is alive."""
    fields = structs.asdict(event.reported)
    fields["meta"] = state.given_meta | event.reported.meta
    fields["point_of_no_return"] |= state.point_of_no_return
    fields |= {"heartbeat_at": now, "silence": None}
    if not event.reported.is_in(state):
        fields |= {"updated_at": now, "last_progress_at": now}
    return fields


def end(state: JobState, event: RunEvent, now: datetime) -> Fields:
    """What was reported last, and the time."""
    return report(state, event, now) | {"updated_at": now, "finished_at": now, "speed": None}


def _why(error: Explanation | None) -> Fields:
    return {
        "error": None if error is None else error.text,
        "error_for_viewers": None if error is None else error.for_viewers,
    }


def end_well(state: JobState, event: Complete, now: datetime) -> Fields:
    """All done."""
    return end(state, event, now) | {"progress": 1.0} | _why(None)


def end_cancelled(state: JobState, event: RunEvent, now: datetime) -> Fields:
    """Cancelled; what the queue delivers of the same task is refused from now on."""
    return end(state, event, now) | {"refused": _refused(state)}


def end_badly(state: JobState, event: Fail | Retry, now: datetime) -> Fields:
    """Why it failed."""
    return end(state, event, now) | _why(event.error)


def wait_for_retry(state: JobState, event: Retry, now: datetime) -> Fields:
    """The same life waits for its next attempt, and shows why the last one failed."""
    return end_badly(state, event, now) | {"finished_at": None, "token": None, "due": event.due}


def cancel_instead_of_retry(state: JobState, event: Retry, now: datetime) -> Fields:
    """Cancelled; the retry is a start that must not run."""
    return wait_for_retry(state, event, now) | {"finished_at": now, "owes_start": True, "refused": _refused(state)}


def cancel_by_queue(state: JobState, event: Any, now: datetime) -> Fields:
    """Cancelled, and the queue has dropped the task, so no start is owed."""
    fields = cancel_the_dead(state, event, now)
    reason = event.reason if isinstance(event, Revoke) else None
    return fields | _why(reason) | {"owes_start": False, "refused": _refused(state, event)}


def give_up(state: JobState, event: GiveUp, now: datetime) -> Fields:
    """Why it failed, by the queue's word; should a run wake up, it can change nothing."""
    fields: Fields = {"updated_at": now, "finished_at": now, "token": None, "speed": None}
    return fields if event.error is None else fields | _why(event.error)


def note_error(state: JobState, event: Requeue, now: datetime) -> Fields:
    """It failed before its function began, and waits for its next attempt."""
    return _why(event.error) | {"updated_at": now}


def wait_for_redelivery(state: JobState, event: Requeue, now: datetime) -> Fields:
    """The run is over, by the queue's word, and the same life waits for its next attempt."""
    return give_up(state, GiveUp(event.blank, event.error), now) | {"finished_at": None}


def cancel_instead_of_redelivery(state: JobState, event: Requeue, now: datetime) -> Fields:
    """Cancelled; what is delivered again is a start that must not run."""
    return cancel_the_dead(state, event, now) | {"owes_start": True}
