"""An SQLite file that many processes use, some of which fork, and some of which are killed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

from job_progress.errors import StoreUnavailable
from job_progress.fork import pause_for_forks

T = TypeVar("T")

SCHEMA = 2
LOCK_TIMEOUT = 10.0
"""Seconds to wait for other processes' writes, each of which takes about a millisecond."""
STEP = 0.05
"""Seconds that one wait inside SQLite takes: between two of them others of this process have their turn."""
FORK_TIMEOUT = 1.0
"""Seconds for which a fork waits for a thread that is inside SQLite."""
LOG_LIMIT = 4 * 1024 * 1024
"""Bytes of the log (`-wal`) that are kept, once what is in it has reached the file."""

_parked: list[sqlite3.Connection] = []
"""Inherited through a fork: SQLite forbids to use or to close them in any other process."""

_TABLE = """
CREATE TABLE IF NOT EXISTS states (
    prefix TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    made REAL NOT NULL,
    expires REAL NOT NULL,
    job TEXT NOT NULL,
    status TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (prefix, key)
);
CREATE INDEX IF NOT EXISTS states_newest ON states (prefix, created DESC, key);
CREATE INDEX IF NOT EXISTS states_job ON states (prefix, job, created DESC, key);
CREATE INDEX IF NOT EXISTS states_status ON states (prefix, status, created DESC, key);
CREATE INDEX IF NOT EXISTS states_job_status ON states (prefix, job, status, created DESC, key);
CREATE INDEX IF NOT EXISTS states_expires ON states (expires);
"""


class SQLiteFile:
    """One connection to a file, guarded by a lock. Opened, and the file made, at the first use.

    Attributes:
        opened: How many connections there have been.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file it is connected to, wherever that is by now
        self._lock = threading.Lock()
        self._paused = False
        self.opened = 0
        pause_for_forks(self)

    def __del__(self) -> None:
        self._disconnect()

    def use(self, action: Callable[[sqlite3.Connection], T], *, waits: bool = True) -> T:
        """What *action*, which leaves all or nothing, makes of the connection. If it *waits*, it may be tried again.

        Raises:
            StoreUnavailable: The file cannot be opened, read or written, or was locked for too long.
        """
        deadline = monotonic() + (LOCK_TIMEOUT if waits else 0.0)
        while True:
            with self._lock:
                try:
                    return action(self._connect())
                except (sqlite3.Error, OSError) as error:
                    if not _is_busy(error) or monotonic() >= deadline:
                        # A file that was damaged needs a new connection, once it is mended.
                        self._disconnect()
                        raise StoreUnavailable(f"cannot use the SQLite file {self._path}: {error}") from error
                    if self._connection is not None and self._connection.in_transaction:
                        self._disconnect()
                except BaseException:  # such as Ctrl-C: no transaction may stay open, or nobody else could write
                    self._disconnect()
                    raise
            sleep(0.002)  # without the lock, which a thread that forks may be waiting for

    def close(self) -> None:
        """Let go of the connection; the next use opens another."""
        with self._lock:
            self._disconnect()

    def pause_for_fork(self) -> None:
        """Wait until no thread is inside SQLite, and close the connection.

        SQLite keeps per process which locks it has on a file. A child that inherits such notes has
        none of the locks: it would wait for its own for ever, or write to a log that others have deleted.
        """
        self._paused = self._lock.acquire(timeout=FORK_TIMEOUT)
        if self._paused:
            self._disconnect()

    def resume_after_fork(self) -> None:
        """Open a connection again at the next use."""
        if self._paused:
            self._lock.release()

    def reset_after_fork(self) -> None:
        """Open a connection of this process's own at the next use."""
        if self._connection is not None:
            _parked.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and _identity_of(self._path) != self._file:
            # SQLite goes on with a file that was removed or replaced, where nobody else would see it.
            self._disconnect()
        if self._connection is None:
            _create(self._path)
            self._file = _identity_of(self._path)  # before it is opened: what replaces it meanwhile is noticed, too
            self._connection = _open(self._path)
            self.opened += 1
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class transaction:  # noqa: N801 - reads as the statement it is
    """A write transaction: waits for its turn, and leaves all or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - at each use, and this is the fastest
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        # Readable by the user only from its first moment; SQLite gives its side files the same mode.
        # A link that leads nowhere yet is followed, as by SQLite, which would let everybody read what it makes there.
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _is_busy(error: Exception) -> bool:
    """Is it that another connection holds a lock?"""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=STEP, isolation_level=None, check_same_thread=False)
    try:
        # In WAL mode this loses nothing when a process dies, and the last moments only when the power does.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _schema_of(connection) == SCHEMA:
        return
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file, which can be made smaller then
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        found = _schema_of(connection)
        if found > SCHEMA:
            raise StoreUnavailable(f"{path} was made by a newer job-progress (layout {found}, this one knows {SCHEMA})")
        if found == 1:
            connection.execute("ALTER TABLE states ADD COLUMN made REAL NOT NULL DEFAULT 0")
        for statement in _TABLE.strip().rstrip(";").split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _schema_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
