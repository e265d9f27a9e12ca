"""States in an SQLite file: the default, shared by all processes of a machine, with no server.

The file is in WAL mode, so that readers never wait for writers, and a killed process leaves
nothing that the next one cannot open.

Two things that it cannot help: a process that is stopped (not killed) in the middle of a write keeps all
others from writing until it goes on; and whoever puts back an older copy of the file has to remove its
`-wal` and `-shm` files as well.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar
from urllib.parse import unquote

from job_progress import clock
from job_progress.errors import StoreUnavailable
from job_progress.fork import pause_for_forks
from job_progress.stores.contract import Change, Conflict, Record, Store

T = TypeVar("T")

SCHEMA = 1
LOCK_TIMEOUT = 10.0
"""Seconds to wait for other processes' writes, each of which takes about a millisecond."""
SWEEP_EVERY = 60.0
"""Seconds between two sweeps of expired records by one process."""
_KEYS_PER_QUERY = 500  # well below the number of variables that every SQLite allows

_parked: list[sqlite3.Connection] = []
"""Inherited through a fork that did not wait: SQLite forbids to use or to close them in any other process."""

_TABLE = """
CREATE TABLE IF NOT EXISTS states (
    prefix TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    expires REAL NOT NULL,
    job TEXT NOT NULL,
    status TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (prefix, key)
);
CREATE INDEX IF NOT EXISTS states_newest ON states (prefix, created DESC, key);
CREATE INDEX IF NOT EXISTS states_job ON states (prefix, job, created DESC, key);
CREATE INDEX IF NOT EXISTS states_status ON states (prefix, status, created DESC, key);
CREATE INDEX IF NOT EXISTS states_expires ON states (expires);
"""
# A record that has expired but was not swept yet counts as absent; hence the condition on conflict.
_INSERT = """
INSERT INTO states (prefix, key, version, value, expires, job, status, created)
VALUES (:prefix, :key, :version, :value, :expires, :job, :status, :created)
ON CONFLICT (prefix, key) DO UPDATE SET
    version = excluded.version, value = excluded.value, expires = excluded.expires,
    job = excluded.job, status = excluded.status, created = excluded.created
WHERE states.expires <= :now
"""
_UPDATE = """
UPDATE states SET version = :version, value = :value, expires = :expires,
    job = :job, status = :status, created = :created
WHERE prefix = :prefix AND key = :key AND version = :expected AND expires > :now
"""


