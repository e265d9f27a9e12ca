"""States in an SQLite file: the default, shared by all processes of a machine, with no server.

The file is in WAL mode, so that readers never wait for writers, and a killed process leaves
nothing that the next one cannot open.

Two things that it cannot help: a process that is stopped (not killed) in the middle of a write keeps all
others from writing until it goes on; and whoever puts back an older copy of the file has to remove its
`-wal` and `-shm` files as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar
from urllib.parse import unquote

from job_progress import clock
from job_progress.errors import StoreUnavailable
from job_progress.stores.contract import Change, Conflict, Finding, Query, Record, Store
from job_progress.stores.sqlite_file import SQLiteFile, transaction

T = TypeVar("T")

SWEEP_EVERY = 60.0
"""Seconds between two sweeps of expired records by one process."""
GO_ON_AFTER = 0.1
"""Seconds until it goes on with a sweep that has more to do."""
SWEPT_AT_ONCE = 200
"""So many expired records go in one transaction of a few milliseconds, beside what a process has to write."""
PRUNED_AT_ONCE = 1000
"""The same, where somebody has asked for it."""
VACUUMED_AT_ONCE = 1000
"""Pages by which a file is made smaller in one transaction."""
MAX_REWRITTEN = 32 * 1024 * 1024
"""Bytes of a file that may be written anew to make it smaller, which keeps others from writing."""
PRECISION = 0.01
"""Of a lifetime: by so much a record may be forgotten early, so that not each write of it need move its end."""
_INCREMENTAL = 2
_KEYS_PER_QUERY = 500  # well below the number of variables that every SQLite allows

# A record that has expired but was not swept yet counts as absent; hence the condition on conflict.
_INSERT = """
INSERT INTO states (prefix, key, version, value, made, expires, job, status, created)
VALUES (:prefix, :key, :version, :value, :made, :expires, :job, :status, :created)
ON CONFLICT (prefix, key) DO UPDATE SET
    version = excluded.version, value = excluded.value, made = excluded.made, expires = excluded.expires,
    job = excluded.job, status = excluded.status, created = excluded.created
WHERE states.expires <= :now
"""
# The usual case, a run's report: nothing that is in an index has changed. (`+` keeps SQLite from using one of those.)
_UPDATE_VALUE = """
UPDATE states SET version = :version, value = :value, made = :made
WHERE prefix = :prefix AND key = :key AND version = :expected AND +expires > :now
    AND +job = :job AND +status = :status AND +created = :created
    AND +expires BETWEEN :expires - :tolerance AND :expires + :tolerance
