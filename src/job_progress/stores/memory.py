"""States in this process's own memory: for tests, notebooks and thread pools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from job_progress import clock
from job_progress.fork import reset_in_children
from job_progress.stores.contract import Change, Conflict, Query, Record, Store

SWEEP_EVERY = 1000
"""Swaps between two sweeps of expired records."""


class MemoryStore(Store):
    """A dictionary and a lock. It pushes changes to watchers of the same process."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Change, float]] = {}  # with the time it expires
        self._subscribers: list[Callable[[str], None]] = []
        self._swaps = 0
        self._lock = threading.Lock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Keep the states as they were; the watchers stay with the parent."""
        self._lock = threading.Lock()
        self._subscribers = []

    def _current(self, key: str) -> Record | None:
        held = self._held.get(key)
        if held is None or held[1] <= clock.now().timestamp():
            return None
        return Record(held[0].version, held[0].value)

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        with self._lock:
            return [self._current(key) for key in keys]

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        conflicts: list[Conflict | None] = []
        changed: list[str] = []
        with self._lock:
            now = clock.now().timestamp()
            for change in changes:
                current = self._current(change.key)
                if (current.version if current else 0) == change.expected:
                    self._held[change.key] = (change, now + change.lifetime)
                    changed.append(change.key)
                    conflicts.append(None)
                else:
                    conflicts.append(Conflict(current))
            self._swaps += 1
            if self._swaps % SWEEP_EVERY == 0:
                self._held = {key: held for key, held in self._held.items() if held[1] > now}
            subscribers = list(self._subscribers)
        for key in changed:
            for subscriber in subscribers:
                subscriber(key)
        return conflicts

    def list(self, query: Query) -> list[Record]:
        with self._lock:
            now = clock.now().timestamp()
            live = [change for change, expires in self._held.values() if expires > now]
        found = sorted(
            (
                change
                for change in live
                if (query.job is None or change.job == query.job)
                and (query.statuses is None or change.status in query.statuses)
                and (query.after is None or (-change.created, change.key) > (-query.after[0], query.after[1]))
            ),
            key=lambda change: (-change.created, change.key),
        )
        return [Record(change.version, change.value) for change in found[: query.limit]]

    def delete(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._held.pop(key, None)

    def subscribe(self, changed: Callable[[str], None]) -> Callable[[], None] | None:
        with self._lock:
            self._subscribers.append(changed)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.remove(changed)

        return unsubscribe

    def close(self) -> None:
        """Nothing to let go of: what is held stays."""

    def describe(self) -> str:
        return "this process's memory"
