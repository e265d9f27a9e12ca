"""The jobs of `tests.queues.async_jobs` for queues that put a context in front of the arguments."""

from __future__ import annotations

from collections.abc import Callable
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
    "effect": {"cancellable": True},
}
AROUND = {
    "fails_before": "failing_before",
    "fails_after": "failing_after",
    "flaky_after": "failing_after_the_first",
}
"""What stands above `@tracked`."""


def behind_context(module: ModuleType, name: str) -> Callable[..., Any]:
    """A job of *module* that takes a context, and does nothing with it unless that says how to be retried."""
    function = unwrap(getattr(module, name))

    async def run(context: dict[Any, Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except ConnectionError as error:
            if retry := context.get("retry"):  # the exception by which its queue is asked to run it again
                raise retry from error
            raise

    def run_in_thread(context: object, /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    chosen: Any = run if iscoroutinefunction(function) else run_in_thread
    chosen.__name__ = chosen.__qualname__ = name
    chosen.__signature__ = signature(function).replace(parameters=[FRONT, *signature(function).parameters.values()])
    job: Any = tracked(name=f"{module.__name__}.{name} behind a context", tracker=tracker, **OPTIONS[name])(chosen)
    around: Any = getattr(module, AROUND[name]) if name in AROUND else lambda job: job
    wrapped: Callable[..., Any] = around(job)
    return wrapped


silent, add, named, wait, stubborn, fail, flaky, nameless, fails_before, fails_after, flaky_after, effect = (
    behind_context(async_jobs, name) for name in OPTIONS
)
in_threads = {name: behind_context(jobs, name) for name in OPTIONS}
