"""What every queue must do, with its real worker in its own process. The table in the README is made of this."""

from __future__ import annotations

import pytest

from job_progress import Job, ProgressError
from tests.queues.conftest import BUSY, Queue, point
from tests.queues.driver import Point
from tests.queues.seen import Seen
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

pytestmark = pytest.mark.environment("main", "arq", "django6", "saq")


@point(Point.PENDING)
def test_what_is_enqueued_is_pending(queue: Queue) -> None:
    """Before any worker has seen it, under the queue's own id; and it is the job's first attempt that then runs."""
    queue.stop_working()
    id = queue.send("add", 3, 4)
    state = queue.state("add", id)
    assert state is not None
    assert (state.status, state.attempt) == ("pending", 0)
    queue.work()
    done = queue.becomes("add", id, lambda state: state.is_finished)
    assert (done.status, done.attempt, done.created_at) == ("completed", 1, state.created_at)


@point(Point.PENDING)
def test_an_id_and_an_owner_come_from_the_arguments(queue: Queue) -> None:
    """Where the job says so, with the queue's id kept to itself; enqueued again, it begins anew."""
    queue.stop_working()
    name = f"products of {queue.folder.name}"
    queue.send("named", name, "ada")
    pending = queue.state("named", name)
    assert pending is not None
    assert (pending.status, pending.owner) == ("pending", "ada")
    queue.work()
    first = queue.becomes("named", name, lambda state: state.is_completed)
    queue.send("named", name, "bob")
    second = queue.becomes("named", name, lambda state: state.version > first.version and state.is_completed)
    assert (second.owner, second.attempt) == ("bob", 1)


@point(Point.PENDING)
def test_the_job_is_found_behind_the_queues_own_object(queue: Queue) -> None:
    """`Job.of` takes what the queue's decorator made."""
    assert Job.of(queue.driver.task("add")) is queue.job("add")


@point(Point.RUNS)
def test_a_run_is_seen_and_completes(queue: Queue, pool: str) -> None:
    """Processing, with progress, message and counts, and then completed; on each kind of worker."""
    queue.work()
    id = queue.send("wait", ...)
    seen = queue.becomes("wait", id, lambda state: state.message)
    assert (seen.status, seen.progress, seen.completed, seen.total) == ("processing", 0.25, 1, 4)
    assert (seen.message, seen.attempt) == ("waiting", 1)
    queue.go()
    done = queue.becomes("wait", id, lambda state: state.is_finished)
    assert (done.status, done.progress, done.result) == ("completed", 1.0, None)
    assert queue.outcome(id) == "done"


@point(Point.RUNS)
def test_a_result_is_published_where_asked_for(queue: Queue, pool: str) -> None:
    """The job's own option; the child that leaves at once has not lost it."""
    queue.work()
    id = queue.send("add", 3, 4)
    assert queue.becomes("add", id, lambda state: state.is_finished).result == 7


@point(Point.FAILS)
def test_an_error_is_told_and_left_to_the_queue(queue: Queue, pool: str) -> None:
    """The state has failed and says why; so has the queue's task."""
    queue.work()
    id = queue.send("fail")
    failed = queue.becomes("fail", id, lambda state: state.is_finished)
    assert (failed.status, failed.error, failed.progress) == ("failed", "ValueError: boom", 0.5)
    assert queue.outcome(id) == "failed"


@point(Point.FAILS)
def test_a_retry_waits_with_its_error_and_starts_clean(queue: Queue) -> None:
    """Pending with attempt and error, then processing without, then the truth; never failed in between."""
    queue.work()
    with Seen() as seen:
        id = queue.send("flaky", ..., retries=2)
        seen.follow(queue.job("flaky"), id)
        waiting = queue.becomes("flaky", id, lambda state: state.is_pending and state.error)
        assert (waiting.attempt, waiting.error) == (1, "ConnectionError: no answer")
        queue.sees("begun")
        again = queue.becomes("flaky", id, lambda state: state.is_processing)
        assert (again.attempt, again.error, again.progress, again.message) == (2, None, 0.0, None)
        queue.go()
        done = queue.becomes("flaky", id, lambda state: state.is_finished)
    assert (done.status, done.attempt, done.error) == ("completed", 2, None)
    assert "failed" not in seen.statuses


