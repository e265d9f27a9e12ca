"""Django's tasks, as the contract suite uses them: in a database, that of the test's process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.test.utils import override_settings

from tests.queues.driver import Driver, Point, Worker
from tests.queues.drivers import django_project


class DjangoTasks(Driver):
    """The package `django-tasks`, with Django 5."""

    name = "Django 5 tasks"
    round_trips = 4
    cannot: ClassVar[Mapping[Point | str, str]] = {
        Point.REVOKES: "Django's tasks cannot be taken back, and do not expire.",
        Point.FOLLOWS: "Django's tasks know none that follow another.",
        "test_a_retry_waits_with_its_error_and_starts_clean": "Django's tasks are not retried.",
        "test_what_fails_after_the_function_and_is_tried_again_is_the_next_attempt": "Django's tasks are not retried.",
        Point.DIES: ("The task of a worker that was killed stays RUNNING, to Django; its state is stalled."),
    }
    has_cancelled = False

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[django_project.DATABASE] = str(settings.DATABASES["default"]["NAME"])
        apps = [*settings.INSTALLED_APPS, *django_project.INSTALLED_APPS]
        self._settings = override_settings(INSTALLED_APPS=apps, TASKS=django_project.TASKS)
        self._settings.enable()
        call_command("migrate", "django_tasks_database", verbosity=0)

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> Any:
        from tests.queues.drivers import django_jobs

        return getattr(django_jobs, job)

    def command(self, pool: str) -> list[str]:
        return ["-m", "django", "db_worker", "--interval=0.05", "--no-startup-delay", "--no-reload"]

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        return super().worker(log, pool, DJANGO_SETTINGS_MODULE=django_project.__name__, **environment)

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        id: str = self.task(job).enqueue(*args).id
        return id

    def send_again(self, id: str, job: str, *args: Any) -> None:
        # Django never does; somebody who looks after its database may.
        self._row(id).update(status="READY")

    @contextmanager
    def refusing(self) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON django_tasks_database_dbtaskresult"
                " BEGIN SELECT RAISE(FAIL, 'disk full'); END"
            )
            try:
                yield
            finally:
                cursor.execute("DROP TRIGGER refuse")

    def revoke(self, id: str) -> None:
        raise NotImplementedError

    def outcome(self, id: str) -> str | None:
        status = self._row(id).get().status
        return {"SUCCESSFUL": "done", "FAILED": "failed"}.get(status)

    def _row(self, id: str) -> Any:
        from django_tasks_db.models import DBTaskResult

        return DBTaskResult.objects.filter(id=id)

    def close(self) -> None:
        connections.close_all()
        self._settings.disable()


class DjangoTasksOfDjango6(DjangoTasks):
    """Django's own."""

    name = "Django tasks"
    environment = "django6"
