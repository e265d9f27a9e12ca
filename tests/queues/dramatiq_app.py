"""Dramatiq, as tests send to it and as their workers run it, with dramatiq-abort to take messages back."""

from __future__ import annotations

import os
from typing import Any

from dramatiq import Actor, Middleware, actor, set_broker
from dramatiq.brokers.redis import MAINTENANCE_SCALE, RedisBroker
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    Callbacks,
    GroupCallbacks,
    Pipelines,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from dramatiq.rate_limits import backends as limits
from dramatiq.results import Results
from dramatiq.results import backends as results
from dramatiq_abort import Abortable, abort  # type: ignore[import-untyped]
from dramatiq_abort.backends import RedisBackend  # type: ignore[import-untyped]

from job_progress.queues.dramatiq import ProgressMiddleware
from tests.queues import async_jobs, dramatiq_jobs, jobs
from tests.queues.drivers.dramatiq import ADDRESS, FIRST, OUTCOMES


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
    middleware: list[Middleware] = [
        Outcomes(),
        AgeLimit(),
        TimeLimit(interval=50),
        ShutdownNotifications(),
        Callbacks(),
        Pipelines(),
        GroupCallbacks(limits.RedisBackend(url=os.environ[ADDRESS])),
        Results(backend=results.RedisBackend(url=os.environ[ADDRESS])),  # type: ignore[no-untyped-call]
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
    declared: dict[str, Actor[..., Any]] = dramatiq_jobs.declare(broker)
    for module, prefix in ((jobs, ""), (async_jobs, "async_")):
        for name in jobs.NAMES:
            declaring = actor(actor_name=f"{prefix}{name}", broker=broker, max_retries=0, min_backoff=1000)
            declared[f"{prefix}{name}"] = declaring(getattr(module, name))
    return declared


def work() -> None:
    """What the worker's command calls."""
    declare(make_broker())


def take_back(broker: RedisBroker, id: str) -> None:
    """Have a message skipped, or aborted."""
    abort(id, next(one for one in broker.middleware if isinstance(one, Abortable)))
