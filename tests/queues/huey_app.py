"""Huey, as tests enqueue with it and as their workers run it."""

from __future__ import annotations

import os
from typing import Any

from huey import RedisHuey

from job_progress.queues.huey import install
from tests.queues import huey_jobs, jobs
from tests.queues.drivers.huey import ADDRESS

huey = RedisHuey(url=os.environ[ADDRESS], store_none=True, store_intermediate_errors=False)
install(huey)
tasks: dict[str, Any] = {name: huey.task()(getattr(jobs, name)) for name in jobs.NAMES} | huey_jobs.declare(huey)
"""By name."""
