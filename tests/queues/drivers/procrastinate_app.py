"""The Procrastinate app of the suite, and its tasks. Imported once it is known where the database is."""

from __future__ import annotations

import os
from types import ModuleType

from procrastinate import App, PsycopgConnector, RetryStrategy

from job_progress.queues.procrastinate import install
from tests.queues import async_jobs, jobs

DATABASE = "QUEUE_TESTS_PROCRASTINATE"
JOBS = ("silent", "add", "named", "wait", "stubborn", "fail", "flaky", "nameless")
RETRIES = 2

app = App(connector=PsycopgConnector(conninfo=os.environ[DATABASE], min_size=1))
install(app)


def name_of(module: ModuleType, job: str, retries: int = 0) -> str:
    """What the task is called that runs a job, with so many retries."""
    return f"{module.__name__}.{job}" + " again" * bool(retries)


for _module in (jobs, async_jobs):
    for _job in JOBS:
        app.task(name=name_of(_module, _job))(getattr(_module, _job))
        app.task(name=name_of(_module, _job, RETRIES), retry=RetryStrategy(max_attempts=RETRIES, wait=1))(
            getattr(_module, _job)
        )
