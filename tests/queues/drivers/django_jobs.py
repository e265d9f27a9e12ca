"""The jobs of `tests.queues.jobs` as Django's tasks. Imported once Django is set up."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from job_progress import tracked
from tests.queues import async_jobs, jobs
from tests.queues.drivers.django_project import PACKAGE
from tests.queues.jobs import failing_after, tracker

task: Callable[..., Callable[[Callable[..., Any]], Any]] = import_module(PACKAGE).task


def here(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function* as one of this module, where its task is found by its name."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__module__ = __name__
    return call


def ahere(function: Callable[..., Any]) -> Callable[..., Any]:
    """`here`, for coroutines."""

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    call.__module__ = __name__
    call.__name__ = call.__qualname__ = f"async_{function.__name__}"
    return call


silent = task()(here(jobs.silent))
add = task()(here(jobs.add))
named = task()(here(jobs.named))
wait = task()(here(jobs.wait))
stubborn = task()(here(jobs.stubborn))
fail = task()(here(jobs.fail))
flaky = task()(here(jobs.flaky))
nameless = task()(here(jobs.nameless))
fails_before = task()(here(jobs.fails_before))
fails_after = task()(here(jobs.fails_after))
flaky_after = task()(here(jobs.flaky_after))
skipped = task()(here(jobs.skipped))
effect = task()(here(jobs.effect))
async_wait = task()(ahere(async_jobs.wait))


@task(takes_context=True)
@tracked(tracker=tracker, id="name", store_result=True)
def with_context(context: Any, name: str) -> int:
    """Tell which attempt it is, by Django."""
    attempt: int = context.attempt
    return attempt


@task()
@tracked(tracker=tracker)
def unstorable() -> object:
    """Return what Django cannot store."""
    return object()


@task()
@tracked(tracker=tracker)
def answer() -> int:
    """Have a result that only Django has."""
    return 42


@task()
@failing_after
@tracked(tracker=tracker, id="name")
def run_another(name: str) -> None:
    """Have another task run within it, at once."""
    answer.using(backend="immediate").enqueue()


@task()
def untracked(folder: str) -> None:
    """Be of no interest to anybody."""
    (Path(folder) / "ended").touch()
