"""What only the store in an SQLite file does: files, locks, and other processes that come, go and die."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from math import inf
from pathlib import Path

import pytest
from msgspec import structs

from job_progress import Job, JobState, StoreUnavailable, Tracker
from job_progress.run import Run
from job_progress.stores import Change, Conflict, Query, Record, Store, open_store
from job_progress.stores.sqlite import SQLiteStore
from job_progress.stores.sqlite_file import LOCK_TIMEOUT, LOG_LIMIT, SQLiteFile
from job_progress.testing import frozen_clock
from tests.processes import bodies
from tests.processes.child import Launch
from tests.stores.changes import change, forget, load, put
from tests.waiting import eventually


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """An empty store; its file is made at the first use."""
    store = open_store(sqlite_url, "test")
    yield store
    store.close()


class CountingStore(Store):
    """What *store* does, and what it was asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = self.compared = 0
        self.loaded: list[str] = []

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        self.loaded.extend(keys)
        return self._store.load(keys)

    def stamp(self) -> Hashable:
        self.asked += 1
        return self._store.stamp()

    def changed(self, known: Mapping[str, int]) -> Sequence[str]:
        self.compared += 1
        return self._store.changed(known)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        return self._store.swap(changes)

    def list(self, query: Query) -> list[Record]:
        return self._store.list(query)

    def close(self) -> None:
        self._store.close()

    def describe(self) -> str:
        return self._store.describe()


def mode_of(path: Path) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


# The file.


def test_nothing_is_made_before_the_first_use(store: Store, sqlite_file: Path) -> None:
    """Opening and describing touch no file; the description names it."""
    assert store.describe() == f"SQLite file {sqlite_file}"
    assert not sqlite_file.exists()
    store.load(["key"])
    assert sqlite_file.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_is_for_its_user_only(tmp_path: Path, umask: int) -> None:
    """The file, both files at its side and a new folder are closed to others, whatever the umask."""
    file = tmp_path / "new" / "states.db"
    store = open_store(f"sqlite:///{file}", "test")
    before = os.umask(umask)
    try:
        put(store, change())
    finally:
        os.umask(before)
    assert mode_of(file.parent) == 0o700
    assert {path.name: mode_of(path) for path in file.parent.iterdir()} == {
        "states.db": 0o600,
        "states.db-wal": 0o600,
        "states.db-shm": 0o600,
    }
    store.close()


def test_what_a_dangling_link_leads_to_is_for_its_user_only(tmp_path: Path) -> None:
    """The file that is made where it leads to is closed to others, as if it had been named itself."""
    (tmp_path / "link.db").symlink_to(tmp_path / "states.db")
    store = open_store(f"sqlite:///{tmp_path / 'link.db'}", "test")
    before = os.umask(0o022)
    try:
        put(store, change())
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "states.db") == 0o600
    store.close()


def test_what_is_there_keeps_its_permissions(store: Store, sqlite_file: Path) -> None:
    """A folder and a file that somebody has opened to a group stay so, the files at its side follow."""
    sqlite_file.parent.chmod(0o750)
    sqlite_file.touch()
    sqlite_file.chmod(0o660)
    put(store, change())
    assert mode_of(sqlite_file.parent) == 0o750
    assert {mode_of(path) for path in sqlite_file.parent.iterdir()} == {0o660}


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """All folders on the way to the file."""
    file = tmp_path / "a" / "b" / "states.db"
    store = open_store(f"sqlite:///{file}", "test")
    put(store, change())
    store.close()
    assert file.exists()


def test_it_cannot_push(store: Store) -> None:
    """An SQLite file tells nobody of changes, and the store says so."""
    assert store.subscribe(lambda key: None) is None


def test_expired_records_are_swept_from_the_file(store: Store, sqlite_url: str, sqlite_file: Path) -> None:
    """The next process that writes throws away what has expired, below any prefix, and nothing else."""
    with frozen_clock() as clock:
        put(store, change("short", lifetime=10), change("long", lifetime=1000))
        clock.tick(11)
        other = open_store(sqlite_url, "another")
        put(other, change("new"))
        other.close()
    with sqlite3.connect(sqlite_file) as connection:
        assert connection.execute("SELECT key FROM states ORDER BY key").fetchall() == [("long",), ("new",)]
    connection.close()


