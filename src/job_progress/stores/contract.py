"""What a store must do: a compare-and-swap map, listed newest first, that forgets in time.

A store is dumb. It knows keys, versions, bytes and the few labels that listing needs; what the
bytes mean, and what may replace what, is decided elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct


class Record(Struct, frozen=True):
    """What a store holds for a key."""

    version: int
    value: bytes


class Change(Struct, frozen=True, kw_only=True):
    """A wish to replace what a store holds for a key.

    Attributes:
        key: Below the store's prefix.
        expected: The version that must be there; 0: nothing may be there.
        version: The new version.
        value: The new bytes.
        lifetime: Seconds until the store forgets the record, unless it is changed again.
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

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Forget *keys*; unknown ones are no error."""

    def subscribe(self, changed: Callable[[str], None]) -> Callable[[], None] | None:
        """Call *changed* with a key after each change to it, from any process, until the answer is called.

        *changed* returns at once and may be called from any thread. Deliveries may be lost or
        doubled. `None`: this store cannot push, and who wants to watch must load now and then.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. A later use opens them again."""

    @abstractmethod
    def describe(self) -> str:
        """What and where this store is, in a few words and without secrets. No I/O."""
