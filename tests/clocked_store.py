"""A real store below a clock that a test holds, for engines that go by a clock of their own."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from job_progress import clock
from job_progress.stores import Change, Conflict, Query, Record, Store
from tests.stores.changes import forget


class ClockedStore(Store):
    """What *store* does, with ages and ends of lifetimes by `job_progress.clock`.

    It has to see all changes, so it is for one process. What has expired is deleted before anybody looks.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, tuple[float, float]] = {}  # when each key was changed, and for how long that stays

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        self._forget_expired()
        return [self._aged(key, record) for key, record in zip(keys, self._store.load(keys), strict=True)]

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        self._forget_expired()
        conflicts = self._store.swap(changes)
        for change, conflict in zip(changes, conflicts, strict=True):
            if conflict is None:
                self._made[change.key] = (clock.steady(), change.lifetime)
        return [
            conflict and Conflict(self._aged(change.key, conflict.current))
            for change, conflict in zip(changes, conflicts, strict=True)
        ]

    def list(self, query: Query) -> list[Record]:
        raise NotImplementedError("a record does not say its key, without which its age is unknown")

    def close(self) -> None:
        self._store.close()

    def describe(self) -> str:
        return f"{self._store.describe()}, by the test's clock"

    def _aged(self, key: str, record: Record | None) -> Record | None:
        return record and structs.replace(record, age=clock.steady() - self._made[key][0])

    def _forget_expired(self) -> None:
        expired = [key for key, (made, lifetime) in self._made.items() if clock.steady() - made >= lifetime]
        forget(self._store, *expired)
        for key in expired:
            del self._made[key]
