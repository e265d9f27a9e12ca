"""Watching: every newer state there is time for, and one look at the store for all who watch."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from job_progress import Job, JobState, JobStatus, StoreUnavailable, Tracker
from job_progress import watch as watch_module
from job_progress.encoding import change_to
from job_progress.names import key_of
from job_progress.run import Run
from job_progress.stores import Store
from job_progress.stores.contract import Subscription
from job_progress.testing import frozen_clock
from job_progress.watch import Watcher
from tests.observed_store import ObservedStore
from tests.waiting import eventually


class PolledStore(ObservedStore):
    """One that cannot push."""

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        return None


@pytest.fixture(params=["pushed", "polled", "sqlite"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tracker]:
    """A tracker on each way to learn of changes."""
    stores: dict[str, Store | str] = {
        "pushed": ObservedStore(),
        "polled": PolledStore(),
        "sqlite": f"sqlite:///{tmp_path}/states.db",
    }
    tracker = Tracker(stores[request.param], flush_interval=0.02)
    yield tracker
    eventually(lambda: tracker._hub._thread is None)  # nobody watches any more
    tracker.close()


class Audience:
    """Watches in a thread, and keeps what came."""

    def __init__(self, states: Iterator[JobState]) -> None:
        self.states: list[JobState] = []
        self._thread = threading.Thread(target=lambda: self.states.extend(states))
        self._thread.start()

    def wait(self) -> list[JobState]:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.states


def test_a_watch_begins_with_now_and_ends_with_the_end(tracker: Tracker) -> None:
    """The current state first, then newer ones in order, the final one last."""
    job = Job("watched", tracker=tracker)
    job.lock("7")
    states = job.watch("7", timeout=10)
    assert next(states).is_pending
    with job.start("7") as progress:
        assert next(states).is_processing
        for fraction in (0.2, 0.4, 0.6):
            progress.update(fraction).flush()
            assert next(states).progress == fraction
    assert next(states).is_completed
    with pytest.raises(StopIteration):
        next(states)


def test_a_slow_watcher_skips_to_the_newest(tracker: Tracker) -> None:
    """Nothing queues up: after a nap it sees the latest state only, and never an older one."""
    job = Job("watched", tracker=tracker)
    with job.start("7") as progress:
        states = job.watch("7", timeout=10)
        first = next(states)
        for number in range(1, 21):
            progress.update(number / 100).flush()
        [watcher] = tracker._hub._watchers["watched:7"]
        eventually(lambda: watcher.newest is not None and watcher.newest.progress == 0.2)
        second = next(states)
        assert (first.progress, second.progress) == (0.0, 0.2)
        assert second.version > first.version
    assert [state.status for state in states] == ["completed"]


def test_an_unknown_id_is_waited_for(tracker: Tracker) -> None:
    """Whoever watches before the job is enqueued sees it from its first state on."""
    job = Job("watched", tracker=tracker)
    audience = Audience(job.watch("7", timeout=10))
    eventually(lambda: tracker._hub._watchers)
    with job.start("7"):
        eventually(lambda: tracker._hub._watchers["watched:7"][0].newest)
    states = audience.wait()
    assert states[-1].is_completed


def test_many_watchers_of_a_process_are_one_load(tracker: Tracker) -> None:
    """Fifty watchers of ten ids: all see the end, and the store is asked once for all of them."""
    job = Job("watched", tracker=tracker)
    for number in range(10):
        job.lock(number)
    audiences = [Audience(job.watch(number % 10, timeout=10)) for number in range(50)]
    eventually(lambda: sum(len(some) for some in tracker._hub._watchers.values()) == 50)
    names = {thread.name for thread in threading.enumerate()}
    assert len([name for name in names if name == "job-progress watch"]) == 1
    for number in range(10):
        with job.start(number):
            pass
    assert all(audience.wait()[-1].is_completed for audience in audiences)


def test_a_defect_of_the_store_does_not_leave_watchers_hanging(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, and the watch goes on."""
    store = PolledStore()
    tracker = Tracker(store, flush_interval=0.02)
    job = Job("watched", tracker=tracker)
    job.lock("7")
    audience = Audience(job.watch("7", timeout=10))
    eventually(lambda: store.loads >= 2)
    store.broken = True
    eventually(lambda: "a defect" in caplog.text)
    store.broken = False
    job.cancel("7")
    assert audience.wait()[-1].is_cancelled
    assert "Traceback" in caplog.text


