"""Several processes want the same at the same time."""

from __future__ import annotations

import random
import time
from itertools import count

import pytest

from job_progress import JobAlreadyProcessing
from job_progress.job import Job
from tests.processes import bodies
from tests.processes.child import Launch
from tests.processes.jobs import job_at
from tests.waiting import eventually


def test_six_processes_lock_the_same_ids(launch: Launch, job: Job, sqlite_url: str) -> None:
    """Of 300 ids each is won by exactly one process, and no process sees an error."""
    children = [launch(bodies.lock_all, sqlite_url, 300) for _ in range(6)]
    assert [child.hear() for child in children] == ["ready"] * 6
    for child in children:
        child.tell()
    won = [child.hear().split() for child in children]
    assert sorted(int(id) for ids in won for id in ids) == list(range(300))
    assert [child.ends() for child in children] == [0] * 6
    assert len(job.list("pending", limit=1000)) == 300


def test_a_second_delivery_leaves_the_run_alone(launch: Launch, job: Job, sqlite_url: str) -> None:
    """A run of an id that is alive in another process raises `JobAlreadyProcessing`, and that one ends as it would."""
    worker = launch(bodies.work, sqlite_url, "7")
    assert worker.hear() == "working"
    before = job.get("7")
    assert before
    for _ in range(3):
        with pytest.raises(JobAlreadyProcessing) as refused, job.start("7"):
            pytest.fail("it must not run twice")
        assert refused.value.state
        assert refused.value.state.token == before.token
    now = job.get("7")
    assert now
    assert (now.status, now.attempt, now.token, now.progress) == ("processing", 1, before.token, 0.5)
    worker.tell()
    assert worker.hear() == "ended"
    final = job.wait("7", timeout=10)
    assert (final.status, final.attempt, final.message) == ("completed", 1, "by the worker")


def test_a_run_is_cancelled_from_another_process(launch: Launch, job: Job, sqlite_url: str) -> None:
    """It is being cancelled until it reaches a checkpoint, then it is cancelled, and its process goes on."""
    worker = launch(bodies.work_with_checkpoints, sqlite_url, "7")
    assert worker.hear() == "working"
    asked = job.cancel("7")
    assert asked.is_cancelling
    assert worker.hear() == "cleaning up"
    assert worker.hear() == "ended"
    state = job.get("7")
    assert state
    assert (state.status, state.progress, state.error) == ("cancelled", 0.5, None)
    assert state.cancel_requested_at == asked.cancel_requested_at
    assert worker.ends() == 0


def test_a_cancel_races_the_end(launch: Launch, sqlite_url: str) -> None:
    """In 200 rounds a run ends completed, if its body ran through, or cancelled, if a checkpoint stopped it."""
    job = job_at(sqlite_url, flush_interval=0.002)
    canceller = launch(bodies.cancel_on_demand, sqlite_url)
    outcomes: list[tuple[str, str]] = []
    for id in map(str, range(200)):
        ran_through = False
        with job.start(id) as progress:
            canceller.tell(id)
            until = time.monotonic() + random.uniform(0.0, 0.015)
            for step in count(1):
                progress.update(message=f"step {step}").exit_if_cancelled()
                if time.monotonic() > until:
                    break
                time.sleep(0.0005)
            ran_through = True
        state = job.get(id)
        answer = canceller.hear()
        assert state
        assert state.status == ("completed" if ran_through else "cancelled")
        assert answer == "asked" or ran_through
        assert job.get(id) == state  # the end is the end
        outcomes.append((state.status, answer))
    assert {("completed", "refused"), ("cancelled", "asked")} <= set(outcomes), "the race was not one"
    job.tracker.close()


def test_a_lock_races_the_end(launch: Launch, job: Job, sqlite_url: str) -> None:
    """In 200 rounds an id can be locked only after the run's body has ended; then it is pending, with a clean slate."""
    locker = launch(bodies.lock_on_demand, sqlite_url)
    for id in map(str, range(200)):
        with job.start(id) as progress:
            locker.tell(id)
            assert locker.hear() == "trying"
            progress.update(0.5)
            if random.random() < 0.5:
                progress.flush()
            time.sleep(random.uniform(0.0, 0.002))
            ended = time.monotonic()
        assert float(locker.hear()) > ended
        state = job.get(id)
        assert state
        assert (state.status, state.progress, state.attempt, state.token) == ("pending", 0.0, 0, None)


def test_a_watcher_sees_a_run_in_another_process(launch: Launch, job: Job, sqlite_url: str) -> None:
    """From nothing, over what it reports, to its end."""
    watch = job.watch("7", timeout=20)
    worker = launch(bodies.work, sqlite_url, "7")
    seen = [next(watch)]
    while seen[-1].progress != 0.5:
        seen.append(next(watch))
    worker.tell()
    seen += watch
    assert [state.version for state in seen] == sorted({state.version for state in seen})
    assert seen[-1].is_completed
    assert {str(state.status) for state in seen} == {"processing", "completed"}


def test_a_job_that_says_nothing_is_kept_alive(launch: Launch, job: Job, sqlite_url: str) -> None:
    """A run that is silent for twice the time after which it would be dead is never seen as dead."""
    silent_for = 2 * job.tracker.settings.stalled_after
    worker = launch(bodies.sleep_silently, sqlite_url, "7", silent_for)
    assert worker.hear() == "working"
    began, looks = time.monotonic(), 0
    while time.monotonic() - began < silent_for - 0.2:
        state = job.get("7")
        assert state
        assert state.is_processing
        assert not state.is_stalled
        assert not state.lifetime < silent_for
        looks += 1
        time.sleep(0.02)
    assert looks > 10
    assert eventually(lambda: (state := job.get("7")) and state.is_completed)
