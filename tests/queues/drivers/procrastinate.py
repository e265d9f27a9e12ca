"""Procrastinate, as the contract suite uses it: with coroutines, on a PostgreSQL server of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from inspect import signature
from types import ModuleType
from typing import Any, ClassVar

from tests.queues.driver import Driver, Point
from tests.servers.postgresql import PostgreSQLServer


class Procrastinate(Driver):
    """One worker, which runs several jobs at once."""

    name = "Procrastinate"
    round_trips = 4
    cannot: ClassVar[Mapping[Point | str, str]] = {Point.FOLLOWS: "Procrastinate knows no jobs that follow another."}

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.server = PostgreSQLServer()
        self.server.__enter__()
        os.environ["QUEUE_TESTS_PROCRASTINATE"] = self.server.url
        from tests.queues.drivers.procrastinate_app import app

        self.app = app.open()
        self.app.schema_manager.apply_schema()

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import async_jobs

        return async_jobs

    def task(self, job: str) -> object:
        from tests.queues.drivers.procrastinate_app import name_of

        return self.app.tasks[name_of(self.jobs, job)]

    def command(self, pool: str) -> list[str]:
        worker = ["worker", "--concurrency=4", "--fetch-job-polling-interval=0.05", "--abort-job-polling-interval=0.05"]
        return ["-m", "procrastinate", "--app=tests.queues.drivers.procrastinate_app.app", *worker]

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        from tests.queues.drivers.procrastinate_app import name_of

        names = signature(getattr(self.jobs, job)).parameters
        task = self.app.tasks[name_of(self.jobs, job, retries)]
        return str(task.defer(**dict(zip(names, args, strict=True))))

    def send_again(self, id: str, job: str, *args: Any) -> None:
        with self.server.connect() as connection:
            connection.execute("UPDATE procrastinate_jobs SET status = 'todo' WHERE id = %s", [int(id)])

    def redeliver(self, id: str, job: str, *args: Any) -> None:
        # What an operator does for each of `get_stalled_jobs`; what waits comes by itself.
        if self.app.job_manager.get_job_status(int(id)).value != "todo":
            self.app.job_manager.retry_job_by_id(int(id), datetime.now(UTC))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        body = "BEGIN RAISE EXCEPTION 'disk full'; END"
        with self.server.connect() as connection:
            connection.execute(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON procrastinate_jobs EXECUTE FUNCTION refuse()"
            )
        try:
            yield
        finally:
            with self.server.connect() as connection:
                connection.execute("DROP FUNCTION refuse CASCADE")

    def revoke(self, id: str) -> None:
        assert self.app.job_manager.cancel_job_by_id(int(id))

    def outcome(self, id: str) -> str | None:
        status = self.app.job_manager.get_job_status(int(id)).value
        return {"succeeded": "done", "failed": "failed", "cancelled": "cancelled", "aborted": "cancelled"}.get(status)

    def close(self) -> None:
        self.app.close()
        self.server.__exit__()