def test_pushes_from_many_threads_are_all_seen() -> None:
    """While forty threads finish four hundred jobs, whoever watches one of them sees its end."""
    job = Job("watched", tracker=Tracker("memory://"))
    audiences = [Audience(job.watch(number, timeout=20)) for number in range(40)]

    def finish(number: int) -> None:
        for other in range(10):
            with job.start(f"{number}.{other}"):
                pass
        with job.start(number):
            pass

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(audience.wait()[-1].is_completed for audience in audiences)
    job.tracker.close()


def test_an_abandoned_watch_leaves_nothing(tracker: Tracker) -> None:
    """Closing the iterator takes the watcher away, and with the last one the thread ends."""
    job = Job("watched", tracker=tracker)
    job.lock("7")
    states = job.watch("7")
    next(states)
    assert tracker._hub._thread is not None
    states.close()
    eventually(lambda: tracker._hub._thread is None)
    assert tracker._hub._watchers == {}
    assert job.cancel("7") == job.wait("7", timeout=5)


def test_a_run_that_dies_is_shown_once_more(tracker: Tracker) -> None:
    """The same version comes again when it counts as dead, and the watch goes on to the next run's end."""
    job = Job("watched", tracker=tracker)
    with frozen_clock() as clock:
        assert isinstance(job.begin("7"), Run)
        states = job.watch("7", timeout=10)
        assert not next(states).is_stalled
        clock.tick(31)
        assert next(states).is_stalled
        with job.start("7"):
            assert next(states).attempt == 2
        assert next(states).is_completed


def test_a_run_that_vanishes_from_the_store_is_shown_once_more(tracker: Tracker) -> None:
    """Its worker has died, and the store has been emptied: what was last seen of it counts as dead in time."""
    job = Job("watched", tracker=tracker)
    with frozen_clock() as clock:
        seen = job.begin("7")
        assert seen is not None
        states = job.watch("7", timeout=10)
        first = next(states)
        assert not first.is_stalled
        key = key_of(job.name, "7")
        forgotten = change_to(first, key, first.version)
        tracker.store.swap([structs.replace(forgotten, version=first.version + 1, lifetime=0.0)])
        assert job.get("7") is None
        clock.tick(31)
        again = next(states)
        assert again.is_stalled
        assert again.version == first.version


def test_a_run_is_shown_once_more_when_the_store_stays_away() -> None:
    """Nobody knows how it gets on: no sign of life, until there is one."""
    store = PolledStore()
    tracker = Tracker(store, flush_interval=0.02)
    job = Job("watched", tracker=tracker)
    with frozen_clock() as clock:
        assert isinstance(job.begin("7"), Run)
        states = job.watch("7", timeout=10)
        assert not next(states).is_stalled
        store.away = True
        clock.tick(31)
        assert next(states).is_stalled
        store.away = False
        with job.start("7"):
            assert next(states).attempt == 2
        assert next(states).is_completed


def test_a_run_that_dies_while_being_cancelled_ends_the_watch(tracker: Tracker) -> None:
    """Nobody else is left to settle it."""
    job = Job("watched", cancellable=True, tracker=tracker)
    with frozen_clock() as clock:
        assert isinstance(job.begin("7"), Run)
        job.cancel("7")
        states = job.watch("7", timeout=10)
        assert next(states).is_cancelling
        clock.tick(31)
        assert [state.status for state in states] == ["cancelled"]


def test_a_finished_state_is_all_there_is(tracker: Tracker) -> None:
    """Watching what has ended gives its final state, and returns."""
    job = Job("watched", tracker=tracker)
    with job.start("7"):
        pass
    assert [state.status for state in job.watch("7")] == ["completed"]


async def test_async_watchers_see_the_same(tracker: Tracker) -> None:
    """Many at once, in the event loop, without blocking it."""
    job = Job("watched", tracker=tracker)

    async def watch() -> list[JobState]:
        return [state async for state in job.awatch("7", timeout=10)]

    watchers = [asyncio.create_task(watch()) for _ in range(20)]
    while not tracker._hub._watchers:
        await asyncio.sleep(0.001)
    async with job.astart("7") as progress:
        await progress.update(0.5).aflush()
    for states in await asyncio.gather(*watchers):
        assert states[-1].is_completed
        assert [state.version for state in states] == sorted({state.version for state in states})


