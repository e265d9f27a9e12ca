"""A task that its queue was asked for, as there is no integration: which of its starts run, and who is asked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest

from job_progress import Job, JobState, tracked
from job_progress.task import QueueTask, current_task, queue_task
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("job_progress_tracker")

began, may_end = Event(), Event()


@tracked(id="id", cancellable=True, store_result=True)
def load(id: str, waits: bool = False) -> str:
    """Say that it runs."""
    if waits:
        began.set()
        assert may_end.wait(30)
    return "loaded"


def deliver(*args: Any) -> Any:
    """Run it as the same task, once more."""
    with queue_task(QueueTask(id="task", function=load, asked=True)):
        return load("p", *args)


def seen() -> JobState:
    """The state of it."""
    state = load.job.get("p")
    assert state is not None
    return state


def test_a_task_that_has_ended_may_have_been_sent_again() -> None:
    """Under the same id, and nobody has told: it runs, after a good end and a cancel, and if it was locked since."""
    assert deliver() == "loaded"
    assert deliver() == "loaded"
    assert seen().attempt == 1
    with queue_task(QueueTask(id="task", function=load, asked=True)), load.job.taken_up():
        run: Any = load.job.begin("p")
        load.job.cancel("p")
        run.finish(None)
    load.job.lock("p")
    load.job.cancel("p")
    assert deliver() is None  # the start that was owed
    assert deliver() == "loaded"


def test_two_deliveries_at_once_are_the_same_task(caplog: pytest.LogCaptureFixture) -> None:
    """The second waits for the first, and is dropped once that is done."""
    began.clear()
    may_end.clear()
    results: list[Any] = []
    first = Thread(target=lambda: results.append(deliver(True)))
    first.start()
    assert began.wait(30)
    second = Thread(target=lambda: results.append(deliver()))
    second.start()
    eventually(lambda: "another delivery of the same task, which waits" in caplog.text, 30)
    may_end.set()
    first.join(30)
    second.join(30)
    assert results == ["loaded"] * 2
    assert (seen().attempt, seen().is_completed) == (1, True)


@contextmanager
def run_by_celery(task: Any) -> Iterator[None]:
    """Celery says that it runs a task, as it does in a worker; without its signals, which an integration may hear."""
    from celery._state import pop_current_task, push_current_task

    push_current_task(task)
    task.push_request(id="celery-1", called_directly=False)
    try:
        yield
    finally:
        task.pop_request()
        pop_current_task()


def ids_of(task: Any) -> list[tuple[str, int]]:
    """The ids and attempts of its executions."""
    return [(state.id, state.attempt) for state in Job.of(task).list()]


@pytest.mark.environment("main")
def test_calls_within_a_run_are_not_the_task() -> None:
    """Not even of its own function; nor is a call that an integration has told of, or one outside of a task."""
    from celery import Celery

    @tracked
    def nested(depth: int) -> None:
        if depth:
            nested(depth - 1)

    task = Celery(set_as_current=False).task(shared=False)(nested)
    with run_by_celery(task):
        nested(1)
    assert ("celery-1", 1) in ids_of(task)
    assert len(ids_of(task)) == 2
    nested.job.tracker.prune()
    with run_by_celery(task), queue_task(QueueTask(id="told", function=task)):
        nested(0)
    nested(0)
    assert ("told", 1) in ids_of(task)
    assert "celery-1" not in dict(ids_of(task))


@pytest.mark.environment("main")
def test_a_repeat_by_what_is_around_the_function_is_the_same_delivery() -> None:
    """Its second call is the next attempt of the same execution; the next delivery is another one."""
    from celery import Celery

    @tracked
    def flaky() -> None: ...

    task = Celery(set_as_current=False).task(shared=False)(flaky)
    with run_by_celery(task):
        flaky()
        flaky()
    assert ids_of(task) == [("celery-1", 2)]
    with run_by_celery(task):
        flaky()
    assert ids_of(task) == [("celery-1", 1)]


class Broken:
    """What stands for a module of a queue, in a version that nobody knows yet."""

    def get_current_task(self) -> object:
        """Fail."""
        raise NotImplementedError


@pytest.mark.parametrize("broken", [object(), Broken()])
def test_a_queue_that_cannot_be_asked_harms_nobody(
    broken: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version of it, say: the call runs under an id of its own, and nothing is said above debugging."""

    @tracked
    def plain() -> str:
        return current_task().id or "none"

    monkeypatch.setitem(sys.modules, "celery._state", broken)
    assert plain() == "none"
    assert UUID(plain.job.list()[0].id)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
