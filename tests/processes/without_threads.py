"""Processes in which no thread can be started; see `Child`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from job_progress.job import Job
from tests.processes.bodies import hear, say
from tests.processes.jobs import job_at

Body = Callable[[str], None]


def run_after_main(url: str) -> None:
    """Run jobs in a thread that outlives the main one, and in which the library is used for the first time."""
    job = job_at(url)  # redis cannot be imported that late

    def work() -> None:
        threading.main_thread().join()
        _run(job)

    threading.Thread(target=work).start()


def run_where_none_can_start(url: str) -> None:
    """Run jobs where the system has no room for another thread."""
    threading.stack_size(1 << 47)
    _run(job_at(url))


def _run(job: Job) -> None:
    with job.start("sync") as progress:
        for step in range(3):
            progress.update(step / 3, message=f"step {step}").set(step=step).flush()
        progress.update(message="the last")

    async def work() -> None:
        async with job.astart("async") as progress:
            for step in range(3):
                await progress.update(step / 3, message=f"step {step}").set(step=step).aflush()
            progress.update(message="the last")

    async def watch() -> str:
        await work()
        return str((await job.await_("async", 10)).status)

    with suppress(ValueError), job.start("failed"):
        raise ValueError("boom")
    dropped = job.start("dropped")
    dropped.__enter__()
    del dropped
    say(f"{job.wait('sync', 10).status} {asyncio.run(watch())}")
    hear()
