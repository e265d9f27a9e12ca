"""Dramatiq, as the contract suite uses it, with dramatiq-abort to take messages back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.queues.driver import Driver, Worker

ADDRESS = "QUEUE_TESTS_DRAMATIQ"
FIRST = "QUEUE_TESTS_DRAMATIQ_FIRST"
"""If it is set, our middleware is the first, and else the last, as by default."""
OUTCOMES = "outcomes"
RUNNING = {
    "threads": ["-m", "dramatiq", "--processes", "1", "--threads", "4"],
    "processes": ["-m", "dramatiq", "--processes", "2", "--threads", "1"],
    "gevent": [str(Path(sys.executable).with_name("dramatiq-gevent")), "--processes", "1", "--threads", "8"],
}


class Dramatiq(Driver):
    """One queue, and workers of each kind."""

    name = "Dramatiq"
    pools = tuple(RUNNING)

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        from tests.queues import dramatiq_app

        self.app = dramatiq_app
        self.broker = dramatiq_app.make_broker()
        self.actors = dramatiq_app.declare(self.broker)
        self.sent: dict[str, Any] = {}

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        return self.actors[job]

    def command(self, pool: str) -> list[str]:
        return [*RUNNING[pool], "tests.queues.dramatiq_app:work"]

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        return super().worker(log, pool, dramatiq_worker_timeout="50", **environment)

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        message = self.actors[job].send_with_options(args=args, max_retries=retries)
        self.sent[message.message_id] = message
        id: str = message.message_id
        return id

    def send_again(self, id: str, job: str, *args: Any) -> None:
        message = self.sent[id].copy(options={"redis_message_id": f"{id}-again"})
        self.broker.do_enqueue(message.queue_name, message.options["redis_message_id"], message.encode())

    def redeliver(self, id: str, job: str, *args: Any) -> None:
        # What a worker does by itself once the dead one has not been heard of for `heartbeat_timeout`.
        for key in self.broker.client.scan_iter("dramatiq:__acks__.*.default"):
            if self.broker.client.sismember(key, self.sent[id].options["redis_message_id"]):
                self.broker.client.zadd("dramatiq:__heartbeats__", {key.decode().split(".")[1]: 0})

    def send_followed(self, first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, str]:
        before = self.actors[first[0]].message_with_options(args=first[1:], max_retries=0)
        after = self.actors[then[0]].message_with_options(args=then[1:], pipe_ignore=True)
        chain: Any = before | after
        chain.run()
        return before.message_id, after.message_id

    def revoke(self, id: str) -> None:
        self.app.take_back(self.broker, id)

    def outcome(self, id: str) -> str | None:
        outcome: Any = self.broker.client.hget(OUTCOMES, id)
        return None if outcome is None else str(outcome, "ascii")

    def close(self) -> None:
        self.broker.client.close()
