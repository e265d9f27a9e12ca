"""The jobs that every queue's worker runs: ordinary tracked functions, with no word of any queue.

The processes of a test know from their environment where the states live.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any, ParamSpec, TypeVar

from job_progress import Tracker, current_progress, tracked
from job_progress.decorator import TrackedFunction

P = ParamSpec("P")
R = TypeVar("R")

STORE = "QUEUE_TESTS_STORE"
STALLED_AFTER = 2.0
tracker = Tracker(os.environ[STORE], flush_interval=0.02, heartbeat=0.2, stalled_after=STALLED_AFTER)


def job(**options: Any) -> Callable[[Callable[P, R]], TrackedFunction[P, R]]:
    """`tracked`, with the name that the function has here: in the tests' process, each queue has another one for it."""

    def decorate(function: Callable[P, R]) -> TrackedFunction[P, R]:
        name = f"{function.__module__}.{function.__qualname__}"
        decorated: TrackedFunction[P, R] = tracked(name=name, tracker=tracker, **options)(function)
        return decorated

    return decorate


def note_run(place: Path) -> None:
    """One more run of a job has begun: the length of the file `runs` in the test's folder says how many."""
    with (place / "runs").open("a") as runs:
        runs.write("x")


def wait_for(path: Path) -> None:
    """Return when there is such a file."""
    while not path.exists():
        sleep(0.01)


@job()
def silent() -> None:
    """Report nothing."""


@job(store_result=True)
def add(a: int, b: int) -> int:
    """Have a result."""
    return a + b


@job(id="name", owner="by")
def named(name: str, by: str) -> None:
    """Have an id of its own, and an owner."""


@job(cancellable=True)
def wait(folder: str) -> str:
    """Say that it has begun, be at a checkpoint all the time, and end when told to."""
    place = Path(folder)
    progress = current_progress().update_with_steps(1, 4, message="waiting")
    note_run(place)
    (place / "begun").touch()
    while not (place / "go").exists():
        progress.exit_if_cancelled()
        sleep(0.01)
    (place / "ended").touch()
    return "went on"


@job()
def stubborn(folder: str) -> None:
    """Say that it has begun, and look at nothing until told to end."""
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")


@job()
def fail() -> None:
    """Fail for good."""
    current_progress().update(0.5)
    raise ValueError("boom")


@job()
def flaky(folder: str) -> None:
    """Fail at the first attempt, then be in the middle of the second one until told to end."""
    place = Path(folder)
    if not (place / "failed").exists():
        (place / "failed").touch()
        current_progress().update(0.5, message="first")
        raise ConnectionError("no answer")
    (place / "begun").touch()
    wait_for(place / "go")


def _no_id(number: int) -> str:
    raise LookupError("there is no id")


@job(id=_no_id)
def nameless(number: int) -> None:
    """Have an id that cannot be told, neither when it is enqueued nor when it runs."""


def failing_before(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator above `@tracked` that fails before it calls the function."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        raise LookupError("before")

    return run


def skipping(function: Callable[P, R]) -> Callable[P, R | None]:
    """A decorator above `@tracked` that does not call the function, as the work is not needed."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return None

    return run


def failing_after(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator above `@tracked` that fails once the function has returned, as a transaction that cannot commit."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        function(*args, **kwargs)
        raise LookupError("after")

    return run


def failing_after_the_first(function: Callable[P, R]) -> Callable[P, R]:
    """The same, but it fails only once for each folder, which is the first argument but for a context."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        fail_once(args, kwargs)
        return result

    return run


def fail_once(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    """Raise, unless that was done in this folder before."""
    place = Path(str(kwargs.get("folder", args[-1] if args else "")))
    if not (place / "failed").exists():
        (place / "failed").touch()
        raise ConnectionError("after")


@failing_before
@job()
def fails_before(folder: str) -> None:
    """Never be reached."""
    note_run(Path(folder))


@skipping
@job()
def skipped(folder: str) -> None:
    """Never be reached."""
    note_run(Path(folder))


@failing_after
@job()
def fails_after(folder: str) -> None:
    """End well, which is not the end."""
    note_run(Path(folder))


@failing_after_the_first
@job()
def flaky_after(folder: str) -> None:
    """End well, which is the end the second time only."""
    note_run(Path(folder))


@job(cancellable=True)
def effect(ledger: str, number: int, kind: str) -> None:
    """Do a little work and write it down; of some kinds, fail once or always."""
    note(ledger, number, "begun")
    for _ in current_progress().track(range(5), checkpoint=True):
        sleep(0.002)
    fail_as(ledger, number, kind)
    note(ledger, number, "done")


def note(ledger: str, number: int, word: str) -> None:
    """Write a line; those of several processes do not mix."""
    with Path(ledger).open("a") as lines:
        lines.write(f"{number} {word}\n")


def fail_as(ledger: str, number: int, kind: str) -> None:
    """Raise what a job of this kind does."""
    if kind == "fails":
        raise ValueError("boom")
    flaked = Path(f"{ledger}-{number}")
    if kind == "flaky" and not flaked.exists():
        flaked.touch()
        raise ConnectionError("no answer")


NAMES = (
    *("silent", "add", "named", "wait", "stubborn", "fail", "flaky", "nameless"),
    *("fails_before", "fails_after", "flaky_after", "skipped", "effect"),
)
"""All jobs, which every worker has."""