def free_pages(file: Path) -> int:
    """How many pages of a file hold nothing."""
    with closing(sqlite3.connect(file)) as connection:
        pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return pages


def keys_in(file: Path) -> int:
    """How many records are in a file, expired or not."""
    with closing(sqlite3.connect(file)) as connection:
        return len(connection.execute("SELECT key FROM states").fetchall())


def test_a_sweep_goes_in_steps(store: Store, sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes deletes a bounded number of what has expired each time, in a transaction of its own, until there is
    nothing left, and the change itself is in the file before.
    """
    monkeypatch.setattr("job_progress.stores.sqlite.SWEPT_AT_ONCE", 10)
    monkeypatch.setattr("job_progress.stores.sqlite.GO_ON_AFTER", 0.0)
    with frozen_clock() as clock:
        put(store, *(change(f"{number}", lifetime=10) for number in range(35)))
        clock.tick(11)
        monkeypatch.setattr(store, "_next_sweep", 0.0)
        left = []
        for number in range(1, 6):
            put(store, change("new", expected=number - 1, version=number))
            left.append(keys_in(sqlite_file) - 1)
    assert left == [25, 15, 5, 0, 0]


def test_others_write_while_much_is_swept(store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning lets go of the write lock after each of its steps, so that others write in between."""
    monkeypatch.setattr("job_progress.stores.sqlite.PRUNED_AT_ONCE", 10)
    other = open_store(sqlite_url, "test")
    with frozen_clock() as clock:
        put(store, *(change(f"{number}", lifetime=10) for number in range(2000)))
        put(other, change("other"))
        clock.tick(11)
        sweeping = threading.Thread(target=store.sweep)
        sweeping.start()
        version = 1
        while sweeping.is_alive():
            version += 1
            put(other, change("other", expected=version - 1, version=version))
            time.sleep(0.001)
        sweeping.join()
    assert version > 10
    other.close()


def test_a_sweep_waits_for_nobody(launch: Launch, store: Store, sqlite_file: Path) -> None:
    """What a process writes is not held up by the sweep after it, should another process write just then."""
    with frozen_clock() as clock:
        put(store, change("short", lifetime=10), change("long"))
        clock.tick(11)
        holder = launch(bodies.hold_write_lock, sqlite_file)
        assert holder.hear() == "held"
        assert isinstance(store, SQLiteStore)
        store._next_sweep = 0.0
        began = time.monotonic()
        store._sweep_a_little()
        assert time.monotonic() - began < LOCK_TIMEOUT / 2
        holder.tell()
        assert holder.hear() == "released"
        store.sweep()
    assert keys_in(sqlite_file) == 1


@pytest.mark.parametrize("older", [False, True], ids=["a file of this version", "a file of an earlier version"])
def test_a_file_shrinks_after_a_peak(store: Store, sqlite_file: Path, older: bool) -> None:
    """Pruning gives the space of what has expired back to the system, of the file and of its log."""
    if older:
        with closing(sqlite3.connect(sqlite_file)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    with frozen_clock() as clock:
        for first in range(0, 3000, 500):
            values = range(first, first + 500)
            put(store, *(change(f"{number}", value=bytes(3000), lifetime=10) for number in values))
        put(store, change("long"))
        clock.tick(11)
        log = Path(f"{sqlite_file}-wal")
        assert sqlite_file.stat().st_size + log.stat().st_size > 9_000_000
        store.sweep()
        assert (free_pages(sqlite_file), log.stat().st_size) == (0, 0)
        assert sqlite_file.stat().st_size < 200_000
        assert load(store, "long") == Record(1, b"value")


def test_the_log_shrinks_by_itself(store: Store, sqlite_file: Path) -> None:
    """After a large write it is cut to a few megabytes, once others have gone on."""
    put(store, *(change(f"{number}", value=bytes(20_000)) for number in range(500)))
    log = Path(f"{sqlite_file}-wal")
    assert log.stat().st_size > 2 * LOG_LIMIT
    put(store, change("next"))
    assert log.stat().st_size <= LOG_LIMIT


def pages_written(store: Store, file: Path, *changes: Change) -> int:
    """How many pages of the file *changes* write, each on its own."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        [(size,)] = connection.execute("PRAGMA page_size")
        for one in changes:
            put(store, one)
        return (Path(f"{file}-wal").stat().st_size - 32) // int(size + 24)


def test_a_report_writes_its_record_only(store: Store, sqlite_file: Path) -> None:
    """A change that leaves the labels alone writes one page, and not one of each index; the end of its lifetime moves
    when it is off by a hundredth, so that what goes on being written is never forgotten.
    """
    with frozen_clock() as clock:
        put(store, *(change(f"{number:04}", created=number, lifetime=1000) for number in range(2000)))
        clock.tick(5)
        report = change("1000", expected=1, version=2, created=1000, lifetime=1000)
        assert pages_written(store, sqlite_file, report) == 1
        another = change("1000", expected=2, version=3, created=1000, lifetime=1000, status="completed")
        assert pages_written(store, sqlite_file, another) > 3
        for version in range(4, 40):
            clock.tick(45)
            put(store, change("1000", expected=version - 1, version=version, created=1000, lifetime=1000))
        clock.tick(989)
        assert load(store, "1000") == Record(39, b"value")
        clock.tick(12)
        assert load(store, "1000") is None


def test_idle_watches_read_no_records(sqlite_url: str) -> None:
    """While nobody writes, those who watch ask whether anybody has, and no more; then for the versions of what they
    watch, and for what has another one; and what another process wrote is seen.
    """
    store = CountingStore(open_store(sqlite_url, "test"))
    tracker = Tracker(store)
    worker = Tracker(sqlite_url, prefix="test")
    job = Job("job", tracker=worker)
    for number in range(100):
        assert job.lock(f"{number}")
    with ExitStack() as watches:
        watchers = [watches.enter_context(tracker.watching("job", f"{number}", bool)) for number in range(100)]
        for number, watcher in enumerate(watchers):
            state = tracker.get("job", f"{number}")
            assert state
            watcher.offer(state)
        eventually(lambda: store.asked > 3)
        store.loaded.clear()
        asked, compared = store.asked, store.compared
        eventually(lambda: store.asked > asked + 10)
        assert (store.loaded, store.compared) == ([], compared)
        job.cancel("99")
        eventually(lambda: (newest := watchers[99].newest) and newest.is_cancelled)
        assert (store.loaded, store.compared) == (["job:99"], compared + 1)
    tracker.close()
    worker.close()


def test_watchers_are_told_of_a_death_though_nobody_writes(sqlite_url: str) -> None:
    """A run whose process is dead reads stalled to those who watch, and cancelled if it was asked to."""
    dead = Tracker(sqlite_url, heartbeat=0.1, stalled_after=0.5)
    for id in ("stalled", "cancelled"):
        begun = dead.begin(JobState(job="job", id=id, settings=structs.replace(dead.settings, cancellable=True)))
        assert isinstance(begun, Run)  # it has no heartbeats before it is entered
    dead.cancel("job", "cancelled")
    tracker = Tracker(sqlite_url)
    watch = tracker.watch("job", "stalled", timeout=30)
    assert next(watch).is_processing
    assert tracker.wait("job", "cancelled", timeout=30).is_cancelled
    assert next(watch).is_stalled
    for one in (tracker, dead):
        one.close()


# What can be wrong with it. Each is a function that spoils the place of a file, and gives one that mends it.

Mend = Callable[[], object]


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def a_folder_in_its_place(file: Path) -> Mend:
    file.mkdir()
    return file.rmdir


def a_file_in_place_of_its_folder(file: Path) -> Mend:
    file.parent.rmdir()
    file.parent.touch()
    return file.parent.unlink


def no_database(file: Path) -> Mend:
    file.write_text("These are not the bytes that SQLite looks for, and there are more than a hundred of them. " * 20)
    return file.unlink


def a_newer_layout(file: Path) -> Mend:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    return lambda: empty(file.parent)


def another_programs_database(file: Path) -> Mend:
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE states (name TEXT, capital TEXT)")
    connection.close()
    return lambda: empty(file.parent)


SPOILERS: dict[Callable[[Path], Mend], str] = {
    a_folder_in_its_place: "unable to open database file",
    a_file_in_place_of_its_folder: "File exists",
    no_database: "file is not a database",
    a_newer_layout: "was made by a newer job-progress (layout 99, this one knows 2)",
    another_programs_database: "no such column",
}


@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_is_wrong_is_said_and_may_be_mended(spoil: Callable[[Path], Mend], tmp_path: Path) -> None:
    """Every method raises `StoreUnavailable`, in one line that names the file; when the cause is gone all is well."""
    file = tmp_path / "folder" / "states.db"
    file.parent.mkdir()
    mend = spoil(file)
    store = open_store(f"sqlite:///{file}", "test")
    uses: list[Callable[[], object]] = [
        lambda: store.load(["key"]),
        lambda: store.swap([change()]),
        lambda: store.list(Query(limit=1)),
        store.sweep,
    ]
    for use in uses:
        with pytest.raises(StoreUnavailable) as unavailable:
            use()
        message = str(unavailable.value)
        assert str(file) in message
        assert SPOILERS[spoil] in message
        assert "\n" not in message
    mend()
    put(store, change())
    assert load(store) == Record(1, b"value")
    store.close()


def test_a_layout_of_the_future_is_left_as_it_is(store: Store, sqlite_file: Path) -> None:
    """A file that only a newer version understands is not changed."""
    a_newer_layout(sqlite_file)
    with pytest.raises(StoreUnavailable):
        store.swap([change()])
    connection = sqlite3.connect(sqlite_file)
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_a_file_that_is_damaged_while_it_is_open(store: Store, sqlite_file: Path) -> None:
    """Once it is mended, by putting an empty one in its place, the same store goes on."""
    put(store, change())
    store.close()
    sqlite_file.write_bytes(b"x" * 8192)
    with pytest.raises(StoreUnavailable, match="not a database"):
        load(store)
    sqlite_file.unlink()
    assert load(store) is None
    put(store, change())


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_while_it_is_open(sqlite_url: str, sqlite_file: Path, how: str) -> None:
    """All who had it open, and those to come, meet in the new one: nobody goes on alone with the old."""
    stores = [open_store(sqlite_url, "test") for _ in range(3)]
    for number, store in enumerate(stores[:2]):
        put(store, change(f"old {number}"))
    if how == "replaced":
        replacement = open_store(f"{sqlite_url}.new", "test")
        put(replacement, change("restored"))
        replacement.close()
        for side in ("-wal", "-shm"):  # else SQLite takes them for those of the new file
            Path(f"{sqlite_file}{side}").unlink()
        Path(f"{sqlite_file}.new").replace(sqlite_file)
    else:
        sqlite_file.unlink()
    for number, store in enumerate(stores):
        put(store, change(f"new {number}"))
    for store in stores:
        assert load(store, "old 0") is None
        assert (load(store, "restored") is not None) == (how == "replaced")
        assert None not in store.load([f"new {number}" for number in range(3)])
        store.close()
    assert None not in stores[0].load([f"new {number}" for number in range(3)])
    stores[0].close()


def test_a_place_where_nobody_may_write() -> None:
    """Where the system allows no files, not even to root, the error names the file."""
    store = open_store("sqlite:////proc/job-progress/states.db", "test")
    with pytest.raises(StoreUnavailable, match=re.escape("the SQLite file /proc/job-progress/states.db: [Errno ")):
        load(store)


def test_a_full_disk(launch: Launch, sqlite_url: str, sqlite_file: Path) -> None:
    """What does not fit raises `StoreUnavailable`, breaks nothing that was there, and may be tried again."""
    child = launch(bodies.fill_a_disk, sqlite_url)
    said = child.hear()
    assert said.startswith(f"cannot use the SQLite file {sqlite_file}: ")
    assert "disk" in said
    assert child.hear() == "None"  # the change was made
    assert child.hear() == "0"  # and no record is missing
    assert child.ends() == 0


# Locks.


def test_a_writer_elsewhere_is_waited_for(launch: Launch, store: Store, sqlite_file: Path) -> None:
    """While another process holds the write lock reads go on; writes wait, and succeed when it lets go."""
    put(store, change())
    holder = launch(bodies.hold_write_lock, sqlite_file)
    assert holder.hear() == "held"
    assert load(store) == Record(1, b"value")
    assert store.list(Query(limit=1)) == [Record(1, b"value")]
    waiting = threading.Thread(target=put, args=(store, change(expected=1, version=2)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    holder.tell()
    waiting.join()
    forget(store, "key")
    assert load(store) is None


def test_reads_do_not_wait_for_a_thread_that_waits_to_write(launch: Launch, store: Store, sqlite_file: Path) -> None:
    """A worker that reads, or watches, is not held up by its own reporter."""
    put(store, change())
    holder = launch(bodies.hold_write_lock, sqlite_file)
    assert holder.hear() == "held"
    waiting = threading.Thread(target=put, args=(store, change("another")))
    waiting.start()
    for _ in range(200):
        assert load(store) == Record(1, b"value")
    assert waiting.is_alive()
    holder.tell()
    waiting.join()
    assert load(store, "another") == Record(1, b"value")


def test_a_file_is_opened_while_another_writes_to_it(launch: Launch, sqlite_url: str, sqlite_file: Path) -> None:
    """The first use of a store waits, too."""
    first = open_store(sqlite_url, "test")
    put(first, change())
    first.close()
    assert launch(bodies.hold_write_lock, sqlite_file, 1.0).hear() == "held"
    store = open_store(sqlite_url, "test")
    put(store, change(expected=1, version=2))
    assert load(store) == Record(2, b"value")
    store.close()


def test_a_new_file_is_made_while_another_writes_to_it(launch: Launch, store: Store, sqlite_file: Path) -> None:
    """Also where the file is empty still, and its first layout has to wait."""
    assert launch(bodies.hold_write_lock, sqlite_file, 1.0).hear() == "held"
    put(store, change())
    assert load(store) == Record(1, b"value")


@pytest.mark.parametrize("opened", [True, False], ids=["opened before", "opened only then"])
def test_a_lock_that_is_held_for_too_long(
    launch: Launch, store: Store, sqlite_file: Path, opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `LOCK_TIMEOUT` a write gives up with `StoreUnavailable`; as soon as the lock is free all is well."""
    monkeypatch.setattr("job_progress.stores.sqlite_file.LOCK_TIMEOUT", 0.2)
    if opened:
        put(store, change())
    holder = launch(bodies.hold_write_lock, sqlite_file)
    assert holder.hear() == "held"
    began = time.monotonic()
    with pytest.raises(
        StoreUnavailable, match=re.escape(f"cannot use the SQLite file {sqlite_file}: database is locked")
    ):
        store.swap([change("another")])
    assert 0.2 <= time.monotonic() - began < 5.0
    holder.tell()
    assert holder.hear() == "released"
    put(store, change("another"))


# Other processes.


def test_many_processes_open_a_new_file_at_once(launch: Launch, tmp_path: Path) -> None:
    """Eight processes use a file that is not there yet at the same time, ten times: each record is made."""
    children = [launch(bodies.open_at_once) for _ in range(8)]
    for number in range(10):
        url = f"sqlite:///{tmp_path}/{number}/states.db"
        for child in children:
            child.tell(url)
        assert [child.hear() for child in children] == ["None"] * len(children)
        store = open_store(url, "test")
        assert len(store.list(Query(limit=99))) == len(children)
        store.close()


def test_a_fork_in_the_middle_of_a_write(launch: Launch, sqlite_url: str, store: Store) -> None:
    """However a fork falls, the child can write at once, on a connection of its own, and so can the parent."""
    forker = launch(bodies.fork_next_to_a_writer, sqlite_url)
    by_thread = int(forker.hear())
    assert forker.hear() == "0"
    assert forker.ends() == 0
    keys = [f"{who} {number}" for who in ("child", "parent") for number in range(40)]
    keys += [f"thread {number}" for number in range(by_thread)]
    assert store.load(keys) == [Record(1, b"value")] * len(keys)


def test_a_forked_child_outlives_its_parent(launch: Launch, sqlite_url: str, store: Store) -> None:
    """What it writes is kept, even when others have opened and left the file since the parent ended."""
    child = launch(bodies.leave_a_forked_child, sqlite_url)
    assert child.hear() == "ready"
    assert child.ends() == 0
    assert store.load(["parent", "child"]) == [Record(1, b"value")] * 2
    store.close()  # of all processes, the last that SQLite would know of
    child.tell()
    assert child.hear() == "None"
    assert load(store, "child, later") == Record(1, b"value")


def test_killed_writers_leave_a_sound_file(launch: Launch, sqlite_url: str, sqlite_file: Path) -> None:
    """After each of 20 kills at random moments the file opens, is sound, holds whole records, and can be written to."""
    versions = [0] * 10
    for number in range(20):
        writer = launch(bodies.write_without_end, sqlite_url)
        assert writer.hear() == "writing"
        time.sleep(random.uniform(0.0, 0.05))
        writer.kill()
        store = open_store(sqlite_url, "test")
        for key, record in enumerate(store.load([f"{key}" for key in range(10)])):
            assert record is not None
            assert record.version > versions[key]
            assert record.value == f"{key}/{record.version};".encode() * 3000
            versions[key] = record.version
        put(store, change(f"kill {number}"))
        store.close()
        connection = sqlite3.connect(sqlite_file)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def test_a_fork_in_the_middle_of_a_long_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that cannot wait for another thread's use goes on after a while; the child leaves that connection be."""
    monkeypatch.setattr("job_progress.stores.sqlite_file.FORK_TIMEOUT", 0.05)
    file = SQLiteFile(tmp_path / "states.db")
    inherited = file.use(lambda connection: connection)
    with file._lock:
        file.pause_for_fork()
        file.resume_after_fork()
    assert file.use(lambda connection: connection) is inherited  # in the parent all is as it was
    with file._lock:
        file.reset_after_fork()
    own = file.use(lambda connection: connection)
    assert own is not inherited
    assert inherited.execute("SELECT 1").fetchone() == (1,)  # not closed
    file.close()


def test_a_fork_does_not_wait_for_another_processs_lock(launch: Launch, store: Store, sqlite_file: Path) -> None:
    """A thread that waits to write lets a fork pass, again and again, and writes once it can."""
    put(store, change())
    holder = launch(bodies.hold_write_lock, sqlite_file)
    assert holder.hear() == "held"
    waiting = threading.Thread(target=put, args=(store, change("another")))
    waiting.start()
    assert isinstance(store, SQLiteStore)
    took = []
    for _ in range(5):
        began = time.monotonic()
        store._writer.pause_for_fork()
        took.append(time.monotonic() - began)
        assert store._writer._paused
        store._writer.resume_after_fork()
    assert waiting.is_alive()
    assert max(took) < LOCK_TIMEOUT / 2
    holder.tell()
    waiting.join()
    assert load(store, "another") == Record(1, b"value")


def test_an_interrupted_write_leaves_no_lock(sqlite_file: Path, store: Store) -> None:
    """Ctrl-C in the middle of a transaction: another process, or connection, can write."""

    def interrupted(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        raise KeyboardInterrupt

    file = SQLiteFile(sqlite_file)
    with pytest.raises(KeyboardInterrupt):
        file.use(interrupted)
    put(store, change())
    file.close()


def test_a_file_of_an_older_layout_is_taken_over(store: Store, sqlite_file: Path) -> None:
    """What is in it stays, and counts as old."""
    put(store, change())
    store.close()
    connection = sqlite3.connect(sqlite_file)
    connection.execute("ALTER TABLE states DROP COLUMN made")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    record = load(store)
    assert record
    assert (record.version, record.value) == (1, b"value")
    assert record.age > 0
    put(store, change(expected=1, version=2))


def test_what_was_made_before_the_machine_was_booted_is_very_old(store: Store) -> None:
    """Its worker cannot be alive."""
    with frozen_clock() as clock:
        put(store, change())
        clock.tick(-1000)
        record = load(store)
    assert record
    assert record.age == inf


def test_an_examination_tells_the_files_size(store: Store) -> None:
    """And how many records are in it."""
    put(store, *(change(f"{number}", value=bytes(10_000)) for number in range(100)))
    [finding] = store.examine()
    assert re.match(r"file: 100 records, 1\.[0-9] MB, SQLite 3\.", finding.text)
