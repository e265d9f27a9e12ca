"""The stores that keep the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from job_progress.stores import Store, open_store


class Kind(NamedTuple):
    """A kind of store.

    Attributes:
        url: The fixture that gives the URL of an empty one.
        shared: Do all that open this URL see the same?
        pushes: Does `subscribe` deliver?
    """

    url: str
    shared: bool = True
    pushes: bool = True


KINDS = {
    "memory": Kind("memory_url", shared=False),
    "sqlite": Kind("sqlite_url", pushes=False),
}
SHARED = [name for name, kind in KINDS.items() if kind.shared]
PUSHING = [name for name, kind in KINDS.items() if kind.pushes]

Open = Callable[[str], Store]


@pytest.fixture
def memory_url() -> str:
    """One store per opening."""
    return "memory://"


@pytest.fixture(params=KINDS)
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
