"""The URLs of the Django project that the tests serve."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("jobs/", include("job_progress.web.django.urls"))]
