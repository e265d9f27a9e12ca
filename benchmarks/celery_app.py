"""Celery's applications with the tasks of `queues`; in a worker, the one that the environment asks for."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from benchmarks import empty_tasks

ADDRESS = "BENCHMARKS_CELERY"
TRACKED = "BENCHMARKS_CELERY_TRACKED"


def make(url: str, with_tracking: bool) -> Celery:
    """An application that keeps no results."""
    app = Celery("benchmarks", broker=url, set_as_current=False)
    app.conf.broker_connection_retry_on_startup = True
    empty: Any = empty_tasks.empty
    if with_tracking:
        from benchmarks import tracked_tasks
        from job_progress.queues.celery import install

        empty = tracked_tasks.empty
        install(app)
    for function in (empty, empty_tasks.hold_up, empty_tasks.say_done):
        app.task(function, shared=False)
    return app


if ADDRESS in os.environ:
    app = make(os.environ[ADDRESS], TRACKED in os.environ)
