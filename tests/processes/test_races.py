"""Several processes want the same at the same time."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from itertools import count

import pytest

from job_progress import JobAlreadyProcessing, JobCancelled
from job_progress.job import Job
from job_progress.task import QueueTask, queue_task
from tests.processes import bodies, crowds
from tests.processes.child import Launch
from tests.processes.conftest import BETWEEN_PROCESSES, SOAKED, on_each_engine
from tests.processes.jobs import job_at, state_of
from tests.waiting import eventually

ROUNDS = {
    "django-database": 100,
    "django-file": 100,
    "django-redis": 100,
    "postgresql": 150,
    "redis": 200,
    "redis-cluster": 150,
    "sqlite": 200,
}
"""1,000 in all."""
on_each_store = pytest.mark.parametrize(("shared_url", "rounds"), ROUNDS.items(), indirect=["shared_url"])


@pytest.mark.parametrize(
    ("shared_url", "ids"),
    [
        *((kind, 200 if kind == "sqlite" else 10 if kind.startswith("django") else 50) for kind in BETWEEN_PROCESSES),
        *(pytest.param(kind, 1000, marks=[pytest.mark.soak, pytest.mark.timeout(900)]) for kind in SOAKED),
    ],
    indirect=["shared_url"],
)
def test_64_processes_lock_the_same_ids(launch: Launch, job: Job, shared_url: str, ids: int) -> None:
    """Each id is won by exactly one process, and no process sees an error (of 16, where locks stand in for swaps)."""
    crowd = 16 if shared_url.startswith("django") else 64
    lockers = launch(crowds.fork_lockers, shared_url, crowd, ids)
    assert lockers.hear() == "ready"
    lockers.tell()
    won = [lockers.hear(600).split() for _ in range(crowd)]
    assert sorted(int(id) for ids in won for id in ids) == list(range(ids))
    assert lockers.ends() == 0
    assert len(job.list("pending", limit=ids + 1)) == ids


@on_each_engine
def test_a_second_delivery_leaves_the_run_alone(launch: Launch, job: Job, shared_url: str) -> None:
    """A run of an id that is alive in another process raises `JobAlreadyProcessing`, and that one ends as it would."""
    worker = launch(bodies.work, shared_url, "7")
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


@on_each_engine
def test_a_run_is_cancelled_from_another_process(launch: Launch, job: Job, shared_url: str) -> None:
    """It is being cancelled until it reaches a checkpoint, then it is cancelled, and its process goes on."""
    worker = launch(bodies.work_with_checkpoints, shared_url, "7")
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


@on_each_store
def test_a_cancel_races_the_end(launch: Launch, shared_url: str, rounds: int) -> None:
    """A run ends completed, if its body ran through, or cancelled, if a checkpoint stopped it."""
    job = job_at(shared_url, flush_interval=0.002)
    canceller = launch(bodies.cancel_on_demand, shared_url)
    outcomes: list[tuple[str, str]] = []
    for id in map(str, range(rounds)):
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


@on_each_store
def test_a_cancel_races_a_retry(launch: Launch, shared_url: str, rounds: int) -> None:
    """A run that fails, and will be tried again, is pending, or is cancelled and swallows its next start."""
    job = job_at(shared_url, flush_interval=0.002)
    canceller = launch(bodies.cancel_on_demand, shared_url)
    outcomes: set[tuple[str, bool]] = set()
    for id in map(str, range(rounds)):
        canceller.tell(id)
        with queue_task(QueueTask(will_retry=lambda _: True)), suppress(ConnectionError), job.start(id) as progress:
            progress.update(0.5)
            time.sleep(random.uniform(0.0, 0.01))
            raise ConnectionError("try again")
        at_the_end = state_of(job, id)
        assert canceller.hear() in ("asked", "refused")  # the latter before there was anything to cancel
        state = state_of(job, id)
        assert str(state.status) in ("pending", "cancelled")
        assert (state.attempt, state.error, state.is_cancelling) == (1, "ConnectionError: try again", False)
        assert state.owes_start == state.is_cancelled
        ran = False
        with suppress(JobCancelled), job.start(id):
            ran = True
        assert ran == state.is_pending
        again = state_of(job, id)
        assert (again.status, again.attempt) == (("completed", 2) if ran else ("cancelled", 1))
        outcomes.add((str(at_the_end.status), ran))
    assert {("pending", False), ("cancelled", False)} <= outcomes, "the race was not one"
    job.tracker.close()


@on_each_store
def test_a_lock_races_the_end(launch: Launch, job: Job, shared_url: str, rounds: int) -> None:
    """An id can be locked only after the run's body has ended; then it is pending, with a clean slate."""
    locker = launch(bodies.lock_on_demand, shared_url)
    for id in map(str, range(rounds)):
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
        assert (state.status, state.progress, state.attempt) == ("pending", 0.0, 0)


def test_a_watcher_sees_a_run_in_another_process(launch: Launch, job: Job, shared_url: str) -> None:
    """From nothing, over what it reports, to its end."""
    watch = job.watch("7", timeout=20)
    worker = launch(bodies.work, shared_url, "7")
    seen = [next(watch)]
    while seen[-1].progress != 0.5:
        seen.append(next(watch))
    worker.tell()
    seen += watch
    assert [state.version for state in seen] == sorted({state.version for state in seen})
    assert seen[-1].is_completed
    assert {str(state.status) for state in seen} == {"processing", "completed"}


@on_each_engine
def test_a_job_that_says_nothing_is_kept_alive(launch: Launch, job: Job, shared_url: str) -> None:
    """A run that is silent for twice the time after which it would be dead is never seen as dead."""
    silent_for = 2 * job.tracker.settings.stalled_after
    worker = launch(bodies.sleep_silently, shared_url, "7", silent_for)
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
