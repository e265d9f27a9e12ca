"""Dramatiq, as the contract suite uses it, with dramatiq-abort to take messages back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dramatiq import Actor, Message, Middleware, actor, set_broker
from dramatiq.brokers.redis import MAINTENANCE_SCALE, RedisBroker
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    Callbacks,
    Pipelines,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from dramatiq_abort import Abortable, abort  # type: ignore[import-untyped]
from dramatiq_abort.backends import RedisBackend  # type: ignore[import-untyped]

from tests.queues.driver import Driver, Worker

ADDRESS = "QUEUE_TESTS_DRAMATIQ"
FIRST = "QUEUE_TESTS_DRAMATIQ_FIRST"
"""If it is set, our middleware is the first, and else the last, as by default."""
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


def make_broker() -> RedisBroker:
    """Set up all that sending and working takes."""
    from job_progress.queues.dramatiq import ProgressMiddleware

    middleware: list[Middleware] = [
        Outcomes(),
        AgeLimit(),
        TimeLimit(interval=50),
        ShutdownNotifications(),
        Callbacks(),
        Pipelines(),
        Retries(),
        AsyncIO(),
        Abortable(backend=RedisBackend.from_url(os.environ[ADDRESS])),
    ]
    middleware.insert(0 if FIRST in os.environ else len(middleware), ProgressMiddleware())
    # A worker looks at each step for the messages of those that have died.
    made: Any = RedisBroker
    broker: RedisBroker = made(url=os.environ[ADDRESS], middleware=middleware, maintenance_chance=MAINTENANCE_SCALE)
    set_broker(broker)
    return broker


def declare(broker: RedisBroker) -> dict[str, Actor[..., Any]]:
    """All actors, by name; the async ones have one that says so."""
    from tests.queues import async_jobs, dramatiq_jobs, jobs

    declared: dict[str, Actor[..., Any]] = dramatiq_jobs.declare(broker)
    for module, prefix in ((jobs, ""), (async_jobs, "async_")):
        for name in JOBS:
            declaring = actor(actor_name=f"{prefix}{name}", broker=broker, max_retries=0, min_backoff=1000)
            declared[f"{prefix}{name}"] = declaring(getattr(module, name))
    return declared


def work() -> None:
    """What the worker's command calls."""
    declare(make_broker())


class Dramatiq(Driver):
    """One queue, and workers of each kind."""

    name = "Dramatiq"
    pools = tuple(RUNNING)

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        self.broker = make_broker()
        self.actors = declare(self.broker)
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
        outcome: Any = self.broker.client.hget(OUTCOMES, id)
        return None if outcome is None else str(outcome, "ascii")

    def close(self) -> None:
        self.broker.client.close()
