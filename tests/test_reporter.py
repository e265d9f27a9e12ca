"""The thread that publishes: when it writes, how often, and what it does when the store is away."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest
from msgspec import structs

from job_progress import Job, JobAlreadyProcessing, JobState, Progress, StoreUnavailable, Tracker
from job_progress import reporter as reporter_module
from job_progress.errors import JobCancelled
from job_progress.outage import WRITING, Outage
from job_progress.run import Run
from job_progress.stores.memory import MemoryStore
from tests.observed_store import ObservedStore
from tests.stores.changes import forget
from tests.waiting import eventually


@pytest.fixture
def store() -> ObservedStore:
    """A store that counts."""
    return ObservedStore()


@pytest.fixture
def tracker(store: ObservedStore) -> Iterator[Tracker]:
    """A tracker on it."""
    tracker = Tracker(store, heartbeat=0.5, stalled_after=5)
    yield tracker
    tracker.close()


@pytest.fixture
def job(tracker: Tracker) -> Job:
    """A job of its."""
    return Job("job", cancellable=True, tracker=tracker)


def stored(job: Job, id: str = "7") -> JobState:
    state = job.get(id)
    assert state is not None
    return state


def reported(state: JobState) -> tuple[float | None, int | None, int | None]:
    return state.progress, state.completed, state.total


def test_a_silent_job_costs_two_round_trips(job: Job, store: ObservedStore) -> None:
    """One at the start and one at the end; three, if its id was pending."""
    with job.start("7"):
        pass
    assert store.round_trips == 2
    job.lock("8")
    before = store.round_trips
    with job.start("8"):
        pass
    assert store.round_trips - before == 3


def test_the_first_report_after_quiet_is_written_at_once(store: ObservedStore) -> None:
    """Not at the next tick: within a fraction of the interval, each time it was quiet before."""
    tracker = Tracker(store, flush_interval=0.5)
    with Job("job", tracker=tracker).start("7") as progress:
        for number in range(1, 4):
            eventually(lambda: progress._run.quiet)
            store.happened.clear()
            began = monotonic()
            progress.update(number / 10)
            assert store.happened.wait(5)
            assert store.times[-1] - began < 0.2
    tracker.close()


def test_reports_are_throttled_and_the_newest_wins(job: Job, store: ObservedStore) -> None:
    """However many reports come, at most one write per interval; and none of the last is lost."""
    with job.start("7") as progress:
        until, number = monotonic() + 1.0, 0
        while monotonic() < until:
            number += 1
            progress.update(number % 100 / 100, message=str(number))
        eventually(lambda: stored(job).message == str(number))
    writes = store.times[1:-1]
    assert 8 <= len(writes) <= 12
    gaps = [later - sooner for sooner, later in pairwise(writes)]
    assert min(gaps) > 0.075


def test_a_tick_is_one_round_trip_for_all_runs(tracker: Tracker, store: ObservedStore) -> None:
    """A hundred runs that report are one swap of a hundred changes."""
    jobs = [Job(f"job.{number}", tracker=tracker) for number in range(100)]
    runs = [run for job in jobs if isinstance(run := job.begin("7"), Run)]
    for run in runs:
        tracker.reporter.add(run)
    for run in runs:
        run.quiet = False  # as if they were reporting already
        run.position = 0.5
    store.swaps.clear()
    runs[0].wake()
    eventually(lambda: bool(store.swaps))
    assert [len(changes) for changes in store.swaps] == [100]
    for run in runs:
        run.finish(None)


def test_nothing_is_written_while_nothing_changes(job: Job, store: ObservedStore) -> None:
    """The same report again is none, and the thread sleeps."""
    with job.start("7") as progress:
        progress.update(0.5).flush()
        eventually(lambda: progress._run.quiet)
        written = len(store.swaps)
        for _ in range(1000):
            progress.update(0.5)
        eventually(lambda: progress._run.quiet)
        assert len(store.swaps) == written


def test_heartbeats_keep_a_silent_run_alive(job: Job, store: ObservedStore) -> None:
    """A run that reports nothing is written once per heartbeat, and shows nothing new."""
    with job.start("7"):
        first = stored(job)
        eventually(lambda: len(store.swaps) >= 3)
        later = stored(job)
        assert 0.4 < store.times[2] - store.times[1] < 2
        assert first.heartbeat_at is not None
        assert later.heartbeat_at is not None
        assert later.heartbeat_at > first.heartbeat_at
        assert later.updated_at == first.updated_at


def test_heartbeats_of_a_process_go_out_together(store: ObservedStore) -> None:
    """1,000 silent runs that began at any time of a heartbeat cost a handful of round trips in each."""
    tracker = Tracker(store, heartbeat=2, stalled_after=10)
    job = Job("job", tracker=tracker)
    with ExitStack() as runs:
        all_runs = [runs.enter_context(job.start(str(number)))._run for number in range(1000)]
        began = monotonic()
        for number, run in enumerate(all_runs):
            run.contact = began - 2 * number / len(all_runs)
        store.swaps.clear()
        store.times.clear()
        tracker.reporter.wake()

        def beats() -> bool:
            return sum(len(changes) for changes in list(store.swaps)) >= 3 * len(all_runs)

        eventually(beats, timeout=60)
        heartbeats = (store.times[-1] - store.times[0]) / 2 + 1
        assert len(store.swaps) <= 10 * heartbeats
        assert not stored(job, "999").is_stalled
    tracker.close()


def test_a_cancel_is_learnt_by_the_next_report(job: Job, store: ObservedStore) -> None:
    """The conflict brings the news: nobody reads for it."""
    with job.start("7") as progress:
        job.cancel("7")
        loads = store.loads
        for _ in progress.track(iter(int, 1), checkpoint=True):
            time.sleep(0.001)
    assert stored(job).is_cancelled
    assert store.loads == loads + 1  # the one above


def test_a_job_with_checkpoints_learns_of_a_cancel_soon(store: ObservedStore) -> None:
    """Even if it reports nothing, and the heartbeat is slow."""
    tracker = Tracker(store, heartbeat=15)
    job = Job("slow", cancellable=True, tracker=tracker)
    with job.start("7") as progress:
        job.cancel("7")
        began = monotonic()
        eventually(lambda: progress.cancel_requested)
        assert monotonic() - began < 5
    tracker.close()


def test_updates_do_not_wait_for_a_slow_store(job: Job, store: ObservedStore) -> None:
    """While a write takes its time, ten thousand reports go through, and the newest is published."""
    slow, entered = threading.Event(), threading.Event()

    def take_time() -> None:
        entered.set()
        slow.wait(5)

    with job.start("7") as progress:
        store.before_swap = take_time
        progress.update(0.1)
        assert entered.wait(5)
        began = monotonic()
        for number in range(10_000):
            progress.update(number / 10_000)
        assert monotonic() - began < 4  # each of them would wait for 5
        store.before_swap = lambda: None
        slow.set()
        eventually(lambda: stored(job).progress == 0.9999)


def test_a_store_that_is_away_costs_the_job_two_log_lines(
    job: Job, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """One when it goes, one when it is back, when what was reported last is published."""
    with caplog.at_level(logging.INFO, "job_progress"), job.start("7") as progress:
        store.away = True
        for number in range(5):
            progress.update(number / 10)
            refused = store.refused
            eventually(lambda refused=refused: store.refused > refused)  # type: ignore[misc]
        store.away = False
        eventually(lambda: stored(job).progress == 0.4)
    eventually(lambda: len(caplog.records) >= 2)  # the reporter's thread writes it after the store has it
    assert [record.getMessage() for record in caplog.records] == [
        "the store is away; what is reported is kept until it is back",
        "this process's memory is back",
    ]


def test_a_defect_of_the_store_does_not_end_the_thread(
    job: Job, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, and what was reported is published afterwards."""
    with job.start("7") as progress:
        store.broken = True
        progress.update(0.5)
        eventually(lambda: "a defect" in caplog.text)
        store.broken = False
        eventually(lambda: stored(job).progress == 0.5)
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), TimeoutError("a queue's soft time limit")])
def test_what_interrupts_a_write_goes_on_and_the_end_is_published(
    job: Job, store: ObservedStore, interruption: BaseException
) -> None:
    """Neither a flush nor an end swallows it, and the thread takes the end over."""

    def interrupt() -> None:
        store.before_swap = lambda: None
        raise interruption

    with pytest.raises(type(interruption)), job.start("7") as progress:
        progress.update(0.5)
        eventually(lambda: progress._run.quiet)
        store.before_swap = interrupt
        progress.flush()
    assert stored(job).is_failed
    with pytest.raises(type(interruption)), job.start("8") as progress:
        store.before_swap = interrupt
    eventually(lambda: stored(job, "8").is_completed)


