"""Watching over servers that come and go, and with few connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from job_progress import StoreUnavailable
from job_progress.job import Job
from job_progress.run import Run
from tests.processes import crowds
from tests.processes.child import Launch
from tests.processes.engines import Engine
from tests.processes.jobs import job_at, state_of
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.valkey import ValkeyCluster, ValkeyServer
from tests.waiting import eventually

WATCHERS = 50
PUSHED_WITHIN = 0.8
"""Seconds, fewer than between two looks at everything that is watched."""


@pytest.fixture
def job(engine: Engine) -> Iterator[Job]:
    """The job "work", on the servers of the test."""
    job = job_at(engine.url)
    yield job
    job.tracker.close()


def test_watchers_outlast_a_restart(launch: Launch, job: Job, engine: Engine) -> None:
    """The servers are killed and started again in the middle of a watch: another process gets the final state."""
    with job.start(0) as progress:
        progress.update(0.5).flush()
        watchers = launch(crowds.watch_many, engine.url, 3, 1)
        assert watchers.hear(40) == "watching"
        engine.kill()
        time.sleep(0.5)
        engine.start()
    assert watchers.hear(60) == "completed"
    watchers.tell()
    assert watchers.ends() == 0


Count = Callable[[], int]


@pytest.fixture(params=["postgresql", "redis"])
def counted(request: pytest.FixtureRequest) -> Iterator[tuple[str, Count]]:
    """The URL of a store on a server of the test's own, and how many connections to it others have now."""
    if request.param == "redis":
        valkey: ValkeyServer = request.getfixturevalue("valkey")
        with valkey.client() as client:
            yield valkey.url, lambda: len(client.client_list(_type="normal") + client.client_list(_type="pubsub")) - 1
    else:
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        with closing(server.connect()) as connection:
            count = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            yield server.url, lambda: int(connection.execute(count).fetchall()[0][0])


def test_how_many_connections_watchers_take(launch: Launch, counted: tuple[str, Count]) -> None:
    """50 watchers have one for pushes, one to look and one to join, and the first is closed with the last of them."""
    url, connections = counted
    job = job_at(url)
    job.lock("0")
    runs = [job.begin(number) for number in range(10)]
    job.tracker.store.close()
    job.tracker.reporter.close()
    eventually(lambda: connections() == 0)
    watchers = launch(crowds.watch_many, url, WATCHERS, 10)
    assert watchers.hear(40) == "watching"
    until = time.monotonic() + 2.5  # in which everything is looked at twice
    most = 0
    while time.monotonic() < until:
        most = max(most, connections())
        time.sleep(0.01)
    assert 1 <= most <= 3
    for run in runs:
        assert isinstance(run, Run)
        run.finish(None)
    assert watchers.hear() == "completed"
    job.tracker.close()
    eventually(lambda: connections() <= 2)
    watchers.tell()
    assert watchers.ends() == 0
    eventually(lambda: connections() == 0)


def pushed_within(job: Job, id: str) -> float:
    """How long after a report a watcher sees it, in seconds."""
    with job.start(id) as progress:
        watch = job.watch(id, timeout=20)
        next(watch)
        time.sleep(1.1)  # the next look at everything is about as far away as it can be
        began = time.monotonic()
        progress.update(0.5).flush()
        next(state for state in watch if state.progress == 0.5)
        return time.monotonic() - began


def test_a_replica_takes_over(launch: Launch, replicated_cluster: ValkeyCluster) -> None:
    """A primary is killed while jobs run: none fails, all end right, and pushes arrive again from its replica."""
    job = job_at(replicated_cluster.url)
    workers = launch(crowds.run_jobs, replicated_cluster.url, 20)
    assert workers.hear(40) == "working"
    watchers = launch(crowds.watch_many, replicated_cluster.url, 20, 20)
    assert watchers.hear(40) == "watching"
    workers.tell("before")
    time.sleep(1.0)
    replicated_cluster.nodes[0].kill()
    workers.tell("some end")

    def is_after() -> bool:
        try:
            states = [job.get(number) for number in range(20)]
        except StoreUnavailable:
            return False
        return all(state and (state.is_finished or state.message == "after") for state in states)

    workers.tell("after")
    eventually(is_after, 30)
    eventually(lambda: min(pushed_within(job, f"pushed {number}") for number in range(3)) < PUSHED_WITHIN, 30)
    workers.tell("end")
    assert '"failed": []' in workers.hear(60)
    assert watchers.hear(60) == "completed"
    eventually(lambda: all(state_of(job, number).is_completed for number in range(20)))
    for number in range(20):
        state = state_of(job, number)
        assert (state.attempt, state.message, state.meta) == (1, "the last", {"number": number})
    for process in (workers, watchers):
        process.tell()
        assert process.ends() == 0
    job.tracker.close()