"""
_UPDATE = """
UPDATE states SET version = :version, value = :value, made = :made, expires = :expires,
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
    """One file, and two connections per process: those who read do not wait for those who wait to write."""

    def __init__(self, path: Path, prefix: str) -> None:
        self.path = path.absolute()  # a later chdir must not change which file is meant
        self._prefix = prefix
        self._reader = SQLiteFile(self.path)
        self._writer = SQLiteFile(self.path)
        self._next_sweep = 0.0

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        found = self._select("version, value, made", keys, _record)
        return [found.get(key) for key in keys]

    def stamp(self) -> Hashable:
        def look(connection: sqlite3.Connection) -> tuple[int, int]:
            [(version,)] = connection.execute("PRAGMA data_version")
            return self._reader.opened, version  # which says something about this connection only

        return self._reader.use(look)

    def changed(self, known: Mapping[str, int]) -> Sequence[str]:
        versions = self._select("version", list(known), int)
        return [key for key, version in known.items() if versions.get(key, 0) != version]

    def _select(self, columns: str, keys: Sequence[str], make: Callable[..., T]) -> dict[str, T]:
        """What *make* makes of these columns of each key that is there."""

        def read(connection: sqlite3.Connection) -> dict[str, T]:
            now = clock.now().timestamp()
            found: dict[str, T] = {}
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                some = keys[start : start + _KEYS_PER_QUERY]
                rows = connection.execute(
                    f"SELECT key, {columns} FROM states WHERE prefix = ? AND expires > ? AND key IN ({_places(some)})",  # noqa: S608
                    (self._prefix, now, *some),
                )
                found |= {key: make(*row) for key, *row in rows}
            return found

        return self._reader.use(read)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        def write(connection: sqlite3.Connection) -> list[Conflict | None]:
            now = clock.now().timestamp()
            with transaction(connection):
                return [self._swap(connection, change, now) for change in changes]

        conflicts = self._writer.use(write)
        self._sweep_a_little()
        return conflicts

    def _swap(self, connection: sqlite3.Connection, change: Change, now: float) -> Conflict | None:
        values = {
            "prefix": self._prefix,
            "key": change.key,
            "expected": change.expected,
            "version": change.version,
            "value": change.value,
            "made": clock.steady(),
            "expires": now + change.lifetime,
            "tolerance": PRECISION * change.lifetime,
            "job": change.job,
            "status": change.status,
            "created": change.created,
            "now": now,
        }
        ways = (_UPDATE_VALUE, _UPDATE) if change.expected else (_INSERT,)
        if any(connection.execute(way, values).rowcount for way in ways):
            return None
        row = connection.execute(
            "SELECT version, value, made FROM states WHERE prefix = ? AND key = ? AND expires > ?",
            (self._prefix, change.key, now),
        ).fetchone()
        return Conflict(_record(*row) if row else None)

    def _sweep_a_little(self) -> None:
        """Delete some of what has expired, if it is time to, and nobody else is writing."""
        if monotonic() < self._next_sweep:
            return
        self._next_sweep = monotonic() + SWEEP_EVERY
        with suppress(StoreUnavailable):  # which whoever writes next will meet, if it lasts
            if self._delete_expired(SWEPT_AT_ONCE, waits=False):
                self._next_sweep = monotonic() + GO_ON_AFTER

    def _delete_expired(self, limit: int, *, waits: bool = True) -> bool:
        """Delete so many expired records, in a transaction of their own. Are there more?"""

        def delete(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                deleted = connection.execute(
                    "DELETE FROM states WHERE rowid IN (SELECT rowid FROM states WHERE expires <= ? LIMIT ?)",
                    (clock.now().timestamp(), limit),
                )
                return deleted.rowcount == limit

        return self._writer.use(delete, waits=waits)

    def list(self, query: Query) -> list[Record]:
        conditions, values = ["prefix = ?", "expires > ?"], [self._prefix, clock.now().timestamp()]
        if query.job is not None:
            conditions.append("job = ?")
            values.append(query.job)
        if query.statuses is not None:
            conditions.append(f"status IN ({_places(query.statuses)})")
            values.extend(query.statuses)
        if query.after is not None:
            conditions.append("created <= ? AND (created < ? OR key > ?)")
            values.extend((query.after[0], *query.after))
        select = (
            f"SELECT version, value, made FROM states WHERE {' AND '.join(conditions)} "  # noqa: S608
            "ORDER BY created DESC, key LIMIT ?"
        )

        def read(connection: sqlite3.Connection) -> list[Record]:
            return [_record(*row) for row in connection.execute(select, (*values, query.limit))]

        return self._reader.use(read)

    def sweep(self) -> None:
        while _took_turns(lambda: self._delete_expired(PRUNED_AT_ONCE)):
            pass
        while _took_turns(lambda: self._writer.use(_shrink)):
            pass
        self._writer.use(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    def examine(self) -> Iterable[Finding]:
        def count(connection: sqlite3.Connection) -> tuple[int, int, int]:
            [(states,)] = connection.execute("SELECT count(*) FROM states")
            [(pages, size)] = connection.execute(
                "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size"
            )
            return states, pages, size

        states, pages, size = self._reader.use(count)
        yield Finding(f"file: {states:,} records, {pages * size / 1e6:.1f} MB, SQLite {sqlite3.sqlite_version}")

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def describe(self) -> str:
        return f"SQLite file {self.path}"


def _took_turns(step: Callable[[], bool]) -> bool:
    """Do *step*, and then nothing for as long as it took, as who waits for a lock looks for it now and then only."""
    began = monotonic()
    is_more = step()
    if is_more:
        sleep(min(monotonic() - began, GO_ON_AFTER))
    return is_more


def _shrink(connection: sqlite3.Connection) -> bool:
    """Give some free pages of the file back to the system. Are there more?"""
    [(pages, free, size, mode)] = connection.execute(
        "SELECT page_count, freelist_count, page_size, auto_vacuum"
        " FROM pragma_page_count, pragma_freelist_count, pragma_page_size, pragma_auto_vacuum"
    )
    if mode == _INCREMENTAL:
        # As a script, for else Python ends the statement after its first page.
        connection.executescript(f"PRAGMA incremental_vacuum({VACUUMED_AT_ONCE})")
        return bool(free > VACUUMED_AT_ONCE)
    # A file that an earlier version has made: it is written anew, if there is little to write.
    if free > pages / 2 and (pages - free) * size <= MAX_REWRITTEN:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    return False


def _places(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _record(version: int, value: bytes, made: float) -> Record:
    age = clock.steady() - made
    return Record(version, value, age if age >= 0 else inf)  # made before the machine was booted
