"""`path("jobs/", include("job_progress.web.django.urls"))` puts everything below `/jobs/`."""

from __future__ import annotations

from django.urls import path, re_path

from job_progress.web.django.views import live_view

app_name = "job_progress"
urlpatterns = [
    path("", live_view, name="dashboard"),
    re_path("^(?P<path>.+)$", live_view, name="live_view"),
]
