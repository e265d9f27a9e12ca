"""arq, as the contract suite uses it: all its jobs are coroutines in one process."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from types import ModuleType
from typing import Any, ClassVar

from tests.queues.driver import Driver, Point


class Arq(Driver):
    """One queue."""

    cannot: ClassVar = {Point.FOLLOWS: "no job of arq follows another."}

    name = "arq"
    round_trips = 4
    environment = "arq"
    pools = ("asyncio",)

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ["QUEUE_TESTS_ARQ"] = address
        from arq import create_pool
        from arq.connections import RedisSettings

        self.runner = asyncio.Runner()
        self.redis = self.runner.run(create_pool(RedisSettings.from_dsn(address)))

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import context_jobs

        return context_jobs

    def task(self, job: str) -> object:
        from arq.worker import func

        return func(getattr(self.jobs, job))

    def command(self, pool: str) -> list[str]:
        return ["-m", "arq", "tests.queues.drivers.arq_app.WorkerSettings"]

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        from job_progress.queues.arq import enqueue_job

        enqueued = self.runner.run(enqueue_job(self.redis, getattr(self.jobs, job), *args))
        assert enqueued is not None
        return str(enqueued.job_id)

    def send_again(self, id: str, job: str, *args: Any) -> None:
        # So arq does once it is past the time that the first may take.
        self.runner.run(self.redis.delete(f"arq:in-progress:{id}"))

    def revoke(self, id: str) -> None:
        from arq.jobs import Job

        with suppress(TimeoutError):
            self.runner.run(Job(id, self.redis).abort(timeout=0))

    def outcome(self, id: str) -> str | None:
        from arq.jobs import Job

        ended = self.runner.run(Job(id, self.redis).result_info())
        if ended is None:
            return None
        if isinstance(ended.result, asyncio.CancelledError):
            return "cancelled"
        return "done" if ended.success else "failed"

    def close(self) -> None:
        self.runner.run(self.redis.aclose(close_connection_pool=True))
        self.runner.close()
