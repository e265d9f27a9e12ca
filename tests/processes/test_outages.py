"""The store is away for a while in the middle of a run: the job goes on, and its states come right."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from job_progress import JobCancelled, StoreUnavailable, reporter
from job_progress.job import Job
from tests.processes import bodies
from tests.processes.child import Child, Launch
from tests.processes.jobs import HEARTBEAT, job_at, state_of
from tests.waiting import eventually


@pytest.fixture
def shared_url(sqlite_url: str) -> str:
    """What is proved here is about SQLite files; for servers see `test_server_outages`."""
    return sqlite_url


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store gives up soon, and soon is tried again."""
    monkeypatch.setattr("job_progress.stores.sqlite_file.LOCK_TIMEOUT", 0.2)
    monkeypatch.setattr(reporter, "RETRY_EVERY", 0.1)


class Outage:
    """Another process keeps the store's file locked; reads go on, writes fail."""

    def __init__(self, launch: Launch, file: Path) -> None:
        self._launch = launch
        self._file = file
        self._holder: Child | None = None
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """From now on nobody can write."""
        self._holder = self._launch(bodies.hold_write_lock, self._file)
        assert self._holder.hear() == "held"

    def end(self) -> None:
        """The store is back."""
        assert self._holder
        self._holder.tell()
        assert self._holder.hear() == "released"

    def end_in(self, seconds: float) -> None:
        """The store will be back, while the test waits for something else."""
        self._timer = threading.Timer(seconds, self.end)
        self._timer.start()

    def clean_up(self) -> None:
        """Wait for what is under way."""
        if self._timer:
            self._timer.join()


@pytest.fixture
def outage(launch: Launch, sqlite_file: Path) -> Iterator[Outage]:
    """The store's file can be locked."""
    outage = Outage(launch, sqlite_file)
    yield outage
    outage.clean_up()


