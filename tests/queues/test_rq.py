"""What only RQ has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
import rq
import rq.registry
from redis import RedisError
from rq.command import send_stop_job_command
from rq.decorators import job as rq_job
from rq.exceptions import DuplicateJobError, InvalidJobOperation
from rq.job import Job as PlainJob

from job_progress import JobState
from job_progress.queues.rq import Job
from job_progress.queues.rq import Queue as TrackedQueue
from tests.queues.conftest import BUSY, Brokers, Queue
from tests.queues.drivers.rq import RQ
from tests.queues.test_contract import runs, scripts
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

SOON = timedelta(seconds=1)
LATE = timedelta(hours=1)


@pytest.fixture
def queue(brokers: Brokers, tmp_path: Path) -> Iterator[Queue]:
    """RQ, and no worker yet."""
    queue = Queue(brokers.driver(RQ.name), brokers, "fork", tmp_path)
    yield queue
    queue.close()


@pytest.fixture
def tasks(queue: Queue) -> TrackedQueue:
    """RQ's own object, which users enqueue to."""
    assert isinstance(queue.driver, RQ)
    return queue.driver.queue


@pytest.fixture
def jobs(queue: Queue) -> ModuleType:
    """The functions that are enqueued to all queues."""
    return queue.driver.jobs


@pytest.fixture
def rq_jobs(queue: Queue) -> ModuleType:
    """The functions that are enqueued to RQ alone."""
    from tests.queues import rq_jobs

    return rq_jobs


def state_of(job: rq.job.Job) -> JobState:
    """The state of an execution that has one."""
    state = found(job)
    assert state is not None
    return state


def found(job: rq.job.Job) -> JobState | None:
    """The state of an execution, if there is one."""
    function: Any = job.func
    state: JobState | None = function.job.get(job.id)
    return state


def becomes(queue: Queue, job: rq.job.Job, condition: Callable[[JobState], object]) -> JobState:
    """Wait until the state of an execution is as wanted."""

    def seen() -> JobState | None:
        state = found(job)
        return state if state is not None and condition(state) else None

    with queue.explained():
        state = eventually(seen, BUSY)
    assert state is not None
    return state


def finished(state: JobState) -> bool:
    """It has come to an end."""
    return state.is_finished


# Stopped, killed, too slow, abandoned.


