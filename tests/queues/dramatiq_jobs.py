"""What only Dramatiq's own tests run: actors with its own options and exceptions."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any

from dramatiq import Actor, Broker, GenericActor, Retry, actor
from dramatiq.middleware import SkipMessage

from job_progress import Tracker, current_progress, tracked
from job_progress.decorator import TrackedFunction
from tests.queues.jobs import STORE, add, note_run, tracker, wait_for


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
def asking_late() -> None:
    """Ask to be tried again much later."""
    raise Retry("later", delay=3_600_000)


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


@tracked(tracker=tracker)
def relay(folder: str, given: object) -> object:
    """Be in a pipeline: note what it was given, and hand it on."""
    with (Path(folder) / "given").open("a") as file:
        file.write(f"{given}\n")
    return given


@tracked(tracker=tracker)
def giving(folder: str) -> str:
    """Be the first of a pipeline, with a result that is only Dramatiq's."""
    note_run(Path(folder))
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")
    return "a result"


@tracked(tracker=tracker, id="given")
def named_by_result(given: str) -> None:
    """Have an id that only the message before can tell."""


@tracked(tracker=Tracker(os.environ[STORE]))
def only_here() -> None:
    """Be unknown to a worker that is told so."""


class Refreshing(GenericActor):
    """Class-based actors, whose method is the job."""

    class Meta:  # pyright: ignore[reportIncompatibleVariableOverride]
        abstract = True
        max_retries = 0

    @tracked(tracker=tracker, id="product", store_result=True)
    def perform(self, product: str) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Have an id of its own."""
        return f"refreshed {product}"


class Adding(GenericActor):
    """The same, with the message's id."""

    class Meta:  # pyright: ignore[reportIncompatibleVariableOverride]
        abstract = True
        max_retries = 0

    @tracked(tracker=tracker, store_result=True)
    def perform(self, a: int, b: int) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Have a result."""
        return a + b


def class_based() -> list[Actor[..., Any]]:
    """What becomes of the classes: actors of the default broker."""

    class Refresh(Refreshing):
        pass

    class Add(Adding):
        pass

    made: list[Any] = [Refresh, Add]  # Dramatiq's metaclass gives an object
    return [one.__actor__ for one in made]


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
        actor(broker=broker, max_retries=1)(asking_late),
        actor(broker=broker)(skipping),
        actor(broker=broker)(nesting),
        actor(broker=broker)(late),
        actor(broker=broker, max_retries=0)(locking_after(dispatched)),
        actor(broker=broker, max_retries=1, min_backoff=50)(failing_before(never)),
        actor(broker=broker)(untracked),
        actor(broker=broker)(relay),
        actor(broker=broker, store_results=True)(giving),
        actor(broker=broker)(named_by_result),
        *([] if "WITHOUT_ONLY_HERE" in os.environ else [actor(broker=broker)(only_here)]),
        *class_based(),
    ]
    return {one.actor_name: one for one in declared}
