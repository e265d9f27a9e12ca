"""`path("celery-progress/", include("job_progress.compat.celery_progress.urls"))`, with celery-progress's own names.

A task is looked for in all jobs that this process knows, once it has imported the modules `tasks` of all
installed apps, as Celery's `autodiscover_tasks` does.
"""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.module_loading import autodiscover_modules

from job_progress.compat.celery_progress.site import CeleryProgressSite
from job_progress.default import default_tracker
from job_progress.web.django.conf import rule, show_error
from job_progress.web.django.rules import DjangoLoop
from job_progress.web.django.views import answered
from job_progress.web.ways import InThread


@cache
def _in_loop() -> CeleryProgressSite:
    autodiscover_modules("tasks")
    return CeleryProgressSite(rule(), default_tracker, DjangoLoop(), show_error=show_error())


@cache
def _in_thread(*, places: int) -> CeleryProgressSite:
    autodiscover_modules("tasks")
    way = InThread(streams=False, waits=places > 0)
    return CeleryProgressSite(rule(), default_tracker, way, show_error=show_error())


async def task_status(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """What is known of a task, by the rule that `JOB_PROGRESS["AUTHORIZE"]` says."""
    return await answered(request, task_id, _in_loop, _in_thread)


app_name = "celery_progress"
urlpatterns = [path("<str:task_id>/", task_status, name="task_status")]
