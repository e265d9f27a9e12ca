"""Short jobs without end: nothing goes wrong, and nothing grows."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from job_progress import Tracker
from job_progress.stores import open_store
from tests.processes import crowds
from tests.processes.child import Launch
from tests.processes.conftest import BETWEEN_PROCESSES, SOAKED
from tests.servers.django_caches import states_cache
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.valkey import ValkeyCluster, ValkeyServer
from tests.waiting import eventually

GROWTH = 4_000_000
"""Bytes by which the memory of a worker may differ, as its allocator takes and gives back pages."""
SILENT_FOR = float(os.environ.get("SOAK_SILENT", "600"))
"""Seconds."""


def size_of(request: pytest.FixtureRequest, kind: str) -> Callable[[], int]:
    """How to count all that a store holds, be it expired or not: rows, keys, members of sets and files."""
    if kind == "postgresql":
        server: PostgreSQLServer = request.getfixturevalue("shared_postgresql")

        def rows() -> int:
            with closing(server.connect()) as connection:
                return int(connection.execute("SELECT count(*) FROM job_progress_states").fetchall()[0][0])

        return rows
    if kind == "sqlite":
        file: Path = request.getfixturevalue("sqlite_file")

        def lines() -> int:
            with closing(sqlite3.connect(file, timeout=10)) as connection:
                return int(connection.execute("SELECT count(*) FROM states").fetchall()[0][0])

        return lines
    if kind in ("redis", "django-redis"):
        valkey: ValkeyServer = request.getfixturevalue("shared_valkey")
        return lambda: _keys(valkey)
    if kind == "redis-cluster":
        cluster: ValkeyCluster = request.getfixturevalue("shared_cluster")
        return lambda: sum(_keys(node) for node in cluster.nodes)
    cache: Any = states_cache()
    if kind == "django-file":
        return lambda: len(cache._list_cache_files())

    def in_table() -> int:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {cache._table}")
            return int(cursor.fetchall()[0][0])

    return in_table


def _keys(server: ValkeyServer) -> int:
    with server.client() as client:
        names = list(client.scan_iter(count=1000))
        return len(names) + sum(client.zcard(name) for name in names if client.type(name) == b"zset")


@pytest.mark.parametrize(
    ("shared_url", "seconds"),
    [
        *((kind, 4) for kind in BETWEEN_PROCESSES),
        *(pytest.param(kind, 600, marks=[pytest.mark.soak, pytest.mark.timeout(1200)]) for kind in SOAKED),
    ],
    indirect=["shared_url"],
)
def test_short_jobs_without_end(launch: Launch, shared_url: str, seconds: int, request: pytest.FixtureRequest) -> None:
    """Each ends as it should; after a warm-up, a worker takes no more memory, and a store no more space."""
    kind: str = request.node.callspec.params["shared_url"]
    size = size_of(request, kind)
    ttl = 1 if seconds < 60 else 30
    per_second = 100 if not kind.startswith("django") else 20
    worker = launch(crowds.soak, shared_url, seconds, per_second, ttl)
    told: list[dict[str, Any]] = []
    sizes: list[int] = []
    store = open_store(shared_url, "job-progress")
    while line := json.loads(worker.hear(60)):
        assert line["wrong"] == []
        told.append(line)
        sizes.append(size())
    assert worker.ends() == 0
    done = told[-1]["done"] - 8  # each thread takes one number more
    assert done >= (0.3 if seconds < 60 else 0.9) * seconds * per_second  # a machine may be busy for a moment
    if seconds < 60:
        assert told[-1]["memory"] - told[len(told) // 2]["memory"] < GROWTH
    else:
        first, last = told[len(told) // 5 : 2 * len(told) // 5], told[-len(told) // 5 :]
        assert max(one["memory"] for one in last) - max(one["memory"] for one in first) < GROWTH
        assert max(sizes[-len(sizes) // 5 :]) < 1.3 * max(sizes[len(sizes) // 5 : 2 * len(sizes) // 5])

    def is_empty() -> bool:
        store.sweep()
        return size() < max(int(done) / 10, 8)  # a cache keeps a list, and locks, too

    eventually(is_empty, ttl + 30)
    store.close()


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "shared_url", [kind for kind in ("redis", "postgresql", "sqlite") if kind in SOAKED], indirect=True
)
def test_ten_thousand_silent_runs(launch: Launch, shared_url: str) -> None:
    """Their heartbeats take at most a twentieth of a core, no more memory as time goes by, and none looks dead."""
    child = launch(crowds.stay_silent, shared_url, 10_000)
    assert child.hear(300) == "silent"
    time.sleep(30)  # until all have had a heartbeat

    def figures() -> dict[str, float]:
        child.tell("figures")
        told: dict[str, float] = json.loads(child.hear())
        return told

    before, began = figures(), time.monotonic()
    time.sleep(SILENT_FOR)
    after, took = figures(), time.monotonic() - began
    with closing(Tracker(shared_url)) as tracker:
        states = tracker.get_many([("work", f"{number}") for number in range(10_000)])
    assert sum(state is not None and state.is_processing and not state.is_stalled for state in states) == 10_000
    child.tell("end")
    assert child.hear(300) == "ended"
    share, growth = (after["cpu"] - before["cpu"]) / took, after["memory"] - before["memory"]
    print(f"{share:.1%} of a core, {growth / 1e6:.1f} MB more memory after {took:.0f} s")
    assert share <= 0.05
    assert growth <= GROWTH
