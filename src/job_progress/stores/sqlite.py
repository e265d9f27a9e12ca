"""States in an SQLite file: the default, shared by all processes of a machine, with no server.

The file is in WAL mode, so that readers never wait for writers, and a killed process leaves
nothing that the next one cannot open.

Two things that it cannot help: a process that is stopped (not killed) in the middle of a write keeps all
others from writing until it goes on; and whoever puts back an older copy of the file has to remove its
`-wal` and `-shm` files as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from urllib.parse import unquote

from job_progress import clock
from job_progress.stores.contract import Change, Conflict, Finding, Query, Record, Store
from job_progress.stores.sqlite_file import SQLiteFile, transaction

SWEEP_EVERY = 60.0
"""Seconds between two sweeps of expired records by one process."""
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
        def read(connection: sqlite3.Connection) -> list[Record | None]:
            now = clock.now().timestamp()
            found: dict[str, Record] = {}
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                some = keys[start : start + _KEYS_PER_QUERY]
                rows = connection.execute(
                    f"SELECT key, version, value, made FROM states WHERE prefix = ? AND expires > ? AND key IN ({_places(some)})",  # noqa: S608, E501
                    (self._prefix, now, *some),
                )
                found |= {key: _record(*row) for key, *row in rows}
            return [found.get(key) for key in keys]

        return self._reader.use(read)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        def write(connection: sqlite3.Connection) -> list[Conflict | None]:
            now = clock.now().timestamp()
            with transaction(connection):
                self._sweep(connection, now)
                return [self._swap(connection, change, now) for change in changes]

        return self._writer.use(write)

    def _swap(self, connection: sqlite3.Connection, change: Change, now: float) -> Conflict | None:
        made = connection.execute(
            _UPDATE if change.expected else _INSERT,
            {
                "prefix": self._prefix,
                "key": change.key,
                "expected": change.expected,
                "version": change.version,
                "value": change.value,
                "made": clock.steady(),
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
            "SELECT version, value, made FROM states WHERE prefix = ? AND key = ? AND expires > ?",
            (self._prefix, change.key, now),
        ).fetchone()
        return Conflict(_record(*row) if row else None)

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        if monotonic() >= self._next_sweep:
            connection.execute("DELETE FROM states WHERE expires <= ?", (now,))
            self._next_sweep = monotonic() + SWEEP_EVERY

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
        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                self._next_sweep = 0.0
                self._sweep(connection, clock.now().timestamp())

        self._writer.use(write)

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


def _places(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _record(version: int, value: bytes, made: float) -> Record:
    age = clock.steady() - made
    return Record(version, value, age if age >= 0 else inf)  # made before the machine was booted
