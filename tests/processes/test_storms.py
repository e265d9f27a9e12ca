"""A hundred jobs a second go on while their store fails, in each way in which stores fail: no job pays for it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from job_progress.errors import StoreUnavailable
from tests.processes import crowds
from tests.processes.child import Launch
from tests.processes.conftest import SOAKED
from tests.processes.engines import ENGINES
from tests.processes.jobs import job_at
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.proxy import Proxy
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

PER_SECOND = 100
CALM = float(os.environ.get("SOAK_CALM", "90"))
"""Seconds before the store fails, and after."""
STORM = 10.0


class Store:
    """A store's URL, and the ways in which it can fail, each of which returns how it comes back."""

    def __init__(self, url: str, **ways: Callable[[], Callable[[], object]]) -> None:
        self.url = url
        self.ways = ways


def _through(proxy: Proxy, url: str) -> tuple[str, dict[str, Callable[[], Callable[[], object]]]]:
    def slow() -> Callable[[], object]:
        proxy.latency = 1.0
        return proxy.resume

    def reset() -> Callable[[], object]:
        proxy.cuts_answers = True
        proxy.cut()
        return proxy.resume

    def refuse() -> Callable[[], object]:
        proxy.refuse()
        return proxy.resume

    return url, {"slow": slow, "reset": reset, "refuse": refuse}


@contextmanager
def redis(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Valkey behind a network."""
    server: ValkeyServer = request.getfixturevalue("valkey")

    def silent() -> Callable[[], object]:
        server.freeze()
        return server.thaw

    def read_only() -> Callable[[], object]:
        server.ask("REPLICAOF", "127.0.0.1", "1")
        return lambda: server.ask("REPLICAOF", "NO", "ONE")

    def full() -> Callable[[], object]:
        server.ask("CONFIG", "SET", "maxmemory", "1")
        return lambda: server.ask("CONFIG", "SET", "maxmemory", "0")

    with Proxy(server.port) as proxy:
        url, ways = _through(proxy, f"redis://127.0.0.1:{proxy.port}/0")
        yield Store(url, silent=silent, read_only=read_only, full=full, **ways)


@contextmanager
def postgresql(request: pytest.FixtureRequest) -> Iterator[Store]:
    """PostgreSQL behind a network."""
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    client = server.connect()

    def ask(command: str) -> None:
        client.execute(command.encode())

    def silent() -> Callable[[], object]:
        server.freeze()
        return server.thaw

    def set_read_only(value: str) -> None:
        ask(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        ask("SELECT pg_reload_conf()")

    def read_only() -> Callable[[], object]:
        set_read_only("on")

        def come_back() -> None:
            ask("SET default_transaction_read_only = off")
            set_read_only("off")

        return come_back

    with Proxy(server.port) as proxy:

        def full() -> Callable[[], object]:
            proxy.refuse()  # or the store would be back before all places are taken
            leave = server.fill()
            proxy.resume()
            return leave

        url, ways = _through(proxy, server.url.replace(f":{server.port}", f":{proxy.port}"))
        yield Store(url, silent=silent, read_only=read_only, full=full, **ways)
    client.close()


@contextmanager
def redis_cluster(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A cluster of Valkey servers."""
    with contextmanager(ENGINES["redis-cluster"])(request) as engine:

        def silent() -> Callable[[], object]:
            engine.freeze()
            return engine.thaw

        def refuse() -> Callable[[], object]:
            engine.kill()
            return engine.start

        yield Store(engine.url, silent=silent, refuse=refuse)


@contextmanager
def sqlite(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A file that another process keeps to itself."""
    file: Path = request.getfixturevalue("tmp_path") / "states.sqlite3"

    def locked() -> Callable[[], object]:
        connection = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN EXCLUSIVE")
        return connection.close

    yield Store(f"sqlite:///{file}", locked=locked)


_ALL: list[tuple[Any, str]] = [
    *((redis, way) for way in ("refuse", "silent", "slow", "reset", "read_only", "full")),
    *((postgresql, way) for way in ("refuse", "silent", "slow", "reset", "read_only", "full")),
    *((redis_cluster, way) for way in ("refuse", "silent")),
    (sqlite, "locked"),
]
STORMS = [(kind, way) for kind, way in _ALL if kind.__name__.replace("_", "-") in SOAKED]


@pytest.mark.parametrize(("kind", "way"), STORMS, ids=[f"{kind.__name__} {way}" for kind, way in STORMS])
def test_no_job_pays_for_a_storm(
    launch: Launch, kind: Callable[..., Any], way: str, request: pytest.FixtureRequest
) -> None:
    """None fails, of a hundred 99 take at most 10 ms more, and all states are right 5 s after the store is back."""
    with ExitStack() as stack:
        store: Store = stack.enter_context(kind(request))
        job = job_at(store.url)
        stack.callback(job.tracker.close)
        child = launch(crowds.run_in_a_storm, store.url, PER_SECOND)
        assert child.hear() == "running"
        time.sleep(CALM)
        come_back = store.ways[way]()
        time.sleep(STORM)
        child.tell("count")
        ended = int(child.hear())
        come_back()
        back_at = time.monotonic()

        def are_right() -> bool:
            with suppress(StoreUnavailable):
                states = job.tracker.get_many([(job.name, f"{number}") for number in range(ended)])
                return all(state is not None and state.is_completed and state.completed == 20 for state in states)
            return False

        eventually(are_right, 60)
        right_after = time.monotonic() - back_at
        time.sleep(max(0.0, CALM - right_after))
        child.tell("end")
        told = json.loads(child.hear(60))
        print(f"{kind.__name__} {way}: right after {right_after:.1f} s, {told}")
        assert told["failed"] == []
        # A job asks a slow store as its start and its end ask any other, and pays for the two answers.
        assert way == "slow" or told["p99"] <= told["calm p99"] + 0.010
        assert right_after <= 5.0
