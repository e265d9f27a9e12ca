"""The helpers for users' tests, by which ours are made as well."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from job_progress import Job, ProgressJob, Tracker, current_progress, tracked
from job_progress.clock import now
from job_progress.default import default_tracker
from job_progress.task import QueueTask, queue_task
from job_progress.testing import frozen_clock, run_job

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


@tracked(name="tests.copy", cancellable=0.75, store_result=True)
def copy(files: int, *, fail: bool = False) -> int:
    progress = current_progress()
    for _ in progress.track(range(files), checkpoint=True, message="copying"):
        if fail:
            raise ValueError("disk full")
    return files


def test_run_job_collects_every_state() -> None:
    """From the start over each report to the end; nothing is throttled away."""
    run = run_job(copy, 3)
    assert (run.returned, run.raised) == (3, None)
    assert [state.completed for state in run.states] == [None, 0, 1, 2, 3, 3, 3]
    assert [str(state.status) for state in (run.states[0], run.state)] == ["processing", "completed"]
    assert run.state.result == 3


def test_run_job_keeps_to_itself() -> None:
    """Nothing reaches the tracker that the job has outside."""
    run_job(copy, 3)
    assert copy.job.tracker is default_tracker()
    assert copy.job.list() == []


def test_run_job_shows_what_was_raised() -> None:
    """It does not raise it, so that the test can look at the state."""
    run = run_job(copy, 3, fail=True)
    assert isinstance(run.raised, ValueError)
    assert run.state.error == "ValueError: disk full"


@pytest.mark.parametrize("checkpoint", [1, 2, 3])
def test_cancel_at_the_nth_checkpoint(checkpoint: int) -> None:
    """The job stops right there, having done what came before."""
    run = run_job(copy, 10, cancel_at=checkpoint)
    assert (run.state.status, run.state.completed, run.returned) == ("cancelled", checkpoint - 1, None)


def test_a_cancel_that_is_not_allowed_is_raised_in_the_job() -> None:
    """Past the threshold the test sees what a user would."""
    run = run_job(copy, 10, cancel_at=9)
    assert type(run.raised).__name__ == "JobNotCancellable"


def test_run_job_takes_async_functions_and_classes() -> None:
    """Whatever can be tracked."""

    @tracked(name="tests.async", store_result=True)
    async def acopy() -> str:
        current_progress().update(0.5)
        return "done"

    class Copy(ProgressJob, name="tests.class", store_result=True):
        def get_progress_id(self) -> str:
            return "7"

        def handle_with_progress(self) -> Any:
            self.progress().update(0.5)
            return "done"

    class ACopy(Copy, name="tests.async class", store_result=True):
        async def handle_with_progress(self) -> Any:
            return "done"

    jobs: list[Any] = [acopy, Copy(), ACopy()]
    for run in map(run_job, jobs):
        assert (run.returned, run.state.result, run.state.status) == ("done", "done", "completed")
    with pytest.raises(TypeError, match="is not tracked"):
        run_job(print)


def test_the_clock_stands_still_until_told() -> None:
    """Inside; outside it is the system's again."""
    with frozen_clock() as clock:
        assert now() == now() == datetime(2030, 1, 1, tzinfo=UTC)
        assert clock.tick(60) == now() == datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    assert now() != now()


def test_the_fixture_is_the_default_tracker(job_progress_tracker: Tracker) -> None:
    """pytest finds it by itself."""
    Job("fixture").lock("7")
    assert [state.id for state in job_progress_tracker.list()] == ["7"]


def test_a_queues_task_is_known_inside_only() -> None:
    """Integrations say which task is executing, and what the queue will do."""
    with queue_task(QueueTask(id="task-7")):
        assert run_job(copy, 1).state.id == "task-7"
    assert run_job(copy, 1).state.id != "task-7"


def test_run_job_follows_calls_of_the_job_by_itself() -> None:
    """Also one that does not start, as it was cancelled before; and checkpoints without a report add no state."""

    @tracked(name="tests.recursive", id="depth", cancellable=True)
    def recursive(depth: int) -> int:
        current_progress().exit_if_cancelled().exit_if_cancelled()
        if depth == 0:
            recursive.job.lock(1)
            recursive.job.cancel(1)
            assert recursive(1) is None
        return depth

    run = run_job(recursive, 0)
    assert [(state.id, str(state.status)) for state in run.states] == [("0", "processing"), ("0", "completed")]
