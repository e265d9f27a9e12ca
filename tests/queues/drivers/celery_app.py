"""The Celery application of the contract suite, of its driver and of its workers."""

from __future__ import annotations

import os

from celery import Celery

from job_progress.queues.celery import install
from tests.queues import jobs

ADDRESS = "QUEUE_TESTS_CELERY"
RETRIES = range(3)

app = Celery("queue-tests", broker=os.environ[ADDRESS], backend=os.environ[ADDRESS])
app.conf.update(
    broker_connection_retry_on_startup=True,
    # What a dead worker held comes back when another one starts, if nobody gave it back by then.
    broker_transport_options={"visibility_timeout": 20},
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)
install(app)
for name in jobs.NAMES:
    for retries in RETRIES:
        app.task(
            getattr(jobs, name),
            name=f"{name}-{retries}",
            max_retries=retries,
            default_retry_delay=1,
            autoretry_for=(Exception,) if retries else (),
        )
