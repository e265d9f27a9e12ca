"""Workers that are killed, or stopped for so long that they count as dead."""

from __future__ import annotations

import time
from itertools import count
from uuid import uuid4

import pytest

from job_progress import StoreUnavailable, Tracker, clock
from job_progress.job import Job
from job_progress.run import Run
from job_progress.stores.django_cache_values import shard_of
from tests.processes import bodies
from tests.processes.child import Child, Launch
from tests.processes.conftest import on_each_engine, on_two_stores
from tests.processes.jobs import HEARTBEAT, SLACK, STALLED_AFTER, state_of
from tests.stores.changes import change, forget, put
from tests.waiting import eventually


def test_a_killed_worker_is_noticed(launch: Launch, job: Job, shared_url: str) -> None:
    """Within `stalled_after`, and not at once, its run reads as stalled; otherwise it is as the worker left it."""
    worker = launch(bodies.work, shared_url, "7")
    assert worker.hear() == "working"
    assert not state_of(job, "7").is_stalled
    worker.kill()
    at_death = state_of(job, "7")
    assert not at_death.is_stalled
    eventually(lambda: state_of(job, "7").is_stalled, STALLED_AFTER + SLACK)
    state = state_of(job, "7")
    assert state == at_death
    assert (state.status, state.progress, state.is_locked, state.eta) == ("processing", 0.5, False, None)


def test_what_becomes_of_the_dead(launch: Launch, job: Job, shared_url: str) -> None:
    """An id whose worker died can be locked, cancelled, marked as pending or run again, as attempt 2."""
    worker = launch(bodies.work, shared_url, "lock", "cancel", "mark", "run")
    assert worker.hear() == "working"
    worker.kill()
    eventually(lambda: all(state.is_stalled for state in job.list()), STALLED_AFTER + SLACK)
    locked = job.lock("lock", owner="ada")
    assert locked
    assert (locked.status, locked.attempt, locked.progress, locked.owner) == ("pending", 0, 0.0, "ada")
    cancelled = job.cancel("cancel")
    assert (cancelled.status, cancelled.progress, cancelled.token) == ("cancelled", 0.5, None)
    assert job.mark_as_pending("mark").is_pending
    with job.start("run") as progress:
        state = state_of(job, "run")
        assert (state.status, state.attempt, state.progress, state.message) == ("processing", 2, 0.0, None)
        progress.update(0.75)
    state = state_of(job, "run")
    assert (state.status, state.attempt, state.progress) == ("completed", 2, 1.0)


@on_each_engine
def test_one_that_dies_while_it_is_cancelled(launch: Launch, job: Job, shared_url: str) -> None:
    """Who asked it to stop is told, in the end, that it has: by `get`, a list, and a watch."""
    worker = launch(bodies.work, shared_url, "get", "list", "watch")
    assert worker.hear() == "working"
    for id in ("get", "list", "watch"):
        assert job.cancel(id).is_cancelling
    worker.kill()
    assert job.wait("watch", timeout=STALLED_AFTER + 10).is_cancelled
    eventually(lambda: state_of(job, "get").is_cancelled)
    told = dict.fromkeys(("get", "list", "watch"), "cancelled")
    eventually(lambda: {state.id: str(state.status) for state in job.list()} == told)
    assert {state.id for state in job.list("cancelled")} == set(told)


def is_locked(job: Job) -> bool:
    """Does a process that was stopped in the middle of a write keep others from writing, what it wrote or anything?"""
    try:
        with pytest.MonkeyPatch.context() as impatient:
            for module in ("sqlite_file", "django_cache_writer"):
                impatient.setattr(f"job_progress.stores.{module}.LOCK_TIMEOUT", 0.2)
            assert job.tracker.store.swap([change("work:7", expected=1)]) != [None]
            # In a Django cache a conflict needs no lock, but what is written beside it does.
            beside = next(key for key in (f"probe:{uuid4()}" for _ in count()) if shard_of(key) == shard_of("work:7"))
            put(job.tracker.store, change(beside, job="probe", lifetime=1.0))
    except StoreUnavailable:
        return True
    return False


@pytest.fixture
def zombie(launch: Launch, job: Job, shared_url: str, request: pytest.FixtureRequest) -> Child:
    """A worker that runs the body *request.param*, with id 7, and was stopped for so long that it counts as dead."""
    child = launch(request.param, shared_url, "7")
    assert child.hear() == "working"
    child.stop()
    while is_locked(job):
        child.resume()
        time.sleep(0.001)
        child.stop()
    eventually(lambda: state_of(job, "7").is_stalled, STALLED_AFTER + SLACK)
    return child


