"""What a store must do: a compare-and-swap map, listed newest first, that forgets in time.

A store is dumb. It knows keys, versions, bytes and the few labels that listing needs; what the
bytes mean, and what may replace what, is decided elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class Record(Struct, frozen=True, eq=False):
    """What a store holds for a key.

    Attributes:
        version: As in the latest change.
        value: As in the latest change.
        age: Seconds since that change, by one clock for all who use the store, so that a process
            whose own clock is wrong, or jumps, sees the same as the others.
    """

    version: int
    value: bytes
    age: float = 0.0

    def __eq__(self, other: object) -> bool:
        """Is it the same record? It stays so while it ages."""
        return isinstance(other, Record) and (self.version, self.value) == (other.version, other.value)

    def __ne__(self, other: object) -> bool:
        """Is it another?"""
        return not self == other


class Change(Struct, frozen=True, kw_only=True):
    """A wish to replace what a store holds for a key.

    Attributes:
        key: Below the store's prefix.
        expected: The version that must be there; 0: nothing may be there.
        version: The new version.
        value: The new bytes.
        lifetime: Seconds until the store forgets the record, unless it is changed again; 0: at once.
        job: Label to list by.
        status: Label to list by.
        created: Position in listings, in microseconds; larger is listed first.
    """

    key: str
    expected: int
    version: int
    value: bytes
    lifetime: float
    job: str
    status: str
    created: int


class Conflict(Struct, frozen=True):
    """A change that was not made, and what stands there instead: `None`, if nothing does."""

    current: Record | None


class Query(Struct, frozen=True, kw_only=True):
    """Which records to list.

    Attributes:
        job: Only these, if given.
        statuses: Only these, if given.
        limit: At most so many; at least 1.
        after: `(created, key)`: only what comes after it in the order of listings.
    """

    limit: int
    job: str | None = None
    statuses: Collection[str] | None = None
    after: tuple[int, str] | None = None


class Finding(Struct, frozen=True):
    """What there is to say about a store.

    Attributes:
        text: What was found.
        advice: What to do about it; empty if nothing need be done.
    """

    text: str
    advice: str = ""


class Subscription(Protocol):
    """Tells of changes to the keys it follows. Every method returns at once, and none raises."""

    def follow(self, key: str) -> None:
        """Tell of changes to *key* from now on, and once more as soon as that is so."""
        ...

    def unfollow(self, key: str) -> None:
        """Tell of *key* no more."""
        ...

    def close(self) -> None:
        """Tell of nothing any more, and let go of the connection."""
        ...


class Store(ABC):
    """The contract. Every method may be called from any thread and any process.

    Each method is one round trip where the engine can do it in one, and raises
    `StoreUnavailable`, and nothing else, when the engine does not do its part.
    """

    @abstractmethod
    def load(self, keys: Sequence[str]) -> list[Record | None]:
        """The records of *keys*, in their order; `None` for what is not there or has expired."""

    @abstractmethod
    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        """Make each change whose `expected` is the current version; atomic one by one, not together.

        Returns:
            For each, in order: `None` if it was made, or else the conflict. The keys differ.
        """

    @abstractmethod
    def list(self, query: Query) -> list[Record]:
        """What *query* asks for, by `created` falling, then by key rising."""

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        """Push changes, made by any process: *changed* is called with the key after each. No I/O.

        *changed* returns at once and may be called from any thread. Deliveries may be lost or doubled;
        when a lost connection is there again, all keys that are followed count as changed. `None`: this
        store cannot push, and who wants to watch must load now and then.
        """
        return None

    def stamp(self) -> Hashable:
        """A value that differs after each change by any process; `None`: this store has none.

        For stores that cannot push: it costs much less than a load of all that is watched.
        """
        return None

    def changed(self, known: Mapping[str, int]) -> Sequence[str]:
        """The keys whose version is not the one that is *known* (0: there is none). It may give some more."""
        return list(known)

    def sweep(self) -> None:  # noqa: B027 - most need not
        """Free the space of what has expired, where the engine does not do so by itself."""

    def examine(self) -> Iterable[Finding]:
        """What whoever runs the engine should know of it: which it is, and settings that matter. Some round trips."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. A later use opens them again."""

    @abstractmethod
    def describe(self) -> str:
        """What and where this store is, in a few words and without secrets. No I/O."""
