"""Every situation × every event: what becomes of it, or that it is refused."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from job_progress.events import (
    Acknowledge,
    Complete,
    Enqueue,
    Event,
    Explanation,
    Fail,
    FindDead,
    GiveUp,
    Lock,
    Report,
    Reported,
    RequestCancel,
    Requeue,
    Retry,
    Revoke,
    Start,
)
from job_progress.state import JobState, JobStatus, Settings
from job_progress.transitions import TABLE, Refused, transition

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
JUST_NOW = NOW - timedelta(seconds=1)
LONG_AGO = NOW - timedelta(seconds=31)

BLANK = JobState(job="shop.import", id="7", settings=Settings(cancellable=0.75))
TASK = structs.replace(BLANK, task="task-1")
REPORTED = Reported(progress=0.5, completed=5, total=10, message="half", meta={"file": "a.csv"})


def state(status: str, *, alive: bool = True, **fields: object) -> JobState:
    base = structs.replace(
        BLANK,
        version=10,
        attempt=1,
        created_at=LONG_AGO,
        started_at=LONG_AGO,
        updated_at=JUST_NOW,
        heartbeat_at=JUST_NOW if alive else LONG_AGO,
        owner="ada",
        status=JobStatus(status),
    )
    return structs.replace(base, **fields)


SITUATIONS: dict[str, JobState] = {
    "missing": BLANK,
    "pending": state("pending"),
    "processing": state("processing", token="own", progress=0.4),
    "past its threshold": state("processing", token="own", progress=0.8, point_of_no_return=True),
    "not cancellable": state("processing", token="own", settings=Settings()),
    "dead": state("processing", token="own", alive=False),
    "dead, past its threshold": state("processing", token="own", alive=False, point_of_no_return=True),
    "cancelling": state("processing", token="own", cancel_requested_at=JUST_NOW),
    "dead while cancelling": state("processing", token="own", alive=False, cancel_requested_at=LONG_AGO),
    "completed": state("completed", token="own", progress=1.0, finished_at=JUST_NOW),
    "failed": state("failed", token="own", error="first", finished_at=JUST_NOW),
    "cancelled": state("cancelled", token="own", finished_at=JUST_NOW),
    "cancelled before its start": state("cancelled", owes_start=True, finished_at=JUST_NOW),
    "a task, cancelled before its start": state(
        "cancelled", owes_start=True, task="task-1", refused=("task-1",), finished_at=JUST_NOW
    ),
    "a task, cancelled": state("cancelled", token="own", task="task-1", refused=("task-1",), finished_at=JUST_NOW),
    "a task, cancelled by 0.1": state("cancelled", owes_start=True, task="task-1", finished_at=JUST_NOW),
    "locked since a task was cancelled": state("pending", refused=("task-1",)),
    "another task's run since a task was cancelled": state("processing", task="task-2", refused=("task-1",)),
    "another task, completed since": state("completed", task="task-2", refused=("task-1",), finished_at=JUST_NOW),
    "another's run": state("processing", token="another"),
    "completed by another": state("completed", token="another"),
    "failed for another": state("failed", token="another"),
    "cancelled for another": state("cancelled", token="another"),
    "a task, waiting": state("pending", task="task-1"),
    "another task, waiting": state("pending", task="task-2"),
    "a task's run": state("processing", token="own", task="task-1", progress=0.4),
    "a task's run, cancelling": state("processing", token="own", task="task-1", cancel_requested_at=JUST_NOW),
    "a task's run, dead": state("processing", token="own", task="task-1", alive=False),
    "another task's run, dead while cancelling": state(
        "processing", token="own", task="task-2", alive=False, cancel_requested_at=LONG_AGO
    ),
    "a task, completed": state("completed", token="own", task="task-1", progress=1.0, finished_at=JUST_NOW),
    "a task, failed": state("failed", token="own", task="task-1", error="first", finished_at=JUST_NOW),
    "another task's run": state("processing", token="own", task="task-2"),
}

SECOND = Explanation("second", "second, for viewers")
EXPIRED = Explanation("expired", "expired, for viewers")
WORKER_LOST = Explanation("worker lost", "worker lost, for viewers")
NOT_STORED = Explanation("its result cannot be stored", "not stored, for viewers")

EVENTS: dict[str, Event] = {
    "lock": Lock(BLANK),
    "enqueue": Enqueue(BLANK),
    "start": Start(BLANK, "new"),
    "own start again": Start(BLANK, "own"),
    "request": RequestCancel(),
    "find dead": FindDead(),
    "task enqueued": Enqueue(TASK),
    "task enqueued, late": Enqueue(TASK, late=True),
    "task starts": Start(TASK, "new"),
    "task starts once more": Start(TASK, "new", repeat=True),
    "asked task starts": Start(TASK, "new", asked=True),
    "revoke": Revoke(TASK),
    "give up": GiveUp(TASK, EXPIRED),
    "revoke, not begun": Revoke(TASK, begun=False),
    "give up, not begun": GiveUp(TASK, EXPIRED, begun=False),
    "requeue": Requeue(TASK, WORKER_LOST),
    "requeue after its run": Requeue(TASK, NOT_STORED, after_run=True),
    "requeue, not begun": Requeue(TASK, NOT_STORED, begun=False),
    "report": Report("own", REPORTED),
    "complete": Complete("own", REPORTED),
    "fail": Fail("own", REPORTED, SECOND),
    "retry": Retry("own", REPORTED, SECOND),
    "acknowledge": Acknowledge("own", REPORTED),
}

SAME = "same"
NO = "refused"
RUN_EVENTS_REFUSED = dict.fromkeys(("report", "complete", "fail", "retry", "acknowledge"), NO)
RUN_EVENTS_TAKEN = {
    "report": "processing",
    "complete": "completed",
    "fail": "failed",
    "retry": "pending",
    "acknowledge": "cancelled",
}
QUEUE_IGNORED = dict.fromkeys(
    (
        *("revoke", "give up", "requeue", "requeue after its run"),
        *("revoke, not begun", "give up, not begun", "requeue, not begun"),
    ),
    SAME,
)
QUEUE_DROPS = {"revoke, not begun": "cancelled", "give up, not begun": "failed"}
QUEUE_KEEPS = {"requeue": "pending", "requeue after its run": "pending", "requeue, not begun": "pending"}
TASK_STARTS = dict.fromkeys(("task starts", "task starts once more", "asked task starts"), "processing")
TASK_REFUSED = dict.fromkeys(("task starts", "task starts once more"), SAME)
TASK_BEGINS_ANEW = {"task enqueued": "pending", "task enqueued, late": "pending"} | TASK_STARTS
TASK_LEAVES_ALONE = (
    {"task enqueued": SAME, "task enqueued, late": SAME} | dict.fromkeys(TASK_STARTS, NO) | QUEUE_IGNORED
)
BEGINS_ANEW = (
    {"lock": "pending", "enqueue": "pending", "start": "processing", "own start again": "processing"}
    | TASK_BEGINS_ANEW
    | QUEUE_IGNORED
)
LEFT_ALONE = {
    "lock": NO,
    "enqueue": SAME,
    "start": NO,
    "own start again": SAME,
    "find dead": SAME,
} | TASK_LEAVES_ALONE
MAY_BE_TAKEN_OVER = (
    {"lock": "pending", "enqueue": "pending", "start": "processing", "own start again": SAME}
    | TASK_BEGINS_ANEW
    | QUEUE_IGNORED
)
WAITS = (
    RUN_EVENTS_REFUSED
    | {"lock": NO, "enqueue": SAME, "start": "processing", "own start again": "processing"}
    | {"request": "cancelled", "find dead": SAME}
    | TASK_STARTS
    | {"revoke": "cancelled", "give up": "failed"}
    | QUEUE_KEEPS
    | QUEUE_DROPS
)
HAS_COMPLETED = (
    BEGINS_ANEW
    | {"request": NO, "find dead": SAME, "report": SAME, "complete": SAME, "acknowledge": SAME}
    | {"fail": "failed", "retry": "pending"}
)
HAS_FAILED = HAS_COMPLETED | {"fail": SAME}
TASKS_OWN = {"revoke": "cancelled", "give up": "failed", "requeue": "pending"}

EXPECTED: dict[str, dict[str, str]] = {
    "missing": BEGINS_ANEW | RUN_EVENTS_REFUSED | {"request": NO, "find dead": SAME},
    "pending": WAITS | {"task enqueued": "pending", "task enqueued, late": "pending"},
    "processing": LEFT_ALONE | RUN_EVENTS_TAKEN | {"request": "processing"},
    "past its threshold": LEFT_ALONE | RUN_EVENTS_TAKEN | {"request": NO},
    "not cancellable": LEFT_ALONE | RUN_EVENTS_TAKEN | {"request": NO},
    "dead": MAY_BE_TAKEN_OVER | RUN_EVENTS_TAKEN | {"request": "cancelled", "find dead": SAME},
    "dead, past its threshold": MAY_BE_TAKEN_OVER | RUN_EVENTS_TAKEN | {"request": "cancelled", "find dead": SAME},
    "cancelling": LEFT_ALONE | RUN_EVENTS_TAKEN | {"request": SAME, "retry": "cancelled"},
    "dead while cancelling": MAY_BE_TAKEN_OVER
    | RUN_EVENTS_TAKEN
    | dict.fromkeys(("start", *TASK_STARTS), "cancelled")
    | {"request": "cancelled", "find dead": "cancelled", "retry": "cancelled"},
    "completed": HAS_COMPLETED,
    "failed": HAS_FAILED,
    "cancelled": HAS_COMPLETED | {"request": SAME},
    "cancelled before its start": BEGINS_ANEW
    | RUN_EVENTS_REFUSED
    | dict.fromkeys(("start", "own start again", *TASK_STARTS), "cancelled")
    | dict.fromkeys(("enqueue", "task enqueued", "task enqueued, late"), "cancelled")
    | {"request": SAME, "find dead": SAME, "revoke": "cancelled", "give up": "cancelled"}
    | dict.fromkeys(QUEUE_DROPS, "cancelled"),
    "a task, cancelled before its start": BEGINS_ANEW
    | RUN_EVENTS_REFUSED
    | dict.fromkeys(TASK_STARTS, "cancelled")
    | {"task enqueued, late": SAME, "request": SAME, "find dead": SAME, "revoke": "cancelled", "give up": "cancelled"}
    | dict.fromkeys(QUEUE_DROPS, "cancelled"),
    "a task, cancelled": HAS_COMPLETED | TASK_REFUSED | {"task enqueued, late": SAME, "request": SAME},
    "a task, cancelled by 0.1": BEGINS_ANEW
    | RUN_EVENTS_REFUSED
    | dict.fromkeys(TASK_STARTS, "cancelled")
    | {"task enqueued, late": SAME, "request": SAME, "find dead": SAME, "revoke": "cancelled", "give up": "cancelled"}
    | dict.fromkeys(QUEUE_DROPS, "cancelled"),
    "locked since a task was cancelled": WAITS
    | TASK_REFUSED
    | {"task enqueued": "pending", "task enqueued, late": "pending"},
    "another task's run since a task was cancelled": LEFT_ALONE
    | RUN_EVENTS_REFUSED
    | TASK_REFUSED
    | {"request": "processing", "own start again": NO},
    "another task, completed since": BEGINS_ANEW
    | RUN_EVENTS_REFUSED
    | TASK_REFUSED
    | {"task enqueued, late": SAME, "request": NO, "find dead": SAME},
    "another's run": LEFT_ALONE | RUN_EVENTS_REFUSED | {"request": "processing", "own start again": NO},
    "completed by another": BEGINS_ANEW | RUN_EVENTS_REFUSED | {"request": NO, "find dead": SAME},
    "failed for another": BEGINS_ANEW | RUN_EVENTS_REFUSED | {"request": NO, "find dead": SAME},
    "cancelled for another": BEGINS_ANEW | RUN_EVENTS_REFUSED | {"request": SAME, "find dead": SAME},
    "a task, waiting": WAITS | {"task enqueued": SAME, "task enqueued, late": SAME},
    "another task, waiting": WAITS | {"task enqueued": "pending", "task enqueued, late": "pending"} | QUEUE_IGNORED,
    "a task's run": LEFT_ALONE | RUN_EVENTS_TAKEN | {"request": "processing"} | TASKS_OWN,
    "a task's run, cancelling": LEFT_ALONE
    | RUN_EVENTS_TAKEN
    | {"request": SAME, "retry": "cancelled"}
    | dict.fromkeys(TASKS_OWN, "cancelled"),
    "a task's run, dead": MAY_BE_TAKEN_OVER
    | RUN_EVENTS_TAKEN
    | {"request": "cancelled", "find dead": SAME, "task enqueued, late": SAME}
    | TASKS_OWN
    | {"requeue, not begun": "pending"}
    | QUEUE_DROPS,
    "another task's run, dead while cancelling": MAY_BE_TAKEN_OVER
    | RUN_EVENTS_TAKEN
    | {"start": "processing", "request": "cancelled", "find dead": "cancelled", "retry": "cancelled"},
    "a task, completed": HAS_COMPLETED
    | {"task enqueued, late": SAME, "task starts": SAME}
    | {"give up": "failed", "requeue after its run": "pending"},
    "a task, failed": HAS_FAILED | {"task enqueued, late": SAME, "revoke": "cancelled"} | QUEUE_KEEPS,
    "another task's run": LEFT_ALONE | RUN_EVENTS_TAKEN | {"request": "processing"},
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("event", EVENTS)
def test_every_situation_and_event(situation: str, event: str) -> None:
    """Each leads where the test's own matrix says, or is refused and changes nothing."""
    before, expected = SITUATIONS[situation], EXPECTED[situation][event]
    if expected == NO:
        with pytest.raises(Refused) as refused:
            transition(before, EVENTS[event], NOW)
        assert refused.value.state is before
        return
    after = transition(before, EVENTS[event], NOW)
    if expected == SAME:
        assert after is before
        return
    assert after.status == expected
    assert after.version > before.version
    assert (after.finished_at is not None) == after.is_finished
    assert not after.is_finished or before.is_finished or after.finished_at == NOW
    assert (after.job, after.id) == (before.job, before.id)


