"""Taskiq, as the contract suite uses it: with functions in threads or processes, and with coroutines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from tests.queues.driver import Driver, Point, Worker
from tests.waiting import eventually

APP = "tests.queues.drivers.taskiq_app"
POOL = ("--use-process-pool", "--max-process-pool-processes", "2")
RECEIVER = ("--receiver", "job_progress.queues.taskiq:Receiver")


class TaskiqWorker(Worker):
    """A worker that is hard to stop: asked once, it waits for a last message of the broker, and for ever."""

    def stop(self, timeout: float = 30.0) -> int:
        self.process.terminate()
        eventually(self._is_left_by_its_children, timeout)
        return self.process.wait(timeout)

    def _is_left_by_its_children(self) -> bool:
        children = [process for process in self.processes() if process != self.process.pid]
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGINT)  # it leaves at the fifth
        return not children


class Taskiq(Driver):
    """A stream in Valkey, and workers for functions that are not async."""

    name = "Taskiq"
    pools: ClassVar[tuple[str, ...]] = ("threads", "processes")
    cannot: ClassVar[Mapping[Point | str, str]] = {Point.REVOKES: "Taskiq has no way to take back a task that waits."}
    has_cancelled = False
    factory = "threads"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        from tests.queues.drivers.taskiq_app import broker_of

        self.runner = asyncio.Runner()
        self.broker = broker_of(address, self.jobs)
        self.runner.run(self.broker.startup())

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        return self.broker.find_task(job)

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        command = [sys.executable, *self.command(pool or self.pools[0])]
        return TaskiqWorker(command, log, {"QUEUE_TESTS_TASKIQ": self.address, **environment})

    def command(self, pool: str) -> list[str]:
        command = ["-m", "taskiq", "worker", f"{APP}:{self.factory}", "--workers", "1"]
        return [*command, *((*POOL, *RECEIVER) if pool == "processes" else ())]

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        task = self.broker.find_task(job)
        assert task is not None
        kicker = task.kicker().with_labels(retry_on_error=bool(retries), max_retries=retries + 1)
        return self.runner.run(kicker.kiq(*args)).task_id

    def send_again(self, id: str, job: str, *args: Any) -> None:
        from taskiq import TaskiqMessage

        message = TaskiqMessage(task_id=id, task_name=job, labels={}, args=[*args], kwargs={})
        self.runner.run(self.broker.kick(self.broker.formatter.dumps(message)))

    def send_followed(self, first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, str]:
        from taskiq_pipelines import Pipeline

        (one, *args), (other, *others) = first, then
        names = signature(getattr(self.jobs, other)).parameters
        task, follower = self.broker.find_task(one), self.broker.find_task(other)
        assert follower is not None
        pipeline: Pipeline[Any, Any] = Pipeline(self.broker, task)
        pipeline.call_after(follower, **dict(zip(names, others, strict=True)))
        self.runner.run(pipeline.kiq(*args))
        return pipeline.steps[0].task_id, pipeline.steps[1].task_id

    def revoke(self, id: str) -> None:
        raise NotImplementedError(self.cannot[Point.REVOKES])

    def outcome(self, id: str) -> str | None:
        if not self.runner.run(self.broker.result_backend.is_result_ready(id)):
            return None
        result = self.runner.run(self.broker.result_backend.get_result(id))
        return "failed" if result.is_err else "done"

    def close(self) -> None:
        self.runner.run(self.broker.shutdown())
        self.runner.close()


class TaskiqAsync(Taskiq):
    """The same, and a worker for coroutines."""

    name = "Taskiq (async)"
    pools: ClassVar[tuple[str, ...]] = ("asyncio",)
    factory = "coroutines"

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import async_jobs

        return async_jobs