def path_in(url: str) -> Path:
    """The file that a `sqlite:` URL names: `sqlite:///relative`, `sqlite:////absolute`, or the default.

    Raises:
        ValueError: The URL has a host, a query or no path, or `~user` for a user who is not there.
    """
    rest = url.removeprefix("sqlite://")
    if rest in ("", "/"):
        from platformdirs import user_cache_path

        return user_cache_path("job-progress") / "states.db"
    path = unquote(rest[1:])
    if not rest.startswith("/") or "?" in rest or "\0" in path or path == ":memory:":
        raise ValueError(
            f"write sqlite:///relative/path or sqlite:////absolute/path, without options, not {url!r} "
            "(for states in memory: memory://)"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{url!r} names no file: {error}") from None


class SQLiteStore(Store):
    """One file, one connection per process, guarded by a lock."""

    def __init__(self, path: Path, prefix: str) -> None:
        self.path = path.absolute()  # a later chdir must not change which file is meant
        self._prefix = prefix
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file it is connected to, wherever that is by now
        self._lock = threading.Lock()
        self._next_sweep = 0.0
        self._paused = False
        pause_for_forks(self)

    def pause_for_fork(self) -> None:
        """Wait until no thread is inside SQLite, and close the connection.

        SQLite keeps per process which locks it has on a file. A child that inherits such notes has
        none of the locks: it would wait for its own for ever, or write to a log that others have deleted.
        """
        self._paused = self._lock.acquire(timeout=LOCK_TIMEOUT)
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

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        def read(connection: sqlite3.Connection) -> list[Record | None]:
            now = clock.now().timestamp()
            found: dict[str, Record] = {}
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                some = keys[start : start + _KEYS_PER_QUERY]
                rows = connection.execute(
                    f"SELECT key, version, value FROM states WHERE prefix = ? AND expires > ? AND key IN ({_places(some)})",  # noqa: S608, E501
                    (self._prefix, now, *some),
                )
                found |= {key: Record(version, value) for key, version, value in rows}
            return [found.get(key) for key in keys]

        return self._use(read)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        def write(connection: sqlite3.Connection) -> list[Conflict | None]:
            now = clock.now().timestamp()
            with _transaction(connection):
                self._sweep(connection, now)
                return [self._swap(connection, change, now) for change in changes]

        return self._use(write)

    def _swap(self, connection: sqlite3.Connection, change: Change, now: float) -> Conflict | None:
        made = connection.execute(
            _UPDATE if change.expected else _INSERT,
            {
                "prefix": self._prefix,
                "key": change.key,
                "expected": change.expected,
                "version": change.version,
                "value": change.value,
                "expires": now + change.lifetime,
                "job": change.job,
                "status": change.status,
                "created": change.created,
                "now": now,
            },
        )
        if made.rowcount:
            return None
        row = connection.execute(
            "SELECT version, value FROM states WHERE prefix = ? AND key = ? AND expires > ?",
            (self._prefix, change.key, now),
        ).fetchone()
        return Conflict(Record(*row) if row else None)

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        if monotonic() >= self._next_sweep:
            connection.execute("DELETE FROM states WHERE expires <= ?", (now,))
            self._next_sweep = monotonic() + SWEEP_EVERY

    def list(
        self,
        *,
        job: str | None,
        statuses: Collection[str] | None,
        limit: int,
        after: tuple[int, str] | None,
    ) -> list[Record]:
        conditions, values = ["prefix = ?", "expires > ?"], [self._prefix, clock.now().timestamp()]
        if job is not None:
            conditions.append("job = ?")
            values.append(job)
        if statuses is not None:
            conditions.append(f"status IN ({_places(statuses)})")
            values.extend(statuses)
        if after is not None:
            conditions.append("(created < ? OR (created = ? AND key > ?))")
            values.extend((after[0], *after))
        query = f"SELECT version, value FROM states WHERE {' AND '.join(conditions)} ORDER BY created DESC, key LIMIT ?"  # noqa: S608

        def read(connection: sqlite3.Connection) -> list[Record]:
            return [Record(*row) for row in connection.execute(query, (*values, limit))]

        return self._use(read)

    def delete(self, keys: Sequence[str]) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.executemany(
                    "DELETE FROM states WHERE prefix = ? AND key = ?", [(self._prefix, key) for key in keys]
                )

        self._use(remove)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def describe(self) -> str:
        return f"SQLite file {self.path}"

    def _use(self, action: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                return action(self._connect())
            except (sqlite3.Error, OSError) as error:
                # A file that was damaged needs a new connection, once it is mended.
                self._disconnect()
                raise StoreUnavailable(f"cannot use the SQLite file {self.path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and _identity_of(self.path) != self._file:
            # SQLite goes on with a file that was removed or replaced, where nobody else would see it.
            self._disconnect()
        if self._connection is None:
            _create(self.path)
            self._file = _identity_of(self.path)  # before it is opened: what replaces it meanwhile is noticed, too
            self._connection = _open(self.path)
        return self._connection


class _transaction:  # noqa: N801 - reads as the statement it is
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


def _places(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        # Readable by the user only from its first moment; SQLite gives its side files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _open(path: Path) -> sqlite3.Connection:
    deadline = monotonic() + LOCK_TIMEOUT
    while True:
        connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except sqlite3.OperationalError as error:
            connection.close()
            # Switching to WAL does not wait for others who do the same, as other statements do.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            sleep(0.01)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _schema_of(connection) == SCHEMA:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    with _transaction(connection):
        found = _schema_of(connection)
        if found > SCHEMA:
            raise StoreUnavailable(f"{path} was made by a newer job-progress (layout {found}, this one knows {SCHEMA})")
        if found == 0:
            for statement in _TABLE.strip().rstrip(";").split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _schema_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
