"""The store loses what it held in the middle of a run, or holds something older: the run puts it right."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from job_progress import Tracker
from job_progress.job import Job
from tests.processes.jobs import job_at, state_of
from tests.waiting import eventually


@pytest.fixture
def shared_url(sqlite_url: str) -> str:
    """What is proved here is about SQLite files; for servers see `test_server_outages`."""
    return sqlite_url


@pytest.fixture
def rows(sqlite_file: Path) -> Iterator[sqlite3.Connection]:
    """Direct access to what the store holds."""
    with closing(sqlite3.connect(sqlite_file, isolation_level=None, timeout=10.0)) as connection:
        yield connection


@pytest.fixture
def silent_job(sqlite_url: str) -> Iterator[Job]:
    """A job whose runs write nothing unless they report, so that a test may change their records in peace."""
    job = Job("work", tracker=Tracker(sqlite_url, heartbeat=60.0, stalled_after=120.0))
    yield job
    job.tracker.close()


@pytest.mark.parametrize("reports", [False, True], ids=["and ends", "reports, and ends"])
def test_the_store_forgets_a_run(silent_job: Job, rows: sqlite3.Connection, reports: bool) -> None:
    """All rows are deleted in the middle of a run: it comes back with its next report, and its end is right."""
    locked = silent_job.lock("7", owner="ada", meta={"file": "a.csv"})
    assert locked
    with silent_job.start("7") as progress:
        rows.execute("DELETE FROM states")
        assert silent_job.get("7") is None
        if reports:
            progress.update(0.6)
            state = eventually(lambda: silent_job.get("7"))
            assert state
            assert (state.status, state.progress, state.owner) == ("processing", 0.6, "ada")
    state = state_of(silent_job, "7")
    assert (state.status, state.attempt, state.owner, state.meta) == ("completed", 1, "ada", {"file": "a.csv"})
    assert state.created_at == locked.created_at


def test_a_forgotten_run_comes_back_by_its_heartbeat(job: Job, rows: sqlite3.Connection) -> None:
    """Also one that is silent, and it can be cancelled then."""
    with job.start("7") as progress:
        rows.execute("DELETE FROM states")
        eventually(lambda: job.get("7"))
        assert job.cancel("7").is_cancelling
        eventually(lambda: progress.cancel_requested)
        progress.exit_if_cancelled()
    assert state_of(job, "7").is_cancelled


def test_an_id_that_was_forgotten_and_locked_is_lost(silent_job: Job, rows: sqlite3.Connection) -> None:
    """If somebody else gets the id before the run is heard of, it is theirs."""
    with silent_job.start("7") as progress:
        rows.execute("DELETE FROM states")
        locked = silent_job.lock("7")
        assert locked
        progress.update(0.5)
        eventually(lambda: progress.cancel_requested)
    assert state_of(silent_job, "7") == locked


@pytest.mark.parametrize("then", ["reports", "is silent", "ends"])
def test_the_store_goes_back_to_an_older_copy(job: Job, rows: sqlite3.Connection, then: str) -> None:
    """An older record of the run in its place, as after a restore, is overwritten by the run's newest."""
    with job.start("7") as progress:
        progress.update(0.1, message="old").flush()
        old = rows.execute("SELECT version, value FROM states").fetchall()
        [(version, value)] = old
        progress.update(0.5, message="new").flush()
        newest = state_of(job, "7").version
        assert newest > version
        rows.execute("UPDATE states SET version = ?, value = ?", (version, value))
        if then == "reports":
            progress.update(0.6).flush()
        if then != "ends":
            eventually(lambda: state_of(job, "7").version > newest)
            state = state_of(job, "7")
            assert (state.status, state.message) == ("processing", "new")
            assert state.progress == (0.6 if then == "reports" else 0.5)
    state = state_of(job, "7")
    assert (state.status, state.message, state.attempt) == ("completed", "new", 1)
    assert state.version > newest


def test_a_pending_copy_of_before_the_start(silent_job: Job, rows: sqlite3.Connection) -> None:
    """The same with a copy from before the run began: the run is what counts."""
    silent_job.lock("7", owner="ada")
    [(version, value)] = rows.execute("SELECT version, value FROM states").fetchall()
    with silent_job.start("7") as progress:
        rows.execute("UPDATE states SET version = ?, value = ?", (version, value))
        assert state_of(silent_job, "7").is_pending
        progress.update(0.6).flush()
        state = state_of(silent_job, "7")
        assert (state.status, state.progress, state.owner) == ("processing", 0.6, "ada")
    assert state_of(silent_job, "7").is_completed


def test_a_record_that_cannot_be_read(
    silent_job: Job, rows: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are no state count as missing, and the run puts its own in their place."""
    with silent_job.start("7") as progress:
        rows.execute("UPDATE states SET version = version + 1, value = ?", (b"{broken",))
        assert silent_job.get("7") is None
        assert "unreadable" in caplog.text
        progress.update(0.6).flush()
        assert state_of(silent_job, "7").progress == 0.6
    assert state_of(silent_job, "7").is_completed


def test_the_folder_is_removed_while_a_run_goes_on(job: Job, sqlite_url: str, sqlite_file: Path) -> None:
    """Whoever empties the cache in the middle of a run sees it again with its next sign of life."""
    with job.start("7") as progress:
        progress.update(0.5).flush()
        shutil.rmtree(sqlite_file.parent)
        other = job_at(sqlite_url)
        eventually(lambda: (state := other.get("7")) and state.progress == 0.5)
        assert other.lock("7") is None
    assert state_of(other, "7").is_completed
    other.tracker.close()