def test_an_interruption_while_waiting_for_the_store_loses_no_end(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between two tries goes on, and the thread publishes the end when the store is back."""

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reporter_module, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), job.start("7"):
        store.away = True
    store.away = False
    eventually(lambda: stored(job).is_completed)


def test_a_run_that_cannot_be_published_harms_no_other(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """It is given up with a line in the log, and the others are published as ever."""
    with job.start("bad") as bad, job.start("good") as good:
        bad._run.handed_out = object(), None  # past all checks, as by a defect
        bad.update(0.5)
        good.update(0.5)
        eventually(lambda: stored(job, "good").progress == 0.5)
        eventually(lambda: bad._run.lost)
        good.update(0.6)
        eventually(lambda: stored(job, "good").progress == 0.6)
    assert "cannot be published any more" in caplog.text
    assert stored(job, "good").is_completed


def test_reports_after_an_end_by_hand_are_not_part_of_a_later_failure(job: Job) -> None:
    """What was reported by then is what the failed state shows."""
    with pytest.raises(ValueError, match="boom"), job.start("7") as progress:
        progress.update(0.5).complete()
        progress.update(0.1, message="late")
        raise ValueError("boom")
    assert (stored(job).status, stored(job).progress, stored(job).message) == ("failed", 0.5, None)


def test_an_end_waits_for_a_store_that_comes_back(job: Job, store: ObservedStore) -> None:
    """The calling thread tries again, and the state is right when the function has returned."""
    with job.start("7"):
        store.away = True
        threading.Timer(0.3, lambda: setattr(store, "away", False)).start()
    assert stored(job).is_completed


def test_an_end_that_finds_no_store_is_published_later(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bounded wait the job goes on, and the thread goes on trying."""
    monkeypatch.setattr(reporter_module, "SETTLE_WITHIN", 0.1)
    with job.start("7"):
        store.away = True
        began = monotonic()
    assert monotonic() - began < 5
    store.away = False
    eventually(lambda: stored(job).is_completed)


def test_an_end_that_nobody_takes_is_given_up(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No retry is without a bound, and the loss is an error in the log."""
    monkeypatch.setattr(reporter_module, "SETTLE_WITHIN", 0.01)
    monkeypatch.setattr(reporter_module, "GIVE_UP_AFTER", 0.2)
    with job.start("7"):
        store.away = True
    eventually(lambda: "was never published" in caplog.text)
    store.away = False
    assert stored(job).is_processing


def test_an_outage_is_paid_for_by_its_first_job(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Later ones ask the store for nothing themselves, are in it when it is back, and the log tells it once."""
    monkeypatch.setattr(reporter_module, "SETTLE_WITHIN", 0.1)
    store.away = True
    with job.start("first"):
        pass
    asked = store.refused_in.count(threading.get_ident())
    assert asked >= 3  # at the start, at the end, and once more there
    for number in range(100):
        with job.start(number) as progress:
            progress.update(0.5).flush()
    assert store.refused_in.count(threading.get_ident()) == asked
    store.away = False
    eventually(lambda: sum(state.is_completed for state in job.list(limit=200)) == 101)
    eventually(lambda: len(caplog.records) >= 2)
    with job.start("later"):
        pass
    assert stored(job, "later").is_completed
    assert [record.getMessage() for record in caplog.records] == [
        "the store is away; what is reported is kept until it is back",
        "this process's memory is back",
    ]


def test_of_jobs_that_end_together_one_waits_for_the_store(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log tells of the outage once, however many meet it at the same moment."""
    monkeypatch.setattr(reporter_module, "SETTLE_WITHIN", 1.0)
    took: list[float] = []
    ready = threading.Barrier(20)

    def work(number: int) -> None:
        with job.start(number):
            ready.wait(10)
            store.away = True
            began = monotonic()
        took.append(monotonic() - began)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(seconds > 0.4 for seconds in took) == 1
    assert len(caplog.records) == 1
    store.away = False
    eventually(lambda: sum(state.is_completed for state in job.list()) == 20)


def test_many_ends_are_published_in_bounded_batches(job: Job, store: ObservedStore) -> None:
    """After a long outage no round trip is so large that it would take the store long."""
    store.away = True
    for number in range(2500):
        with job.start(number):
            pass
    store.swaps.clear()
    store.away = False
    eventually(lambda: sum(state.is_completed for state in job.list(limit=3000)) == 2500)
    assert max(map(len, store.swaps)) <= 1000


def test_closing_a_tracker_publishes_what_has_ended(job: Job, tracker: Tracker, store: ObservedStore) -> None:
    """Whoever closes it waits for a bounded time for a store that comes back."""
    store.away = True
    for id in ("first", "second"):
        with job.start(id):
            pass
    threading.Timer(0.5, lambda: setattr(store, "away", False)).start()
    tracker.close()
    assert stored(job, "second").is_completed


def test_ends_outlive_their_tracker(store: ObservedStore) -> None:
    """A tracker that is dropped with an end that is still to be published does so before it goes."""
    tracker = Tracker(store, heartbeat=0.5, stalled_after=5)
    job = Job("dropped", tracker=tracker)
    store.away = True
    for id in ("first", "second"):
        with job.start(id):
            pass
    reporter = weakref.ref(tracker.reporter)
    del tracker, job
    gc.collect()
    store.away = False
    eventually(lambda: (gc.collect(), reporter() is None)[1])
    assert sorted(held.status for held, _ in store._held.values()) == ["completed", "completed"]


def test_a_flush_that_finds_no_store_does_not_fail_the_job(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives up waiting; the thread publishes what was reported when the store is back."""
    monkeypatch.setattr(reporter_module, "SETTLE_WITHIN", 0.01)
    with job.start("7") as progress:
        store.away = True
        progress.update(0.5).flush()
        store.away = False
        eventually(lambda: stored(job).progress == 0.5)


def test_a_run_begins_while_the_store_is_away(job: Job, store: ObservedStore) -> None:
    """The job runs, and the store learns of the start, with owner and metadata of the lock, when it is back."""
    job.lock("7", owner="ada", meta={"file": "a.csv"})
    store.away = True
    with job.start("7") as progress:
        progress.update(0.5).set(rows=3)
        store.away = False
        eventually(lambda: stored(job).is_processing)
        state = stored(job)
        assert (state.progress, state.owner, state.meta) == (0.5, "ada", {"file": "a.csv", "rows": 3})
    assert (stored(job).status, stored(job).attempt) == ("completed", 1)


def test_a_late_start_that_was_cancelled_meanwhile_is_swallowed(job: Job, store: ObservedStore) -> None:
    """The run learns of it at its next checkpoint, and the start that was owed has come."""
    job.lock("7")
    job.cancel("7")
    store.away = True
    with job.start("7") as progress:
        store.away = False
        eventually(lambda: progress._run.cancel_requested)
        assert progress.cancel_requested
        progress.exit_if_cancelled()
    assert stored(job).is_cancelled
    with job.start("7"):
        assert stored(job).is_processing


def test_a_late_start_leaves_another_run_alone(job: Job, tracker: Tracker, store: ObservedStore) -> None:
    """Two that could not see each other: the one that the store knew first goes on, the other stops writing."""
    with job.start("7") as first:
        first.update(0.3).flush()
        store.away = True
        second = job.begin("7")
        assert isinstance(second, Run)
        tracker.reporter.add(second)
        store.away = False
        eventually(lambda: second.lost)
        Progress(second).update(0.9).flush()
        second.finish(None)
        assert (stored(job).status, stored(job).progress) == ("processing", 0.3)


def test_a_superseded_run_cannot_write(job: Job, store: ObservedStore, caplog: pytest.LogCaptureFixture) -> None:
    """After a reset from outside it finds out at its next flush, stops, and leaves the new state alone."""
    with job.start("7") as progress:
        forget(store, "job:7")
        job.lock("7")
        progress.update(0.9).flush()
        assert progress.cancel_requested
        with pytest.raises(JobCancelled):
            progress.exit_if_cancelled()
        progress.complete(result="late")
    assert (stored(job).status, stored(job).result) == ("pending", None)
    assert "now belongs to another run or lock" in caplog.text


def test_neither_thread_of_a_superseded_run_can_write(job: Job, store: ObservedStore) -> None:
    """Both the reporter and a flush learn of it at the same time, over and over: the lock always stands."""
    for number in range(200):
        with job.start(number) as progress:
            forget(store, f"job:{number}")
            locked = job.lock(number)
            progress.update(0.9).flush()
        assert job.get(number) == locked


def test_reports_from_many_threads_are_never_left_unpublished(job: Job) -> None:
    """Whichever way four threads report, going quiet in between: the last of it is in the store soon."""
    with job.start("7") as progress:
        parts = progress.split(4)

        def report(number: int) -> None:
            for step in range(200):
                parts[number].update(step / 200)
                parts[number].advance(step % 3)
                for _ in parts[number].track(range(3)):
                    pass

        for _ in range(5):
            threads = [threading.Thread(target=report, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            progress.update(0.123).advance()
            last = progress.state
            eventually(lambda last=last: reported(stored(job)) == reported(last))  # type: ignore[misc]
            eventually(lambda: progress._run.quiet)


def test_a_forgotten_run_is_written_anew(job: Job, store: ObservedStore) -> None:
    """The store lost its data, as after a restart without them: the next write brings the state back."""
    with job.start("7") as progress:
        progress.update(0.5).flush()
        forget(store, "job:7")
        assert job.get("7") is None
        progress.update(0.6).flush()
        assert (stored(job).progress, stored(job).attempt) == (0.6, 1)
    assert stored(job).is_completed


def test_a_store_that_went_back_in_time_is_brought_forward(job: Job, store: ObservedStore) -> None:
    """As after a restart from an older copy, in which the run had not begun."""
    job.lock("7")
    old = store._held["job:7"]
    with job.start("7") as progress:
        progress.update(0.5).flush()
        store._held["job:7"] = old
        progress.update(0.6).flush()
        assert (stored(job).status, stored(job).progress) == ("processing", 0.6)


def test_an_unreadable_record_counts_as_missing(
    job: Job, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody stumbles over it, and the next write replaces it."""
    with job.start("7") as progress:
        change, expires = store._held["job:7"]
        broken = structs.replace(change, value=b"{")
        store._held["job:7"] = (broken, expires)
        assert job.get("7") is None
        assert "unreadable" in caplog.text
        progress.update(0.5).flush()
        assert stored(job).progress == 0.5


def test_closing_a_tracker_ends_its_thread(job: Job, tracker: Tracker) -> None:
    """And a later run starts it again."""
    with job.start("7"):
        thread = tracker.reporter._thread
        assert thread is not None
        assert thread.daemon
        tracker.close()
        assert not thread.is_alive()
    with job.start("8") as progress:
        progress.update(0.5)
        eventually(lambda: stored(job, "8").progress == 0.5)


def test_estimates_are_published(job: Job) -> None:
    """A run that counts steadily shows its rate, and how long it will take."""
    with job.start("7") as progress:
        for _ in progress.track(range(10_000)):
            time.sleep(0.002)
            state = stored(job)
            if state.eta is not None and state.rate is not None and (state.completed or 0) > 200:
                assert 100 < state.rate < 500
                assert 15 < state.eta.total_seconds() < 100
                return
    raise AssertionError("no estimate was published")


def test_a_second_start_of_an_unpublished_end_is_refused(job: Job, store: ObservedStore) -> None:
    """As long as the store shows a live run, nobody else starts."""
    with job.start("7"), pytest.raises(JobAlreadyProcessing):
        job.begin("7")


def test_a_state_that_changes_at_every_write_is_given_time(
    job: Job, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bounded number of rounds the end waits, as if the store were away, and is published later."""
    monkeypatch.setattr(reporter_module, "SETTLE_WITHIN", 0.1)

    def change() -> None:
        held, expires = store._held["job:7"]
        store._held["job:7"] = (structs.replace(held, version=held.version + 1), expires)

    with job.start("7"):
        store.before_swap = change
    assert stored(job).is_processing
    store.before_swap = lambda: None
    eventually(lambda: stored(job).is_completed)


def test_a_run_that_flushes_all_the_time_is_no_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its own writes get ahead of the thread's again and again; that is not logged, and holds up no other run."""
    tracker = Tracker(f"sqlite:///{tmp_path}/states.db", flush_interval=0.01, heartbeat=0.05)
    job = Job("flushing", cancellable=True, tracker=tracker)
    done = threading.Event()

    def flush(id: int) -> None:
        with job.start(id) as progress:
            number = 0
            while not done.is_set():
                number += 1
                progress.update(message=str(number)).flush()

    threads = [threading.Thread(target=flush, args=(id,)) for id in range(3)]
    for thread in threads:
        thread.start()
    with job.start("other") as other:
        for number in range(40):
            began = monotonic()
            other.update(message=str(number))
            eventually(lambda number=number: stored(job, "other").message == str(number), 5)  # type: ignore[misc]
            assert monotonic() - began < 0.9  # less than a pause after an outage
    done.set()
    for thread in threads:
        thread.join()
    assert caplog.records == []
    tracker.close()


def test_a_run_that_conflicts_at_every_write_is_no_outage(
    job: Job, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread leaves it to the next tick, and publishes the others in this one."""

    def change() -> None:
        held, made = store._held["job:7"]
        store._held["job:7"] = (structs.replace(held, version=held.version + 1), made)

    with job.start("7") as progress, job.start("8") as other:
        store.before_swap = change
        progress.update(0.1)
        for number in range(1, 6):
            began = monotonic()
            other.update(number / 10)
            eventually(lambda number=number: stored(job, "8").progress == number / 10)  # type: ignore[misc]
            assert monotonic() - began < 0.4  # less than a pause after an outage
        store.before_swap = lambda: None
        eventually(lambda: stored(job).progress == 0.1)
    assert caplog.records == []


def test_a_report_while_going_to_rest_is_seen(job: Job) -> None:
    """Between the last look and the rest there is no gap in which a report is lost."""
    with job.start("7") as progress:
        run = progress._run

        def report_just_then() -> None:
            del run.rest
            run.position = 0.7
            run.rest()

        run.rest = report_just_then  # type: ignore[method-assign]
        progress.update(0.5)
        eventually(lambda: stored(job).progress == 0.7)


def test_an_older_write_does_not_replace_what_a_run_knows(job: Job) -> None:
    """Of two threads that published, the one that hears of it later may have been the first."""
    with job.start("7") as progress:
        older = progress._run.known
        progress.update(0.5).flush()
        newer = progress._run.known
        progress._run.wrote(older)
        assert progress._run.known is newer


def test_the_thread_ends_with_its_tracker(store: ObservedStore) -> None:
    """A tracker that is dropped, and not closed, leaves nothing behind once its runs have ended."""
    tracker = Tracker(store, flush_interval=0.01)
    run = Job("dropped", tracker=tracker).begin("7")
    assert isinstance(run, Run)
    tracker.reporter.add(run)
    thread = tracker.reporter._thread
    assert thread
    reporter = weakref.ref(tracker.reporter)
    del tracker
    gc.collect()
    run.position = 0.5
    run.look()
    assert eventually(lambda: len(store.swaps) == 2)
    run.finish(None)
    del run
    gc.collect()
    assert reporter() is None
    thread.join(10)
    assert not thread.is_alive()


def test_steps_have_a_rate(job: Job) -> None:
    """As other counting has, although each report of steps stands for itself."""
    with job.start("7") as progress:
        for step in range(1, 4):
            progress.update_with_steps(step, 100).flush()
        state = job.get("7")
        assert state
        assert state.rate


def test_a_run_that_hangs_reads_stuck_until_it_moves() -> None:
    """Its heartbeats go on, its start and each report count, and nothing of it is freed."""
    tracker = Tracker(MemoryStore(), heartbeat=0.05, stalled_after=5.0)
    job = Job("hangs", tracker=tracker, stuck_after=0.3)
    with job.start("7") as progress:
        begun = stored(job)
        assert (begun.last_progress_at, begun.is_stuck) == (begun.started_at, False)
        eventually(lambda: stored(job).is_stuck)
        hung = stored(job)
        assert hung.last_progress_at is not None
        assert hung.heartbeat_at is not None
        assert hung.last_progress_at == begun.started_at
        assert hung.heartbeat_at > hung.last_progress_at + timedelta(seconds=0.2)
        assert job.lock("7") is None
        progress.update(message="moves").flush()
        moved = stored(job)
        assert moved.last_progress_at is not None
        assert moved.last_progress_at > hung.heartbeat_at
        assert not moved.is_stuck
        eventually(lambda: stored(job).is_stuck)
    assert not stored(job).is_stuck
    tracker.close()


def test_a_time_limit_that_strikes_while_the_end_is_published_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the queue, whose exception may be an ordinary one; and the end is published all the same."""

    class TimeLimit(Exception):
        """What a queue raises in the job's thread."""

    job = Job("limited", tracker=Tracker("memory://"))

    def strike(*args: object) -> None:
        monkeypatch.undo()
        raise TimeLimit

    with pytest.raises(TimeLimit), job.start("7"):
        monkeypatch.setattr("job_progress.reporter.change_to", strike)
    assert job.wait("7", timeout=10).is_completed


def test_a_run_that_is_interrupted_before_its_function_has_no_heartbeats() -> None:
    """It reads stalled, and may be taken over, though its process lives on."""
    tracker = Tracker("memory://", heartbeat=0.05, stalled_after=0.2)
    job = Job("interrupted", tracker=tracker)
    with job.start("another"):
        assert isinstance(job.begin("7"), Run)  # and there Ctrl-C strikes
        eventually(lambda: (state := job.get("7")) is not None and state.is_stalled)
    with job.start("7"):
        pass
    tracker.close()


def test_an_error_of_a_call_from_before_the_store_was_reached_is_no_outage(
    store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes late, as of one that waited for its turn; what is asked since then has been answered."""
    outage = Outage(store)
    asked_at = time.monotonic()
    outage.ends(WRITING)
    assert not outage.begins(WRITING, StoreUnavailable("too late"), asked_at)
    assert (outage.stops_writing, caplog.records) == (False, [])
    assert outage.begins(WRITING, StoreUnavailable("away"), time.monotonic())
    assert outage.stops_writing
