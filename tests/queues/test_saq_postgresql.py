"""SAQ on PostgreSQL, whose queue is another class: the same hooks tell the same. It gets on with any redis client."""

from __future__ import annotations

import os
import sys
from asyncio import Runner
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from time import time
from typing import Any, TypeVar

import pytest
from saq import Queue, Status

from job_progress import Job, JobState
from tests.queues.conftest import BUSY
from tests.queues.driver import Worker
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

pytestmark = pytest.mark.environment("main")

T = TypeVar("T")


class Saq:
    """A queue on PostgreSQL in the hands of a test."""

    def __init__(self, folder: Path, server: PostgreSQLServer) -> None:
        from tests.queues.drivers.saq_postgresql_app import ADDRESS, settings

        os.environ[ADDRESS] = server.url
        self.folder = folder
        self.queue: Queue = settings()["queue"]
        self.runner = Runner()
        self.run(self.queue.connect())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def enqueue(self, function: str, **options: Any) -> str:
        job = self.run(self.queue.enqueue(function, **{"timeout": 0, **options}))
        assert job is not None
        return job.key

    def enqueue_wait(self, **options: Any) -> str:
        return self.enqueue("wait", kwargs={"folder": str(self.folder)}, **options)

    def worker(self) -> Worker:
        command = [sys.executable, "-m", "saq", "tests.queues.drivers.saq_postgresql_app.settings"]
        return Worker(command, self.folder / "worker.log", {})

    def abort(self, key: str) -> None:
        job = self.run(self.queue.job(key))
        assert job is not None
        self.run(job.abort("nobody wants it"))

    def is_aborted(self, key: str) -> bool:
        job = self.run(self.queue.job(key))
        return job is not None and job.status is Status.ABORTED


def behind(function: str) -> Job:
    from tests.queues import context_jobs

    return Job.of(getattr(context_jobs, function))


def state_of(function: str, key: str) -> JobState:
    state = behind(function).get(key)
    assert state is not None
    return state


@pytest.fixture
def saq(tmp_path: Path, states: ValkeyServer, shared_postgresql: PostgreSQLServer) -> Iterator[Saq]:
    """A queue, and no worker yet."""
    saq = Saq(tmp_path, shared_postgresql)
    yield saq
    saq.run(saq.queue.disconnect())
    saq.runner.close()


def test_a_queue_on_postgresql_tells_the_same(saq: Saq) -> None:
    """Pending, processing, completed; cancelled while it waits, is not due, or runs, by SAQ's abort or by ours."""
    done = saq.enqueue("add", a=3, b=4)
    assert state_of("add", done).is_pending
    waiting, not_due = saq.enqueue_wait(), saq.enqueue_wait(scheduled=int(time()) + 3600)
    saq.abort(waiting)
    saq.abort(not_due)
    assert state_of("wait", waiting).is_cancelled
    assert state_of("wait", not_due).is_cancelled
    with saq.worker() as worker:
        assert behind("add").wait(done, BUSY).result == 7
        for stop in (saq.abort, behind("wait").cancel):
            running = saq.enqueue_wait(retries=3)
            eventually((saq.folder / "begun").exists, BUSY)
            (saq.folder / "begun").unlink()
            stop(running)
            assert behind("wait").wait(running, BUSY).is_cancelled
            eventually(partial(saq.is_aborted, running), BUSY)
        timed = saq.enqueue_wait(heartbeat=1)
        swept = behind("wait").wait(timed, BUSY)
        assert (swept.status, swept.error) == ("failed", "interrupted by CancelledError: swept")
        worker.stop(BUSY)
