"""The jobs of `tests.queues.async_jobs` for queues that put a context in front of the arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, iscoroutinefunction, signature, unwrap
from types import ModuleType
from typing import Any

from job_progress import tracked
from tests.queues import async_jobs, jobs
from tests.queues.jobs import tracker

FRONT = Parameter("context", Parameter.POSITIONAL_ONLY)


def _no_id(context: object, number: int) -> str:
    raise LookupError("there is no id")


OPTIONS: dict[str, dict[str, Any]] = {
    "silent": {},
    "add": {"store_result": True},
    "named": {"id": "name", "owner": "by"},
    "wait": {"cancellable": True},
    "stubborn": {},
    "fail": {},
    "flaky": {},
    "nameless": {"id": _no_id},
    "fails_before": {},
    "fails_after": {},
    "flaky_after": {},
    "skipped": {},
    "effect": {"cancellable": True},
}
AROUND = {
    "fails_before": "failing_before",
    "fails_after": "failing_after",
    "flaky_after": "failing_after_the_first",
    "skipped": "skipping",
}
"""What stands above `@tracked`."""


def asking_for_retry(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function*, which after a `ConnectionError` asks to be run again, if its queue has a way of its own for that."""

    @wraps(function)
    async def run(context: dict[Any, Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return await function(context, *args, **kwargs)
        except ConnectionError as error:
            if retry := context.get("retry"):
                raise retry from error
            raise

    return run


def behind_context(module: ModuleType, name: str) -> Callable[..., Any]:
    """A job of *module* that takes a context."""
    function = unwrap(getattr(module, name))

    @asking_for_retry
    async def run(context: object, /, *args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    def run_in_thread(context: object, /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    chosen: Any = run if iscoroutinefunction(function) else run_in_thread
    chosen.__name__ = chosen.__qualname__ = name
    chosen.__signature__ = signature(function).replace(parameters=[FRONT, *signature(function).parameters.values()])
    job: Any = tracked(name=f"{module.__name__}.{name} behind a context", tracker=tracker, **OPTIONS[name])(chosen)
    wrapped: Callable[..., Any] = getattr(module, AROUND[name])(job) if name in AROUND else job
    return asking_for_retry(wrapped) if name in AROUND and iscoroutinefunction(function) else wrapped


silent, add, named, wait, stubborn, fail, flaky, nameless, fails_before, fails_after, flaky_after, skipped, effect = (
    behind_context(async_jobs, name) for name in OPTIONS
)
in_threads = {name: behind_context(jobs, name) for name in OPTIONS}
