"""The jobs that every queue's worker runs: ordinary tracked functions, with no word of any queue.

The processes of a test know from their environment where the states live.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep

from job_progress import Tracker, current_progress, tracked

STORE = "QUEUE_TESTS_STORE"
STALLED_AFTER = 2.0
tracker = Tracker(os.environ[STORE], flush_interval=0.02, heartbeat=0.2, stalled_after=STALLED_AFTER)


def wait_for(path: Path) -> None:
    """Return when there is such a file."""
    while not path.exists():
        sleep(0.01)


@tracked(tracker=tracker)
def silent() -> None:
    """Report nothing."""


@tracked(tracker=tracker, store_result=True)
def add(a: int, b: int) -> int:
    """Have a result."""
    return a + b


@tracked(tracker=tracker, id="name", owner="by")
def named(name: str, by: str) -> None:
    """Have an id of its own, and an owner."""


@tracked(tracker=tracker, cancellable=True)
def wait(folder: str) -> str:
    """Say that it has begun, be at a checkpoint all the time, and end when told to."""
    place = Path(folder)
    progress = current_progress().update_with_steps(1, 4, message="waiting")
    (place / "begun").touch()
    while not (place / "go").exists():
        progress.exit_if_cancelled()
        sleep(0.01)
    (place / "ended").touch()
    return "went on"


@tracked(tracker=tracker)
def stubborn(folder: str) -> None:
    """Say that it has begun, and look at nothing until told to end."""
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")


@tracked(tracker=tracker)
def fail() -> None:
    """Fail for good."""
    current_progress().update(0.5)
    raise ValueError("boom")


@tracked(tracker=tracker)
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


@tracked(tracker=tracker, id=_no_id)
def nameless(number: int) -> None:
    """Have an id that cannot be told, neither when it is enqueued nor when it runs."""
