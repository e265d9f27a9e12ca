"""A process's connections to a PostgreSQL server: few, kept, and none that can hang."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import Conninfo, TransactionStatus

from job_progress.fork import reset_in_children

T = TypeVar("T")

SILENCE = 5.0
"""Seconds without a word from the server, or without a free connection, after which nobody waits any more."""
MAX_CONNECTIONS = 4
DEFAULTS = {
    "connect_timeout": "5",
    "client_encoding": "utf8",
    "fallback_application_name": "job-progress",
    # A peer that has gone without a word is noticed within a minute.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""Of the client, unless the URL says otherwise."""

_parked: list[psycopg.Connection] = []
"""Inherited through a fork: to close them would be a word to the server in the parent's name."""


class Silent(psycopg.OperationalError):
    """The server has not said a word for too long."""


class PatientConnection(psycopg.Connection[Any]):
    """Gives up after a while of silence, and asks the server to do so, too.

    Attributes:
        was_read_only: Was it so from the beginning, as that to a standby that the URL names is?
    """

    was_read_only = True  # until it is known

    def wait(self, gen: PQGen[T], *args: Any, **options: Any) -> T:
        """As in the base class."""
        try:
            return super().wait(_while_heard(gen), *args, **options)
        except Silent:
            # What waits for a lock in the server would otherwise wait on, one more after each try, and then be done.
            if psycopg.capabilities.has_cancel_safe():  # the older way has no time limit
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=1.0)
            raise


def is_demoted(connection: psycopg.Connection[Any]) -> bool:
    """Does *connection* lead to a server that takes no changes any more? No I/O: servers from version 14 on say so."""
    return isinstance(connection, PatientConnection) and not connection.was_read_only and _is_read_only(connection)


def _is_read_only(connection: psycopg.Connection[Any]) -> bool:
    words = ("in_hot_standby", "default_transaction_read_only")
    return any(connection.info.parameter_status(word) == "on" for word in words)


def _while_heard(steps: PQGen[T]) -> PQGen[T]:
    heard = monotonic()
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if ready:
                heard = monotonic()
            elif monotonic() - heard > SILENCE:
                raise Silent(f"no answer for {SILENCE:g} s")
            wanted = steps.send(ready)
    except StopIteration as end:
        answer: T = end.value
        return answer


class Connections:
    """Opens connections when they are needed, and keeps them for the next who does.

    Unlike a pool with threads of its own it connects in the caller's thread, which hears at once, and
    first-hand, why it cannot be; and a forked child begins anew.

    Args:
        settings: The server, the database and the user, in libpq's words.
        at_most: Connections in use at the same time; who needs one more waits for `SILENCE` seconds.
    """

    def __init__(self, settings: Mapping[str, Any], at_most: int = MAX_CONNECTIONS) -> None:
        self._settings = {**DEFAULTS, **settings}
        self._at_most = at_most
        self._idle: list[PatientConnection] = []
        self.reset_after_fork()
        reset_in_children(self)

    def __del__(self) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Where they lead to, without secrets. No I/O."""
        given = {option.keyword.decode(): (option.val or b"").decode() for option in Conninfo.get_defaults()}
        given |= {word: str(value) for word, value in self._settings.items()}
        host = given["host"] or given["hostaddr"] or "localhost"
        return f"at {host}:{given['port']}, database {given['dbname'] or given['user']}"

    @contextmanager
    def connection(self) -> Generator[PatientConnection]:
        """A connection for one thread, for a while.

        Raises:
            psycopg.OperationalError: There is no server, it does not let us in, or all are in use.
        """
        free = self._free
        if not free.acquire(timeout=SILENCE):
            raise psycopg.OperationalError(
                f"all {self._at_most} connections were in use for {SILENCE:g} s; max_connections allows for more"
            )
        try:
            with self._lock:
                idle = self._idle
                connection = idle.pop() if idle else None
            connection = connection or self._connect()
            try:
                yield connection
            finally:
                self._take_back(connection, idle)
        finally:
            free.release()

    @contextmanager
    def one_more(self) -> Iterator[PatientConnection]:
        """A connection that stays with its user, and does not count.

        Raises:
            psycopg.OperationalError: There is no server, or it does not let us in.
        """
        connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close what is idle now, and what is in use as soon as it no longer is. The next use opens another."""
        with self._lock:
            closing, self._idle = self._idle, []
        for connection in closing:
            connection.close()

    def reset_after_fork(self) -> None:
        """Open connections of this process's own when they are needed."""
        _parked.extend(self._idle)
        self._idle = []
        self._lock = threading.Lock()
        self._free = threading.Semaphore(self._at_most)

    def _connect(self) -> PatientConnection:
        # Prepared statements stay with the server's connection, which behind a proxy is somebody else's next.
        connection = PatientConnection.connect(**self._settings, autocommit=True, prepare_threshold=None)
        connection.was_read_only = _is_read_only(connection)
        return connection

    def _take_back(self, connection: PatientConnection, idle: list[PatientConnection]) -> None:
        sound = connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            kept = sound and idle is self._idle  # nobody has closed them meanwhile
            if kept:
                idle.append(connection)
        if not kept:
            connection.close()
        if not sound:
            self.close()  # whatever has ended this one has probably ended the others
