"""The settings of the contract suite's arq worker."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
from typing import Any, ClassVar

from arq import Retry
from arq.connections import RedisSettings

from job_progress.queues.arq import on_startup
from tests.queues import context_jobs as jobs


class WorkerSettings:
    """What `arq` reads."""

    functions: ClassVar[list[Any]] = [getattr(jobs, name) for name in jobs.OPTIONS]
    redis_settings = RedisSettings.from_dsn(os.environ["QUEUE_TESTS_ARQ"])
    on_startup = on_startup
    allow_abort_jobs = True
    poll_delay = 0.05
    ctx: ClassVar[dict[Any, Any]] = {"retry": Retry(defer=1)}
