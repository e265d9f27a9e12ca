"""The app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from job_progress.default import configure
from job_progress.django_checks import register_checks
from job_progress.web.django.checks import check_settings
from job_progress.web.django.conf import tracker_settings


class JobProgressConfig(AppConfig):
    """Makes the default tracker what the settings say, so that views and jobs use the same store."""

    name = "job_progress.web.django"
    label = "job_progress"
    verbose_name = "Job progress"

    def ready(self) -> None:
        """Register the checks, and configure the tracker if the settings have something about it."""
        checks.register(check_settings)
        register_checks()
        settings = tracker_settings()
        if settings:
            try:
                configure(**settings)
            except (TypeError, ValueError, ImportError):
                return  # what is wrong is said by the system check, with the setting's name
