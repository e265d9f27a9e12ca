"""Jobs in pools of processes."""

from __future__ import annotations

import pytest

from job_progress import Tracker
from tests.processes import bodies
from tests.processes.child import Launch
from tests.processes.jobs import refuse, square


@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_jobs_run_in_a_pool(
    launch: Launch, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, method: str, kind: str
) -> None:
    """A decorated function is sent to a pool by its name, and each call is tracked, those in the parent as well."""
    monkeypatch.setenv("JOB_PROGRESS_STORE", sqlite_url)
    pool = launch(bodies.use_a_pool, method, kind)
    assert pool.hear() == "[0, 1, 4, 9, 16, 25, 36, 49]"
    assert pool.hear() == "ValueError('no 99')"
    assert pool.ends() == 0
    tracker = Tracker(sqlite_url)
    states = {state.id: state for state in tracker.list(square.job.name)}
    assert {id: (str(state.status), state.result) for id, state in states.items()} == {
        f"{number}": ("completed", number * number) for number in (*range(8), 100)
    }
    assert states["3"].message == "multiplying 3"
    [failed] = tracker.list(refuse.job.name)
    assert (failed.id, failed.status, failed.error) == ("99", "failed", "ValueError: no 99")
    tracker.close()
