"""RQ, as the contract suite uses it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.queues.driver import Driver, Worker

ADDRESS = "QUEUE_TESTS_RQ"
OURS = "job_progress.queues.rq"
RUNNING = {
    "fork": ["--job-class", f"{OURS}.Job"],
    "simple": ["--worker-class", f"{OURS}.SimpleWorker"],
    "spawn": ["--worker-class", "rq.SpawnWorker", "--job-class", f"{OURS}.Job"],
}
"""What the command takes for each kind of worker: its class, or only the job's."""


class RQ(Driver):
    """One queue, and workers of each kind."""

    name = "RQ"
    pools = tuple(RUNNING)
    has_cancelled = False

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        from redis import Redis

        from job_progress.queues.rq import Queue

        self.connection = Redis.from_url(address)
        self.queue = Queue("default", connection=self.connection)

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        return self.queue.create_job(getattr(self.jobs, job))

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        # The scheduler of a worker that was killed would be waited for.
        for lock in self.connection.keys("rq:scheduler-lock:*"):
            self.connection.delete(lock)
        return super().worker(log, pool, **environment)

    def command(self, pool: str) -> list[str]:
        command = ["-m", "rq.cli", "worker", "default", "--url", self.address, "--with-scheduler"]
        return [*command, *RUNNING[pool]]

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        from rq import Retry

        function: Callable[..., Any] = getattr(self.jobs, job)
        retry = Retry(max=retries, interval=1) if retries else None
        return self.queue.enqueue(function, args=args, retry=retry).id

    def send_again(self, id: str, job: str, *args: Any) -> None:
        self.queue.push_job_id(id)

    def redeliver(self, id: str, job: str, *args: Any) -> None:
        # What a worker does by itself once the dead one has not been heard of for a while.
        self.queue.started_job_registry.cleanup(2**33)
        self.send_again(id, job, *args)

    def send_followed(self, first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, str]:
        before = self.queue.enqueue(getattr(self.jobs, first[0]), args=first[1:])
        after = self.queue.enqueue(getattr(self.jobs, then[0]), args=then[1:], depends_on=before)
        return before.id, after.id

    def revoke(self, id: str) -> None:
        from job_progress.queues.rq import Job

        Job.fetch(id, connection=self.connection).cancel()

    def outcome(self, id: str) -> str | None:
        from rq.job import Job

        status = Job.fetch(id, connection=self.connection).get_status()
        return {"finished": "done", "failed": "failed", "canceled": "cancelled", "stopped": "cancelled"}.get(status)

    def close(self) -> None:
        self.connection.close()
