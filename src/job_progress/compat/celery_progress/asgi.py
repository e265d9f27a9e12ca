"""The ASGI face: for Starlette, FastAPI, and whatever else speaks ASGI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from job_progress.compat.celery_progress.site import CeleryProgressSite
from job_progress.default import default_tracker
from job_progress.tracker import Tracker
from job_progress.web.asgi import App
from job_progress.web.view import ShowError
from job_progress.web.ways import InLoop


def create_app(
    authorize: Any,
    *,
    jobs: Iterable[object] | None = None,
    tracker: Tracker | None = None,
    show_error: ShowError | None = None,
) -> App:
    """The endpoint as an ASGI application, to be mounted where celery-progress's was: `/celery-progress`.

    Args:
        authorize: Who may see what, as for `job_progress.web.create_app`. Of a task that is unknown, or
            unknown yet, the rule is asked with `None`, and without its leave celery-progress's script gives up.
        jobs: Of which jobs the tasks may be: their names, tracked functions, or Celery's tasks. By default
            all that are tracked in modules which this process has imported.
        tracker: Whose states to serve; by default the default tracker, whichever that is by then.
        show_error: Makes the text that is shown of a state's error; as for `job_progress.web.create_app`.

    Raises:
        TypeError: *authorize* is missing, or no rule; or one of *jobs* is none; or *show_error* is no function.
    """
    return App(CeleryProgressSite(authorize, lambda: tracker or default_tracker(), InLoop(), jobs, show_error))
