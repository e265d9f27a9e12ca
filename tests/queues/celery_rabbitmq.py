"""A Celery application on RabbitMQ, imported by its tests and by their workers."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from job_progress import tracked
from job_progress.queues.celery import install
from tests.queues import jobs

ADDRESS = "QUEUE_TESTS_RABBITMQ"
FULL = "full"

app = Celery("rabbitmq-tests", broker=os.environ[ADDRESS], backend=os.environ[jobs.STORE].replace("/0", "/1"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_publish_retry=False,
    worker_prefetch_multiplier=1,
)
app.amqp.queues.add(FULL, queue_arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
install(app)


def named(name: str, job: Any) -> Any:
    """One of the jobs that all queues have, under a name that no other one gives it."""
    tracking = tracked(name=name, tracker=jobs.tracker, cancellable=True, store_result=True)
    return app.task(tracking(job.__wrapped__), name=name)


wait = named("wait on RabbitMQ", jobs.wait)
add = named("add on RabbitMQ", jobs.add)