def test_every_row_of_the_table_is_used() -> None:
    """No row is dead: for each, some situation and event are decided by it and by no earlier one."""
    used = set()
    for before in SITUATIONS.values():
        for event in EVENTS.values():
            source = before.status if before.version else None
            rows = [row for row in TABLE if source in row.sources and row.event is type(event)]
            used |= {TABLE.index(next((row for row in rows if row.rule(before, event, NOW)), TABLE[0]))}
    assert used == set(range(len(TABLE)))


def test_every_row_says_when() -> None:
    """The table explains itself."""
    assert all(row.when and not row.when.endswith(".") for row in TABLE)


@pytest.mark.parametrize("event", ["lock", "enqueue"])
def test_a_new_life_keeps_nothing_of_the_old(event: str) -> None:
    """What is locked or enqueued anew begins as the job's settings say, whatever it was before."""
    before = structs.replace(SITUATIONS["failed"], meta={"old": 1}, result=[1], attempt=3, message="old")
    after = transition(before, EVENTS[event], NOW)
    assert after == structs.replace(BLANK, created_at=NOW, updated_at=NOW, version=after.version, renewed=True)


def test_a_start_resets_what_the_last_attempt_left() -> None:
    """The next attempt counts on, and keeps owner, creation and the lock's metadata, but nothing that was reported."""
    given = {"file": "old", "by": "ada"}
    first = transition(structs.replace(SITUATIONS["pending"], attempt=0, meta=given), Start(BLANK, "own"), NOW)
    noted = transition(transition(first, Report("own", REPORTED), NOW), EVENTS["retry"], NOW)
    assert noted.meta == {"file": "a.csv", "by": "ada"}
    assert transition(noted, EVENTS["start"], NOW).meta == given
    waiting = transition(SITUATIONS["processing"], EVENTS["retry"], NOW)
    assert (waiting.status, waiting.error, waiting.attempt, waiting.token) == ("pending", "second", 1, None)
    later = NOW + timedelta(seconds=5)
    again = transition(waiting, EVENTS["start"], later)
    assert (again.attempt, again.started_at, again.heartbeat_at, again.token) == (2, later, later, "new")
    assert (again.error, again.progress, again.completed, again.message, again.speed) == (None, 0.0, None, None, None)
    assert (again.owner, again.meta, again.created_at) == ("ada", {}, LONG_AGO)


