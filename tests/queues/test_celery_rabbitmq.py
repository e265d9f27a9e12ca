"""Celery on RabbitMQ, which delivers again at once what a dead worker had, and may refuse what is sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError
from kombu.exceptions import OperationalError

from job_progress import Job, JobState
from tests.queues.conftest import BUSY
from tests.queues.driver import Worker
from tests.queues.drivers.celery import QUIET
from tests.servers.process import free_port
from tests.servers.rabbitmq import RabbitMQServer, rabbitmq
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

__all__ = ["rabbitmq"]

pytestmark = pytest.mark.environment("main")

MODULE = "tests.queues.celery_rabbitmq"


@pytest.fixture
def tasks(states: ValkeyServer, rabbitmq: RabbitMQServer) -> Any:
    """The module of the tasks, which needs the broker's address."""
    os.environ["QUEUE_TESTS_RABBITMQ"] = rabbitmq.url
    return import_module(MODULE)


Work = Callable[[], Worker]


@pytest.fixture
def work(tasks: Any, tmp_path: Path) -> Iterator[Work]:
    """Starts workers."""
    with ExitStack() as stack:

        def start() -> Worker:
            number = len(list(tmp_path.glob("worker-*")))
            options = ("--concurrency", "2", "--hostname", f"{number}@here", "--queues", "celery")
            command = [sys.executable, "-m", "celery", "--app", MODULE, "worker", *QUIET, *options]
            return stack.enter_context(Worker(command, tmp_path / f"worker-{number}.log", {}))

        yield start
        (tmp_path / "go").touch()


def becomes(task: Any, id: str, condition: Callable[[JobState], object]) -> JobState:
    """Wait until the state of a task's execution is as wanted."""

    def seen() -> JobState | None:
        state = Job.of(task).get(id)
        return state if state is not None and condition(state) else None

    found = eventually(seen, BUSY)
    assert found is not None
    return found


def test_a_task_is_delivered_again_at_once_and_takes_over(tasks: Any, work: Work, tmp_path: Path) -> None:
    """Long before its first run counts as dead: the second waits, and is not lost."""
    first = work()
    result = tasks.wait.delay(str(tmp_path))
    assert becomes(tasks.wait, result.id, lambda state: state.is_processing).attempt == 1
    eventually((tmp_path / "begun").exists, BUSY)
    second = work()
    eventually(lambda: "ready." in second.log(), BUSY)
    first.kill()
    eventually(lambda: "another delivery of the same task" in second.log(), BUSY)
    again = becomes(tasks.wait, result.id, lambda state: state.attempt == 2)
    assert again.is_processing
    (tmp_path / "go").touch()
    assert result.get(timeout=BUSY) == "went on"
    done = becomes(tasks.wait, result.id, lambda state: state.is_finished)
    assert (done.status, (tmp_path / "runs").read_text()) == ("completed", "xx")


def test_a_task_that_was_cancelled_while_it_waited_never_runs(tasks: Any, work: Work, tmp_path: Path) -> None:
    """It waits in the broker until a worker is there; what was sent after it completes."""
    result, after = tasks.wait.delay(str(tmp_path)), tasks.add.delay(1, 2)
    assert Job.of(tasks.wait).cancel(result.id).is_cancelled
    work()
    assert becomes(tasks.add, after.id, lambda state: state.is_finished).result == 3
    with pytest.raises(TaskRevokedError):
        result.get(timeout=BUSY)
    assert becomes(tasks.wait, result.id, lambda state: state.is_finished).is_cancelled
    assert not (tmp_path / "begun").exists()


def test_what_the_broker_refuses_or_cannot_take_has_failed(tasks: Any) -> None:
    """Its queue is full, or it is away: the caller gets the broker's error, and nobody waits."""
    with pytest.raises(OperationalError):
        tasks.add.apply_async((1, 2), task_id="refused", queue=tasks.FULL)
    state = becomes(tasks.add, "refused", lambda state: state.is_failed)
    assert str(state.error).startswith("OperationalError")
    away = tasks.app.connection_for_write(f"amqp://127.0.0.1:{free_port()}//")
    with away, pytest.raises(OperationalError):
        tasks.add.apply_async((1, 2), task_id="away", connection=away)
    becomes(tasks.add, "away", lambda state: state.is_failed)
