"""The servers below a store, all of which a test may kill, freeze, empty and start again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.servers.django_caches import BACKENDS, cache_settings
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.process import ServerProcess
from tests.servers.valkey import ValkeyCluster, ValkeyServer


class Engine:
    """Server processes that only one test uses; they keep what they hold when they are killed.

    Args:
        url: Of a store on them.
        servers: All of them.
        empty: Has them forget what they hold. They are not running then.
    """

    def __init__(self, url: str, servers: Sequence[ServerProcess], empty: Callable[[], object]) -> None:
        self.url = url
        self.empty = empty
        self._servers = servers

    def kill(self) -> None:
        """End all of them, with no chance to tidy up."""
        for server in self._servers:
            server.kill()

    def start(self) -> None:
        """Start all of them, and wait until they answer."""
        for server in self._servers:
            server.start()

    def freeze(self) -> None:
        """Have all of them stand still, with their connections open."""
        for server in self._servers:
            server.freeze()

    def thaw(self) -> None:
        """Let them go on."""
        for server in self._servers:
            server.thaw()


def _forget(*servers: ValkeyServer) -> None:
    for server in servers:
        shutil.rmtree(server.folder / "appendonlydir")


def _redis(request: pytest.FixtureRequest) -> Iterator[Engine]:
    server: ValkeyServer = request.getfixturevalue("valkey")
    yield Engine(server.url, [server], lambda: _forget(server))


def _django_redis(request: pytest.FixtureRequest) -> Iterator[Engine]:
    server: ValkeyServer = request.getfixturevalue("valkey")
    with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=server.url) as url:
        yield Engine(url, [server], lambda: _forget(server))


def _redis_cluster(request: pytest.FixtureRequest) -> Iterator[Engine]:
    folder: Path = request.getfixturevalue("tmp_path")
    with ValkeyCluster(folder, 0, "--appendonly", "yes") as cluster:
        yield Engine(cluster.url, cluster.nodes, lambda: _forget(*cluster.nodes))


def _postgresql(request: pytest.FixtureRequest) -> Iterator[Engine]:
    server: PostgreSQLServer = request.getfixturevalue("postgresql")

    def empty() -> None:
        server.restart(keep_data=False)
        server.stop()

    yield Engine(server.url, [server], empty)


ENGINES: dict[str, Callable[[pytest.FixtureRequest], Iterator[Engine]]] = {
    "django-redis": _django_redis,
    "postgresql": _postgresql,
    "redis": _redis,
    "redis-cluster": _redis_cluster,
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The servers of each store that has some, in turn, and nothing in it."""
    yield from ENGINES[request.param](request)