def test_a_takeover_counts_the_attempt_and_shuts_the_dead_run_out() -> None:
    """After a takeover, events of the run that was dead are refused."""
    taken = transition(SITUATIONS["dead"], EVENTS["start"], NOW)
    assert (taken.attempt, taken.token, taken.heartbeat_at) == (2, "new", NOW)
    for name in RUN_EVENTS_REFUSED:
        with pytest.raises(Refused):
            transition(taken, EVENTS[name], NOW)


@pytest.mark.parametrize("situation", ["dead", "dead while cancelling"])
def test_cancelling_the_dead_shuts_them_out(situation: str) -> None:
    """A run that was found dead and cancelled cannot write when it wakes up."""
    cancelled = transition(SITUATIONS[situation], RequestCancel(), NOW)
    assert cancelled.is_cancelled
    for name in RUN_EVENTS_REFUSED:
        with pytest.raises(Refused):
            transition(cancelled, EVENTS[name], NOW)


def test_a_cancel_before_the_start_swallows_exactly_one_start() -> None:
    """The task that was under way does not run; the next one does, from scratch."""
    cancelled = transition(SITUATIONS["pending"], RequestCancel(), NOW)
    swallowed = transition(cancelled, EVENTS["start"], NOW)
    assert swallowed.is_cancelled
    started = transition(swallowed, EVENTS["start"], NOW)
    assert (started.status, started.attempt, started.cancel_requested_at) == ("processing", 1, None)


