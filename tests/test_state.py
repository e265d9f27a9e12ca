"""Snapshots, and the numbers derived from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from job_progress import Job, JobState, JobStatus, Tracker
from job_progress.state import Settings
from job_progress.testing import FrozenClock, frozen_clock
from tests.stores.changes import forget

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PROCESSING = JobState(
    job="shop.import",
    id="7",
    status=JobStatus.PROCESSING,
    version=1,
    created_at=NOW,
    started_at=NOW,
    updated_at=NOW,
    heartbeat_at=NOW,
    token="t",
    settings=Settings(cancellable=True),
)


@pytest.fixture
def clock() -> Iterator[FrozenClock]:
    """Time that stands at NOW."""
    with frozen_clock(NOW) as clock:
        yield clock


def test_statuses_are_exactly_these() -> None:
    """The five of the contract, as strings."""
    assert [str(status) for status in JobStatus] == ["pending", "processing", "completed", "failed", "cancelled"]


STATUS_PROPERTIES = {
    "is_pending": {"pending"},
    "is_processing": {"processing"},
    "is_running": {"pending", "processing"},
    "is_finished": {"completed", "failed", "cancelled"},
    "is_completed": {"completed"},
    "is_failed": {"failed"},
    "is_cancelled": {"cancelled"},
    "is_locked": {"pending", "processing"},
}


@pytest.mark.parametrize("name", STATUS_PROPERTIES)
@pytest.mark.usefixtures("clock")
def test_status_properties(name: str) -> None:
    """Each is true of just these statuses, on the status and on a live state."""
    for status in JobStatus:
        assert getattr(status, name) == (status in STATUS_PROPERTIES[name])
        assert getattr(structs.replace(PROCESSING, status=status), name) == (status in STATUS_PROPERTIES[name])


def test_snapshots_cannot_be_changed() -> None:
    """A state is a snapshot, and stays one."""
    with pytest.raises(AttributeError):
        setattr(PROCESSING, "progress", 1.0)  # noqa: B010 - the type checkers refuse the plain assignment


@pytest.mark.parametrize(
    ("progress", "percent"), [(None, None), (0.0, 0), (0.29, 29), (0.999, 99), (0.57, 57), (1.0, 100)]
)
def test_percent_is_whole_and_rounded_down(progress: float | None, percent: int | None) -> None:
    """100 means done, and no percent is lost to binary fractions."""
    assert structs.replace(PROCESSING, progress=progress).percent == percent


def test_a_run_is_stalled_after_silence(clock: FrozenClock) -> None:
    """Not before, only while processing, and by the limit in the state itself."""
    clock.tick(30)
    assert not PROCESSING.is_stalled
    clock.tick(0.5)
    assert PROCESSING.is_stalled
    assert not PROCESSING.is_locked
    assert not structs.replace(PROCESSING, settings=Settings(stalled_after=60)).is_stalled
    for status in set(JobStatus) - {JobStatus.PROCESSING}:
        assert not structs.replace(PROCESSING, status=status).is_stalled


@pytest.mark.parametrize("hours", [-1, 1])
def test_no_negative_times_when_the_clock_jumps(clock: FrozenClock, hours: int) -> None:
    """Whatever the wall clock does, a duration or an ETA is never negative."""
    state = structs.replace(PROCESSING, progress=0.5, speed=0.01)
    clock.tick(hours * 3600)
    assert state.duration >= timedelta()
    assert state.eta is None or state.eta >= timedelta()


def test_duration(clock: FrozenClock) -> None:
    """Zero before the start, growing during the run, fixed after the end and between attempts."""
    assert structs.replace(PROCESSING, status=JobStatus.PENDING, started_at=None).duration == timedelta()
    ended = structs.replace(PROCESSING, status=JobStatus.FAILED, finished_at=NOW + timedelta(seconds=3))
    waiting = structs.replace(PROCESSING, status=JobStatus.PENDING, updated_at=NOW + timedelta(seconds=2))
    clock.tick(60)
    assert PROCESSING.duration == timedelta(seconds=60)
    assert ended.duration == timedelta(seconds=3)
    assert waiting.duration == timedelta(seconds=2)


def test_eta_counts_down(clock: FrozenClock) -> None:
    """What is left by the run's own speed, less the time since it said so, and not below zero."""
    state = structs.replace(PROCESSING, progress=0.5, speed=0.05)
    assert state.eta == timedelta(seconds=10)
    clock.tick(4)
    assert state.eta == timedelta(seconds=6)
    clock.tick(20)
    assert state.eta == timedelta()


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    "fields",
    [
        {"speed": None},
        {"speed": 0.0},
        {"speed": 1e-12},
        {"progress": None},
        {"status": JobStatus.PENDING},
        {"status": JobStatus.COMPLETED},
        {"heartbeat_at": NOW - timedelta(minutes=1)},
    ],
)
def test_eta_is_none_when_unknown(fields: dict[str, object]) -> None:
    """No speed, no progress, not running, or dead."""
    assert structs.replace(structs.replace(PROCESSING, progress=0.5, speed=0.05), **fields).eta is None


