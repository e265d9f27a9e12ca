"""What changes in the list of states: one look a second for all who watch it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from job_progress.errors import StoreUnavailable
from job_progress.reentrant import LateLock, Wake
from job_progress.state import JobState, JobStatus
from job_progress.tracker import Tracker
from job_progress.web.view import Errors, event, state_event
from job_progress.web.ways import Bell

logger = logging.getLogger("job_progress")

EVERY = 1.0
"""Seconds between two looks."""
NEWEST = 200
"""So many of the newest states are looked at, whatever has become of them."""
RUNNING = 1000
"""And so many of those that run or wait."""
MANY = 200
"""More changes than that between two looks, and viewers load the list anew instead."""
KEPT = 30
"""Looks that a slow viewer may lag behind."""

RESET = event("reset")
BEFORE_ALL = -1
"""The place of a viewer that knows nothing yet."""
Name = tuple[str, str]
Seen = tuple[JobState, bool]
"""A state, and whether it was stalled when it was looked at."""


class LiveList:
    """Looks at the newest states and at those that run, and keeps what has changed for its viewers.

    What is kept is shared: a viewer holds only its place in it, and one that lags too far
    behind is told to load the list anew. The thread lives while there are viewers.
    """

    def __init__(self, tracker: Callable[[], Tracker], errors: Errors) -> None:
        self._tracker = tracker
        self._errors = errors
        self._lock = LateLock()
        self._bells: list[Bell] = []
        self._wake = Wake()
        self._thread: threading.Thread | None = None
        self._number = 0
        self._has_looked = False
        self._changes: deque[tuple[int, bytes]] = deque(maxlen=KEPT)

    @contextmanager
    def viewing(self, bell: Bell) -> Iterator[int]:
        """Rings *bell* after each change while inside; gives the place to begin at, before all."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="job-progress list", daemon=True)
                thread.start()
                self._thread = thread
            self._bells.append(bell)
        try:
            yield BEFORE_ALL
        finally:
            self._lock.do(partial(self._bells.remove, bell))
            self._wake.set()

    def after(self, number: int) -> tuple[int, bytes]:
        """The events since the place *number*, and the place behind them."""
        with self._lock:
            changes, newest = list(self._changes), self._number
            if not self._has_looked:  # what changed before the first look would be missed
                return number, b""
        if number == newest:
            return newest, b""
        if number == BEFORE_ALL or changes[0][0] > number + 1:
            return newest, RESET
        return newest, b"".join(events for at, events in changes if number < at <= newest)

    def _work(self) -> None:
        seen: dict[Name, Seen] | None = None
        away = False
        while True:
            with self._lock:
                if not self._bells:
                    self._thread = None
                    self._has_looked = False
                    return
            try:
                found = self._look(seen or {})
                if away:
                    logger.warning("the list of states can be watched again")
                    self._publish(RESET)
                elif seen is not None:
                    self._publish(self._told(seen, found))
                seen, away = found, False
                self._begin()
            except Exception as error:
                if not away:
                    defect = None if isinstance(error, StoreUnavailable) else error
                    logger.warning("the list of states cannot be watched for now: %s", error, exc_info=defect)
                away = True
            self._wake.wait(EVERY)

    def _look(self, seen: dict[Name, Seen]) -> dict[Name, Seen]:
        tracker = self._tracker()
        running = tracker.list(status=(JobStatus.PENDING, JobStatus.PROCESSING), limit=RUNNING)
        found = {(state.job, state.id): state for state in (*running, *tracker.list(limit=NEWEST))}
        ended = [name for name, (state, _) in seen.items() if not state.is_finished and name not in found]
        if ended:
            last = tracker.get_listed(ended)
            found |= {name: state for name, state in zip(ended, last, strict=True) if state is not None}
        return {name: (state, state.is_stalled) for name, state in found.items()}

    def _told(self, seen: dict[Name, Seen], found: dict[Name, Seen]) -> bytes:
        changed = [now[0] for name, now in found.items() if _is_news(seen.get(name), now)]
        if len(changed) > MANY:
            return RESET
        return b"".join(state_event(state, self._errors.shown(state, sees_all=True)) for state in reversed(changed))

    def _begin(self) -> None:
        with self._lock:
            bells = [] if self._has_looked else list(self._bells)
            self._has_looked = True
        for bell in bells:
            bell.ring()

    def _publish(self, events: bytes) -> None:
        if events:
            with self._lock:
                self._number += 1
                self._changes.append((self._number, events))
                bells = list(self._bells)
            for bell in bells:
                bell.ring()


def _is_news(before: Seen | None, now: Seen) -> bool:
    if before is None:
        return True
    return (before[0].version, before[1]) < (now[0].version, now[1])
