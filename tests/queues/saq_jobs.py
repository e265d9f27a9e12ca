"""Functions that only SAQ's worker runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from job_progress import current_progress, tracked
from tests.queues.jobs import tracker

NOTES = "notes"


async def note(context: Any) -> None:
    """A hook of the user's own: leave a line for each time that it is called with a job that wants it."""
    job = context["job"]
    if NOTES in job.meta:
        with (Path(job.meta[NOTES]) / job.key).open("a") as notes:
            notes.write(f"{job.status.value}\n")


async def refuse(context: Any) -> None:
    """A hook of the user's own that does not let a job begin that says so."""
    if (why := context["job"].meta.get("refused")) is not None:
        raise PermissionError(why)


async def untracked(context: Any, folder: str) -> None:
    """Be of no interest to anybody."""
    current_progress().update(0.5)
    (Path(folder) / "ended").touch()


@tracked(tracker=tracker)
async def waits_for_another(context: Any) -> None:
    """Be cancelled by nobody but itself."""
    raise asyncio.CancelledError


@tracked(tracker=tracker, store_result=False)
async def unstorable(context: Any) -> object:
    """Return what SAQ cannot store."""
    return object()


@tracked(tracker=tracker)
async def inner(context: Any) -> None:
    """Be called by another."""
    current_progress().update(0.5)


@tracked(tracker=tracker)
async def outer(context: Any) -> None:
    """Call another, which is no job of SAQ's."""
    await inner(context)


@tracked(tracker=tracker)
async def yearly(context: Any) -> None:
    """Be due in a while."""


@tracked(tracker=tracker)
async def ticking(context: Any) -> None:
    """Be due all the time."""


FUNCTIONS = [untracked, waits_for_another, unstorable, outer]
