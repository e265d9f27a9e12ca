"""Changes pushed by PostgreSQL: one connection that listens, and one thread that waits at it, per subscription."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from job_progress.fork import reset_in_children

logger = logging.getLogger("job_progress")

LOOK_EVERY = 0.5
"""Seconds between looks at whether anybody still wants to know."""
RETRY_AFTER = 0.1
"""Seconds before a lost connection is made anew; after each failure twice as many, up to `RETRY_AT_LEAST_EVERY`."""
RETRY_AT_LEAST_EVERY = 5.0

_parked: list[object] = []
"""Inherited through a fork: to close them would be a word to the server in the parent's name."""


class PostgreSQLSubscription:
    """Listens to a channel on which the key of each change is told; an empty key stands for all.

    Args:
        connect: Gives a connection that is used for nothing else, and is closed in the end.
        channel: Where the changes are told.
        changed: Called with each key that has news, or that is followed from now on.
        renewals: What it gives changes as soon as the connection must be made anew.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
        channel: str,
        changed: Callable[[str], None],
        renewals: Callable[[], int],
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._changed = changed
        self._renewals = renewals
        self._keys: set[str] = set()
        self._listening: psycopg.Connection[Any] | None = None
        self._pause = RETRY_AFTER
        self._lock = threading.Lock()
        self._closed = threading.Event()
        reset_in_children(self)
        threading.Thread(target=self._work, name="job-progress push", daemon=True).start()

    def follow(self, key: str) -> None:
        with self._lock:
            self._keys.add(key)
            listening = self._listening is not None
        if listening:  # or else it is told as soon as that is so
            self._changed(key)

    def unfollow(self, key: str) -> None:
        with self._lock:
            self._keys.discard(key)

    def close(self) -> None:
        self._closed.set()

    def reset_after_fork(self) -> None:
        """The thread stays with the parent, and so does the connection."""
        _parked.append(self._listening)
        self._listening = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                with self._connect() as connection:
                    try:
                        self._listen(connection)
                    finally:
                        self._listening = None
                        connection.close()  # also if it is from a pool, where nobody else may get it as it is
            except (psycopg.Error, OSError) as error:
                logger.debug("changes are not pushed, and will be looked for: %s", error)
                self._closed.wait(self._pause)
                self._pause = min(2 * self._pause, RETRY_AT_LEAST_EVERY)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        made_for = self._renewals()
        connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
        connection.commit()
        with self._lock:
            self._listening = connection
            followed = list(self._keys)
        self._pause = RETRY_AFTER
        for key in followed:
            self._tell(key)
        while not self._closed.is_set() and self._renewals() == made_for:
            for told in connection.notifies(timeout=LOOK_EVERY):
                for key in [told.payload] if told.payload else list(self._keys):
                    self._tell(key)

    def _tell(self, key: str) -> None:
        if key in self._keys and not self._closed.is_set():
            self._changed(key)