def test_who_can_be_cancelled(clock: FrozenClock) -> None:
    """Pending always; processing as the job allows; asked already or dead, too; finished or unknown never."""
    never = structs.replace(PROCESSING, settings=Settings())
    assert PROCESSING.can_be_cancelled
    assert not structs.replace(PROCESSING, point_of_no_return=True).can_be_cancelled
    assert not never.can_be_cancelled
    assert structs.replace(never, status=JobStatus.PENDING).can_be_cancelled
    assert structs.replace(PROCESSING, point_of_no_return=True, cancel_requested_at=NOW).can_be_cancelled
    assert not structs.replace(PROCESSING, version=0).can_be_cancelled
    assert not structs.replace(PROCESSING, status=JobStatus.CANCELLED).can_be_cancelled
    clock.tick(31)
    assert never.can_be_cancelled


def test_to_dict_is_stable(clock: FrozenClock) -> None:
    """Exactly these keys, as JSON values, and nothing of what guards the state."""
    clock.tick(2)
    state = structs.replace(PROCESSING, progress=0.5, completed=5, total=10, speed=0.05, rate=0.5, owner="ada")
    assert json.loads(json.dumps(state.to_dict())) == {
        "job": "shop.import",
        "id": "7",
        "status": "processing",
        "progress": 0.5,
        "completed": 5,
        "total": 10,
        "message": None,
        "result": None,
        "result_omitted": None,
        "error": None,
        "meta": {},
        "owner": "ada",
        "attempt": 0,
        "created_at": "2030-01-01T00:00:00Z",
        "started_at": "2030-01-01T00:00:00Z",
        "updated_at": "2030-01-01T00:00:00Z",
        "last_progress_at": None,
        "finished_at": None,
        "cancel_requested_at": None,
        "version": 1,
        "percent": 50,
        "duration": 2.0,
        "eta": 8.0,
        "rate": 0.5,
        "is_stalled": False,
        "is_stuck": False,
        "is_cancelling": False,
        "can_be_cancelled": True,
    }


def test_printing_a_state_does_not_show_its_token() -> None:
    """Logs are read by many."""
    secret = structs.replace(PROCESSING, token="5ec3e7")
    assert "5ec3e7" not in repr(secret)
    assert "5ec3e7" not in json.dumps(secret.to_dict())


def test_refresh_and_cancel_ask_where_the_snapshot_came_from(job_progress_tracker: Tracker) -> None:
    """Both give a new snapshot; one that the store has forgotten refreshes to itself."""
    job = Job("shop.import")
    locked = job.lock("7")
    assert locked is not None
    cancelled = locked.cancel()
    assert (locked.status, cancelled.status) == ("pending", "cancelled")
    assert locked.refresh() == cancelled
    forget(job_progress_tracker.store, "shop.import:7")
    assert cancelled.refresh() is cancelled


async def test_async_refresh_and_cancel(job_progress_tracker: Tracker) -> None:
    """The async twins do the same."""
    locked = await Job("shop.import").alock("7")
    assert locked is not None
    assert await locked.acancel() == await locked.arefresh()


def test_a_snapshot_made_by_hand_has_nowhere_to_ask() -> None:
    """The error says so."""
    with pytest.raises(RuntimeError, match="nowhere to ask"):
        PROCESSING.refresh()


STUCK = structs.replace(PROCESSING, last_progress_at=NOW, settings=Settings(stuck_after=60))


def test_who_is_stuck(clock: FrozenClock) -> None:
    """Alive, and nothing that it reports has changed for longer than its job allows; who is dead is not stuck."""
    later = NOW + timedelta(seconds=61)
    clock.tick(61)
    alive = structs.replace(STUCK, heartbeat_at=later)
    assert (alive.is_stuck, alive.is_stalled, alive.is_locked) == (True, False, True)
    assert alive.to_dict()["is_stuck"] is True
    assert alive.to_dict()["last_progress_at"] == "2030-01-01T00:00:00Z"
    assert not structs.replace(alive, last_progress_at=NOW + timedelta(seconds=2)).is_stuck
    assert not structs.replace(alive, settings=Settings()).is_stuck
    assert not structs.replace(alive, status=JobStatus.COMPLETED).is_stuck
    assert not structs.replace(alive, last_progress_at=None).is_stuck  # a record of 0.1
    assert (STUCK.is_stuck, STUCK.is_stalled) == (False, True)


@pytest.mark.parametrize("hours", [-5, 5])
def test_who_is_stuck_whatever_the_clock_of_the_viewer(clock: FrozenClock, hours: int) -> None:
    """What the store says of the silence is added to what the run's own clock says."""
    alive = structs.replace(STUCK, heartbeat_at=NOW + timedelta(seconds=57))
    clock.tick(hours * 3600)
    assert not structs.replace(alive).silent_for(2).is_stuck
    assert structs.replace(alive).silent_for(4).is_stuck
    read = structs.replace(alive).silent_for(2)
    clock.tick(2)
    assert read.is_stuck
