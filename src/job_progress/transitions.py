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

from job_progress.changes import (
    Fields,
    cancel_before_start,
    cancel_by_queue,
    cancel_instead_of_redelivery,
    cancel_instead_of_retry,
    cancel_the_dead,
    end_badly,
    end_cancelled,
    end_well,
    give_up,
    note_error,
    note_task,
    refuse_task,
    report,
    request,
    run_again,
    run_anew,
    swallow_start,
    unchanged,
    wait_anew,
    wait_for_redelivery,
    wait_for_retry,
)
from job_progress.events import (
    Acknowledge,
    Complete,
    Enqueue,
    Event,
    Fail,
    FindDead,
    GiveUp,
    Lock,
    Report,
    RequestCancel,
    Requeue,
    Retry,
    Revoke,
    Start,
)
from job_progress.rules import (
    already_cancelling,
    always,
    cancellable,
    dead,
    dead_while_cancelling,
    dead_while_cancelling_it,
    delivered_again,
    failed_after_run,
    its_lost_run,
    its_lost_run_while_cancelling,
    its_run,
    its_run_while_cancelling,
    late,
    not_another_task,
    own_run,
    own_run_while_cancelling,
    refused_and_owed,
    repeated,
    same_task,
    start_is_owed,
    task_is_news,
    task_is_refused,
    unknown_start_is_owed,
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
    Row((PROCESSING, *ENDED), Enqueue, late, None, unchanged, "the worker was faster than the hook"),
    Row(
        (CANCELLED,), Enqueue, unknown_start_is_owed, CANCELLED, refuse_task, "it was locked, cancelled, and sent late"
    ),
    Row((MISSING, *ENDED), Enqueue, always, PENDING, wait_anew, "a queue got the task, and nobody had locked the id"),
    Row((PROCESSING,), Enqueue, dead, PENDING, wait_anew, "the worker died, and the task was enqueued again"),
    Row((PENDING,), Enqueue, task_is_news, PENDING, note_task, "it was locked, and now there is a task of it, or two"),
    Row((PENDING,), Enqueue, always, PENDING, unchanged, "the lock came first, or the queue's hook fires twice"),
    Row((PROCESSING,), Enqueue, always, PROCESSING, unchanged, "the worker was faster than the hook"),
    Row((PROCESSING,), Start, own_run, PROCESSING, unchanged, "the store had the start, its answer was lost"),
    Row((CANCELLED,), Start, refused_and_owed, CANCELLED, swallow_start, "the task cancelled while waiting has come"),
    Row((PENDING, PROCESSING, *ENDED), Start, task_is_refused, None, unchanged, "this task was cancelled before"),
    Row((CANCELLED,), Start, unknown_start_is_owed, CANCELLED, swallow_start, "cancelled before its task was known"),
    Row((COMPLETED,), Start, repeated, PROCESSING, run_again, "something around the function calls it once more"),
    Row((COMPLETED,), Start, delivered_again, None, unchanged, "delivered again, though it is done"),
    Row((FAILED,), Start, same_task, PROCESSING, run_again, "the queue runs the same task again after all"),
    Row((MISSING, *ENDED), Start, always, PROCESSING, run_anew, "nobody locked it, or it is run once more"),
    Row((PENDING,), Start, always, PROCESSING, run_again, "a worker takes up what was waiting, or retries it"),
    Row(
        (PROCESSING,), Start, dead_while_cancelling_it, CANCELLED, cancel_the_dead, "redelivered, but it is not wanted"
    ),
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
    Row((PENDING,), Revoke, not_another_task, CANCELLED, cancel_by_queue, "the queue was told not to run it"),
    Row((PROCESSING, FAILED), Revoke, its_run, CANCELLED, cancel_by_queue, "the queue was told to stop it, and did"),
    Row((CANCELLED,), Revoke, start_is_owed, CANCELLED, swallow_start, "the queue dropped it, so it will not come"),
    Row((MISSING, *JobStatus), Revoke, always, None, unchanged, "it has ended, runs elsewhere, or is another task's"),
    Row((PENDING,), GiveUp, not_another_task, FAILED, give_up, "it expired in the queue, say"),
    Row((PROCESSING,), GiveUp, its_run_while_cancelling, CANCELLED, cancel_by_queue, "killed, and asked to stop"),
    Row((PROCESSING, COMPLETED), GiveUp, its_run, FAILED, give_up, "its worker died, say, or it failed after its run"),
    Row((CANCELLED,), GiveUp, start_is_owed, CANCELLED, swallow_start, "the queue dropped it, so it will not come"),
    Row((MISSING, *JobStatus), GiveUp, always, None, unchanged, "it has ended, runs elsewhere, or is another task's"),
    Row(
        (PROCESSING,),
        Requeue,
        its_lost_run_while_cancelling,
        CANCELLED,
        cancel_instead_of_redelivery,
        "its worker died, and nobody wants it",
    ),
    Row((PENDING,), Requeue, not_another_task, PENDING, note_error, "it failed before its function began"),
    Row((PROCESSING,), Requeue, its_lost_run, PENDING, wait_for_redelivery, "its worker died, and it comes again"),
    Row((FAILED,), Requeue, same_task, PENDING, wait_for_redelivery, "it comes again after all"),
    Row(
        (COMPLETED,),
        Requeue,
        failed_after_run,
        PENDING,
        wait_for_redelivery,
        "it failed after its run, and comes again",
    ),
    Row((MISSING, *JobStatus), Requeue, always, None, unchanged, "it is not running, or is another task's by now"),
    Row((PROCESSING,), Report, own_run, PROCESSING, report, "the run reports or is merely alive"),
    Row((PROCESSING,), Complete, own_run, COMPLETED, end_well, "the function returned, or `complete` was called"),
    Row((PROCESSING,), Fail, own_run, FAILED, end_badly, "the function raised, or `fail` was called"),
    Row((PROCESSING,), Retry, own_run_while_cancelling, CANCELLED, cancel_instead_of_retry, "asked to stop, it raised"),
    Row((PROCESSING,), Retry, own_run, PENDING, wait_for_retry, "the function raised, and the queue tries again"),
    Row(
        (PROCESSING,),
        Acknowledge,
        own_run,
        CANCELLED,
        end_cancelled,
        "the run reached a checkpoint, or cancelled itself",
    ),
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
