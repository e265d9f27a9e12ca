"""Tasks of Taskiq's own kind, for the tests of what only Taskiq has."""

from __future__ import annotations

import os
import signal
import threading
from asyncio import sleep
from collections.abc import Generator
from pathlib import Path
from time import sleep as block
from typing import Annotated, Any

from pydantic import BaseModel
from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends
from taskiq.exceptions import NoResultError
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from job_progress import current_progress, tracked
from job_progress.queues.taskiq import ProgressMiddleware
from tests.queues.async_jobs import wait_for
from tests.queues.jobs import tracker

ADDRESS = "TASKIQ_TESTS_ADDRESS"
IDLE = 1500
"""Milliseconds after which a message that was not acknowledged is delivered again."""

results: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(os.environ[ADDRESS])
broker = RedisStreamBroker(os.environ[ADDRESS], xread_block=100, idle_timeout=IDLE).with_result_backend(results)
broker.add_middlewares(ProgressMiddleware(), SimpleRetryMiddleware(types_of_exceptions=[ConnectionError, TimeoutError]))


class Shop(BaseModel):
    """What an argument may be."""

    name: str


@broker.task
@tracked(tracker=tracker)
async def run_long(folder: str) -> None:
    """Wait until told to end."""
    current_progress().update(0.5)
    (Path(folder) / f"begun {current_progress().state.attempt}").touch()
    await wait_for(Path(folder) / "go")


@broker.task
@tracked(tracker=tracker)
def block_long(folder: str) -> None:
    """Wait in a thread until told to end."""
    (Path(folder) / "begun").touch()
    while not (Path(folder) / "go").exists():
        block(0.01)
    (Path(folder) / "ended").touch()


@broker.task
@tracked(tracker=tracker, id="name")
async def put_back(context: Annotated[Context, TaskiqDepends()], name: str) -> None:
    """Have the task delivered again, once."""
    current_progress().update(0.5)
    if "X-Taskiq-requeue" not in context.message.labels:
        await context.requeue()


@broker.task
@tracked(tracker=tracker, id=lambda shop: f"products of {shop.name}")
async def import_products(shop: Shop) -> None:
    """Have an id that is made of a model."""


@broker.task
@tracked(tracker=tracker)
async def fail(kind: str) -> None:
    """Fail in one of several ways."""
    raise {"network": ConnectionError, "value": ValueError, "quiet": NoResultError}[kind]


@broker.task
@tracked(tracker=tracker)
async def call_inner(number: int) -> None:
    """Call another job, which is not the task, but a part of it."""
    await inner(number)


@tracked(tracker=tracker, id="number")
async def inner(number: int) -> None:
    """Be called."""
    await sleep(0)


def no_session() -> None:
    """A dependency that cannot be had."""
    raise LookupError("no session")


@broker.task
@tracked(tracker=tracker)
async def depend(folder: str, session: Annotated[None, TaskiqDepends(no_session)]) -> None:
    """Depend on it."""


def session_of(context: Annotated[Context, TaskiqDepends()]) -> Generator[None]:
    """A dependency that fails at its end, the first time."""
    yield
    try:
        (Path(context.message.args[0]) / "ended once").touch(exist_ok=False)
    except FileExistsError:
        return
    raise ConnectionError("no commit")


@broker.task
@tracked(tracker=tracker)
async def commit(folder: str, session: Annotated[None, TaskiqDepends(session_of)]) -> None:
    """Do something that is not committed until its end."""


@broker.task
@tracked(tracker=tracker)
async def answer() -> int:
    """Have a result that only Taskiq has."""
    return 42


@broker.task
@tracked(tracker=tracker)
def locked(died: str = "") -> object:
    """Return what no process can send to another; or die, if nobody has made this file to say that one has."""
    if died and not Path(died).exists():
        Path(died).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return threading.Lock()


@broker.task
async def untracked(folder: str) -> str:
    """Be none of our business."""
    return folder
