"""The brokers of the contract suite's Taskiq workers, and its tasks."""

from __future__ import annotations

import os
from asyncio import sleep
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any

from taskiq import AsyncBroker, SmartRetryMiddleware
from taskiq.message import BrokerMessage
from taskiq_pipelines import PipelineMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from job_progress.queues.taskiq import ProgressMiddleware
from tests.queues import async_jobs, jobs

ADDRESS = "QUEUE_TESTS_TASKIQ"


class Broker(RedisStreamBroker):
    """One that knows delays, as those over other servers do."""

    async def kick(self, message: BrokerMessage) -> None:
        await sleep(float(message.labels.get("delay", 0)))
        await super().kick(message)


def broker_of(address: str, module: ModuleType) -> AsyncBroker:
    """A broker with the jobs of *module*."""
    results: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(address)
    # A worker that is killed may hold the lock for good, without a timeout.
    broker = Broker(address, xread_block=200, unacknowledged_lock_timeout=2.0).with_result_backend(results)
    broker.add_middlewares(ProgressMiddleware(), SmartRetryMiddleware(default_delay=1), PipelineMiddleware())
    for name in jobs.NAMES:
        broker.register_task(_wrapped(getattr(module, name)), name)
    return broker


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that Taskiq may rename, as it does: other queues look for the job under its own name."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    @wraps(function)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return acall if iscoroutinefunction(function) else call


def threads() -> AsyncBroker:
    """For workers: the jobs that run in threads or processes."""
    return broker_of(os.environ[ADDRESS], jobs)


def coroutines() -> AsyncBroker:
    """For workers: the jobs that run in the loop."""
    return broker_of(os.environ[ADDRESS], async_jobs)