def logged(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    """The messages of our logger that contain *text*."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "job_progress" and text in record.getMessage()
    ]


AWAY, BACK = "until it is back", "states.db is back"


def test_an_outage_costs_a_job_nothing(job: Job, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """While the store is away reporting goes on; then the last report is published; the log says each once."""
    with job.start("7") as progress:
        progress.update(0.1, message="before").flush()
        outage.begin()
        waited = 0.0
        for step in range(2, 9):
            began = time.monotonic()
            progress.update(step / 10, message="during").set(step=step)
            assert progress.cancel_requested is False
            waited += time.monotonic() - began
            if step == 2:
                eventually(lambda: logged(caplog, AWAY))
            time.sleep(0.1)  # in which the store is tried again
        assert waited < 0.2  # not even once for the store
        assert (state_of(job, "7").progress, state_of(job, "7").message) == (0.1, "before")
        assert not logged(caplog, BACK)
        outage.end()
        eventually(lambda: state_of(job, "7").progress == 0.8)
        state = state_of(job, "7")
        assert (state.status, state.message, state.meta) == ("processing", "during", {"step": 8})
        progress.update(0.9).flush()
        assert state_of(job, "7").progress == 0.9
    assert state_of(job, "7").is_completed
    [away], [back] = logged(caplog, AWAY), logged(caplog, BACK)
    assert "states.db: database is locked" in away
    assert back.startswith("SQLite file ")
    assert len(caplog.records) == 2


def test_an_end_tells_that_the_store_is_back(
    job: Job, outage: Outage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the last run ends before the thread has tried again, the log says all the same that the store is back."""
    monkeypatch.setattr(job.tracker.reporter, "_retry_every", 60.0)
    with job.start("7"):
        outage.begin()
        eventually(lambda: logged(caplog, AWAY))
        outage.end()
    assert state_of(job, "7").is_completed
    assert logged(caplog, BACK)


def test_a_second_outage_is_logged_again(job: Job, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """Each time that the store goes away, and comes back, is said once."""
    with job.start("7"):
        for _ in range(2):
            outage.begin()
            eventually(lambda: logged(caplog, AWAY))
            outage.end()
            eventually(lambda: logged(caplog, BACK))
            assert len(caplog.records) == 2
            caplog.clear()
    assert caplog.records == []


def test_a_run_survives_an_outage_in_silence(job: Job, outage: Outage) -> None:
    """One that reports nothing shows that it is alive as soon as it can."""
    with job.start("7"):
        outage.begin()
        before = state_of(job, "7")
        time.sleep(2 * HEARTBEAT)  # in which it would have been heard of
        assert state_of(job, "7") == before
        outage.end()
        eventually(lambda: state_of(job, "7").version > before.version)
        assert not state_of(job, "7").is_stalled
    assert state_of(job, "7").is_completed


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_a_short_outage_at_the_end(job: Job, outage: Outage, how: str) -> None:
    """The end waits for the store, and is in it when the job has returned."""

    def work() -> None:
        with job.start("7") as progress:
            progress.update(0.5).flush()
            if how == "cancelled":
                job.cancel("7")
            outage.begin()
            outage.end_in(0.5)
            progress.update(0.7, message="last")
            if how == "failed":
                raise ValueError("on its own account")
            if how == "cancelled":
                progress.cancel_and_exit()

    if how == "failed":
        with pytest.raises(ValueError, match="on its own account"):
            work()
    else:
        work()
    state = state_of(job, "7")
    assert (state.status, state.message) == (how, "last")
    assert state.progress == (1.0 if how == "completed" else 0.7)
    assert state.error == ("ValueError: on its own account" if how == "failed" else None)


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_a_long_outage_at_the_end(
    job: Job, outage: Outage, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The job returns after a bounded time, and its end is published in the background when the store is back."""
    monkeypatch.setattr(reporter, "SETTLE_WITHIN", 0.3)
    with job.start("7") as progress:
        progress.update(0.5).flush()
        outage.begin()
        if how == "failed":
            progress.fail("by hand")
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    assert len(logged(caplog, AWAY)) == 1
    assert state_of(job, "7").is_processing
    outage.end()
    eventually(lambda: state_of(job, "7").is_finished)
    state = state_of(job, "7")
    assert (state.status, state.error) == (how, "by hand" if how == "failed" else None)
    time.sleep(0.3)  # in which it would be written once more
    assert state_of(job, "7") == state


def test_the_outside_is_told(job: Job, outage: Outage) -> None:
    """Who locks or cancels from outside while the store is away gets `StoreUnavailable`, and may try again."""
    job.lock("7")
    outage.begin()
    with pytest.raises(StoreUnavailable):
        job.lock("8")
    with pytest.raises(StoreUnavailable):
        job.cancel("7")
    outage.end()
    assert job.lock("8")
    assert job.cancel("7").is_cancelled


# A run that begins while the store is away.


@pytest.mark.parametrize("known", ["unknown", "pending", "completed"])
def test_a_run_begins_without_its_store(job: Job, outage: Outage, known: str, caplog: pytest.LogCaptureFixture) -> None:
    """It runs all the same, and when the store is back shows there as if it had been in time."""
    if known == "pending":
        job.lock("7", owner="ada")
    elif known == "completed":
        with job.start("7"):
            pass
    else:
        job.get("7")
    outage.begin()
    with job.start("7") as progress:
        assert logged(caplog, AWAY)
        progress.update(0.3, message="meanwhile")
        assert progress.state.is_processing
        outage.end()
        eventually(lambda: (state := job.get("7")) and state.progress == 0.3)
        state = state_of(job, "7")
        assert (state.status, state.attempt, state.message) == ("processing", 1, "meanwhile")
        assert state.owner == ("ada" if known == "pending" else None)
        assert job.lock("7") is None
    state = state_of(job, "7")
    assert (state.status, state.attempt, state.progress) == ("completed", 1, 1.0)


def test_a_whole_run_without_its_store(job: Job, outage: Outage) -> None:
    """Begun and ended while the store is away, it is in the store soon after that is back."""
    job.get("7")
    outage.begin()
    outage.end_in(0.5)
    with job.start("7") as progress:
        progress.complete("done")
    state = state_of(job, "7")
    assert (state.status, state.attempt, state.result) == ("completed", 1, "done")


def test_a_run_that_was_cancelled_before_begins_without_its_store(job: Job, outage: Outage) -> None:
    """That it must not run it learns only when the store is back, and then stops at a checkpoint."""
    job.lock("7")
    cancelled = job.cancel("7")
    outage.begin()
    with job.start("7") as progress:
        progress.update(0.3)
        outage.end()
        eventually(lambda: progress.cancel_requested)
        with pytest.raises(JobCancelled):
            progress.exit_if_cancelled()
    state = state_of(job, "7")
    assert (state.status, state.progress, state.finished_at) == ("cancelled", 0.0, cancelled.finished_at)
    assert not state.owes_start


def test_two_runs_of_an_id_begin_without_their_store(job: Job, outage: Outage, sqlite_url: str) -> None:
    """Once it is back one of them has the id, and the other stops at a checkpoint and changes nothing."""
    job.get("7")
    other = job_at(sqlite_url)
    outage.begin()
    with job.start("7") as one, other.start("7") as two:
        one.update(message="one")
        two.update(message="two")
        outage.end()
        eventually(lambda: one.cancel_requested != two.cancel_requested)
        winner = "one" if two.cancel_requested else "two"
        assert state_of(job, "7").message == winner
    state = state_of(job, "7")
    assert (state.status, state.message, state.attempt) == ("completed", winner, 1)
    other.tracker.close()


@pytest.mark.parametrize("way", ["here", "child"])
def test_a_process_waits_for_the_ends_of_its_jobs(
    launch: Launch, job: Job, outage: Outage, shared_url: str, way: str
) -> None:
    """One that ends during an outage, or its child, publishes what is left if the store comes back in time."""
    job.get("first")
    outage.begin()
    child = launch(bodies.end_in_an_outage, shared_url, way)
    assert child.hear() == "all have ended"
    time.sleep(0.5)  # in which it would be gone
    outage.end()
    assert child.ends() == 0
    assert [state_of(job, id).status for id in ("first", "second")] == ["completed", "completed"]


def test_a_process_does_not_wait_for_long(launch: Launch, job: Job, outage: Outage, shared_url: str) -> None:
    """If the store stays away, it ends all the same."""
    job.get("first")
    outage.begin()
    child = launch(bodies.end_in_an_outage, shared_url, "here")
    assert child.hear(60) == "all have ended"
    began = time.monotonic()
    assert child.ends() == 0
    assert time.monotonic() - began < reporter.SETTLE_WITHIN + 2.0


def test_the_folder_is_not_there_yet(tmp_path: Path) -> None:
    """A run begins before its store can be made, as on a disk that is mounted late, and is in it afterwards."""
    blocker = tmp_path / "mount"
    blocker.touch()
    job = job_at(f"sqlite:///{blocker}/states.db")
    with job.start("7") as progress:
        progress.update(0.3)
        with pytest.raises(StoreUnavailable):
            job.get("7")
        blocker.unlink()
        eventually(lambda: (state := job.get("7")) and state.progress == 0.3)
    assert state_of(job, "7").is_completed
    job.tracker.close()


def test_a_full_disk_costs_a_job_nothing(launch: Launch, job: Job, shared_url: str) -> None:
    """A job whose reports find no space goes on, and they are published when there is some again."""
    worker = launch(bodies.run_on_a_full_disk, shared_url)
    assert re.search("is full|disk I/O error", worker.hear())
    assert state_of(job, "7").message != "the last of many"
    worker.tell()
    assert worker.hear() == "ended"
    state = state_of(job, "7")
    assert (state.status, state.message, state.attempt) == ("completed", "the last of many", 1)
    assert len(state.meta) == 20


def test_a_file_that_may_only_be_read(launch: Launch) -> None:
    """A job that may not write runs all the same, says so in the log, and is in the store once it may."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        job = job_at(f"sqlite:///{folder}/states.db")
        assert job.lock("7")
        job.tracker.close()  # leaves one file, without those at its side
        folder.chmod(0o555)
        (folder / "states.db").chmod(0o444)
        worker = launch(bodies.work_as_nobody, f"sqlite:///{folder}/states.db", "7")
        assert AWAY in worker.hear()
        assert worker.hear() == "working"
        folder.chmod(0o777)
        (folder / "states.db").chmod(0o666)
        worker.tell()
        assert worker.hear() == "ended"
        state = state_of(job, "7")
        assert (state.status, state.attempt, state.message) == ("completed", 1, "by nobody")
        job.tracker.close()
