"""What only Django's tasks have: their signals, transactions, contexts, and a backend that runs a task at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from job_progress import Job, JobState
from job_progress.queues.django_tasks.receivers import task_enqueued, task_finished, task_started
from job_progress.task import current_task
from tests.queues.conftest import BUSY, QUEUES, Brokers, Queue
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.queues.drivers.django_tasks import DjangoTasks

pytestmark = pytest.mark.environment("main", "django6")


class Tasks(Queue):
    """Django's tasks in the hands of a test."""

    driver: DjangoTasks


@pytest.fixture
def queue(brokers: Brokers, tmp_path: Path) -> Iterator[Tasks]:
    """Django's tasks, and no worker yet."""
    [name] = [name for name in QUEUES if name.startswith("Django")]
    queue = Tasks(brokers.driver(name), brokers, "default", tmp_path)
    yield queue
    queue.close()


def ends(queue: Tasks, task: Any, id: str) -> JobState:
    """Wait for an execution to end."""
    with queue.explained():
        return Job.of(task).wait(id, BUSY)


def test_a_coroutine_runs(queue: Tasks) -> None:
    """With progress, and its result; it may be enqueued from another one."""
    from tests.queues.drivers.django_jobs import async_wait

    queue.work()
    id = async_wait.enqueue(str(queue.folder)).id
    seen = next(state for state in Job.of(async_wait).watch(id, BUSY) if state.message)
    assert (seen.status, seen.percent) == ("processing", 25)
    Job.of(async_wait).cancel(id)
    assert ends(queue, async_wait, id).is_cancelled
    assert queue.outcome(id) == "done"


async def test_enqueued_by_a_coroutine(queue: Tasks) -> None:
    """The state is pending when `aenqueue` has returned."""
    task = queue.driver.task("add")
    result = await task.using(run_after=timezone.now() + timedelta(days=1)).aenqueue(1, 2)
    state = await Job.of(task).aget(result.id)
    assert state is not None
    assert state.is_pending


def test_a_context_stands_in_front_of_the_arguments(queue: Tasks) -> None:
    """The id is found behind it, when it is enqueued and when it runs."""
    from tests.queues.drivers.django_jobs import with_context

    queue.stop_working()
    name = queue.folder.name
    with_context.enqueue(name)
    pending = Job.of(with_context).get(name)
    assert pending is not None
    assert pending.is_pending
    queue.work()
    done = ends(queue, with_context, name)
    assert (done.status, done.result, done.created_at) == ("completed", 1, pending.created_at)


def test_a_task_in_a_transaction_is_pending_before_any_worker_can_see_it(queue: Tasks) -> None:
    """Its worker takes it up after the commit."""
    task = queue.driver.task("add")
    queue.work()
    with transaction.atomic():
        id = task.enqueue(1, 2).id
        state = Job.of(task).get(id)
        assert state is not None
        assert state.is_pending
    assert ends(queue, task, id).is_completed


def test_a_task_that_is_cancelled_before_it_is_due_never_runs(queue: Tasks) -> None:
    """It comes when it is due, and ends without having run."""
    task = queue.driver.task("wait")
    queue.work()
    id = task.using(run_after=timezone.now() + timedelta(seconds=1)).enqueue(str(queue.folder)).id
    assert Job.of(task).cancel(id).is_cancelled
    assert queue.outcome(id) == "done"
    state = Job.of(task).get(id)
    assert state is not None
    assert state.is_cancelled
    assert not queue.has("begun")


@pytest.mark.parametrize("part", [False, True])
def test_a_task_whose_transaction_is_rolled_back_has_failed(queue: Tasks, part: bool) -> None:
    """The whole of it, or the part in which the task was enqueued; one that is committed is not affected."""
    queue.stop_working()
    task = queue.driver.task("add")
    ids = []
    with pytest.raises(LookupError) if not part else nullcontext(), transaction.atomic():
        if part:
            kept = task.enqueue(3, 4).id
        with pytest.raises(LookupError) if part else nullcontext(), transaction.atomic():
            ids.append(task.enqueue(1, 2).id)
            raise LookupError
    [id] = ids
    failed = queue.becomes("add", id, lambda state: state.is_finished)
    assert (failed.status, failed.error) == ("failed", "its transaction was rolled back")
    if part:
        waiting = queue.state("add", kept)
        assert waiting is not None
        assert waiting.is_pending
        queue.work()
        assert ends(queue, task, kept).is_completed


def test_what_is_due_later_is_kept_until_then(queue: Tasks) -> None:
    """Its state as well."""
    task = queue.driver.task("add")
    queue.stop_working()
    id = task.using(run_after=timezone.now() + timedelta(days=3)).enqueue(1, 2).id
    state = Job.of(task).get(id)
    assert state is not None
    assert state.due is not None
    assert state.due - timezone.now() > timedelta(days=2)


def test_a_result_that_django_cannot_store_fails_the_task(queue: Tasks) -> None:
    """The function has returned; Django says that the task has failed, and so does the state."""
    from tests.queues.drivers.django_jobs import unstorable

    queue.work()
    id = unstorable.enqueue().id
    assert queue.outcome(id) == "failed"
    failed = queue_becomes(queue, unstorable, id)
    assert (failed.error or "").startswith("TypeError: ")
    assert failed.attempt == 1


def queue_becomes(queue: Tasks, task: Any, id: str) -> JobState:
    """Wait until a task has failed."""
    with queue.explained():
        eventually(lambda: (state := Job.of(task).get(id)) is not None and state.is_failed, BUSY)
    state = Job.of(task).get(id)
    assert state is not None
    return state


