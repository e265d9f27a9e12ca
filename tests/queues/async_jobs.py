"""The jobs of `tests.queues.jobs`, async, for queues that run coroutines; each under the same name."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

from job_progress import current_progress
from tests.queues.jobs import NAMES, P, R, _no_id, fail_as, fail_once, job, note, note_run

__all__ = ["NAMES"]


async def wait_for(path: Path) -> None:
    """Return when there is such a file."""
    while not path.exists():
        await sleep(0.01)


@job()
async def silent() -> None:
    """Report nothing."""


@job(store_result=True)
async def add(a: int, b: int) -> int:
    """Have a result."""
    return a + b


@job(id="name", owner="by")
async def named(name: str, by: str) -> None:
    """Have an id of its own, and an owner."""


@job(cancellable=True)
async def wait(folder: str) -> str:
    """Say that it has begun, be at a checkpoint all the time, and end when told to."""
    return await waiting(folder)


async def waiting(folder: str) -> str:
    """What `wait` does."""
    place = Path(folder)
    progress = current_progress().update_with_steps(1, 4, message="waiting")
    note_run(place)
    (place / "begun").touch()
    while not (place / "go").exists():
        progress.exit_if_cancelled()
        await sleep(0.01)
    (place / "ended").touch()
    return "went on"


@job()
async def stubborn(folder: str) -> None:
    """Say that it has begun, and look at nothing until told to end."""
    await being_stubborn(folder)


async def being_stubborn(folder: str) -> None:
    """What `stubborn` does."""
    (Path(folder) / "begun").touch()
    await wait_for(Path(folder) / "go")


@job()
async def fail() -> None:
    """Fail for good."""
    await failing()


async def failing() -> None:
    """What `fail` does."""
    current_progress().update(0.5)
    raise ValueError("boom")


@job()
async def flaky(folder: str) -> None:
    """Fail at the first attempt, then be in the middle of the second one until told to end."""
    await being_flaky(folder)


async def being_flaky(folder: str) -> None:
    """What `flaky` does."""
    place = Path(folder)
    if not (place / "failed").exists():
        (place / "failed").touch()
        current_progress().update(0.5, message="first")
        raise ConnectionError("no answer")
    (place / "begun").touch()
    await wait_for(place / "go")


@job(id=_no_id)
async def nameless(number: int) -> None:
    """Have an id that cannot be told, neither when it is enqueued nor when it runs."""


Async = Callable[P, Coroutine[Any, Any, R]]


def failing_before(function: Callable[P, Awaitable[R]]) -> Async[P, R]:
    """A decorator above `@tracked` that fails before it calls the function."""

    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        raise LookupError("before")

    return run


def skipping(function: Callable[P, Awaitable[R]]) -> Async[P, R | None]:
    """A decorator above `@tracked` that does not call the function, as the work is not needed."""

    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return None

    return run


def failing_after(function: Callable[P, Awaitable[R]]) -> Async[P, R]:
    """A decorator above `@tracked` that fails once the function has returned, as a transaction that cannot commit."""

    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        await function(*args, **kwargs)
        raise LookupError("after")

    return run


def failing_after_the_first(function: Callable[P, Awaitable[R]]) -> Async[P, R]:
    """The same, but it fails only once for each folder."""

    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        result = await function(*args, **kwargs)
        fail_once(args, kwargs)
        return result

    return run


@failing_before
@job()
async def fails_before(folder: str) -> None:
    """Never be reached."""
    note_run(Path(folder))


@skipping
@job()
async def skipped(folder: str) -> None:
    """Never be reached."""
    note_run(Path(folder))


@failing_after
@job()
async def fails_after(folder: str) -> None:
    """End well, which is not the end."""
    note_run(Path(folder))


@failing_after_the_first
@job()
async def flaky_after(folder: str) -> None:
    """End well, which is the end the second time only."""
    note_run(Path(folder))


@job(cancellable=True)
async def effect(ledger: str, number: int, kind: str) -> None:
    """Do a little work and write it down; of some kinds, fail once or always."""
    note(ledger, number, "begun")
    for _ in current_progress().track(range(5), checkpoint=True):
        await sleep(0.002)
    fail_as(ledger, number, kind)
    note(ledger, number, "done")
