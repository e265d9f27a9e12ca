"""Huey, as the contract suite uses it."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from tests.queues.driver import Driver

ADDRESS = "QUEUE_TESTS_HUEY"
CONSUMER = "from huey.bin.huey_consumer import consumer_main; consumer_main()"
RUNNING = {
    "thread": ["-c", CONSUMER, "--workers", "4"],
    "process": ["-c", CONSUMER, "--workers", "2"],
    "greenlet": ["-c", f"from gevent.monkey import patch_all; patch_all(); {CONSUMER}", "--workers", "4"],
}


class Huey(Driver):
    """One queue, and workers of each kind."""

    name = "Huey"
    round_trips = 4
    pools = tuple(RUNNING)

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        from tests.queues import huey_app

        self.huey: Any = huey_app.huey
        self.tasks = huey_app.tasks
        self.sent: dict[str, Any] = {}

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        return self.tasks[job]

    def command(self, pool: str) -> list[str]:
        return [*RUNNING[pool], "--worker-type", pool, "--scheduler-interval", "1", "tests.queues.huey_app.huey"]

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        task = self.tasks[job].s(*args, retries=retries, retry_delay=1)
        self.sent[task.id] = task
        id: str = self.huey.enqueue(task).id
        return id

    def send_again(self, id: str, job: str, *args: Any) -> None:
        self.huey.storage.enqueue(self.huey.serialize_task(self.sent[id]))

    def send_followed(self, first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, str]:
        tasks = [self.tasks[job].s(*args) for job, *args in (first, then)]
        self.huey.enqueue(tasks[0].then(tasks[1]))
        return tasks[0].id, tasks[1].id

    def revoke(self, id: str) -> None:
        self.huey.revoke_by_id(id)

    def outcome(self, id: str) -> str | None:
        from huey.constants import EmptyData
        from huey.utils import Error

        stored = self.huey.get_raw(id, peek=True)
        if stored is EmptyData:
            return None
        result = self.huey.serializer.deserialize(stored)
        if not isinstance(result, Error):
            return "done"
        return "cancelled" if result.metadata["error"].startswith("CancelExecution") else "failed"

    def close(self) -> None:
        self.huey.storage.close()
