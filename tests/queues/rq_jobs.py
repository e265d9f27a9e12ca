"""Jobs for what only RQ has."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import sleep

from redis import Redis
from rq import Retry
from rq.job import Job

from job_progress import current_progress, tracked
from tests.queues.jobs import note_run, tracker, wait_for


@tracked(tracker=tracker, store_result=True)
async def add_async(a: int, b: int) -> int:
    """Have a result; a function that no other queue's tests give a name to."""
    return a + b


@tracked(tracker=tracker)
def die(folder: str) -> None:
    """Be killed at the first attempt, as by a system without memory; then be in the middle of the second one."""
    place = Path(folder)
    current_progress().update(0.5, message="alive")
    if not (place / "died").exists():
        (place / "died").touch()
        current_progress().flush()
        os.kill(os.getpid(), signal.SIGKILL)
    (place / "begun").touch()
    wait_for(place / "go")


@tracked(tracker=tracker, store_result=True)
def once_more(folder: str, limit: int) -> Retry | str:
    """Ask to be run again until told to go on."""
    return "went on" if (Path(folder) / "go").exists() else Retry(max=limit, interval=1)


@tracked(tracker=tracker)
def endless() -> None:
    """Take longer than is allowed."""
    while True:
        sleep(0.01)


def refused(call: Callable[[], None]) -> Callable[[], None]:
    """A decorator of a user's own, above ours, that lets nobody in."""

    @wraps(call)
    def check() -> None:
        raise PermissionError("not today")

    return check


@refused
@tracked(tracker=tracker)
def forbidden() -> None:
    """Never begin."""


def raise_after(job: Job, connection: Redis, result: object) -> None:
    """A callback of RQ's for success, that fails."""
    raise LookupError("nobody to tell")


@tracked(tracker=tracker)
def count_runs(folder: str) -> None:
    """Note that it ran."""
    note_run(Path(folder))


def untracked(a: int, b: int) -> int:
    """Be none of ours."""
    return a + b


class Shop:
    """Its methods are jobs."""

    @tracked(tracker=tracker, id="product", store_result=True)
    def refresh(self, product: str) -> str:
        """Have an id of its own."""
        return f"refreshed {product}"
