"""The stores that keep the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import NamedTuple

import pytest

from job_progress.stores import Store, open_store
from job_progress.testing import FrozenClock, frozen_clock


class Kind(NamedTuple):
    """A kind of store.

    Attributes:
        url: The fixture that gives the URL of an empty one.
        shared: Do all that open this URL see the same?
        pushes: Does `subscribe` deliver?
        own_clock: Does its engine go by a clock of its own, which no test can hold?
    """

    url: str
    shared: bool = True
    pushes: bool = True
    own_clock: bool = True


KINDS = {
    "django-database": Kind("django_database_url", pushes=False, own_clock=False),
    "django-file": Kind("django_file_url", pushes=False, own_clock=False),
    "django-locmem": Kind("django_locmem_url", pushes=False, own_clock=False),
    "django-redis": Kind("django_redis_url", pushes=False, own_clock=False),
    "memory": Kind("memory_url", shared=False, own_clock=False),
    "redis": Kind("valkey_url"),
    "postgresql": Kind("postgresql_url"),
    "redis-cluster": Kind("cluster_url"),
    "sqlite": Kind("sqlite_url", pushes=False, own_clock=False),
}
SHARED = [name for name, kind in KINDS.items() if kind.shared]
PUSHING = [name for name, kind in KINDS.items() if kind.pushes]

Open = Callable[[str], Store]


class Time:
    """Time as the store sees it, in a unit that is a second for those whose clock can be moved, and else shorter."""

    def __init__(self, clock: FrozenClock | None) -> None:
        self._clock = clock
        self._passed = 0.0

    def __call__(self, units: float) -> float:
        """So many units, in seconds."""
        return units if self._clock else units * REAL_UNIT

    def passes(self, units: float) -> None:
        """Let so many units go by."""
        self._passed += units
        if self._clock:
            self._clock.tick(units)
        else:
            sleep(self(units))

    def now(self) -> float:
        """How many units have gone by; on a busy machine, more than a test has let pass."""
        return self._passed if self._clock else monotonic() / REAL_UNIT


REAL_UNIT = 0.05
"""Seconds."""


@pytest.fixture
def time(request: pytest.FixtureRequest) -> Iterator[Time]:
    """The time of the store under test."""
    if KINDS[request.node.callspec.params["store_url"]].own_clock:
        yield Time(None)
        return
    with frozen_clock() as clock:
        yield Time(clock)


@pytest.fixture
def memory_url() -> str:
    """One store per opening."""
    return "memory://"


@pytest.fixture(params=list(KINDS))
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, of each kind in turn."""
    url: str = request.getfixturevalue(KINDS[request.param].url)
    return url


@pytest.fixture
def open_with(store_url: str) -> Iterator[Open]:
    """Open the store again, with a prefix."""
    opened: list[Store] = []

    def open_it(prefix: str) -> Store:
        opened.append(open_store(store_url, prefix))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_with: Open) -> Store:
    """An empty store."""
    return open_with("test")
