"""The Procrastinate app of the suite, and its tasks. Imported once it is known where the database is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import sleep
from types import ModuleType

from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import JobAborted

from job_progress import current_progress, tracked
from job_progress.queues.procrastinate import install
from tests.queues import async_jobs, jobs
from tests.queues.jobs import tracker

DATABASE = "QUEUE_TESTS_PROCRASTINATE"
RETRIES = 2

app = App(connector=PsycopgConnector(conninfo=os.environ[DATABASE], min_size=1))
install(app)


def name_of(module: ModuleType, job: str, retries: int = 0) -> str:
    """What the task is called that runs a job, with so many retries."""
    return f"{module.__name__}.{job}" + " again" * bool(retries)


for _module in (jobs, async_jobs):
    for _job in jobs.NAMES:
        app.task(name=name_of(_module, _job))(getattr(_module, _job))
        app.task(name=name_of(_module, _job, RETRIES), retry=RetryStrategy(max_attempts=RETRIES, wait=1))(
            getattr(_module, _job)
        )


@app.task(pass_context=True)
@tracked(tracker=tracker, id="name")
def attentive(context: JobContext, name: str, folder: str) -> None:
    """Look all the time whether Procrastinate wants it to stop."""
    (Path(folder) / "begun").touch()
    while not context.should_abort():
        sleep(0.01)
    raise JobAborted


deferring: list[Callable[[], None]] = []
"""What a test wants to be done while the state is told that a job has been deferred."""


def _watched_id(name: str) -> str:
    for look in deferring:
        look()
    return name


@app.task
@tracked(tracker=tracker, id=_watched_id)
def watched(name: str) -> None:
    """Have an id that a test sees being made."""


@app.task
@tracked(tracker=tracker, id="name")
def timely(timestamp: int, name: str) -> None:
    """Be one of a kind that comes periodically."""


@app.task
def untracked(folder: str) -> None:
    """Be of no interest to anybody."""
    current_progress().update(0.5)
    (Path(folder) / "ended").touch()
