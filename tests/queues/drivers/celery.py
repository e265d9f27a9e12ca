"""Celery, as the contract suite uses it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from tests.queues.driver import Driver, Worker
from tests.waiting import eventually

ADDRESS = "QUEUE_TESTS_CELERY"
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
OUTCOMES = {"SUCCESS": "done", "FAILURE": "failed", "REVOKED": "cancelled"}


class Celery(Driver):
    """One queue, and a worker with each kind of pool."""

    name = "Celery"
    pools = ("prefork", "threads", "gevent", "solo")

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        from celery.signals import before_task_publish

        from tests.queues.drivers.celery_app import app

        self.app = app
        self._sent: dict[str, Any] = {}

        before_task_publish.connect(self._note, weak=False)
        self._place = TemporaryDirectory(prefix="celery-")
        self._folder = Path(self._place.name)
        self._revoked: Path | None = None

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        return self.app.tasks[f"{job}-0"]

    def command(self, pool: str) -> list[str]:
        application = "tests.queues.drivers.celery_app"
        command = ["-m", "celery", "--app", application, "worker", "--pool", pool, "--concurrency", "2", *QUIET]
        return command if self._revoked is None else [*command, "--statedb", str(self._revoked)]

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        worker = super().worker(log, pool, **environment)
        self._revoked = None
        return worker

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        return str(self.app.tasks[f"{job}-{retries}"].apply_async(args).id)

    def _note(self, body: Any, headers: dict[str, Any], **message: Any) -> None:
        self._sent[headers["id"]] = {"body": body, "headers": headers, **message}

    def send_again(self, id: str, job: str, *args: Any) -> None:
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            # What workers do with a message that was not acknowledged within `visibility_timeout`.
            unacknowledged = channel.client.hgetall(channel.unacked_key).items()
            tags = [tag.decode() for tag, message in unacknowledged if id.encode() in message]
            for tag in tags:
                channel.qos.restore_by_tag(tag)
            if not tags:  # what was done, but came back before that was known
                sent = self._sent[id]
                route = {key: sent[key] for key in ("exchange", "routing_key", "headers")}
                connection.Producer(channel).publish(sent["body"], serializer="json", **route, **sent["properties"])

    def send_followed(self, first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, str]:
        from celery import chain

        links = [self.app.tasks[f"{job}-0"].si(*args) for job, *args in (first, then)]

        last: Any = chain(*links).apply_async()
        return str(last.parent.id), str(last.id)

    def revoke(self, id: str) -> None:
        # What is revoked is known to workers only, each of which may keep it in a file for the next one.
        self._revoked = self._folder / f"revoked-{id}"
        elsewhere = [*self.command("solo"), "--queues", "elsewhere"]
        with Worker([sys.executable, *elsewhere], self._folder / "elsewhere.log", {}) as worker:
            eventually(lambda: self.app.control.revoke(id, reply=True, limit=1, timeout=1.0), 60)
            worker.stop()

    def outcome(self, id: str) -> str | None:
        return OUTCOMES.get(self.app.AsyncResult(id).state)

    def close(self) -> None:
        self.app.close()
        self._place.cleanup()