@point(Point.CANCELS)
def test_what_is_cancelled_while_it_waits_never_runs(queue: Queue) -> None:
    """Its task comes and goes; to the queue it is cancelled, where it has a word for that, and never a failure."""
    queue.stop_working()
    id = queue.send("wait", ...)
    assert queue.job("wait").cancel(id).is_cancelled
    queue.work()
    after = queue.send("add", 1, 1)
    queue.becomes("add", after, lambda state: state.is_completed)
    settles(queue, id)
    state = queue.state("wait", id)
    assert state is not None
    assert state.is_cancelled
    assert not queue.has("begun")


@point(Point.CANCELS)
def test_what_runs_stops_at_its_checkpoint(queue: Queue, pool: str) -> None:
    """Asked, then acknowledged; to the queue it is cancelled, and neither a failure nor tried again."""
    queue.work()
    id = queue.send("wait", ..., retries=1)
    queue.sees("begun")
    asked = queue.job("wait").cancel(id)
    assert (asked.status, asked.is_cancelling) == ("processing", True)
    done = queue.becomes("wait", id, lambda state: state.is_finished)
    assert (done.status, done.attempt, done.error) == ("cancelled", 1, None)
    settles(queue, id)
    assert not queue.has("ended")


def settles(queue: Queue, id: str) -> None:
    """A cancelled task ends in the queue, in its own word for that, or well."""
    outcome = queue.outcome(id)
    assert outcome == ("cancelled" if queue.driver.has_cancelled else "done")


@point(Point.REVOKES)
def test_the_queues_own_revoke_is_told(queue: Queue) -> None:
    """A task that waits, and is taken back by the queue's own means, is cancelled; the next one runs."""
    queue.stop_working()
    id = queue.send("wait", ...)
    queue.driver.revoke(id)
    queue.work()
    assert queue.becomes("wait", id, lambda state: state.is_finished).status == "cancelled"
    after = queue.send("add", 1, 1)
    queue.becomes("add", after, lambda state: state.is_completed)
    assert not queue.has("begun")


@point(Point.DIES)
def test_a_killed_worker_is_noticed_and_its_task_runs_again(queue: Queue) -> None:
    """It reads stalled; delivered again it is the second attempt, and ends well."""
    worker = queue.worker_of_its_own()
    id = queue.send("wait", ...)
    queue.sees("begun")
    worker.kill()
    stalled = queue.becomes("wait", id, lambda state: state.is_stalled)
    assert stalled.status == "processing"
    (queue.folder / "begun").unlink()
    queue.worker_of_its_own()
    queue.driver.redeliver(id, "wait", str(queue.folder))
    queue.sees("begun")
    again = queue.becomes("wait", id, lambda state: state.is_processing and not state.is_stalled)
    assert again.attempt == 2
    queue.go()
    assert queue.becomes("wait", id, lambda state: state.is_finished).status == "completed"


def runs(queue: Queue) -> int:
    """How often the test's job has begun."""
    noted = queue.folder / "runs"
    return len(noted.read_text()) if noted.exists() else 0


@point(Point.REPEATS)
def test_a_second_delivery_waits_for_the_first_run_and_is_dropped(queue: Queue) -> None:
    """It is no failure, neither here nor to the queue; and one that comes after the end does nothing."""
    first, second = queue.worker_of_its_own(), queue.driver.worker(queue.folder / "worker-second.log", queue.pool)
    with second:
        id = queue.send("wait", ...)
        queue.sees("begun")
        queue.driver.send_again(id, "wait", str(queue.folder))
        with queue.explained():
            eventually(lambda: "another delivery of the same task" in first.log() + second.log(), BUSY)
        state = queue.state("wait", id)
        assert state is not None
        assert (state.status, state.attempt, state.error) == ("processing", 1, None)
        queue.go()
        queue.becomes("wait", id, lambda state: state.is_finished)
        assert queue.outcome(id) == "done"
    queue.driver.send_again(id, "wait", str(queue.folder))
    completes_another(queue)
    state = queue.state("wait", id)
    assert state is not None
    assert (state.status, state.attempt, runs(queue)) == ("completed", 1, 1)
    assert queue.outcome(id) == "done"