def test_a_second_delivery_leaves_the_result_as_it_was(queue: Tasks) -> None:
    """It is not called again, and the result is one that only Django has."""
    from tests.queues.drivers.django_jobs import answer

    queue.work()
    id = answer.enqueue().id
    assert queue.outcome(id) == "done"
    ends(queue, answer, id)
    queue.driver.send_again(id, "answer")
    after = queue.send("add", 1, 1)
    queue.becomes("add", after, lambda state: state.is_completed)
    assert queue.outcome(id) == "done"
    assert answer.get_result(id).return_value == 42
    assert ends(queue, answer, id).attempt == 1


async def test_what_a_coroutine_cannot_enqueue_has_failed(queue: Tasks) -> None:
    """What was locked for it is free again."""
    task = queue.driver.task("named")
    name = queue.folder.name
    Job.of(task).lock(name)
    with pytest.raises(TypeError):
        await task.aenqueue(name, by=uuid4())  # which is no JSON
    state = await Job.of(task).aget(name)
    assert state is not None
    assert state.is_failed


@pytest.mark.parametrize("name", ["fails_before", "fails_after"])
def test_the_immediate_backend_tells_what_fails_around_the_function(queue: Tasks, name: str) -> None:
    """As any other does."""
    task = queue.driver.task(name)
    id = task.using(backend="immediate").enqueue(str(queue.folder)).id
    state = Job.of(task).get(id)
    assert state is not None
    assert state.is_failed
    assert "LookupError" in (state.error or "")


def test_a_task_within_a_task_leaves_that_as_it_was(queue: Tasks) -> None:
    """The outer one fails after its function; the inner one is done."""
    from tests.queues.drivers.django_jobs import answer, run_another

    run_another.using(backend="immediate").enqueue(queue.folder.name)
    state = Job.of(run_another).get(queue.folder.name)
    assert state is not None
    assert state.is_failed
    assert Job.of(answer).list(limit=1)[0].is_completed


def test_the_task_of_a_killed_worker_is_stalled_for_ever(queue: Tasks) -> None:
    """Nobody takes it up again; if somebody makes its row ready by hand, it is the second attempt."""
    worker = queue.worker_of_its_own()
    id = queue.send("wait", ...)
    queue.sees("begun")
    worker.kill()
    queue.becomes("wait", id, lambda state: state.is_stalled)
    (queue.folder / "begun").unlink()
    queue.work()
    after = queue.send("add", 1, 1)
    queue.becomes("add", after, lambda state: state.is_completed)
    assert not queue.has("begun")
    queue.driver.send_again(id, "wait", str(queue.folder))
    queue.sees("begun")
    queue.go()
    done = queue.becomes("wait", id, lambda state: state.is_finished)
    assert (done.status, done.attempt) == ("completed", 2)


def test_a_worker_that_is_told_twice_to_stop_interrupts_its_task(queue: Tasks) -> None:
    """The state has failed, and says by what; Django's task too."""
    worker = queue.worker_of_its_own()
    id = queue.send("stubborn", ...)
    queue.sees("begun")
    worker.process.terminate()
    with queue.explained():
        eventually(lambda: "shutting down gracefully" in worker.log(), BUSY)
    worker.stop(BUSY)
    state = queue.state("stubborn", id)
    assert state is not None
    assert (state.status, state.error) == ("failed", "interrupted by SystemExit: 1")
    assert queue.outcome(id) == "failed"


@pytest.mark.parametrize("fails", [False, True])
def test_the_immediate_backend_runs_a_task_at_once(queue: Tasks, fails: bool) -> None:
    """In the call that enqueues it; what is called behind it is not that task any more."""
    task = queue.driver.task("fail" if fails else "add").using(backend="immediate")
    id = task.enqueue(*[] if fails else [3, 4]).id
    state = Job.of(task).get(id)
    assert state is not None
    assert (state.status, state.result) == (("failed", None) if fails else ("completed", 7))
    assert current_task().id is None


async def test_the_immediate_backend_in_a_coroutine(queue: Tasks) -> None:
    """A coroutine, run at once."""
    from tests.queues.drivers.django_jobs import async_wait

    queue.go()
    result = await async_wait.using(backend="immediate").aenqueue(str(queue.folder))
    state = await Job.of(async_wait).aget(result.id)
    assert state is not None
    assert state.is_completed
    assert current_task().id is None


def test_untracked_tasks_are_left_alone(queue: Tasks) -> None:
    """They run, and no state is made."""
    from tests.queues.drivers.django_jobs import untracked

    queue.work()
    before = len(queue.job("wait").tracker.list(limit=1000))
    id = untracked.enqueue(str(queue.folder)).id
    assert queue.outcome(id) == "done"
    assert queue.has("ended")
    assert len(queue.job("wait").tracker.list(limit=1000)) == before


def test_dozens_of_tasks(queue: Tasks) -> None:
    """Each has its state, and all complete."""
    queue.stop_working()
    with transaction.atomic():
        ids = [queue.send("silent") for _ in range(50)]
    queue.work()
    for id in ids:
        assert ends(queue, queue.driver.task("silent"), id).is_completed


@pytest.mark.parametrize("receiver", [task_enqueued, task_started, task_finished])
def test_a_receiver_raises_nothing(receiver: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a backend may send; as Django would hand it on to who enqueues, or end the worker."""
    receiver(sender=None, signal=None, task_result=None)
    assert receiver is task_finished or "failed; the task goes on" in caplog.text


@pytest.mark.environment("main")
def test_without_tasks_the_app_says_what_to_install() -> None:
    """Where Django has none, and the package is not there."""
    code = """
import sys
sys.modules["django_tasks"] = None
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["job_progress.queues.django_tasks"])
django.setup()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'job-progress[django-tasks]'" in ran.stderr
