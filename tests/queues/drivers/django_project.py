"""The settings of the Django project whose tasks the suite runs. The worker finds its database in the environment."""

from __future__ import annotations

import os

import django

DATABASE = "QUEUE_TESTS_DJANGO"
PACKAGE = "django.tasks" if django.VERSION >= (6,) else "django_tasks"
"""Django's own, or the one that brings them to Django 5."""

SECRET_KEY = "a key that is only for tests, and long enough"
INSTALLED_APPS = ["django_tasks_db", "job_progress.queues.django_tasks"]
TASKS = {
    "default": {"BACKEND": "django_tasks_db.DatabaseBackend"},
    "immediate": {"BACKEND": f"{PACKAGE}.backends.immediate.ImmediateBackend"},
}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get(DATABASE, ""),
        "OPTIONS": {"timeout": 60},
    }
}
USE_TZ = True
LOGGING_CONFIG = None
"""Django's own would have the worker of its own tasks say nothing."""
