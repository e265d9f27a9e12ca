"""A SAQ queue on PostgreSQL, and its worker's settings."""

from __future__ import annotations

import os
from typing import Any

from saq.queue.postgres import PostgresQueue

from job_progress.queues.saq import install
from tests.queues import context_jobs

ADDRESS = "QUEUE_TESTS_SAQ_POSTGRESQL"


def settings() -> dict[str, Any]:
    """SAQ calls it."""
    functions = [getattr(context_jobs, name) for name in context_jobs.OPTIONS]
    timers = {"abort": 0.05, "schedule": 1, "sweep": 1, "worker_info": 10}
    return install({"queue": PostgresQueue.from_url(os.environ[ADDRESS]), "functions": functions, "timers": timers})
