"""The app."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig

from job_progress.queues.django_tasks.receivers import task_enqueued, task_finished, task_started

SIGNALS = ("django.tasks.signals", "django_tasks.signals")
"""With Django 6, the package is another one than Django's own, and some backends send its signals."""


class DjangoTasksConfig(AppConfig):
    """Has the states of tracked tasks follow the signals of all backends."""

    name = "job_progress.queues.django_tasks"
    label = "job_progress_tasks"
    verbose_name = "Job progress of tasks"

    def ready(self) -> None:
        """Listen."""
        there = [name for name in SIGNALS if find_spec(name.partition(".signals")[0])]
        if not there:
            raise ModuleNotFoundError(
                "Django has tasks from version 6; before: pip install 'job-progress[django-tasks]'"
            )
        for signals in map(import_module, there):
            signals.task_enqueued.connect(task_enqueued)
            signals.task_started.connect(task_started)
            signals.task_finished.connect(task_finished)
