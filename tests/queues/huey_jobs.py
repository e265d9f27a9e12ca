"""What only Huey's own tests run: tasks with its own options and exceptions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from huey.exceptions import CancelExecution, RetryTask

from job_progress import current_progress, tracked
from job_progress.decorator import TrackedFunction
from tests.queues.jobs import add, tracker, wait_for


@tracked(tracker=tracker)
def asking(folder: str) -> None:
    """Ask to be tried again, once."""
    if not (Path(folder) / "asked").exists():
        (Path(folder) / "asked").touch()
        raise RetryTask(delay=1)


@tracked(tracker=tracker)
def explaining(folder: str) -> None:
    """Ask to be tried again, because of something."""
    if not (Path(folder) / "asked").exists():
        (Path(folder) / "asked").touch()
        try:
            raise ConnectionError("no answer")
        except ConnectionError as error:
            raise RetryTask(delay=1) from error


@tracked(tracker=tracker)
def canceling(retry: bool | None) -> None:
    """End as canceled."""
    raise CancelExecution(retry=retry)


@tracked(tracker=tracker, id="name")
def with_context(name: str, task: Any) -> None:
    """Get the task, which nobody sends."""
    current_progress().update(message=task.id)


@tracked(tracker=tracker, store_result=True)
def nesting() -> list[object]:
    """Call a tracked function, which is a job of its own, and stay what it is."""
    own = current_progress().state.id
    return [own, add(1, 2), current_progress().state.id]


@tracked(tracker=tracker)
def limited() -> None:
    """Be behind a limit of one in two seconds."""


@tracked(tracker=tracker)
def locked() -> None:
    """Be behind a lock that somebody else holds."""


@tracked(tracker=tracker)
def vetoed() -> None:
    """Be what a hook does not let begin."""


@tracked(tracker=tracker, cancellable=True)
def late(folder: str) -> None:
    """Say that it has begun, be at no checkpoint, and fail when told to."""
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")
    raise ConnectionError("no answer")


@tracked(tracker=tracker, id="name")
def dispatched(name: str) -> None:
    """Fail, and be asked for by somebody else at once."""
    raise ConnectionError("no answer")


@tracked(tracker=tracker)
def unstorable() -> object:
    """Return what Huey cannot store."""
    return lambda: None


def locking_after(function: TrackedFunction[[str], None]) -> Callable[[str], None]:
    """Somebody who asks for a job anew as soon as it has failed."""

    @wraps(function)
    def wrapper(name: str) -> None:
        try:
            function(name)
        finally:
            function.job.lock(name)

    return wrapper


def failing_before(function: Callable[..., Any]) -> Callable[..., Any]:
    """Somebody's decorator, that fails before the job begins."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError("not today")

    return wrapper


@tracked(tracker=tracker)
def never() -> None:
    """Be behind a decorator that fails."""


def untracked() -> None:
    """Be of no interest."""


def declare(huey: Any) -> dict[str, Any]:
    """The tasks, by name."""

    @huey.pre_execute()  # type: ignore[untyped-decorator]
    def veto(task: Any) -> None:
        if task.name == "vetoed":
            raise CancelExecution

    functions: list[Any] = [
        asking,
        explaining,
        canceling,
        nesting,
        late,
        vetoed,
        unstorable,
        locking_after(dispatched),
        failing_before(never),
        untracked,
    ]
    functions += [huey.rate_limit("limited", 1, 2)(limited), huey.lock_task("held")(locked)]
    tasks: dict[str, Any] = {function.__name__: huey.task()(function) for function in functions}
    return tasks | {"with_context": huey.task(context=True)(with_context)}
