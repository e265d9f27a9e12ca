"""The wall clock jumps by an hour: nobody alive counts as dead, and nobody dead as alive."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from job_progress import JobAlreadyProcessing, clock
from job_progress.job import Job
from tests.processes import crowds
from tests.processes.child import Launch
from tests.processes.conftest import BETWEEN_PROCESSES, on_each_engine
from tests.processes.jobs import HEARTBEAT, STALLED_AFTER, state_of
from tests.waiting import eventually


@pytest.fixture
def right_clock() -> Iterator[None]:
    """However a test has changed it, the clock is right afterwards."""
    yield
    clock.set_clock(None)


JUMPS = [(where, hours) for where in ("in the worker", "in the reader", "in both") for hours in (1, -1)]
FEWER_JUMPS = [("in the worker", 1), ("in the reader", -1)]
"""For the stores that tell ages as others do."""


@pytest.mark.parametrize(
    ("shared_url", "where", "hours"),
    [
        (kind, *jump)
        for kind in BETWEEN_PROCESSES
        for jump in (JUMPS if kind in ("postgresql", "redis", "sqlite") else FEWER_JUMPS)
    ],
    indirect=["shared_url"],
)
def test_a_wall_clock_jumps(
    launch: Launch, job: Job, shared_url: str, where: str, hours: int, right_clock: None
) -> None:
    """A live run is not stalled, locked or started twice; no time is negative; a dead one is soon found."""
    worker = launch(crowds.work_by_a_wrong_clock, shared_url, "7", 0 if where == "in the reader" else hours)
    assert worker.hear() == "working"
    if where != "in the worker":
        crowds.jump(hours)
    alive(job)
    worker.tell()
    assert worker.hear() == "False"  # neither dead, nor of negative times, to itself
    assert worker.hear() == "refused"
    until = time.monotonic() + 3 * HEARTBEAT
    while time.monotonic() < until:
        alive(job)
        time.sleep(HEARTBEAT / 5)
    before = state_of(job, "7")
    assert before.progress == 0.5
    eventually(lambda: state_of(job, "7").version > before.version)  # its heart beats on
    worker.kill()
    died = time.monotonic()
    eventually(lambda: state_of(job, "7").is_stalled, STALLED_AFTER + 10)
    assert time.monotonic() - died > STALLED_AFTER / 2
    with job.start("7") as progress:
        progress.update(0.75).flush()
        state = state_of(job, "7")
        assert (state.attempt, state.progress, state.is_stalled) == (2, 0.75, False)
        assert state.duration.total_seconds() < 60
    assert state_of(job, "7").is_completed


def alive(job: Job) -> None:
    """The run is seen as alive, and nobody else may have its id."""
    state = state_of(job, "7")
    assert state.is_processing
    assert not state.is_stalled
    assert state.duration.total_seconds() >= 0
    assert state.eta is None or state.eta.total_seconds() >= 0
    assert [one.is_stalled for one in job.list("processing")] == [False]
    assert job.lock("7") is None
    with pytest.raises(JobAlreadyProcessing), job.start("7"):
        pytest.fail("it must not run twice")


@on_each_engine
@pytest.mark.parametrize("hours", [1, -1], ids=["on", "back"])
def test_a_run_ends_by_a_wrong_clock(launch: Launch, job: Job, shared_url: str, hours: int, right_clock: None) -> None:
    """What it did is right, and nothing that is shown of it is negative."""
    worker = launch(crowds.work_by_a_wrong_clock, shared_url, "7", hours)
    assert worker.hear() == "working"
    if shared_url.startswith("sqlite:"):
        crowds.jump(hours)  # it is for the processes of one machine, which has one wall clock
    worker.tell()
    assert worker.hear() == "False"
    assert worker.hear() == "refused"
    worker.tell()
    assert worker.hear() == "ended"
    state = state_of(job, "7")
    assert (state.status, state.attempt, state.progress) == ("completed", 1, 1.0)
    assert state.duration.total_seconds() >= 0
    worker.tell()
    assert worker.ends() == 0
    assert job.lock("7")
