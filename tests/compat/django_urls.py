"""The URLs of a Django project that had celery-progress."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("celery-progress/", include("job_progress.compat.celery_progress.urls"))]