def test_what_is_stopped_on_request_is_cancelled(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """RQ kills the child; the job is neither failed nor retried, and the worker takes the next one."""
    queue.work()
    job = tasks.enqueue(jobs.stubborn, str(queue.folder), retry=rq.Retry(max=2))
    queue.sees("begun")
    send_stop_job_command(tasks.connection, job.id)
    state = becomes(queue, job, finished)
    assert (state.status, state.error, state.attempt) == ("cancelled", None, 1)
    assert queue.outcome(job.id) == "cancelled"
    assert becomes(queue, tasks.enqueue(jobs.add, 1, 1), finished).is_completed


def test_a_killed_child_without_retries_has_failed(queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType) -> None:
    """At once, and the error says by which signal; what it had reported stays."""
    queue.work()
    state = becomes(queue, tasks.enqueue(rq_jobs.die, str(queue.folder)), finished)
    assert (state.status, state.message, state.progress) == ("failed", "alive", 0.5)
    assert "signal 9" in (state.error or "")


def test_what_fails_before_it_begins_has_failed(queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType) -> None:
    """Something else raised between RQ and the tracked function."""
    queue.work()
    state = becomes(queue, tasks.enqueue(rq_jobs.forbidden), finished)
    assert (state.status, state.attempt, state.error) == ("failed", 0, "PermissionError: not today")
    assert state.error_for_viewers == "PermissionError"


@pytest.mark.parametrize("interval", [0, 1])
def test_a_killed_child_with_retries_waits_for_the_next(
    queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType, interval: int
) -> None:
    """With the attempt counted, and an error until then; whether RQ waits a while in between or not."""
    queue.work()
    job = tasks.enqueue(rq_jobs.die, str(queue.folder), retry=rq.Retry(max=1, interval=interval))
    if interval:
        waiting = becomes(queue, job, lambda state: state.error)
        assert (waiting.status, waiting.attempt, waiting.error) == ("pending", 1, "the worker died")
    queue.sees("begun")
    again = becomes(queue, job, lambda state: state.is_processing)
    assert (again.attempt, again.error) == (2, None)
    queue.go()
    assert becomes(queue, job, finished).is_completed


@pytest.mark.parametrize("retries", [0, 1])
def test_what_takes_too_long_has_failed_or_is_retried(
    queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType, retries: int
) -> None:
    """RQ raises its exception in the job, which is an error like others."""
    queue.work()
    retry = rq.Retry(max=1, interval=3600) if retries else None
    job = tasks.enqueue(rq_jobs.endless, job_timeout=1, retry=retry)
    state = becomes(queue, job, lambda state: state.error)
    assert (state.status, state.attempt) == ("pending" if retries else "failed", 1)
    assert (state.error or "").startswith("JobTimeoutException: ")


@pytest.mark.parametrize("retries", [0, 1])
def test_an_abandoned_job_has_failed_or_is_retried(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType, retries: int
) -> None:
    """RQ finds out, some time after worker and child were killed, and the heartbeats have stopped."""
    worker = queue.worker_of_its_own()
    job = tasks.enqueue(jobs.wait, str(queue.folder), retry=rq.Retry(max=1) if retries else None)
    queue.sees("begun")
    worker.kill()
    becomes(queue, job, lambda state: state.is_stalled)
    tasks.started_job_registry.cleanup(2**33)  # what workers do from time to time
    state = state_of(job)
    assert state.status == ("pending" if retries else "failed")
    assert (state.error or "").startswith("the worker died" if retries else "Moved to FailedJobRegistry, due to Aband")
    if retries:
        queue.worker_of_its_own()
        assert becomes(queue, job, lambda state: state.is_processing).attempt == 2


def test_a_retry_at_once_starts_clean(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Without an interval, RQ enqueues it again within the very same worker."""
    queue.work()
    job = tasks.enqueue(jobs.flaky, str(queue.folder), retry=rq.Retry(max=1))
    queue.sees("begun")
    again = becomes(queue, job, lambda state: state.is_processing)
    assert (again.attempt, again.error, again.message) == (2, None, None)
    queue.go()
    done = becomes(queue, job, finished)
    assert (done.status, done.attempt) == ("completed", 2)


@pytest.mark.parametrize(("limit", "end"), [(1, "completed"), (0, "failed")])
def test_a_returned_retry_is_one(queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType, limit: int, end: str) -> None:
    """RQ's other way to ask for it: pending until then, and failed if it was asked for too often."""
    queue.work()
    job = tasks.enqueue(rq_jobs.once_more, str(queue.folder), limit)
    if limit:
        waiting = becomes(queue, job, lambda state: state.error)
        assert (waiting.status, waiting.attempt) == ("pending", 1)
        queue.go()
    done = becomes(queue, job, finished)
    assert (done.status, done.attempt, done.result) == (end, 1 + limit, "went on" if limit else None)
    assert queue.outcome(job.id) == ("done" if limit else "failed")


# Scheduled, deferred, many.


@pytest.mark.parametrize("drop", [PlainJob.cancel, PlainJob.delete], ids=["cancel", "delete"])
def test_what_is_taken_back_before_it_is_due_is_cancelled(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType, drop: Callable[[rq.job.Job], object]
) -> None:
    """A scheduled job is pending, and may be cancelled or deleted."""
    job = tasks.enqueue_in(LATE, jobs.add, 3, 4)
    assert state_of(job).is_pending
    getattr(job, drop.__name__)()
    assert state_of(job).is_cancelled


def test_what_was_cancelled_before_it_is_due_does_not_run(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """By our own means, so that RQ still delivers it: it stays cancelled when it becomes due, and never begins."""
    queue.work()
    job = tasks.enqueue_in(SOON, jobs.wait, str(queue.folder))
    jobs.wait.job.cancel(job.id)
    queue.outcome(job.id)
    assert state_of(job).is_cancelled
    assert not queue.has("begun")


def test_a_due_job_runs(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Its first attempt, since it was scheduled."""
    queue.work()
    job = tasks.enqueue_in(SOON, jobs.add, 3, 4)
    scheduled = state_of(job)
    done = becomes(queue, job, finished)
    assert (done.result, done.attempt, done.created_at) == (7, 1, scheduled.created_at)


def test_a_deferred_job_is_pending_until_its_turn(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Those that depend on another wait for it; one that is cancelled meanwhile does not run, and one that is taken
    back neither."""
    queue.work()
    first = tasks.enqueue(jobs.stubborn, str(queue.folder))
    queue.sees("begun")
    kept = tasks.enqueue(jobs.add, 3, 4, depends_on=first)
    cancelled = tasks.enqueue(jobs.add, 3, 4, depends_on=first)
    dropped = tasks.enqueue(jobs.add, 3, 4, depends_on=first)
    assert [str(state_of(job).status) for job in (kept, cancelled, dropped)] == ["pending"] * 3
    jobs.add.job.cancel(cancelled.id)
    dropped.cancel()
    queue.go()
    assert becomes(queue, kept, finished).result == 7
    assert queue.outcome(cancelled.id) == "done"
    assert [str(state_of(job).status) for job in (cancelled, dropped)] == ["cancelled", "cancelled"]


def test_many_are_pending_at_once(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Those that can run, and those that wait for another."""
    queue.stop_working()
    first = tasks.enqueue(jobs.add, 0, 0)
    calls = [TrackedQueue.prepare_data(jobs.add, args=(number, 1)) for number in range(3)]
    calls.append(TrackedQueue.prepare_data(jobs.add, args=(3, 1), depends_on=first))
    many = tasks.enqueue_many(calls)
    assert [str(state_of(job).status) for job in many] == ["pending"] * 4
    queue.work()
    assert [becomes(queue, job, finished).result for job in many] == [1, 2, 3, 4]


def test_it_takes_three_round_trips(queue: Queue, tasks: TrackedQueue, jobs: ModuleType, states: ValkeyServer) -> None:
    """One to enqueue, one to begin, as RQ's record carries what that one made of the state, and one to end."""
    queue.work()
    becomes(queue, tasks.enqueue(jobs.silent), finished)
    before = scripts(states)
    queue.outcome(tasks.enqueue(jobs.silent).id)
    assert scripts(states) - before == 3


def test_what_is_only_made_has_no_state(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Until it is enqueued."""
    queue.stop_working()
    job = tasks.create_job(jobs.add, args=(3, 4))
    assert found(job) is None
    tasks.enqueue_job(job)
    assert state_of(job).is_pending


# Once more.


@pytest.mark.parametrize("how", ["the job", "by its id"])
def test_a_failed_job_that_is_requeued_begins_anew(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType, how: str
) -> None:
    """It is pending, without the error; and then it is the first attempt."""
    queue.work()
    job = tasks.enqueue(jobs.flaky, str(queue.folder))
    becomes(queue, job, finished)
    assert queue.outcome(job.id) == "failed"
    queue.stop_working()
    if how == "the job":
        job.requeue()
    else:
        tasks.failed_job_registry.requeue(job.id)
    waiting = state_of(job)
    assert (waiting.status, waiting.error, waiting.attempt) == ("pending", None, 0)
    queue.work()
    queue.go()
    done = becomes(queue, job, finished)
    assert (done.status, done.attempt) == ("completed", 1)


@pytest.mark.parametrize("how", ["function", "command"])
def test_what_rqs_own_classes_requeue_begins_anew(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType, how: str
) -> None:
    """It has failed until a worker gets to it, as nobody tells; and then it is the first attempt."""
    queue.work()
    job = tasks.enqueue(jobs.flaky, str(queue.folder))
    becomes(queue, job, finished)
    assert queue.outcome(job.id) == "failed"
    if how == "function":
        rq.job.requeue_job(job.id, tasks.connection)
    else:
        command = [sys.executable, "-m", "rq.cli", "requeue", "--queue", tasks.name, "--url", queue.driver.address]
        subprocess.run([*command, job.id], check=True, capture_output=True)
    queue.sees("begun")
    queue.go()
    done = becomes(queue, job, lambda state: state.is_completed)
    assert (done.status, done.attempt) == ("completed", 1)


def test_a_cancelled_job_that_rqs_own_classes_requeue_runs(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Its start is not taken for the one that was cancelled."""
    queue.stop_working()
    job = tasks.enqueue(jobs.add, 3, 4)
    job.cancel()
    assert state_of(job).is_cancelled
    rq.registry.CanceledJobRegistry(tasks.name, tasks.connection).requeue(job.id)
    queue.work()
    done = becomes(queue, job, lambda state: state.is_completed)
    assert (done.result, done.attempt) == (7, 1)


def test_a_cancelled_job_that_is_requeued_runs(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """No start is owed for what RQ has dropped."""
    queue.stop_working()
    job = tasks.enqueue(jobs.add, 3, 4)
    job.cancel()
    assert state_of(job).is_cancelled
    tasks.canceled_job_registry.requeue(job.id)
    assert state_of(job).is_pending
    queue.work()
    assert becomes(queue, job, finished).result == 7


def test_cancelling_what_runs_or_is_gone_changes_nothing(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """RQ lets it run on, and so it completes; and deleted, it has completed."""
    queue.work()
    job = tasks.enqueue(jobs.wait, str(queue.folder))
    queue.sees("begun")
    job.cancel()
    assert state_of(job).is_processing
    queue.go()
    assert becomes(queue, job, finished).is_completed
    eventually(lambda: queue.driver.outcome(job.id) == "done", BUSY)
    job.delete()
    assert state_of(job).is_completed
    with pytest.raises(InvalidJobOperation):  # RQ's own
        job.delete()


def test_a_duplicate_leaves_the_first_alone(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """RQ refuses it while the first is known; whether that waits, or has ended."""
    queue.stop_working()
    id = str(uuid4())
    job = tasks.enqueue(jobs.add, 3, 4, job_id=id, unique=True)
    waiting = state_of(job)
    assert waiting.is_pending
    with pytest.raises(DuplicateJobError):
        tasks.enqueue(jobs.add, 3, 4, job_id=id, unique=True)
    with pytest.raises(DuplicateJobError):
        tasks.enqueue_in(SOON, jobs.add, 3, 4, job_id=id, unique=True)
    assert state_of(job) == waiting
    queue.work()
    done = becomes(queue, job, finished)
    queue.outcome(id)
    with pytest.raises(DuplicateJobError):
        tasks.enqueue(jobs.add, 3, 4, job_id=id, unique=True)
    assert state_of(job) == done


# Fails around the function, is refused, is delivered twice.


@pytest.mark.parametrize("retries", [0, 1])
def test_a_callback_that_raises_after_success_is_a_failure(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType, rq_jobs: ModuleType, retries: int
) -> None:
    """To RQ the job has failed, or is run again, so that it is what the state says too."""
    queue.work()
    retry = rq.Retry(max=1, interval=3600) if retries else None
    job = tasks.enqueue(jobs.add, 3, 4, on_success=rq.Callback(rq_jobs.raise_after), retry=retry)
    state = becomes(queue, job, lambda state: state.error)
    assert (state.status, state.attempt) == ("pending" if retries else "failed", 1)
    assert state.error == "LookupError: nobody to tell"


def test_a_function_that_the_worker_cannot_import_has_failed(queue: Queue, tasks: TrackedQueue) -> None:
    """RQ's record says where its state is; that is in the worker's default tracker."""
    queue.worker_of_its_own(JOB_PROGRESS_STORE=os.environ["QUEUE_TESTS_STORE"], WITHOUT_RQ_ONLY_HERE="yes")
    from tests.queues import rq_only_here

    job = tasks.enqueue(rq_only_here.only_here)
    failed = becomes(queue, job, finished)
    assert (failed.status, failed.attempt) == ("failed", 0)
    assert failed.error == "ValueError: Invalid attribute name: only_here"  # RQ's own word for it


@pytest.mark.parametrize("how", ["enqueue_in", "enqueue_at", "enqueue_many", "enqueue_call", "pipeline", "requeue"])
def test_what_the_broker_refuses_has_failed(queue: Queue, tasks: TrackedQueue, jobs: ModuleType, how: str) -> None:
    """However it is sent; where RQ was refused before it saved the job, there is no state."""
    queue.work()
    id = f"refused-{uuid4()}"
    if how == "requeue":
        id = tasks.enqueue(jobs.fail).id
        assert queue.outcome(id) == "failed"
    queue.stop_working()
    with queue.driver.refusing(), pytest.raises(RedisError):
        match how:
            case "enqueue_in":
                tasks.enqueue_in(LATE, jobs.fail, job_id=id)
            case "enqueue_at":
                tasks.enqueue_at(datetime.now(UTC) + LATE, jobs.fail, job_id=id)
            case "enqueue_many":
                tasks.enqueue_many([TrackedQueue.prepare_data(jobs.fail, job_id=id)])
            case "enqueue_call":
                tasks.enqueue_call(jobs.fail, job_id=id)
            case "pipeline":
                with tasks.connection.pipeline() as pipeline:
                    tasks.enqueue(jobs.fail, job_id=id, pipeline=pipeline)
                    pipeline.execute()
            case _:
                tasks.failed_job_registry.requeue(id)
    state = jobs.fail.job.get(id)
    assert state is None or state.is_failed
    assert state is not None or how in ("enqueue_call", "enqueue_in", "enqueue_at")


def test_a_second_delivery_leaves_the_return_value_as_it_is(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType
) -> None:
    """In RQ, whether it comes while the first one runs or after it; no word of it is in the state."""
    first = queue.worker_of_its_own()
    with queue.driver.worker(queue.folder / "worker-second.log", queue.pool) as second:
        job = tasks.enqueue(jobs.wait, str(queue.folder))
        queue.sees("begun")
        tasks.push_job_id(job.id)
        with queue.explained():
            eventually(lambda: "another delivery of the same task" in first.log() + second.log(), BUSY)
        queue.go()
        with queue.explained():
            eventually(lambda: len(job.results()) == 2, BUSY)
        tasks.push_job_id(job.id)
        with queue.explained():
            eventually(lambda: len(job.results()) == 3, BUSY)
    assert [result.return_value for result in job.results()] == ["went on"] * 3
    assert (state_of(job).attempt, state_of(job).result) == (1, None)


def test_a_retry_that_comes_when_another_delivery_is_done_does_nothing(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType
) -> None:
    """RQ's scheduler enqueues it, with its own classes, which is no requeue."""
    queue.work()
    queue.go()
    job = tasks.enqueue(jobs.flaky, str(queue.folder), retry=rq.Retry(max=2, interval=3))
    becomes(queue, job, lambda state: state.error)
    tasks.push_job_id(job.id)
    assert becomes(queue, job, finished).attempt == 2
    with queue.explained():
        eventually(lambda: len(job.results()) == 2, BUSY)
    state = state_of(job)
    assert (state.status, state.attempt) == ("completed", 2)


@pytest.mark.parametrize("interval", [0, 1])
def test_a_job_that_repeats_is_pending_again(
    queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType, interval: int
) -> None:
    """Each time is a life of its own under the same id, as RQ has it scheduled again; the last one stays completed."""
    queue.work()
    job = tasks.enqueue(rq_jobs.count_runs, str(queue.folder), repeat=rq.Repeat(times=1, interval=interval))
    if interval:
        again = becomes(queue, job, lambda state: state.is_pending and runs(queue) == 1)
        assert (again.attempt, again.due is not None) == (0, True)
    with queue.explained():
        eventually(lambda: runs(queue) == 2, BUSY)
    assert becomes(queue, job, finished).attempt == 1
    assert queue.outcome(job.id) == "done"


def test_a_job_that_was_cancelled_does_not_repeat(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """It would be refused each time."""
    queue.work()
    job = tasks.enqueue(jobs.wait, str(queue.folder), repeat=rq.Repeat(times=3, interval=1))
    queue.sees("begun")
    jobs.wait.job.cancel(job.id)
    assert becomes(queue, job, finished).is_cancelled
    assert queue.outcome(job.id) == "done"
    assert job.id not in tasks.scheduled_job_registry.get_job_ids()
    assert state_of(job).is_cancelled


def test_what_is_due_later_is_kept_until_then(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """A scheduled job, and one that is to be retried."""
    queue.work()
    late = timedelta(days=30)
    when = datetime.now(UTC) + late
    for job in (tasks.enqueue_in(late, jobs.add, 3, 4), tasks.enqueue_at(when.replace(tzinfo=None), jobs.add, 3, 4)):
        due = state_of(job).due
        assert due is not None
        assert abs((due - when).total_seconds()) < 60
        assert state_of(job).lifetime > late.total_seconds()
    job = tasks.enqueue(jobs.fail, retry=rq.Retry(max=1, interval=int(late.total_seconds())))
    assert becomes(queue, job, lambda state: state.error).lifetime > late.total_seconds()


# What depends on another.


def test_all_that_depends_on_a_failed_job_ends_with_the_reason(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType
) -> None:
    """The next, the one after that, and one that is enqueued when it has failed; each says what was before it."""
    queue.stop_working()
    first = tasks.enqueue(jobs.fail)
    second = tasks.enqueue(jobs.add, 3, 4, depends_on=first)
    third = tasks.enqueue(jobs.silent, depends_on=second)
    assert [str(state_of(job).status) for job in (second, third)] == ["pending"] * 2
    queue.work()
    assert becomes(queue, second, finished).error == f"not run: {jobs.fail.job.name}, before it, has failed"
    assert becomes(queue, third, finished).error == f"not run: {jobs.add.job.name}, before it, was not run"
    assert queue.outcome(first.id) == "failed"
    late = tasks.enqueue(jobs.silent, depends_on=first)
    assert (state_of(late).status, state_of(late).attempt) == ("cancelled", 0)
    many = tasks.enqueue_many([TrackedQueue.prepare_data(jobs.silent, depends_on=first)])
    assert state_of(many[0]).error == f"not run: {jobs.fail.job.name}, before it, has failed"


def test_what_depends_on_a_job_that_may_fail_runs(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """RQ runs it, and so it completes."""
    queue.stop_working()
    first = tasks.enqueue(jobs.fail)
    second = tasks.enqueue(jobs.add, 3, 4, depends_on=rq.job.Dependency(first, allow_failure=True))
    queue.work()
    assert becomes(queue, second, finished).result == 7
    third = tasks.enqueue(jobs.add, 3, 4, depends_on=rq.job.Dependency(first, allow_failure=True))
    assert becomes(queue, third, finished).result == 7


def test_what_depends_on_a_cancelled_job_does_not_run(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Not even if the other may fail, or another one succeeds later, or it is enqueued after that."""
    queue.work()
    first = tasks.enqueue(jobs.wait, str(queue.folder))
    queue.sees("begun")
    other = tasks.enqueue_in(SOON, jobs.silent)
    both = tasks.enqueue(jobs.add, 3, 4, depends_on=[first, other])
    second = tasks.enqueue(jobs.add, 3, 4, depends_on=rq.job.Dependency(first, allow_failure=True))
    jobs.wait.job.cancel(first.id)
    assert becomes(queue, first, finished).is_cancelled
    assert becomes(queue, second, finished).error == f"not run: {jobs.wait.job.name}, before it, was cancelled"
    assert queue.outcome(other.id) == "done"
    assert queue.outcome(first.id) == "done"
    late = tasks.enqueue(jobs.add, 3, 4, depends_on=first)
    assert becomes(queue, tasks.enqueue(jobs.silent), finished).is_completed
    for job in (both, second, late):
        assert (state_of(job).status, state_of(job).attempt) == ("cancelled", 0)


def test_what_depends_on_an_abandoned_job_ends(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """RQ's clean-up finds out, and leaves it deferred."""
    worker = queue.worker_of_its_own()
    first = tasks.enqueue(jobs.wait, str(queue.folder))
    second = tasks.enqueue(jobs.silent, depends_on=first)
    queue.sees("begun")
    worker.kill()
    becomes(queue, first, lambda state: state.is_stalled)
    tasks.started_job_registry.cleanup(2**33)
    assert (state_of(second).status, state_of(second).attempt) == ("cancelled", 0)


def test_an_abandoned_job_that_is_alive_is_left_alone(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Only its worker is gone, say, and its child works on: the retry waits for that, and is dropped."""
    worker = queue.worker_of_its_own()
    with queue.driver.worker(queue.folder / "worker-second.log", queue.pool) as second:
        job = tasks.enqueue(jobs.wait, str(queue.folder), retry=rq.Retry(max=1))
        queue.sees("begun")
        tasks.started_job_registry.cleanup(2**33)
        with queue.explained():
            eventually(lambda: "another delivery of the same task" in worker.log() + second.log(), BUSY)
        assert (state_of(job).status, state_of(job).attempt, state_of(job).error) == ("processing", 1, None)
        queue.go()
        done = becomes(queue, job, finished)
        assert (done.status, done.attempt, runs(queue)) == ("completed", 1, 1)
        with queue.explained():
            eventually(lambda: len(job.results()) == 2, BUSY)


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_what_depends_on_a_job_that_is_taken_back_ends(
    queue: Queue, tasks: TrackedQueue, jobs: ModuleType, how: str
) -> None:
    """RQ leaves it deferred for good."""
    queue.stop_working()
    first = tasks.enqueue(jobs.silent)
    second = tasks.enqueue(jobs.silent, depends_on=first)
    getattr(first, how)()
    assert (state_of(second).status, state_of(second).attempt) == ("cancelled", 0)
    assert "before it, was " in (state_of(second).error or "")


def test_what_depends_on_a_failed_job_begins_anew_with_it(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """Somebody requeues the first, RQ then runs what it had deferred, and so the state is of that run."""
    queue.work()
    queue.go()
    first = tasks.enqueue(jobs.flaky, str(queue.folder))
    second = tasks.enqueue(jobs.add, 3, 4, depends_on=first)
    third = tasks.enqueue(jobs.silent, depends_on=second)
    assert becomes(queue, third, finished).is_cancelled
    assert queue.outcome(first.id) == "failed"
    rq.job.requeue_job(first.id, tasks.connection)
    for job in (second, third):
        done = becomes(queue, job, lambda state: state.is_completed)
        assert (done.attempt, done.error) == (1, None)


# Functions of all kinds.


def test_a_queue_that_is_not_async_runs_it_here_and_once(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """There is nobody who would retry."""
    here = TrackedQueue("here", connection=tasks.connection, is_async=False)
    done = state_of(here.enqueue(jobs.add, 3, 4))
    assert (done.status, done.result, done.attempt) == ("completed", 7, 1)
    failed = state_of(here.enqueue(jobs.fail, retry=rq.Retry(max=3)))
    assert (failed.status, failed.error) == ("failed", "ValueError: boom")


def test_async_functions_run(queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType) -> None:
    """RQ gives each a loop of its own."""
    queue.work()
    assert becomes(queue, tasks.enqueue(rq_jobs.add_async, 3, 4), finished).result == 7


def test_methods_run(queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType) -> None:
    """RQ sends the object along; the id is an argument's."""
    queue.stop_working()
    product = f"product of {queue.folder.name}"
    tasks.enqueue(rq_jobs.Shop().refresh, product)
    job = rq_jobs.Shop.refresh.job
    assert job.get(product).is_pending
    queue.work()
    with queue.explained():
        eventually(lambda: job.get(product).is_finished, BUSY)
    assert job.get(product).result == f"refreshed {product}"


def test_rqs_decorator_goes_on_top(queue: Queue, tasks: TrackedQueue, jobs: ModuleType) -> None:
    """The function enqueues itself; and given a queue's name, it takes the class of ours."""
    queue.stop_working()
    for decorate in (
        rq_job(tasks, tasks.connection),
        rq_job(tasks.name, tasks.connection, queue_class=TrackedQueue),
    ):
        job = decorate(jobs.add).enqueue(3, 4)
        assert state_of(job).is_pending
    queue.work()
    assert becomes(queue, job, finished).result == 7
    del jobs.add.delay, jobs.add.enqueue


def test_untracked_functions_are_left_alone(queue: Queue, tasks: TrackedQueue, rq_jobs: ModuleType) -> None:
    """They run as ever, and there is no state of them."""
    queue.work()
    job = tasks.enqueue(rq_jobs.untracked, 3, 4)
    assert queue.outcome(job.id) == "done"
    assert Job.fetch(job.id, connection=tasks.connection).return_value() == 7
    assert all(state.id != job.id for state in queue.job("wait").tracker.list(limit=1000))


def test_a_function_that_is_not_here_is_enqueued_all_the_same(queue: Queue, tasks: TrackedQueue) -> None:
    """By its name, to a worker that has it; nothing can be said of it until it runs there."""
    queue.stop_working()
    job = tasks.enqueue("nowhere.nothing")
    assert job.get_status() == "queued"
    job.delete()
