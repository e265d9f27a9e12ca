"""The state machine: a table of what may happen when, and one pure function that applies it.

Clock and run token are arguments; nothing here does I/O. Whoever changes a state, in whichever
process, asks `transition` and then swaps the answer into the store on condition that the version
it decided on is still the current one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from job_progress.events import (
    Acknowledge,
    Complete,
    Enqueue,
    Event,
    Fail,
    FindDead,
    Lock,
    Report,
    RequestCancel,
    Retry,
    RunEvent,
    Start,
)
from job_progress.state import JobState, JobStatus, microseconds


class Refused(Exception):
    """The table has no transition for this event; the state stays as it is."""

    def __init__(self, state: JobState, event: Event) -> None:
        super().__init__(f"{type(event).__name__} is refused: {state.job} {state.id!r} is {describe(state)}")
        self.state = state
        self.event = event


def describe(state: JobState) -> str:
    """The situation of *state* in words, for messages."""
    if state.version == 0:
        return "unknown"
    return "being cancelled" if state.is_cancelling else str(state.status)


# Rules: may this event happen to this state?


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


# Changes: what becomes of the fields. `transition` sets status and version itself.

Fields = dict[str, Any]


def unchanged(state: JobState, event: Any, now: datetime) -> Fields | None:
    """Nothing to write."""
    return None


def wait_anew(state: JobState, event: Lock | Enqueue, now: datetime) -> Fields:
    """A new life, waiting for a worker."""
    return structs.asdict(event.blank) | {"created_at": now, "updated_at": now}


def run_anew(state: JobState, event: Start, now: datetime) -> Fields:
    """A new life, with a worker from the start."""
    return wait_anew(state, Lock(event.blank), now) | run_again(event.blank, event, now)


def run_again(state: JobState, event: Start, now: datetime) -> Fields:
    """The next attempt of the same life."""
    return {
        "settings": event.blank.settings,
        "owner": event.blank.owner if state.owner is None else state.owner,
        "token": event.token,
        "attempt": state.attempt + 1,
        "started_at": now,
        "updated_at": now,
        "heartbeat_at": now,
        "silence": None,
        "progress": 0.0,
        "point_of_no_return": False,
        **dict.fromkeys(("completed", "total", "message", "result", "error", "cancel_requested_at", "speed", "rate")),
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
    fields["meta"] = state.meta | event.reported.meta
    fields["point_of_no_return"] |= state.point_of_no_return
    fields |= {"heartbeat_at": now, "silence": None}
    if not event.reported.is_in(state):
        fields["updated_at"] = now
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


class Row(Struct, frozen=True):
    """One row of the table; of the rows for a status and event, the first whose rule holds applies."""

    sources: tuple[JobStatus | None, ...]
    event: type[Event]
    rule: Callable[[JobState, Any, datetime], bool]
    target: JobStatus | None
    change: Callable[[JobState, Any, datetime], Fields | None]
    when: str


MISSING = None
PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = JobStatus
ENDED = (COMPLETED, FAILED, CANCELLED)

TABLE: tuple[Row, ...] = (
    Row((MISSING, *ENDED), Lock, always, PENDING, wait_anew, "the first to ask dispatches the job"),
    Row((PROCESSING,), Lock, dead, PENDING, wait_anew, "the worker died, and the id is wanted again"),
    Row((MISSING, *ENDED), Enqueue, always, PENDING, wait_anew, "a queue got the task, and nobody had locked the id"),
    Row((PROCESSING,), Enqueue, dead, PENDING, wait_anew, "the worker died, and the task was enqueued again"),
    Row((PENDING,), Enqueue, always, PENDING, unchanged, "the lock came first, or the queue's hook fires twice"),
    Row((PROCESSING,), Enqueue, always, PROCESSING, unchanged, "the worker was faster than the hook"),
    Row((MISSING, COMPLETED, FAILED), Start, always, PROCESSING, run_anew, "nobody locked it, or it is run once more"),
    Row((PENDING,), Start, always, PROCESSING, run_again, "a worker takes up what was waiting, or retries it"),
    Row((CANCELLED,), Start, start_is_owed, CANCELLED, swallow_start, "the task cancelled while waiting has come"),
    Row((CANCELLED,), Start, always, PROCESSING, run_anew, "it is run once more after a cancel"),
    Row((PROCESSING,), Start, own_run, PROCESSING, unchanged, "the store had the start, its answer was lost"),
    Row((PROCESSING,), Start, dead_while_cancelling, CANCELLED, cancel_the_dead, "redelivered, but nobody wants it"),
    Row((PROCESSING,), Start, dead, PROCESSING, run_again, "the worker died, and the queue redelivers"),
    Row(
        (PENDING,), RequestCancel, always, CANCELLED, cancel_before_start, "nobody has begun, so there is no one to ask"
    ),
    Row((PROCESSING,), RequestCancel, dead, CANCELLED, cancel_the_dead, "nobody is left to acknowledge"),
    Row((PROCESSING,), RequestCancel, already_cancelling, PROCESSING, unchanged, "asked twice"),
    Row((PROCESSING,), RequestCancel, cancellable, PROCESSING, request, "the run is asked to stop"),
    Row((CANCELLED,), RequestCancel, always, CANCELLED, unchanged, "asked twice"),
    Row((PROCESSING,), FindDead, dead_while_cancelling, CANCELLED, cancel_the_dead, "nobody is left to acknowledge"),
    Row((MISSING, *JobStatus), FindDead, always, None, unchanged, "it lives, or was not asked to stop"),
    Row((PROCESSING,), Report, own_run, PROCESSING, report, "the run reports or is merely alive"),
    Row((PROCESSING,), Complete, own_run, COMPLETED, end_well, "the function returned, or `complete` was called"),
    Row((PROCESSING,), Fail, own_run, FAILED, end_badly, "the function raised, or `fail` was called"),
    Row((PROCESSING,), Retry, own_run_while_cancelling, CANCELLED, cancel_instead_of_retry, "asked to stop, it raised"),
    Row((PROCESSING,), Retry, own_run, PENDING, wait_for_retry, "the function raised, and the queue tries again"),
    Row((PROCESSING,), Acknowledge, own_run, CANCELLED, end, "the run reached a checkpoint, or cancelled itself"),
    Row((COMPLETED, CANCELLED), Fail, own_run, FAILED, end_badly, "ended by hand, then the function raised after all"),
    Row(ENDED, Retry, own_run, PENDING, wait_for_retry, "ended by hand, then raised, and the queue tries again"),
    Row(ENDED, Report, own_run, None, unchanged, "a report after the end"),
    Row(ENDED, Complete, own_run, None, unchanged, "the function returns after an end by hand"),
    Row((FAILED,), Fail, own_run, FAILED, unchanged, "failed by hand, then raised: the first error stays"),
    Row(ENDED, Acknowledge, own_run, None, unchanged, "a checkpoint after an end by hand"),
)

_ROWS: dict[tuple[JobStatus | None, type[Event]], list[Row]] = {}
for _row in TABLE:
    for _source in _row.sources:
        _ROWS.setdefault((_source, _row.event), []).append(_row)


def transition(state: JobState, event: Event, now: datetime) -> JobState:
    """What *state* becomes when *event* happens to it at *now*. Pure: no I/O, no clock.

    Returns:
        The new state, with a larger version; or *state* itself, if the event changes nothing.

    Raises:
        Refused: No row of `TABLE` allows it.
    """
    source = state.status if state.version else MISSING
    for row in _ROWS.get((source, type(event)), ()):
        if row.rule(state, event, now):
            fields = row.change(state, event, now)
            if fields is None:
                return state
            fields["status"] = row.target
            # A hybrid logical clock: never reused, even when a state is forgotten and made anew.
            fields["version"] = max(state.version + 1, microseconds(now))
            changed = structs.replace(state, **fields)
            if "heartbeat_at" not in fields:
                vars(changed).update(vars(state))  # what was seen of its silence
            return changed
    raise Refused(state, event)
