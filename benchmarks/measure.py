"""What all benchmarks share: how a time is taken, what a row of the results is, a store that counts.

A time is the median over rounds of the best of a few tries. In each try every contestant runs
once, in turn, so that whatever else the machine does meets all of them alike: the best of the
tries drops what it does now and then, the median of the rounds what it does for longer. A ratio
is the quotient of two such times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from time import perf_counter

from job_progress.stores import Change, Conflict, Query, Record, Store
from job_progress.stores.contract import Subscription


@dataclass(frozen=True)
class Row:
    """One line of the results.

    Attributes:
        measure: What was measured.
        ours: Our figure, in *unit*.
        unit: What is counted.
        peer: The figure of the peer, in the same unit; `None`: there is none, as for a mere count.
        peer_name: Who the peer is.
        goal: What the ratio (without a peer: our figure) is to be at most; `None`: a figure to know, not to reach.
        limit: What our figure itself is to be at most, where there is a peer as well.
    """

    measure: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    goal: float | None = None
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours ÷ the peer's."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Is the goal met? `None`, if there is none."""
        if self.limit is not None:
            return self.ours <= self.limit
        figure = self.ours if self.ratio is None else self.ratio
        return None if self.goal is None else figure <= self.goal


def interleaved(contestants: Mapping[str, Callable[[], float]], *, rounds: int, tries: int) -> dict[str, float]:
    """The time of each contestant, as the module describes; each call runs it once and gives its time."""
    best: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(tries):
            for name, run in contestants.items():
                times[name].append(run())
        for name in contestants:
            best[name].append(min(times[name]))
    return {name: median(times) for name, times in best.items()}


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """*action* as a contestant: each call runs it and gives the seconds that took."""

    def run() -> float:
        begin = perf_counter()
        action()
        return perf_counter() - begin

    return run


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* (0..1) of *values* do not exceed."""
    return sorted(values)[max(ceil(len(values) * share) - 1, 0)]


class CountingStore(Store):
    """Another store, with a count of its round trips and the changes of the latest swap."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.trips = 0
        self.swapped: Sequence[Change] = ()

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        """Count, and pass on."""
        self.trips += 1
        return self._store.load(keys)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        """Count, remember, and pass on."""
        self.trips += 1
        self.swapped = changes
        return self._store.swap(changes)

    def list(self, query: Query) -> list[Record]:
        """Count, and pass on."""
        self.trips += 1
        return self._store.list(query)

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        """Pass on: this is one subscription, and no round trip."""
        return self._store.subscribe(changed)

    def close(self) -> None:
        """Pass on."""
        self._store.close()

    def describe(self) -> str:
        """Pass on."""
        return self._store.describe()