@pytest.mark.parametrize("zombie", [bodies.work], indirect=True, ids=["work"])
@pytest.mark.parametrize("ended", [False, True], ids=["while the other runs", "after the other has ended"])
def test_a_zombie_cannot_write(job: Job, zombie: Child, ended: bool) -> None:
    """A stopped worker whose run was taken over, woken up, neither shows that it lives nor ends the other's run."""
    with job.start("7") as progress:
        progress.update(0.75, message="by the successor").flush()
        if not ended:
            zombie.resume()
            zombie.tell()
            assert zombie.hear() == "ended"
            assert zombie.ends() == 0
            state = state_of(job, "7")
            assert (state.status, state.attempt, state.progress) == ("processing", 2, 0.75)
            assert state.message == "by the successor"
    final = state_of(job, "7")
    assert (final.status, final.attempt, final.message) == ("completed", 2, "by the successor")
    if ended:
        zombie.resume()
        zombie.tell()
        assert zombie.hear() == "ended"
        assert zombie.ends() == 0
    assert state_of(job, "7") == final


@on_each_engine
@pytest.mark.parametrize("zombie", [bodies.work], indirect=True, ids=["work"])
@pytest.mark.parametrize("how", ["lock", "cancel", "delete"])
def test_a_zombie_finds_its_id_locked_cancelled_or_forgotten(job: Job, zombie: Child, how: str) -> None:
    """Whatever has become of its id while it was stopped stays so when it wakes up and ends."""
    if how == "lock":
        job.lock("7")
    elif how == "cancel":
        job.cancel("7")
    else:
        time.sleep(HEARTBEAT)  # others may forget an id no sooner than they may take it
        forget(job.tracker.store, "work:7")
    before = job.get("7")
    zombie.resume()
    zombie.tell()
    assert zombie.hear() == "ended"
    assert zombie.ends() == 0
    assert job.get("7") == before


@on_two_stores
@pytest.mark.parametrize("zombie", [bodies.work_with_checkpoints], indirect=True, ids=["checkpoints"])
def test_a_zombie_is_stopped_at_its_next_checkpoint(job: Job, zombie: Child) -> None:
    """Woken up, a run that was taken over raises `JobCancelled` at a checkpoint; its process lives on."""
    with job.start("7") as progress:
        progress.update(0.75).flush()
        zombie.resume()
        assert zombie.hear() == "cleaning up"
        assert zombie.hear() == "ended"
        assert zombie.ends() == 0
        state = state_of(job, "7")
        assert (state.status, state.attempt, state.progress) == ("processing", 2, 0.75)
        assert not state.is_cancelling
    assert state_of(job, "7").is_completed


@on_two_stores
@pytest.mark.parametrize("zombie", [bodies.work], indirect=True, ids=["work"])
def test_a_worker_that_was_stopped_and_not_missed_goes_on(job: Job, zombie: Child) -> None:
    """If nobody has taken its id, a run that was stopped for too long is alive again, and ends as usual."""
    zombie.resume()
    eventually(lambda: not state_of(job, "7").is_stalled)
    zombie.tell()
    assert zombie.hear() == "ended"
    state = state_of(job, "7")
    assert (state.status, state.attempt) == ("completed", 1)


@on_each_engine
def test_a_watch_goes_on_over_a_takeover(launch: Launch, job: Job, shared_url: str) -> None:
    """Watchers see the run die, and then the next attempt, up to its end."""
    worker = launch(bodies.work, shared_url, "7")
    assert worker.hear() == "working"
    watch = job.watch("7", timeout=20)
    assert next(watch).attempt == 1
    worker.kill()
    began = time.monotonic()
    dead = next(state for state in watch if state.is_stalled)
    assert dead.attempt == 1
    assert time.monotonic() - began < STALLED_AFTER + 5
    with job.start("7"):
        assert next(state for state in watch if state.attempt == 2).is_processing
    assert [str(state.status) for state in watch][-1] == "completed"


def test_a_write_from_before_a_sleep_is_no_sign_that_nobody_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """If its answer comes after the process has woken up, a run that the store has forgotten is lost all the same."""
    job = Job("work", tracker=Tracker("memory://", heartbeat=60.0, stalled_after=120.0))
    run = job.begin("7")
    assert isinstance(run, Run)
    written = run.decide(None, clock.now())
    assert written
    woken = time.monotonic() + 121.0
    monkeypatch.setattr("job_progress.run.monotonic", lambda: woken)
    assert run.decide(None, clock.now())  # by another thread, after the sleep
    run.wrote(written[0])  # which the first has only heard of now
    run.learn(None, None)
    assert run.lost
    job.tracker.close()
