"""Processes that fork, in the middle of a run or before one."""

from __future__ import annotations

import time

import pytest

from job_progress.job import Job
from tests.processes import bodies
from tests.processes.child import Launch
from tests.processes.conftest import BETWEEN_PROCESSES, on_each_engine, on_two_stores
from tests.processes.jobs import SLACK, STALLED_AFTER, state_of
from tests.waiting import eventually

WAYS = ["sys.exit", "error", "os._exit", "complete", "fail", "cancel", "a run of its own"]


@pytest.mark.parametrize(
    ("shared_url", "way"),
    [(kind, way) for kind in BETWEEN_PROCESSES for way in WAYS if kind in ("redis", "sqlite") or way == WAYS[-1]],
    indirect=["shared_url"],
)
def test_a_forked_child_does_not_touch_its_parents_run(launch: Launch, job: Job, shared_url: str, way: str) -> None:
    """Whatever a child forked in a run reports, and however it leaves, the run is its parent's, and ends so."""
    parent = launch(bodies.fork_in_a_job, shared_url, way)
    assert int(parent.hear()) == (1 if way == "error" else 7)
    state = state_of(job, "parent")
    assert (state.status, state.progress, state.message, state.result) == ("processing", 0.25, None, None)
    parent.tell()
    assert parent.ends() == 0
    state = state_of(job, "parent")
    assert (state.status, state.progress, state.message) == ("completed", 1.0, "the parent goes on")
    assert (state.attempt, state.result, state.error) == (1, None, None)
    child = job.get("child")
    if way == "a run of its own":
        assert child
        assert (child.status, child.message) == ("completed", "the child's own")
    else:
        assert child is None


@on_two_stores
def test_children_of_multiprocessing_run_jobs_of_their_own(launch: Launch, job: Job, shared_url: str) -> None:
    """Each child started by fork in a run runs its own job, whose end is what its `sys.exit` makes of it."""
    parent = launch(bodies.multiprocess_in_a_job, shared_url)
    assert parent.hear() == "[7, 7, 7]"
    for number in range(3):
        state = state_of(job, f"child {number}")
        assert (state.status, state.progress, state.error) == ("failed", 0.5, "interrupted by SystemExit: 7")
    state = state_of(job, "parent")
    assert (state.status, state.progress) == ("processing", 0.25)
    parent.tell()
    assert parent.ends() == 0
    assert state_of(job, "parent").is_completed


@on_each_engine
def test_a_forked_child_does_not_keep_its_parents_run_alive(launch: Launch, job: Job, shared_url: str) -> None:
    """With the parent killed its run is dead, though the child lives, and holds and moves its copy of the progress."""
    parent = launch(bodies.outlive_the_parent, shared_url)
    assert parent.hear() == "the child lives"
    parent.kill()
    eventually(lambda: state_of(job, "parent").is_stalled, STALLED_AFTER + SLACK)
    at_death = state_of(job, "parent")
    assert at_death.progress == 0.25
    time.sleep(0.3)  # in which the child would have shown itself
    assert state_of(job, "parent") == at_death


def test_a_worker_that_leaves_at_once_loses_no_end(launch: Launch, job: Job, shared_url: str) -> None:
    """Of 20 work horses that leave by `os._exit` right after the job, end and last report are in the store."""
    parent = launch(bodies.leave_at_once, shared_url, 20)
    for number in range(20):
        assert parent.hear() == "0"
        state = state_of(job, number)
        assert (state.status, state.completed, state.total, state.meta) == ("completed", 50, 50, {"item": 49})
    assert parent.ends() == 0
