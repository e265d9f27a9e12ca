"""States in this process's own memory: for tests, notebooks and thread pools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from job_progress import clock
from job_progress.fork import reset_in_children
from job_progress.stores.contract import Change, Conflict, Query, Record, Store, Subscription

SWEEP_EVERY = 1000
"""Swaps between two sweeps of expired records."""


class MemoryStore(Store):
    """A dictionary and a lock. It pushes changes to watchers of the same process."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Change, float]] = {}  # with the time it was made
        self._subscribers: list[_Subscription] = []
        self._swaps = 0
        self._lock = threading.Lock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Keep the states as they were; the watchers stay with the parent."""
        self._lock = threading.Lock()
        self._subscribers = []

    def _current(self, key: str) -> Record | None:
        held = self._held.get(key)
        return _record(*held) if held and _lives(*held) else None

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        with self._lock:
            return [self._current(key) for key in keys]

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        conflicts: list[Conflict | None] = []
        changed: list[str] = []
        with self._lock:
            now = clock.steady()
            for change in changes:
                current = self._current(change.key)
                if (current.version if current else 0) == change.expected:
                    self._held[change.key] = (change, now)
                    changed.append(change.key)
                    conflicts.append(None)
                else:
                    conflicts.append(Conflict(current))
            self._swaps += 1
        if self._swaps % SWEEP_EVERY == 0:
            self.sweep()
        for key in changed:
            for subscription in list(self._subscribers):
                subscription.tell(key)
        return conflicts

    def list(self, query: Query) -> list[Record]:
        with self._lock:
            live = [held for held in self._held.values() if _lives(*held)]
        found = sorted(
            (
                (change, made)
                for change, made in live
                if (query.job is None or change.job == query.job)
                and (query.statuses is None or change.status in query.statuses)
                and (query.after is None or (-change.created, change.key) > (-query.after[0], query.after[1]))
            ),
            key=lambda held: (-held[0].created, held[0].key),
        )
        return [_record(*held) for held in found[: query.limit]]

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        subscription = _Subscription(changed, self._subscribers)
        self._subscribers.append(subscription)
        return subscription

    def sweep(self) -> None:
        with self._lock:
            self._held = {key: held for key, held in self._held.items() if _lives(*held)}

    def close(self) -> None:
        """Nothing to let go of: what is held stays."""

    def describe(self) -> str:
        return "this process's memory"


class _Subscription:
    def __init__(self, changed: Callable[[str], None], subscribers: list[_Subscription]) -> None:
        self._changed = changed
        self._subscribers = subscribers
        self._keys: set[str] = set()

    def tell(self, key: str) -> None:
        if key in self._keys:
            self._changed(key)

    def follow(self, key: str) -> None:
        self._keys.add(key)
        self._changed(key)

    def unfollow(self, key: str) -> None:
        self._keys.discard(key)

    def close(self) -> None:
        self._keys.clear()
        if self in self._subscribers:
            self._subscribers.remove(self)


def _record(change: Change, made: float) -> Record:
    return Record(change.version, change.value, max(clock.steady() - made, 0.0))


def _lives(change: Change, made: float) -> bool:
    return clock.steady() - made < change.lifetime
