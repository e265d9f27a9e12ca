"""The SAQ queue of the suite, and its worker's settings. Imported once it is known where the server is."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from saq import CronJob
from saq.queue.redis import RedisQueue

from job_progress.queues.saq import install
from tests.queues import context_jobs, saq_jobs
from tests.queues.drivers.saq import ADDRESS


class SlowQueue(RedisQueue):
    """One whose worker takes its time between taking a job and beginning it."""

    async def dequeue(self, *args: Any, **kwargs: Any) -> Any:
        """As ever, but late."""
        job = await super().dequeue(*args, **kwargs)
        await asyncio.sleep(2.0)
        return job


queue = (SlowQueue if "QUEUE_TESTS_SAQ_SLOW" in os.environ else RedisQueue).from_url(os.environ[ADDRESS])
settings = install(
    {
        "queue": queue,
        "functions": [
            *(getattr(context_jobs, name) for name in context_jobs.OPTIONS),
            *((f"{name} in a thread", function) for name, function in context_jobs.in_threads.items()),
            *saq_jobs.FUNCTIONS,
        ],
        "before_process": [saq_jobs.note, saq_jobs.refuse],
        "after_process": [saq_jobs.note],
        "timers": {"abort": 0.05, "schedule": 1, "sweep": 60, "worker_info": 10},
    }
)
cron_settings = install(
    {
        "queue": RedisQueue.from_url(os.environ[ADDRESS], name="cron"),
        "functions": [],
        "cron_jobs": [CronJob(saq_jobs.yearly, "0 0 1 1 *"), CronJob(saq_jobs.ticking, "* * * * * *")],
    }
)