@point(Point.REPEATS)
def test_a_second_delivery_of_a_dead_worker_s_task_waits_and_takes_over(queue: Queue) -> None:
    """However soon it comes after the worker was killed: it is not lost, and is the second attempt."""
    worker = queue.worker_of_its_own()
    id = queue.send("wait", ...)
    queue.sees("begun")
    worker.kill()
    queue.worker_of_its_own()
    queue.driver.redeliver(id, "wait", str(queue.folder))
    again = queue.becomes("wait", id, lambda state: state.is_processing and state.attempt == 2)
    assert again.error is None
    queue.go()
    done = queue.becomes("wait", id, lambda state: state.is_finished)
    assert (done.status, runs(queue)) == ("completed", 2)
    assert queue.outcome(id) == "done"


@point(Point.REPEATS)
def test_a_task_that_was_cancelled_while_it_waited_is_refused_each_time(queue: Queue) -> None:
    """However often it is delivered."""
    queue.stop_working()
    id = queue.send("wait", ...)
    queue.job("wait").cancel(id)
    queue.work()
    settles(queue, id)
    queue.driver.send_again(id, "wait", str(queue.folder))
    completes_another(queue)
    state = queue.state("wait", id)
    assert state is not None
    assert (state.is_cancelled, runs(queue)) == (True, 0)


@point(Point.REPEATS)
def test_a_task_that_was_cancelled_while_it_ran_is_refused_when_it_comes_again(queue: Queue) -> None:
    """As a copy of it may, later."""
    queue.work()
    id = queue.send("wait", ...)
    queue.sees("begun")
    queue.job("wait").cancel(id)
    queue.becomes("wait", id, lambda state: state.is_cancelled)
    settles(queue, id)
    queue.driver.send_again(id, "wait", str(queue.folder))
    completes_another(queue)
    state = queue.state("wait", id)
    assert state is not None
    assert (state.is_cancelled, runs(queue)) == (True, 1)


def completes_another(queue: Queue) -> None:
    """Wait until a worker has got to what was sent until now, or has at least begun with it."""
    for _ in range(2):  # several are at work
        after = queue.send("add", 1, 1)
        queue.becomes("add", after, lambda state: state.is_completed)


@point(Point.AROUND)
def test_what_fails_before_the_function_has_failed(queue: Queue, pool: str) -> None:
    """It does not wait for a start that never comes: what is wrong is in the state."""
    queue.work()
    id = queue.send("fails_before", ...)
    failed = queue.becomes("fails_before", id, lambda state: state.is_finished)
    assert failed.status == "failed"
    assert "LookupError" in (failed.error or "")
    assert queue.outcome(id) == "failed"
    assert runs(queue) == 0


@point(Point.AROUND)
def test_what_fails_after_the_function_has_failed(queue: Queue, pool: str) -> None:
    """The function has returned, and its run is completed, until the queue says that the task has failed."""
    queue.work()
    id = queue.send("fails_after", ...)
    assert queue.outcome(id) == "failed"
    failed = queue.becomes("fails_after", id, lambda state: state.is_failed)
    assert "LookupError" in (failed.error or "")
    assert failed.attempt == 1


@point(Point.AROUND)
def test_what_fails_after_the_function_and_is_tried_again_is_the_next_attempt(queue: Queue) -> None:
    """Its next delivery is not taken for a second one of what is done."""
    queue.work()
    id = queue.send("flaky_after", ..., retries=2)
    done = queue.becomes("flaky_after", id, lambda state: state.attempt == 2 and state.is_finished)
    assert (done.status, done.error, runs(queue)) == ("completed", None, 2)
    assert queue.outcome(id) == "done"


@point(Point.AROUND)
def test_what_is_not_called_after_all_does_not_wait(queue: Queue, pool: str) -> None:
    """What wraps the function has ended the task without it: the state is cancelled, and says so."""
    queue.work()
    id = queue.send("skipped", ...)
    assert queue.outcome(id) == "done"
    ended = queue.becomes("skipped", id, lambda state: state.is_finished)
    assert (ended.status, ended.attempt) == ("cancelled", 0)
    assert "without calling it" in (ended.error or "")


