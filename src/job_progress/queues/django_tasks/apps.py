"""The app."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig

from job_progress.queues.django_tasks.receivers import (
    atelling,
    task_enqueued,
    task_finished,
    task_started,
    telling,
)

PACKAGES = ("django.tasks", "django_tasks")
"""With Django 6, the package is another one than Django's own, and some backends send its signals."""


class DjangoTasksConfig(AppConfig):
    """Has the states of tracked tasks follow the signals of all backends."""

    name = "job_progress.queues.django_tasks"
    label = "job_progress_tasks"
    verbose_name = "Job progress of tasks"

    def ready(self) -> None:
        """Listen."""
        there = [name for name in PACKAGES if find_spec(name)]
        if not there:
            raise ModuleNotFoundError(
                "Django has tasks from version 6; before: pip install 'job-progress[django-tasks]'"
            )
        for package in there:
            signals = import_module(f"{package}.signals")
            signals.task_enqueued.connect(task_enqueued)
            signals.task_started.connect(task_started)
            signals.task_finished.connect(task_finished)
            task = import_module(f"{package}.base").Task
            if not hasattr(task.enqueue, "__wrapped__"):  # the app may be set up more than once in tests
                task.enqueue, task.aenqueue = telling(task.enqueue), atelling(task.aenqueue)
