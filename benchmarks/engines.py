"""The engines below the stores, each started for a benchmark and gone when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.postgresql import PostgreSQLServer
from tests.servers.valkey import ValkeyCluster, ValkeyServer

AnotherStore = Callable[[], str]
"""Gives the URL of an empty store that shares no table and no key space with any other."""


@contextmanager
def sqlite() -> Iterator[AnotherStore]:
    """Files in a folder of their own."""
    with TemporaryDirectory() as folder:
        numbers = count()
        yield lambda: f"sqlite:///{folder}/{next(numbers)}.db"


@contextmanager
def valkey() -> Iterator[AnotherStore]:
    """Databases, at most sixteen, of one server that writes nothing to disk."""
    with TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as server:
        numbers = count()
        yield lambda: server.url.removesuffix("0") + str(next(numbers))


@contextmanager
def valkey_cluster() -> Iterator[AnotherStore]:
    """Clusters of three primaries, which write nothing to disk."""
    with TemporaryDirectory() as folder, ExitStack() as clusters:
        numbers = count()

        def another() -> str:
            place = Path(folder) / f"{next(numbers)}"
            place.mkdir()
            return clusters.enter_context(ValkeyCluster(place)).url

        yield another


@contextmanager
def postgresql() -> Iterator[AnotherStore]:
    """Databases of one server that does not wait for the disk."""
    with PostgreSQLServer() as server:
        numbers = count()

        def another() -> str:
            name = f"benchmark_{next(numbers)}"
            with server.connect() as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return server.url.removesuffix("postgres") + name

        yield another


ENGINES: Mapping[str, Callable[[], AbstractContextManager[AnotherStore]]] = {
    "SQLite": sqlite,
    "Valkey": valkey,
    "PostgreSQL": postgresql,
}
"""Those that every figure of a store is taken on."""
