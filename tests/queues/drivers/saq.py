"""SAQ, as the contract suite uses it: with coroutines, behind the context that it puts in front."""

from __future__ import annotations

import os
from asyncio import Runner
from collections.abc import Coroutine
from inspect import signature
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from tests.queues.driver import Driver, Point

ADDRESS = "QUEUE_TESTS_SAQ"
T = TypeVar("T")


class SAQ(Driver):
    """One worker, which runs several jobs at once."""

    name = "SAQ"
    environment = "saq"
    cannot: ClassVar = {Point.FOLLOWS: "no job of SAQ follows another."}

    def __init__(self, address: str) -> None:
        super().__init__(address)
        os.environ[ADDRESS] = address
        from tests.queues.drivers.saq_app import queue

        self.queue = queue
        self._runner = Runner()
        self.sweep()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """In the loop that the queue's connections belong to."""
        return self._runner.run(coroutine)

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import context_jobs

        return context_jobs

    def task(self, job: str) -> object:
        return getattr(self.jobs, job)

    def command(self, pool: str) -> list[str]:
        return ["-m", "saq", "tests.queues.drivers.saq_app.settings"]

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        names = list(signature(getattr(self.jobs, job)).parameters)[1:]
        kwargs = dict(zip(names, args, strict=True))
        return self.enqueue(job, kwargs=kwargs, retries=retries + 1, retry_delay=1.0)

    def enqueue(self, function: str, **options: Any) -> str:
        """Enqueue a job that nothing stops. Returns its key."""
        job = self.run(self.queue.enqueue(function, **{"timeout": 0, **options}))
        assert job is not None
        return str(job.key)

    def job(self, id: str) -> Any:
        """What SAQ has of a job."""
        return self.run(self.queue.job(id))

    def send_again(self, id: str, job: str, *args: Any) -> None:
        self.run(self._push(id))

    async def _push(self, id: str) -> None:
        await self.queue.redis.rpush(self.queue.namespace("queued"), self.queue.job_id(id))

    def put(self, id: str, value: str) -> None:
        """Have SAQ find this under a key, instead of a job."""
        self.run(self._put(id, value))

    async def _put(self, id: str, value: str) -> None:
        await self.queue.redis.set(self.queue.job_id(id), value)

    def redeliver(self, id: str, job: str, *args: Any) -> None:
        # What a worker does by itself once the job's time is over.
        saved = self.job(id)
        self.run(saved.update(timeout=1, started=1, retries=saved.attempts + 1))
        swept = self.sweep()
        assert self.queue.job_id(id) in swept, f"{swept}: {self.job(id)}"  # beside what other tests have killed

    def sweep(self, abort: float = 0.05) -> list[str]:
        """Have SAQ look for what dead workers have left. Workers do not, for the next hour.

        One that has just started would take jobs for left that it is about to begin.
        """
        return self.run(self._sweep(abort))

    async def _sweep(self, abort: float) -> list[str]:
        await self.queue.redis.delete(self.queue.namespace("sweep"))
        swept: list[str] = await self.queue.sweep(lock=3600, abort=abort)
        return swept

    def is_taken(self, id: str) -> bool:
        """Has a worker taken it from the queue?"""
        return self._is_in("active", id)

    def waits(self, id: str) -> bool:
        """Is it to be delivered, or was it, and SAQ has not done with that?"""
        return self._is_in("queued", id) or self._is_in("active", id)

    def _is_in(self, place: str, id: str) -> bool:
        return self.run(self._has(self.queue.namespace(place), self.queue.job_id(id).encode()))

    async def _has(self, place: str, id: bytes) -> bool:
        return id in await self.queue.redis.lrange(place, 0, -1)

    def revoke(self, id: str) -> None:
        self.run(self.job(id).abort("revoked"))

    def outcome(self, id: str) -> str | None:
        job = self.job(id)
        words = {"complete": "done", "failed": "failed", "aborted": "cancelled"}
        return words.get(job.status.value) if job is not None else None

    def close(self) -> None:
        self.run(self.queue.disconnect())
        self._runner.close()
