"""The servers below a store go away, and come back, while many jobs run: nobody's work is lost, or even slowed down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from job_progress import JobState, StoreUnavailable
from job_progress.job import Job
from job_progress.reporter import SETTLE_WITHIN
from job_progress.stores.redis_cluster import RedisClusterStore
from tests.processes import crowds
from tests.processes.child import Child, Launch
from tests.processes.engines import Engine
from tests.processes.jobs import job_at
from tests.waiting import eventually

JOBS = 20
FIRST = JOBS // 4
"""As many jobs end while the servers are away."""
ONE_TRY = 10.0
"""Seconds after which somebody outside is told that the servers are away, at the latest."""


@pytest.fixture
def job(engine: Engine) -> Iterator[Job]:
    """The job "work", on the servers of the test."""
    job = job_at(engine.url)
    yield job
    job.tracker.close()


@pytest.fixture
def workers(launch: Launch, job: Job, engine: Engine) -> Child:
    """A process that runs 20 jobs, all of which report all the time, and has done so for a while."""
    child = launch(crowds.run_jobs, engine.url, JOBS)
    assert child.hear() == "working"
    child.tell("before")
    time.sleep(1.0)  # what is measured is how long reports take in this time
    return child


def states(job: Job) -> list[JobState]:
    """Of all jobs of the process; none, as long as the servers are away or do not have them all."""
    try:
        found = job.tracker.get_many([(job.name, f"{number}") for number in range(JOBS)])
    except StoreUnavailable:
        return []
    states = [state for state in found if state is not None]
    return states if len(states) == JOBS else []


def ends(workers: Child, job: Job) -> dict[str, Any]:
    """Have all jobs end, check that each has ended as it should, and return what the process says of it."""
    workers.tell("after")
    eventually(
        lambda: (them := states(job)) and all(state.message == "after" for state in them if state.is_running), 30
    )
    workers.tell("end")
    told: dict[str, Any] = json.loads(workers.hear(60))
    eventually(lambda: (them := states(job)) and all(state.is_finished for state in them))
    for number, state in enumerate(states(job)):
        assert (state.status, state.attempt, state.progress) == ("completed", 1, 1.0)
        assert (state.message, state.meta, state.error) == ("the last", {"number": number}, None)
    workers.tell()
    assert workers.ends() == 0
    assert told["failed"] == []
    assert len(told["ends"]) == JOBS
    return told


def reporting_was_not_slowed_down(told: dict[str, Any], phase: str) -> None:
    """Of the reports of *phase* the slowest hundredth took about what it took before, or threads to take turns."""
    before, during = told["p99"]["before"], told["p99"][phase]
    assert during < 10 * max(before, sys.getswitchinterval())
    assert told["longest"] < 1.0  # far less than any wait for a server


def the_outage_was_logged_once(told: dict[str, Any]) -> None:
    """One line says that the servers are away, and one, later, that they are back."""
    away, back = "what is reported is kept until it is back", " is back"
    lines = [line for line in told["logged"] if line.endswith(back)]
    assert [line.endswith(away) for line in lines] == [True, False], told["logged"]


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "without its data"])
def test_the_servers_are_killed_and_started_again(workers: Child, job: Job, engine: Engine, keeps: bool) -> None:
    """No job fails or waits, those that end meanwhile end well, all states come right, and the log says it once."""
    assert job.lock("pending")
    workers.tell("during")
    engine.kill()
    eventually(lambda: not states(job))
    with pytest.raises(StoreUnavailable, match=r"cannot use .+: .+"):
        job.get("7")
    time.sleep(1.0)  # what is measured is how long reports take in this time
    if keeps:
        workers.tell("some end")
    else:
        engine.empty()
    engine.start()
    told = ends(workers, job)
    reporting_was_not_slowed_down(told, "during")
    the_outage_was_logged_once(told)
    assert (job.get("pending") is not None) == keeps


def test_the_servers_stand_still(workers: Child, job: Job, engine: Engine) -> None:
    """Reports do not wait, ends wait for a bounded time, and those outside are told, within 10 s but for a cluster."""
    assert job.lock("pending")
    engine.freeze()
    workers.tell("some end")
    calls = (
        lambda: job.get("7"),
        lambda: job.lock("8"),
        lambda: job.list(),
        lambda: job.cancel("pending"),
        lambda: next(job.watch("7")),
    )

    def time_of(call: Any) -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as raised:
            call()
        assert str(raised.value)
        return time.monotonic() - began

    with ThreadPoolExecutor(len(calls)) as executor:
        times = list(executor.map(time_of, calls))
    time.sleep(3.0)  # for the jobs that end
    engine.thaw()
    told = ends(workers, job)
    reporting_was_not_slowed_down(told, "some end")
    # A cluster's client asks its nodes one after the other, and for one caller after the other.
    one_try = 4 * ONE_TRY if isinstance(job.tracker.store, RedisClusterStore) else ONE_TRY
    assert max(times) < one_try + 2
    assert max(told["ends"]) < SETTLE_WITHIN + one_try + 2
    the_outage_was_logged_once(told)
