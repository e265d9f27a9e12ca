"""Says once that a store is away, and once that it is back, however many parts of the process find out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from job_progress.errors import NewerFormat, StoreUnavailable
from job_progress.fork import reset_in_children
from job_progress.stores.contract import Store

logger = logging.getLogger("job_progress")

WRITING = "reporter"
"""The party that publishes runs."""
SILENT_AFTER = 1.0
"""Seconds without an answer after which jobs do not ask, too. A store that is up takes milliseconds, and a job that
begins without asking does not know whether it was cancelled."""


class Outage:
    """Who cannot reach a store at present. Reading may go on while writing fails, so each party is asked for itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reset_after_fork()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """A forked child finds out for itself: it may end as soon as its first job has."""
        self._parties: set[str] = set()
        self._reached_at: dict[str, float] = {}
        self._asked_at: dict[object, float] = {}
        self._known_overdue: set[object] = set()
        self._is_waited_for = False
        self._lock = threading.RLock()  # as a signal handler may report

    @property
    def stops_writing(self) -> bool:
        """Is it known that nothing can be written at present? No I/O."""
        return WRITING in self._parties

    @property
    def is_waited_for(self) -> bool:
        """Does somebody wait for the store already, or has waited, so that a job need not do so, too? No I/O."""
        return (self.stops_writing and self._is_waited_for) or self.is_silent

    @property
    def is_silent(self) -> bool:
        """Does a call wait for so long that the store is probably away? No I/O."""
        overdue = self._overdue()
        if overdue and self._known_overdue.isdisjoint(overdue):
            sleep(0.002)  # the answer may be there: this thread may have kept the one that waits for it from running
            self._known_overdue = overdue = self._overdue()
        return bool(overdue)

    def _overdue(self) -> set[object]:
        latest, reached_at = monotonic() - SILENT_AFTER, self._reached_at.get(WRITING, 0.0)
        return {call for call, asked_at in list(self._asked_at.items()) if reached_at < asked_at < latest}

    @contextmanager
    def asking(self, asked_at: float) -> Iterator[None]:
        """Inside a `with` that begins at this monotonic time, the store is asked to write something."""
        call = object()
        self._asked_at[call] = asked_at
        try:
            yield
        finally:
            self._asked_at.pop(call, None)  # a forked child has forgotten it

    def begins(self, party: str, error: Exception, asked_at: float) -> bool:
        """*party* met *error* where it looked for an answer of the store, which it had asked at this monotonic time.

        Returns:
            Whether that means that the store is away: it does not, if *party* has reached it since it asked, or if
            it has answered with what only a newer version can read.
        """
        if asked_at < self._reached_at.get(party, 0.0) or isinstance(error, NewerFormat):
            return False
        with self._lock:
            is_news = not self._parties
            self._parties.add(party)
        if is_news:
            defect = None if isinstance(error, StoreUnavailable) else error
            # Its text: a handler that keeps records would keep all that the error came through.
            logger.warning("%s; what is reported is kept until it is back", str(error), exc_info=defect)
        return True

    def ends(self, party: str) -> None:
        """*party* has reached the store."""
        self._reached_at[party] = monotonic()
        if party not in self._parties:  # as nearly always
            return
        with self._lock:
            is_news = self._parties == {party}
            self._parties.discard(party)
            self._is_waited_for = self._is_waited_for and party != WRITING
        if is_news:
            logger.warning("%s is back", self._store.describe())

    def is_first_to_wait(self) -> bool:
        """Shall the caller wait for the store to come back? One for each outage is told so."""
        with self._lock:
            is_first, self._is_waited_for = not self._is_waited_for, True
        return is_first