async def test_async_watches_time_out_and_can_be_abandoned(tracker: Tracker) -> None:
    """As the blocking ones."""
    job = Job("watched", tracker=tracker)
    with pytest.raises(TimeoutError, match="it is unknown"):
        await job.await_("7", timeout=0.05)
    task = asyncio.create_task(job.await_("7"))
    while not tracker._hub._watchers:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_store_that_is_away_at_the_beginning_is_an_error() -> None:
    """Whoever asks from outside is told."""
    store = ObservedStore()
    store.away = True
    with pytest.raises(StoreUnavailable):
        next(Job("watched", tracker=Tracker(store)).watch("7"))


@pytest.mark.parametrize("kind", [ObservedStore, PolledStore])
def test_a_store_that_goes_away_later_is_waited_for(
    kind: type[ObservedStore], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one log line when it goes and one when it is back."""
    monkeypatch.setattr(watch_module, "RESYNC_EVERY", 0.05)
    store = kind()
    tracker = Tracker(store, flush_interval=0.02)
    job = Job("watched", tracker=tracker)
    job.lock("7")
    audience = Audience(job.watch("7", timeout=10))
    eventually(lambda: store.loads >= 2)
    store.away = True
    refused = store.refused
    eventually(lambda: store.refused >= refused + 3)
    store.away = False
    job.cancel("7")
    assert audience.wait()[-1].is_cancelled
    messages = [record.getMessage() for record in caplog.records if record.name == "job_progress"]
    assert messages == ["the store is away; what is reported is kept until it is back", "this process's memory is back"]


def test_a_watch_that_a_forked_child_inherits_can_be_closed_there() -> None:
    """The watchers stay with the parent; the child's copy of the iterator lets go of nothing."""
    tracker = Tracker("memory://")
    job = Job("watched", tracker=tracker)
    job.lock("7")
    states = job.watch("7")
    next(states)
    inherited, tracker._hub._watchers = tracker._hub._watchers, {}  # as reset_after_fork does
    states.close()
    assert list(inherited) == ["watched:7"]
    eventually(lambda: tracker._hub._thread is None)


def test_a_slow_consumer_is_out_of_time_as_well(tracker: Tracker) -> None:
    """Also while there is always something newer to see; what has ended by then is still shown."""
    job = Job("watched", tracker=tracker)
    with frozen_clock(), job.start("7") as progress:
        states = job.watch("7", timeout=0.05)
        next(states)
        progress.update(0.5).flush()
        time.sleep(0.1)
        with pytest.raises(TimeoutError):
            next(states)


async def test_a_slow_async_consumer_is_out_of_time_as_well(tracker: Tracker) -> None:
    """As a blocking one."""
    job = Job("watched", tracker=tracker)
    async with job.astart("7") as progress:
        states = job.awatch("7", timeout=0.05)
        await anext(states)
        await progress.update(0.5).aflush()
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await anext(states)


def test_an_old_snapshot_that_has_stalled_by_now_replaces_no_newer_one() -> None:
    """A watcher's newest goes by the version first."""
    watcher = Watcher(lambda: None)
    long_ago, now = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    old = JobState(job="a", id="7", status=JobStatus.PROCESSING, version=1, heartbeat_at=long_ago)
    new = JobState(job="a", id="7", status=JobStatus.PROCESSING, version=2, heartbeat_at=now)
    watcher.offer(new)
    watcher.offer(old)
    assert old.is_stalled
    assert watcher.newest is new


def offered_at_once(states: list[JobState]) -> tuple[JobState | None, int]:
    """What a watcher holds after several threads have offered it *states*, and how often it told."""
    told: list[None] = []
    watcher = Watcher(lambda: told.append(None))

    def offer() -> None:
        for state in states:
            watcher.offer(state)

    threads = [threading.Thread(target=offer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return watcher.newest, len(told)


def test_of_those_that_offer_at_once_the_newest_stays() -> None:
    """A request that has just read and the hub's thread may both have something: none sets an older one over it."""
    states = [JobState(job="x", id="1", version=number) for number in range(1, 2001)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            assert offered_at_once(states) == (states[-1], len(states))
    finally:
        sys.setswitchinterval(before)
