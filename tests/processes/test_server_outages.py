"""The servers below a store go away, and come back, while many jobs run: nobody's work is lost, or even slowed down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
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
from tests.servers.postgresql import PostgreSQLServer
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


def refuse(engine: Engine, request: pytest.FixtureRequest) -> Callable[[], object]:
    """Nobody listens."""
    engine.kill()
    return engine.start


def fall_silent(engine: Engine, request: pytest.FixtureRequest) -> Callable[[], object]:
    """Connections stay, and nobody answers."""
    engine.freeze()
    return engine.thaw


def be_full(engine: Engine, request: pytest.FixtureRequest) -> Callable[[], object]:
    """The server has as many clients as it takes, and ours is none of them."""
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    return server.fill()


@pytest.mark.parametrize(
    ("engine", "go_away"),
    [
        *(
            pytest.param(engine, go, id=f"{engine} {go.__name__}")
            for engine in ("redis", "postgresql")
            for go in (refuse, fall_silent)
        ),
        pytest.param("postgresql", be_full, id="postgresql be_full"),
    ],
    indirect=["engine"],
)
def test_an_outage_costs_short_jobs_nothing(
    launch: Launch,
    job: Job,
    engine: Engine,
    go_away: Callable[..., Callable[[], object]],
    request: pytest.FixtureRequest,
) -> None:
    """A thousand take at most a tenth longer than with the store, but for the first; all are in it when it is back."""
    child = launch(crowds.run_short_jobs, engine.url, 1000)
    assert child.hear() == "ready"
    child.tell("run")
    up = json.loads(child.hear(120))
    come_back = go_away(engine, request)
    child.tell("run")
    away = json.loads(child.hear(120))
    come_back()
    assert away["others"] / up["others"] <= 1.1
    assert away["longest"] < 1.0
    assert away["first"] < SETTLE_WITHIN + 2 * ONE_TRY
    eventually(
        lambda: all(
            state is not None and state.is_completed
            for state in job.tracker.get_many([(job.name, str(number)) for number in range(1, 2003)])
        ),
        SETTLE_WITHIN + ONE_TRY,
    )
    child.tell("end")
    assert [line.endswith("until it is back") for line in json.loads(child.hear())] == [True, False]


@pytest.mark.parametrize("engine", ["redis"], indirect=True)
def test_a_silent_store_keeps_only_those_waiting_who_asked_first(job: Job, engine: Engine) -> None:
    """Before anybody knows that it is away, a call that has no answer for a second keeps others from asking."""
    with job.start("before"):
        pass

    def work(id: str) -> None:
        with job.start(id):
            pass

    engine.freeze()
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(work, "first")
        eventually(lambda: job.tracker._outage.is_silent)
        assert not job.tracker._outage.stops_writing
        began = time.monotonic()
        work("second")
        took = time.monotonic() - began
        engine.thaw()
        first.result()
    assert took < 1.0
    eventually(lambda: all((state := job.get(id)) and state.is_completed for id in ("first", "second")))


@pytest.mark.parametrize("engine", ["redis", "postgresql"], indirect=True)
def test_a_time_limit_ends_an_async_job_whose_store_is_silent(launch: Launch, job: Job, engine: Engine) -> None:
    """Soon after it has struck, and not when the store has answered; the state says so once that is back."""
    child = launch(crowds.wait_for_a_job, engine.url)
    assert child.hear() == "ready"
    engine.freeze()
    child.tell("run")
    took = float(child.hear(60))
    engine.thaw()
    assert took < 4.0
    eventually(lambda: (state := job.get("7")) and state.is_finished, 30)
    child.tell("end")
    assert child.ends() == 0


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