@point(Point.REFUSES)
def test_what_the_broker_refuses_has_failed(queue: Queue) -> None:
    """The caller gets the broker's own error, and nothing is pending or locked."""
    queue.stop_working()
    name = f"refused in {queue.folder.name}"
    assert queue.job("named").lock(name) is not None
    with queue.driver.refusing(), pytest.raises(Exception) as refusal:
        queue.send("named", name, "ada")
    assert not isinstance(refusal.value, (ProgressError, AssertionError))
    state = queue.state("named", name)
    assert state is not None
    assert (state.status, state.is_locked) == ("failed", False)
    assert state.error
    queue.work()
    completes_another(queue)


@point(Point.FOLLOWS)
def test_what_follows_a_task_that_has_failed_ends_with_the_reason(queue: Queue) -> None:
    """It is pending from the start, and does not wait for ever for what will not come."""
    queue.stop_working()
    id, then = queue.driver.send_followed(("fail",), ("stubborn", str(queue.folder)))
    waiting = queue.state("stubborn", then)
    assert waiting is not None
    assert waiting.is_pending
    queue.work()
    queue.becomes("fail", id, lambda state: state.is_failed)
    ended = queue.becomes("stubborn", then, lambda state: state.is_finished)
    assert ended.is_cancelled
    assert "fail" in (ended.error or "")
    assert not queue.has("begun")


@point(Point.FOLLOWS)
def test_what_follows_a_task_that_was_cancelled_does_not_run(queue: Queue) -> None:
    """It is cancelled as well, and says why."""
    queue.stop_working()
    id, then = queue.driver.send_followed(("wait", str(queue.folder)), ("add", "1", "1"))
    queue.work()
    queue.sees("begun")
    queue.job("wait").cancel(id)
    queue.becomes("wait", id, lambda state: state.is_cancelled)
    ended = queue.becomes("add", then, lambda state: state.is_finished)
    assert (ended.status, ended.attempt) == ("cancelled", 0)
    assert ended.error


@point(Point.FOLLOWS)
def test_what_follows_a_task_that_has_completed_runs(queue: Queue) -> None:
    """As the first attempt of what was pending from the start."""
    queue.work()
    id, then = queue.driver.send_followed(("silent",), ("silent",))
    queue.becomes("silent", id, lambda state: state.is_completed)
    done = queue.becomes("silent", then, lambda state: state.is_finished)
    assert (done.status, done.attempt) == ("completed", 1)


@point(Point.SURVIVES)
def test_an_id_that_cannot_be_told_breaks_no_hook(queue: Queue) -> None:
    """Enqueuing goes on; the task then fails by the job's own mistake, and the worker works."""
    queue.work()
    id = queue.send("nameless", 1)
    assert queue.outcome(id) == "failed"
    after = queue.send("add", 1, 1)
    queue.becomes("add", after, lambda state: state.is_completed)


@point(Point.SURVIVES)
def test_a_store_that_is_away_breaks_no_hook(queue: Queue, unreachable: str) -> None:
    """Tasks run all the same."""
    queue.worker_of_its_own(QUEUE_TESTS_STORE=unreachable)
    id = queue.send("stubborn", ...)
    queue.sees("begun")
    queue.go()
    assert queue.outcome(id) == "done"


@point(Point.COSTS)
def test_a_silent_job_costs_few_round_trips(queue: Queue, states: ValkeyServer) -> None:
    """One to enqueue, one to end, and one to start where the message says what enqueuing has stored, else two."""
    queue.work()
    before = queue.send("silent")
    queue.becomes("silent", before, lambda state: state.is_completed)
    calls = scripts(states)
    id = queue.send("silent")
    queue.outcome(id)
    assert scripts(states) - calls <= queue.driver.round_trips
    state = queue.state("silent", id)
    assert state is not None
    assert state.is_completed


@point(Point.COSTS)
def test_no_thread_outlives_the_worker(queue: Queue) -> None:
    """Asked to stop, a worker that has run tracked jobs ends in its own time."""
    worker = queue.worker_of_its_own()
    id = queue.send("silent")
    queue.becomes("silent", id, lambda state: state.is_completed)
    queue.outcome(id)
    worker.stop(BUSY)


def scripts(states: ValkeyServer) -> int:
    """How many changes the store was asked for until now."""
    statistics = states.ask("INFO", "commandstats")
    return sum(int(statistics[name]["calls"]) for name in statistics if "evalsha" in name or "fcall" in name)
