"""Dramatiq, as the contract suite uses it, with dramatiq-abort to take messages back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dramatiq import Actor, Message, Middleware, actor, set_broker
from dramatiq.brokers.redis import MAINTENANCE_SCALE, RedisBroker
from dramatiq_abort import Abortable, abort
from dramatiq_abort.abort_manager import Abort
from dramatiq_abort.backends import RedisBackend

from tests.queues.driver import Driver, Worker

ADDRESS = "QUEUE_TESTS_DRAMATIQ"
OUTCOMES = "outcomes"
JOBS = ("silent", "add", "named", "wait", "stubborn", "fail", "flaky", "nameless")
RUNNING = {
    "threads": ["-m", "dramatiq", "--processes", "1", "--threads", "4"],
    "processes": ["-m", "dramatiq", "--processes", "2", "--threads", "1"],
    "gevent": [str(Path(sys.executable).with_name("dramatiq-gevent")), "--processes", "1", "--threads", "8"],
}


class Outcomes(Middleware):
    """Writes down what Dramatiq makes of each message; the first in the list, so that it is told last."""

    def note(self, broker: Any, message: Any, outcome: str) -> None:
        broker.client.hset(OUTCOMES, message.message_id, outcome)

    def after_process_message(self, broker: Any, message: Any, *, result: Any = None, exception: Any = None) -> None:
        if exception is None:
            self.note(broker, message, "done")

    def after_skip_message(self, broker: Any, message: Any) -> None:
        if not message.failed:
            self.note(broker, message, "cancelled")

    def after_nack(self, broker: Any, message: Any) -> None:
        self.note(broker, message, "failed")


def actors(jobs: ModuleType, broker: RedisBroker) -> dict[str, Actor[..., Any]]:
    """An actor for each of the jobs."""
    return {name: actor(getattr(jobs, name), broker=broker, max_retries=0, min_backoff=1000) for name in JOBS}


def make_broker() -> RedisBroker:
    """Set up all that sending and working takes; also called by the worker's command."""
    from job_progress.queues.dramatiq import ProgressMiddleware

    # A worker looks at each step for the messages of those that have died.
    broker = RedisBroker(url=os.environ[ADDRESS], maintenance_chance=MAINTENANCE_SCALE)
    broker.add_middleware(Abortable(backend=RedisBackend.from_url(os.environ[ADDRESS])))
    broker.add_middleware(ProgressMiddleware())
    broker.add_middleware(Outcomes(), before=type(broker.middleware[0]))
    set_broker(broker)
    return broker


def work() -> None:
    """What the worker's command calls."""
    from tests.queues import jobs

    actors(jobs, make_broker())


class Dramatiq(Driver):
    """One queue, and workers of each kind."""

    name = "Dramatiq"
    pools = tuple(RUNNING)

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        self.broker = make_broker()
        self.actors = actors(self.jobs, self.broker)
        self.sent: dict[str, Message[Any]] = {}

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        return self.actors[job]

    def command(self, pool: str) -> list[str]:
        return [*RUNNING[pool], f"{__name__}:work"]

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        return super().worker(log, pool, dramatiq_worker_timeout="50", **environment)

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        message = self.actors[job].send_with_options(args=args, max_retries=retries)
        self.sent[message.message_id] = message
        return message.message_id

    def send_again(self, id: str, job: str, *args: Any) -> None:
        message = self.sent[id].copy(options={"redis_message_id": f"{id}-again"})
        self.broker.do_enqueue(message.queue_name, message.options["redis_message_id"], message.encode())

    def redeliver(self, id: str, job: str, *args: Any) -> None:
        # What a worker does by itself once the dead one has not been heard of for `heartbeat_timeout`.
        for key in self.broker.client.scan_iter("dramatiq:__acks__.*.default"):
            if self.broker.client.sismember(key, self.sent[id].options["redis_message_id"]):
                self.broker.client.zadd("dramatiq:__heartbeats__", {key.decode().split(".")[1]: 0})

    def revoke(self, id: str) -> None:
        abort(id, next(one for one in self.broker.middleware if isinstance(one, Abortable)))

    def outcome(self, id: str) -> str | None:
        outcome = self.broker.client.hget(OUTCOMES, id)
        return None if outcome is None else outcome.decode()

    def close(self) -> None:
        self.broker.client.close()
