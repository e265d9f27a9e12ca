"""The jobs of `tests.queues.async_jobs`, for queues that put a context in front; each under the same name."""

from __future__ import annotations

from typing import Any

from job_progress import tracked
from tests.queues import async_jobs
from tests.queues.jobs import _no_id, tracker

Context = dict[Any, Any]


@tracked(tracker=tracker)
async def silent(ctx: Context) -> None:
    """Report nothing."""


@tracked(tracker=tracker, store_result=True)
async def add(ctx: Context, a: int, b: int) -> int:
    """Have a result."""
    return a + b


@tracked(tracker=tracker, id="name", owner="by")
async def named(ctx: Context, name: str, by: str) -> None:
    """Have an id of its own, and an owner."""


@tracked(tracker=tracker, cancellable=True)
async def wait(ctx: Context, folder: str) -> str:
    """Say that it has begun, be at a checkpoint all the time, and end when told to."""
    return await async_jobs.waiting(folder)


@tracked(tracker=tracker)
async def stubborn(ctx: Context, folder: str) -> None:
    """Say that it has begun, and look at nothing until told to end."""
    await async_jobs.being_stubborn(folder)


@tracked(tracker=tracker)
async def fail(ctx: Context) -> None:
    """Fail for good."""
    await async_jobs.failing()


@tracked(tracker=tracker)
async def flaky(ctx: Context, folder: str) -> None:
    """Fail at the first attempt, in the queue's way, and be in the middle of the second one until told to end."""
    try:
        await async_jobs.being_flaky(folder)
    except ConnectionError as error:
        if retry := ctx.get("retry"):
            raise retry from error
        raise


@tracked(tracker=tracker, id=_no_id)
async def nameless(ctx: Context, number: int) -> None:
    """Have an id that cannot be told, neither when it is enqueued nor when it runs."""
