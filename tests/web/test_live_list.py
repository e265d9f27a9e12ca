"""What those are told who watch the list, in what the clients of a framework do not bring about."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from job_progress import Job, Tracker
from job_progress.stores import Query, Record
from job_progress.web.live_list import KEPT, MANY, NEWEST, RESET, LiveList
from job_progress.web.view import Errors
from job_progress.web.ways import ThreadBell
from tests.observed_store import ObservedStore
from tests.waiting import eventually


class HeldStore(ObservedStore):
    """Can be kept from being looked at, so that several changes are seen at once."""

    def __init__(self) -> None:
        super().__init__()
        self._may_look = threading.Event()
        self._may_look.set()

    def list(self, query: Query) -> list[Record]:
        self._may_look.wait(30)
        return super().list(query)

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """What is done inside is seen afterwards."""
        self._may_look.clear()
        yield
        self._may_look.set()


@pytest.fixture
def store() -> HeldStore:
    """What is looked at."""
    return HeldStore()


@pytest.fixture
def tracker(store: HeldStore) -> Iterator[Tracker]:
    """Whose states are watched."""
    tracker = Tracker(store)
    yield tracker
    tracker.close()


@pytest.fixture
def job(tracker: Tracker) -> Job:
    """One of them."""
    return Job("shop.import", tracker=tracker, cancellable=True)


class Viewer:
    """Reads what it is told, from its place in the list on."""

    def __init__(self, live: LiveList, place: int) -> None:
        self._live = live
        self._place = place

    def hears(self) -> bytes:
        """The next that it is told, and all that came with it."""

        def told() -> bytes:
            self._place, events = self._live.after(self._place)
            return events

        return eventually(told)


@pytest.fixture
def live(tracker: Tracker) -> LiveList:
    """The list, which nobody watches."""
    return LiveList(lambda: tracker, Errors())


@pytest.fixture
def viewer(live: LiveList) -> Iterator[Viewer]:
    """Somebody who has loaded the list."""
    with live.viewing(ThreadBell()) as place:
        viewer = Viewer(live, place)
        assert viewer.hears() == RESET
        yield viewer


def test_what_ends_is_told_though_many_are_newer(viewer: Viewer, job: Job, store: HeldStore) -> None:
    """It is not among the newest any more. Of what has been forgotten as soon as it ended, nothing can be told."""
    brief = Job("shop.brief", tracker=job.tracker, ttl=0.001)
    with store.unseen():
        job.lock("old")
        brief.lock("forgotten")
    assert b'"old"' in viewer.hears()
    lock_many(job, viewer, store)
    with store.unseen():
        with brief.start("forgotten"):
            pass
        eventually(lambda: brief.get("forgotten") is None)
        job.cancel("old")
    told = viewer.hears()
    assert b'"id":"old"' in told
    assert b'"status":"cancelled"' in told
    assert b"forgotten" not in told


def test_of_too_many_changes_one_is_told_to_load_the_list(viewer: Viewer, job: Job, store: HeldStore) -> None:
    """Rather than of each; then one is told again of what changes."""
    lock_many(job, viewer, store)
    job.cancel("7")
    assert viewer.hears().count(b"event: state") == 1


def lock_many(job: Job, viewer: Viewer, store: HeldStore) -> None:
    """Lock more than are told of, even by the second half of a look."""
    with store.unseen():
        for number in range(NEWEST + MANY + 1):
            job.lock(number)
    while viewer.hears() != RESET:
        pass


def test_a_store_that_goes_away_and_comes_back(
    viewer: Viewer, job: Job, store: HeldStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are said once; whoever watches loads the list anew, for what was missed, and is told on."""
    store.away = True
    eventually(lambda: store.refused > 1)
    store.away = False
    assert viewer.hears() == RESET
    assert caplog.messages == [
        "the list of states cannot be watched for now: the store is away",
        "the list of states can be watched again",
    ]
    job.lock("7")
    assert b'"id":"7"' in viewer.hears()


def test_a_defect_of_a_store_is_shown_whole(viewer: Viewer, store: HeldStore, caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback, and does not end the watching."""
    store.broken = True
    eventually(lambda: "a defect" in caplog.text)
    store.broken = False
    assert viewer.hears() == RESET
    assert "Traceback" in caplog.text


def test_one_look_is_for_all(live: LiveList, viewer: Viewer, job: Job) -> None:
    """Whoever comes later is told the same from then on, and when all have gone nobody looks."""
    with live.viewing(ThreadBell()) as place:
        later = Viewer(live, place)
        assert later.hears() == RESET
        job.lock("7")
        assert viewer.hears() == later.hears()


def test_who_lags_behind_loads_the_list(live: LiveList) -> None:
    """What has changed is not kept for ever; whoever keeps up is told each change."""
    with live.viewing(ThreadBell()) as place:
        slow, quick = Viewer(live, place), Viewer(live, place)
        assert slow.hears() == quick.hears() == RESET
        for number in range(KEPT + 1):
            live._publish(b"event %d" % number)
            assert quick.hears() == b"event %d" % number
        assert slow.hears() == RESET
