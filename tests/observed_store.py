"""A store in memory that counts its round trips, and goes away when told to."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from job_progress import StoreUnavailable
from job_progress.stores import Change, Conflict, Query, Record
from job_progress.stores.contract import Subscription
from job_progress.stores.memory import MemoryStore


class Cycle:
    """Holds itself, so that only the garbage collector finds that nobody wants it, and what it holds, any more."""

    def __init__(self, *held: object) -> None:
        self.held = held
        self.itself = self


class CollectingStore(MemoryStore):
    """One whose lock is held, as those of many clients are, while the garbage collector runs."""

    def __init__(self) -> None:
        super().__init__()
        self._own = threading.Lock()

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        with self._own:
            gc.collect()
            return super().load(keys)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        with self._own:
            gc.collect()
            return super().swap(changes)

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        gc.collect()
        return super().subscribe(changed)


class ObservedStore(MemoryStore):
    """What happened to it, and what shall."""

    def __init__(self) -> None:
        super().__init__()
        self.swaps: list[Sequence[Change]] = []
        self.times: list[float] = []
        self.loads = 0
        self.away = False
        self.broken = False
        self.refused = 0
        self.refused_in: list[int] = []
        self.before_swap: Callable[[], object] = lambda: None
        self.happened = threading.Event()

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        self._reach()
        self.loads += 1
        return super().load(keys)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        self._reach()
        self.before_swap()
        self.swaps.append(changes)
        self.times.append(monotonic())
        self.happened.set()
        return super().swap(changes)

    def list(self, query: Query) -> list[Record]:
        self._reach()
        return super().list(query)

    @property
    def round_trips(self) -> int:
        return len(self.swaps) + self.loads

    def _reach(self) -> None:
        if self.broken:
            raise RuntimeError("a defect")
        if self.away:
            self.refused += 1
            self.refused_in.append(threading.get_ident())
            raise StoreUnavailable("the store is away")
