"""Where no thread can be started: once a process ends, from Python 3.12 on, or where it may have no more."""

from __future__ import annotations

import pytest

from job_progress.job import Job
from tests.processes import without_threads
from tests.processes.child import Launch
from tests.processes.conftest import on_each_engine
from tests.processes.jobs import state_of


@pytest.mark.parametrize("body", [without_threads.run_after_main, without_threads.run_where_none_can_start])
@on_each_engine
def test_runs_report_at_their_end(launch: Launch, job: Job, shared_url: str, body: without_threads.Body) -> None:
    """Sync and async ones, those that fail and those that were dropped; no call raises, and watches look themselves."""
    child = launch(body, shared_url)
    assert child.hear() == "completed completed"
    child.tell()
    assert child.ends() == 0
    for id in ("sync", "async"):
        state = state_of(job, id)
        assert (state.status, state.message, state.meta) == ("completed", "the last", {"step": 2})
    assert state_of(job, "failed").error == "ValueError: boom"
    assert state_of(job, "dropped").error == "interrupted by GeneratorExit"
