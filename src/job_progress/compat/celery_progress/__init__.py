"""celery-progress 0.5: its `ProgressRecorder`, and an endpoint that its script takes for its own.

    from job_progress.compat.celery_progress import ProgressRecorder

in place of `from celery_progress.backend import ProgressRecorder`, with `@tracked` below `@app.task(bind=True)`
and `job_progress.queues.celery.install(app)`. What its own endpoint shows of the task's return value needs
`@tracked(store_result=True)`. In Django, the endpoint is

    path("celery-progress/", include("job_progress.compat.celery_progress.urls"))

in place of `include("celery_progress.urls")`, with its names; elsewhere `create_app` mounts it.

What it does not have: groups, and websockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_progress.compat.celery_progress.recorder import ProgressRecorder

if TYPE_CHECKING:
    from job_progress.compat.celery_progress.asgi import create_app

__all__ = ["ProgressRecorder", "create_app"]


def __getattr__(name: str) -> object:
    # Workers, and Django, need no Starlette.
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import job_progress.web

    job_progress.web.create_app  # says what is missing  # noqa: B018
    from job_progress.compat.celery_progress.asgi import create_app

    return create_app
