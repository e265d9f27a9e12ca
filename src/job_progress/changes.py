"""What an event makes of the fields of a state; `transition` sets status and version itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import structs

from job_progress.events import (
    Complete,
    Enqueue,
    Fail,
    GiveUp,
    Lock,
    RequestCancel,
    Requeue,
    Retry,
    RunEvent,
    Start,
)
from job_progress.state import JobState

Fields = dict[str, Any]


def unchanged(state: JobState, event: Any, now: datetime) -> Fields | None:
    """Nothing to write."""
    return None


def wait_anew(state: JobState, event: Lock | Enqueue, now: datetime) -> Fields:
    """A new life, waiting for a worker."""
    return structs.asdict(event.blank) | {"created_at": now, "updated_at": now}


def note_task(state: JobState, event: Enqueue, now: datetime) -> Fields:
    """It was locked before; now its task is known."""
    return {"task": event.blank.task, "owner": event.blank.owner if state.owner is None else state.owner}


def run_anew(state: JobState, event: Start, now: datetime) -> Fields:
    """A new life, with a worker from the start."""
    return wait_anew(state, Lock(event.blank), now) | run_again(event.blank, event, now)


def run_again(state: JobState, event: Start, now: datetime) -> Fields:
    """The next attempt of the same life. What the one before noted goes; what `lock` was given stays."""
    given = state.given_meta if state.attempt else state.meta
    return {
        "settings": event.blank.settings,
        "owner": event.blank.owner if state.owner is None else state.owner,
        "task": event.blank.task,
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
        **dict.fromkeys(("completed", "total", "message", "result", "result_omitted", "error", "speed", "rate")),
        **dict.fromkeys(("finished_at", "cancel_requested_at")),
    }


def swallow_start(state: JobState, event: Start, now: datetime) -> Fields:
    """The start that was owed has come."""
    return {"owes_start": False}


def request(state: JobState, event: RequestCancel, now: datetime) -> Fields:
    """Asked to stop."""
    return {"cancel_requested_at": now, "updated_at": now, "silence": state.silence_at(now)}


def cancel_before_start(state: JobState, event: Any, now: datetime) -> Fields:
    """Cancelled, with a start still under way."""
    return {"cancel_requested_at": now, "updated_at": now, "finished_at": now, "owes_start": True}


def cancel_the_dead(state: JobState, event: Any, now: datetime) -> Fields:
    """Cancelled; should the run wake up, it has lost its say."""
    return {
        "cancel_requested_at": state.cancel_requested_at or now,
        "updated_at": now,
        "finished_at": now,
        "token": None,
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


def end_well(state: JobState, event: Complete, now: datetime) -> Fields:
    """All done."""
    return end(state, event, now) | {"progress": 1.0, "error": None}


def end_badly(state: JobState, event: Fail, now: datetime) -> Fields:
    """Why it failed."""
    return end(state, event, now) | {"error": event.error}


def wait_for_retry(state: JobState, event: Retry, now: datetime) -> Fields:
    """The same life waits for its next attempt, and shows why the last one failed."""
    return end_badly(state, Fail(event.token, event.reported, event.error), now) | {"finished_at": None, "token": None}


def cancel_instead_of_retry(state: JobState, event: Retry, now: datetime) -> Fields:
    """Cancelled; the retry is a start that must not run."""
    return wait_for_retry(state, event, now) | {"finished_at": now, "owes_start": True}


def cancel_by_queue(state: JobState, event: Any, now: datetime) -> Fields:
    """Cancelled, and the queue has dropped the task, so no start is owed."""
    return cancel_the_dead(state, event, now) | {"error": None, "owes_start": False}


def give_up(state: JobState, event: GiveUp, now: datetime) -> Fields:
    """Why it failed, by the queue's word; should a run wake up, it has lost its say."""
    return {"error": event.error, "updated_at": now, "finished_at": now, "token": None, "speed": None}


def wait_for_redelivery(state: JobState, event: Requeue, now: datetime) -> Fields:
    """The run is dead, by the queue's word, and the same life waits for its next attempt."""
    return give_up(state, GiveUp(event.blank, event.error), now) | {"finished_at": None}


def cancel_instead_of_redelivery(state: JobState, event: Requeue, now: datetime) -> Fields:
    """Cancelled; what is delivered again is a start that must not run."""
    return cancel_the_dead(state, event, now) | {"owes_start": True}
