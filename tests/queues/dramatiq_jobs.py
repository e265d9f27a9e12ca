"""What only Dramatiq's own tests run: actors with its own options and exceptions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any

from dramatiq import Actor, Broker, Retry, actor
from dramatiq.middleware import SkipMessage

from job_progress import current_progress, tracked
from job_progress.decorator import TrackedFunction
from tests.queues.jobs import add, tracker


@tracked(tracker=tracker)
def throwing() -> None:
    """Raise what the actor's `throws` names."""
    raise LookupError("not to be tried again")


@tracked(tracker=tracker)
def choosing() -> None:
    """Raise what `retry_when` decides on."""
    raise ConnectionError("no answer")


@tracked(tracker=tracker)
def asking() -> None:
    """Ask to be tried again, because of something."""
    try:
        raise ConnectionError("no answer")
    except ConnectionError as error:
        raise Retry("later", delay=50) from error


@tracked(tracker=tracker)
def skipping() -> None:
    """Have nothing to do."""
    raise SkipMessage("there is nothing to do")


@tracked(tracker=tracker, store_result=True)
def nesting() -> list[object]:
    """Call a tracked function, which is a job of its own, and stay what it is."""
    own = current_progress().state.id
    return [own, add(1, 2), current_progress().state.id]


@tracked(tracker=tracker, cancellable=True)
def late(folder: str) -> None:
    """Say that it has begun, and that it was asked to stop, but get to no checkpoint before it is told to."""
    place, progress = Path(folder), current_progress()
    (place / "begun").touch()
    while not (place / "go").exists():
        if progress.cancel_requested:
            (place / "asked").touch()
        sleep(0.01)


@tracked(tracker=tracker, id="name")
def dispatched(name: str) -> None:
    """Fail, and be asked for by somebody else at once."""
    raise ConnectionError("no answer")


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


def is_first(retries: int, error: BaseException) -> bool:
    """Try again once."""
    return retries == 0


def declare(broker: Broker) -> dict[str, Actor[..., Any]]:
    """The actors, by name."""
    declared: list[Actor[..., Any]] = [
        actor(broker=broker, throws=LookupError)(throwing),
        actor(broker=broker, retry_when=is_first, min_backoff=50)(choosing),
        actor(broker=broker, max_retries=1)(asking),
        actor(broker=broker)(skipping),
        actor(broker=broker)(nesting),
        actor(broker=broker)(late),
        actor(broker=broker, max_retries=0)(locking_after(dispatched)),
        actor(broker=broker, max_retries=1, min_backoff=50)(failing_before(never)),
        actor(broker=broker)(untracked),
    ]
    return {one.actor_name: one for one in declared}
