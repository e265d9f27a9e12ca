"""States in PostgreSQL: for any number of machines, with changes pushed, beside the data that is there already."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import sha256
from time import monotonic
from typing import Any, Protocol, Self
from urllib.parse import unquote

from job_progress.errors import StoreUnavailable
from job_progress.stores.contract import Change, Conflict, Finding, Query, Record, Store, Subscription

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction, UndefinedTable
    from psycopg.rows import tuple_row
except ImportError as error:
    raise ImportError("states in PostgreSQL need a client: pip install 'job-progress[postgres]'") from error

from job_progress.stores.postgresql_connections import MAX_CONNECTIONS, Connections, is_demoted
from job_progress.stores.postgresql_statements import (
    CREATE,
    DDL,
    EXAMINE,
    INSERT,
    LOAD,
    SWEEP,
    TABLE,
    UPDATE,
    listing,
    silent,
    telling,
)

__all__ = ["DDL", "PostgreSQLStore"]

SWEEP_EVERY = 60.0
"""Seconds between two sweeps of expired records by one process."""
SWEEP_BATCH = 1000
"""Records in one sweep, which takes the server some milliseconds."""
LONGEST = 1e10
"""Seconds that stand for ever."""

Rows = list[tuple[Any, ...]]


class Pool(Protocol):
    """Where connections come from, such as `psycopg_pool.ConnectionPool`."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """One for a while."""
        ...


class _Lost(psycopg.OperationalError):
    """A connection turned out to be dead, or to lead to a standby, or a transaction was chosen to give way.

    Another try may do.
    """


class PostgreSQLStore(Store):
    """A table in one database, made at the first use.

    Args:
        pool: Yours, which you open and close, and make anew in a forked child. Its connections wait for as long
            as you let them, and while something is watched one of them is in use.
        prefix: Keeps the states of several applications apart.
        push: Tell of changes, and listen to them, with NOTIFY and LISTEN?
    """

    def __init__(self, pool: Pool, prefix: str = "job-progress", *, push: bool = True) -> None:
        self._pool = pool
        self._prefix = prefix
        self._push = push
        self._channel = f"job_progress_{sha256(prefix.encode()).hexdigest()[:32]}"
        form = telling if push else silent
        self._update, self._insert = form(UPDATE), form(INSERT)
        self._next_sweep = 0.0
        self._renewals = 0

    @classmethod
    def from_url(cls, url: str, prefix: str) -> Self:
        """The database that *url* names: `postgresql://user:password@host:port/database`.

        The query may hold whatever libpq takes, such as `sslmode=require&connect_timeout=2`, and of ours
        `max_connections=4`, and `push=off`, with which nothing is pushed and watching polls: for a proxy
        that hands the server's connections from one transaction to the next, such as PgBouncer.

        Raises:
            ValueError: The URL is malformed, or has a parameter that nobody knows.
        """
        plain, own = _without_own(url)
        push, at_most = own.get("push", "on"), own.get("max_connections", f"{MAX_CONNECTIONS}")
        if push not in ("on", "off"):
            raise ValueError(f"push is on or off, not {push!r}")
        if not at_most.isdecimal() or int(at_most) < 1:
            raise ValueError(f"max_connections is a number from 1 on, not {at_most!r}")
        try:
            settings = conninfo_to_dict(plain)
        except psycopg.Error as error:
            raise ValueError(f"this is no URL of a PostgreSQL database: {_without_secrets(error)}") from None
        return cls(Connections(settings, int(at_most)), prefix, push=push == "on")

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        rows, _ = self._run(LOAD, {"keys": list(keys)})
        found = {key: Record(*record) for key, *record in rows}
        return [found.get(key) for key in keys]

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        conflicts: dict[str, Conflict | None] = {}
        # Two statements, as one that does both could not lock in one order; a batch is nearly always of one kind.
        for statement, some in (
            (self._update, [change for change in changes if change.expected]),
            (self._insert, [change for change in changes if not change.expected]),
        ):
            if some:
                conflicts |= self._swap(statement, some)
        if changes and monotonic() >= self._next_sweep:
            with suppress(StoreUnavailable):  # the changes were made all the same, and others sweep, too
                self._sweep_some()
        return [conflicts[change.key] for change in changes]

    def _swap(self, statement: str, changes: Sequence[Change]) -> dict[str, Conflict | None]:
        wishes = {
            "channel": self._channel,
            "keys": [change.key for change in changes],
            "expected": [change.expected for change in changes],
            "versions": [change.version for change in changes],
            "values": [change.value for change in changes],
            "lifetimes": [float(min(change.lifetime, LONGEST)) for change in changes],
            "jobs": [change.job for change in changes],
            "statuses": [str(change.status) for change in changes],
            "created": [change.created for change in changes],
        }
        rows, repeated = self._run(statement, wishes)
        found = {key: None if record[0] is None else Record(*record) for key, *record in rows}
        if statement == self._insert and len(found) < len(changes):
            # Somebody else has put something there after the statement began, which it therefore could not see.
            unseen = [change.key for change in changes if change.key not in found]
            found |= {key: record for key, record in zip(unseen, self.load(unseen), strict=True) if record}
        return {
            change.key: None if _made(change, found, repeated) else Conflict(found.get(change.key))
            for change in changes
        }

    def list(self, query: Query) -> list[Record]:
        created, key = query.after or (None, None)
        statuses = None if query.statuses is None else [str(status) for status in set(query.statuses)]
        values = {"job": query.job, "statuses": statuses, "created": created, "key": key, "limit": query.limit}
        rows, _ = self._run(listing(query), values)
        return [Record(*row) for row in rows]

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        if not self._push:
            return None
        from job_progress.stores.postgresql_push import PostgreSQLSubscription

        connect = self._pool.one_more if isinstance(self._pool, Connections) else self._pool.connection
        return PostgreSQLSubscription(connect, self._channel, changed, lambda: self._renewals)

    def sweep(self) -> None:
        while self._sweep_some() == SWEEP_BATCH:
            pass

    def _sweep_some(self) -> int:
        self._next_sweep = monotonic() + SWEEP_EVERY
        [[swept]], _ = self._run(SWEEP, {"most": SWEEP_BATCH})
        if swept == SWEEP_BATCH:
            self._next_sweep = 0.0
        return int(swept)

    def examine(self) -> Iterable[Finding]:
        with self._errors():
            [[version, size, records, may_create]] = self._run_once(EXAMINE, {})
        yield Finding(f"server: PostgreSQL {version}")
        if size is not None:
            yield Finding(f"table: {TABLE}, about {max(records, 0):,} records, {size}")
        elif may_create:
            yield Finding(f"table: {TABLE} is made at the first use")
        else:
            advice = "ask somebody who may to make it:\n" + DDL
            yield Finding(f"there is no table {TABLE}, and this user may not make it", advice)

    def close(self) -> None:
        if isinstance(self._pool, Connections):
            self._pool.close()

    def describe(self) -> str:
        return f"PostgreSQL {self._pool.name}"

    def _run(self, statement: str, values: Mapping[str, object]) -> tuple[Rows, bool]:
        """The rows that *statement* answers with, and whether it had to be said twice.

        Then the first may have been heard, and only its answer lost.
        """
        with self._errors():
            try:
                return self._run_or_make_table(statement, values), False
            except _Lost:
                return self._run_or_make_table(statement, values), True

    def _run_or_make_table(self, statement: str, values: Mapping[str, object]) -> Rows:
        try:
            return self._run_once(statement, values)
        except UndefinedTable:
            self._make_table()
            return self._run_once(statement, values)

    def _run_once(self, statement: str, values: Mapping[str, object]) -> Rows:
        with self._pool.connection() as connection:
            try:
                cursor = connection.cursor(binary=True, row_factory=tuple_row)
                rows = cursor.execute(statement.encode(), {"prefix": self._prefix, **values}, prepare=False).fetchall()
            except ReadOnlySqlTransaction as error:
                self._leave(connection)
                raise _Lost(*error.args) from error
            except psycopg.OperationalError as error:
                if connection.closed or (error.sqlstate or "").startswith("40"):
                    raise _Lost(*error.args) from error
                raise
            if is_demoted(connection):
                self._leave(connection)
                raise _Lost("the server has become a standby")
            return rows

    def _leave(self, connection: psycopg.Connection[Any]) -> None:
        """There is another primary, to which only new connections lead, also for who listens."""
        connection.close()  # those of ours that are idle go with it
        self._renewals += 1

    def _make_table(self) -> None:
        try:
            with self._pool.connection() as connection:
                connection.execute(CREATE, prepare=False)
        except InsufficientPrivilege as error:
            raise StoreUnavailable(
                f"{self.describe()} has no table {TABLE}, and this user may not make it: ask for the table "
                "(job-progress doctor prints its definition)"
            ) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            reason = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
            raise StoreUnavailable(f"cannot use {self.describe()}: {reason}") from error


def _made(change: Change, found: Mapping[str, Record | None], repeated: bool) -> bool:
    if change.key not in found:
        return False
    record = found[change.key]
    return record is None or (repeated and (record.version, record.value) == (change.version, change.value))


def _without_own(url: str) -> tuple[str, dict[str, str]]:
    """*url* as libpq may see it, and the parameters that it would not know."""
    # As libpq has it: a question mark before an @ belongs to the password.
    [(user, place, query)] = re.findall(r"\A((?:\w+://)?(?:[^@/]*@)?)([^?]*)\??(.*)\Z", url, re.DOTALL)
    if "@" in place:  # else the rest of the password would be shown as a host or a database
        raise ValueError("in the URL of a PostgreSQL database, write @ and / in a name or password as %40 and %2F")
    own: dict[str, str] = {}
    others: list[str] = []
    for parameter in query.split("&") if query else []:
        name, _, value = parameter.partition("=")
        if name in ("push", "max_connections"):
            own[name] = unquote(value)
        else:
            others.append(parameter)
    return user + place + ("?" + "&".join(others) if others else ""), own


def _without_secrets(error: psycopg.Error) -> str:
    """What libpq says about a URL, without the part of the URL that it shows: it might be the password."""
    said = " ".join(str(error).split())
    return said if "parameter" in said and "=" not in said else said.rpartition(': "')[0] or said
