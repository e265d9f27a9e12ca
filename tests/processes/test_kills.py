"""Workers killed at any moment: what they leave is right, and nobody has to tidy up after them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from job_progress import JobAlreadyProcessing
from job_progress.job import Job
from tests.processes import crowds
from tests.processes.child import Launch
from tests.processes.jobs import STALLED_AFTER, state_of
from tests.waiting import eventually

KILLS = {
    "django-database": 15,
    "django-file": 15,
    "django-redis": 15,
    "postgresql": 100,
    "redis": 100,
    "redis-cluster": 40,
    "sqlite": 100,
}
LIFE = 0.06
"""Seconds that a worker takes for a job from its start to its end, about."""


class Census:
    """Looks at all states, again and again, and notes when each was first seen as dead."""

    def __init__(self, job: Job) -> None:
        self.died: dict[str, float] = {}
        self._job = job
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Census:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for state in self._job.list("processing", limit=1000):
                if state.is_stalled:
                    self.died.setdefault(state.id, time.monotonic())


@pytest.mark.parametrize(("shared_url", "kills"), KILLS.items(), indirect=["shared_url"])
def test_workers_killed_at_random_moments(launch: Launch, job: Job, shared_url: str, kills: int) -> None:
    """A killed run has not begun, has ended, or is seen as dead within `stalled_after` + 1 s, and then taken over."""
    parent = launch(crowds.fork_workers, shared_url)
    killed: dict[str, float] = {}
    with Census(job) as census:
        for id in map(str, range(kills)):
            parent.tell(id)
            worker = int(parent.hear())
            time.sleep(random.uniform(0.0, LIFE))
            os.kill(worker, signal.SIGKILL)
            killed[id] = time.monotonic()
            assert int(parent.hear()) == -signal.SIGKILL
        left = [id for id in killed if (state := job.get(id)) is not None and not state.is_finished]
        eventually(lambda: set(left) <= set(census.died), STALLED_AFTER + 3)
    late = {id: died - killed[id] for id, died in census.died.items() if died - killed[id] > STALLED_AFTER + 1}
    assert not late
    early = {id: died - killed[id] for id, died in census.died.items() if died - killed[id] < STALLED_AFTER / 2}
    assert not early
    assert set(census.died) == set(left)
    for id in killed:
        what_is_left_is_right(job, id, is_left=id in left)


def what_is_left_is_right(job: Job, id: str, is_left: bool) -> None:
    """One that ended is complete; one that died shows a report of its own, and can be locked or taken over."""
    state = job.get(id)
    if state is None:
        assert job.lock(id)
    elif not is_left:
        assert (state.status, state.progress, state.attempt) == ("completed", 1.0, 1)
    else:
        assert (state.status, state.attempt, state.error, state.result) == ("processing", 1, None, None)
        assert state.progress == (0.0 if state.message is None else int(state.message.split()[1]) / 10)
        ways: list[Callable[[], object]] = [lambda: lock(job, id), lambda: cancel(job, id), lambda: take_over(job, id)]
        random.choice(ways)()


def lock(job: Job, id: str) -> None:
    """The id of a dead run is free."""
    locked = job.lock(id)
    assert locked
    assert (locked.status, locked.attempt) == ("pending", 0)


def cancel(job: Job, id: str) -> None:
    """A dead run is cancelled at once."""
    assert job.cancel(id).is_cancelled


def take_over(job: Job, id: str) -> None:
    """A dead run has a successor, and only one."""
    with job.start(id) as progress:
        progress.update(0.5).flush()
        with pytest.raises(JobAlreadyProcessing), job.start(id):
            pytest.fail("it must not run twice")
    state = state_of(job, id)
    assert (state.status, state.attempt) == ("completed", 2)
