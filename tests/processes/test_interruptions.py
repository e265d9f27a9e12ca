"""The garbage collector closes what was dropped, and signal handlers report, in the middle of anything."""

from __future__ import annotations

import pytest

from job_progress.job import Job
from tests.processes import interruptions
from tests.processes.child import Launch
from tests.processes.jobs import job_at, state_of
from tests.waiting import eventually

SECONDS = 3.0


@pytest.mark.parametrize("shared_url", ["redis", "sqlite"], indirect=True)
def test_what_was_dropped_stops_no_thread(launch: Launch, job: Job, shared_url: str) -> None:
    """Watches and runs that nobody closes: wherever they are found, the process goes on, and each run has ended."""
    child = launch(interruptions.drop_watches_and_runs, shared_url, SECONDS)
    assert child.hear(60) == "done"
    eventually(lambda: not job.list(["pending", "processing"], limit=10_000), 20)
    for state in job.list(limit=100_000):
        dropped = state.id.startswith("dropped")
        assert (state.status, state.error) == (
            ("failed", "interrupted by GeneratorExit") if dropped else ("completed", None)
        )
    child.tell()
    assert child.ends() == 0


def test_what_was_dropped_stops_no_thread_that_holds_a_lock(launch: Launch) -> None:
    """The collector finds it in the midst of each call of a store; it ends all the same."""
    child = launch(interruptions.drop_where_it_hurts)
    assert child.hear() == "[('completed', None), ('failed', 'interrupted by GeneratorExit')]"


@pytest.mark.parametrize("url", ["memory://", "redis", "sqlite"])
def test_a_signal_handler_may_report(launch: Launch, request: pytest.FixtureRequest, url: str) -> None:
    """It does so in the middle of reports, flushes and writes, and may end the run there, and the process goes on."""
    if url != "memory://":
        url = request.getfixturevalue({"redis": "valkey_url", "sqlite": "sqlite_url"}[url])
    child = launch(interruptions.report_in_a_signal_handler, url, SECONDS)
    assert child.hear(60) == "reported"
    assert child.hear(60) == "ended"
    child.tell()
    assert child.ends() == 0
    if url != "memory://":
        job = job_at(url)
        assert state_of(job, "reporting").is_completed
        assert {state_of(job, f"terminated {number}").error for number in range(50)} == {"terminated"}
        job.tracker.close()


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True)
def test_an_async_run_that_is_dropped_has_failed(launch: Launch, job: Job, shared_url: str) -> None:
    """As its loop ended without it: nobody takes it for alive because its process is."""
    child = launch(interruptions.drop_async_runs, shared_url)
    assert child.hear() == "dropped"
    eventually(lambda: state_of(job, "7").is_failed)
    child.tell()
