"""What a tracker does across its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from job_progress import Job, JobCancelled, JobState, Tracker
from job_progress import tracker as tracker_module
from job_progress.stores.memory import MemoryStore
from job_progress.testing import frozen_clock


def end(job: Job, *ids: str) -> None:
    """Run *ids*, one well and the next badly, in turn."""
    for number, id in enumerate(ids):
        with job.start(id) as progress:
            if number % 2:
                progress.fail("badly")


def names(tracker: Tracker) -> list[str]:
    return sorted(f"{state.job} {state.id}" for state in tracker.list())


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(MemoryStore())


def test_pruning_forgets_what_has_ended(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it ended, over any number of pages; what waits or runs stays."""
    monkeypatch.setattr(tracker_module, "PRUNED_AT_ONCE", 3)
    one, other = Job("one", tracker=tracker), Job("other", tracker=tracker)
    end(one, *map(str, range(10)))
    end(other, "a", "b")
    one.lock("waits")
    one.lock("cancelled")
    one.cancel("cancelled")
    one.lock("cancelled, not come yet")
    one.cancel("cancelled, not come yet")
    with pytest.raises(JobCancelled):
        one.start("cancelled").__enter__()
    with one.start("runs"):
        assert tracker.prune("one") == 11
        assert names(tracker) == ["one cancelled, not come yet", "one runs", "one waits", "other a", "other b"]
        assert tracker.prune() == 2
        assert names(tracker) == ["one cancelled, not come yet", "one runs", "one waits"]
        assert tracker.prune() == 0


async def test_pruning_may_leave_what_ended_lately(tracker: Tracker) -> None:
    """The age counts from the end."""
    job = Job("job", tracker=tracker)
    with frozen_clock() as clock:
        end(job, "old")
        clock.tick(100)
        end(job, "new")
        clock.tick(10)
        assert await tracker.aprune(older_than=60) == 1
        assert names(tracker) == ["job new"]


def test_pruning_leaves_alone_what_was_begun_anew(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that is locked between the look and the deed has another version, and stays."""
    job = Job("job", tracker=tracker)
    end(job, "7", "8")
    list_before = tracker.list

    def lock_after(*arguments: Any) -> list[JobState]:
        states = list_before(*arguments)
        job.lock("7")
        return states

    monkeypatch.setattr(tracker, "list", lock_after)
    assert tracker.prune() == 1
    monkeypatch.undo()
    assert names(tracker) == ["job 7"]