def test_a_lock_forgives_the_start_that_was_owed() -> None:
    """Locking after a cancel means it: the next start runs."""
    cancelled = transition(SITUATIONS["pending"], RequestCancel(), NOW)
    locked = transition(cancelled, EVENTS["lock"], NOW)
    assert transition(locked, EVENTS["start"], NOW).is_processing


def test_the_point_of_no_return_is_latched() -> None:
    """Once a run reported that it is past its threshold, a lower progress does not make it cancellable."""
    past = transition(
        SITUATIONS["processing"], Report("own", structs.replace(REPORTED, progress=0.8, point_of_no_return=True)), NOW
    )
    back = transition(past, Report("own", REPORTED), NOW)
    assert back.progress == 0.5
    with pytest.raises(Refused):
        transition(back, RequestCancel(), NOW)


def test_a_report_with_nothing_new_is_a_sign_of_life_only() -> None:
    """It moves the heartbeat and the version, and not what a person sees."""
    first = transition(SITUATIONS["processing"], Report("own", REPORTED), NOW)
    later = NOW + timedelta(seconds=5)
    second = transition(first, Report("own", REPORTED), later)
    assert (first.updated_at, second.updated_at, second.heartbeat_at) == (NOW, NOW, later)
    assert second.version > first.version


def test_a_report_adds_to_the_metadata_that_the_lock_gave() -> None:
    """A run's metadata are merged over what was there."""
    given = {"file": "old", "by": "ada"}
    before = structs.replace(SITUATIONS["processing"], meta=given, given_meta=given)
    assert transition(before, Report("own", REPORTED), NOW).meta == {"file": "a.csv", "by": "ada"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_versions_grow_whatever_the_clock_does(hours: int) -> None:
    """A wall clock that jumps makes no older version newer."""
    before = transition(SITUATIONS["processing"], Report("own", REPORTED), NOW)
    after = transition(before, Complete("own", REPORTED), NOW + timedelta(hours=hours))
    assert after.version > before.version


def test_an_error_and_what_viewers_see_of_it_are_of_one_event() -> None:
    """Whatever happens to whichever state: both texts are new, or both are as they were, or both are gone."""
    both = {"error": "old", "error_for_viewers": "old, for viewers"}
    known = {(None, None), tuple(both.values())}
    known |= {(why.text, why.for_viewers) for why in (SECOND, EXPIRED, WORKER_LOST, NOT_STORED)}
    seen = set()
    for before in SITUATIONS.values():
        for event in (*EVENTS.values(), Revoke(TASK, reason=EXPIRED), GiveUp(TASK, None)):
            with suppress(Refused):
                after = transition(structs.replace(before, **both), event, NOW)
                seen.add((after.error, after.error_for_viewers))
    assert seen == known


def test_a_completed_state_is_full_and_without_error() -> None:
    """Whatever the last report said, completed means 100 percent, and the last attempt's error is gone."""
    done = transition(structs.replace(SITUATIONS["processing"], error="old"), Complete("own", REPORTED), NOW)
    assert (done.progress, done.error, done.completed, done.speed) == (1.0, None, 5, None)


def test_a_failed_or_cancelled_state_shows_how_far_it_came() -> None:
    """The bar of what did not end well stays where it was, with its partial result."""
    reported = structs.replace(REPORTED, result={"rows": 5})
    for event in (Fail("own", reported, SECOND), Acknowledge("own", reported)):
        ended = transition(SITUATIONS["processing"], event, NOW)
        assert (ended.progress, ended.result) == (0.5, {"rows": 5})


def test_the_same_task_run_again_after_a_failure_is_its_next_attempt() -> None:
    """Also where nobody foresaw that its queue would retry; another task begins a new life."""
    failed = SITUATIONS["a task, failed"]
    again = transition(failed, Start(TASK, "new"), NOW)
    assert (again.attempt, again.error, again.finished_at, again.created_at) == (2, None, None, LONG_AGO)
    other = transition(failed, Start(structs.replace(TASK, task="task-2"), "new"), NOW)
    assert (other.attempt, other.created_at, other.task) == (1, NOW, "task-2")


@pytest.mark.parametrize("event", ["revoke", "give up", "requeue"])
def test_the_queues_word_shuts_the_run_out(event: str) -> None:
    """A run that the queue has declared dead can write no more, should it be alive after all."""
    after = transition(SITUATIONS["a task's run"], EVENTS[event], NOW)
    for name in RUN_EVENTS_REFUSED:
        with pytest.raises(Refused):
            transition(after, EVENTS[name], NOW)


def test_a_task_that_is_delivered_again_counts_on() -> None:
    """What its queue took back from a dead worker waits with the reason, and then starts clean."""
    waiting = transition(SITUATIONS["a task's run"], EVENTS["requeue"], NOW)
    assert (waiting.error, waiting.attempt, waiting.finished_at) == ("worker lost", 1, None)
    again = transition(waiting, EVENTS["task starts"], NOW)
    assert (again.error, again.attempt) == (None, 2)


def test_a_task_that_the_queue_dropped_owes_no_start() -> None:
    """Cancelled while waiting and then revoked in the queue, the next start of the id is not swallowed."""
    cancelled = transition(SITUATIONS["a task, waiting"], RequestCancel(), NOW)
    dropped = transition(cancelled, EVENTS["revoke"], NOW)
    assert dropped.is_cancelled
    assert transition(dropped, EVENTS["start"], NOW).is_processing


def test_a_lock_learns_its_task_when_that_is_enqueued() -> None:
    """Whoever locked it comes first as to the owner."""
    locked = transition(SITUATIONS["pending"], EVENTS["task enqueued"], NOW)
    assert (locked.task, locked.owner) == ("task-1", "ada")
