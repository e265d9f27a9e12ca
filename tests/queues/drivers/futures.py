"""Executors and asyncio, as the contract suite uses them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import signal
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, ClassVar
from uuid import uuid4

from job_progress.queues.futures import create_task, id_of, submit
from tests.queues.driver import Point
from tests.queues.orders import OrderDriver, follow

WORKERS = 2
ONCE = "nothing runs again after an error"
ONLY_ONCE = "a call comes once"
NONE_FOLLOW = "no future or task follows another"
AGAIN = "test_what_fails_after_the_function_and_is_tried_again_is_the_next_attempt"
AT_ONCE = "a task begins at once, so it never waits"

REFUSED = "refused: "

Some = concurrent.futures.Future[Any] | asyncio.Task[Any]


class Futures(OrderDriver):
    """A pool of threads, or of processes."""

    name = "concurrent.futures"
    pools = ("threads", "processes")
    cannot: ClassVar = {
        Point.DIES: "when a process of a pool dies, all that the pool has fails, and nothing runs again",
        "test_a_retry_waits_with_its_error_and_starts_clean": ONCE,
        AGAIN: ONCE,
        Point.REPEATS: ONLY_ONCE,
        Point.FOLLOWS: NONE_FOLLOW,
    }

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    @contextmanager
    def refusing(self) -> Iterator[None]:
        self.be_there()
        self.order("refuse", True)
        yield
        self.order("refuse", False)

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        id = super().send(job, *args, retries=retries)
        if id.startswith(REFUSED):
            raise RuntimeError(id)
        return id

    def task(self, job: str) -> object:
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            return submit(executor, getattr(self.jobs, job), 1, 1)


class Asyncio(OrderDriver):
    """An event loop."""

    name = "asyncio"
    pools = ("asyncio",)
    cannot: ClassVar = {
        "test_what_is_enqueued_is_pending": AT_ONCE,
        "test_what_is_not_called_after_all_does_not_wait": AT_ONCE,
        "test_an_id_and_an_owner_come_from_the_arguments": AT_ONCE,
        "test_what_is_cancelled_while_it_waits_never_runs": AT_ONCE,
        "test_a_retry_waits_with_its_error_and_starts_clean": ONCE,
        AGAIN: ONCE,
        Point.REPEATS: ONLY_ONCE,
        Point.FOLLOWS: NONE_FOLLOW,
        Point.REVOKES: f"{AT_ONCE}; one that is cancelled while it runs is cancelled",
        Point.DIES: "its tasks die with their process",
        Point.REFUSES: "a loop takes every task",
    }

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import async_jobs

        return async_jobs

    def task(self, job: str) -> object:
        async def created() -> object:
            task = create_task(getattr(self.jobs, job), 1, 1)
            await task
            return task

        return asyncio.run(created())


class Host:
    """Where the jobs run."""

    def __init__(self) -> None:
        self.futures: dict[str, Some] = {}

    def follow(self) -> None:
        """Do as told."""
        orders: dict[str, Callable[..., Any]] = {"cancel": self.cancel, "outcome": self.outcome}
        follow({**orders, "work": self.work, "submit": self.submit, "refuse": self.refuse})

    @abstractmethod
    def work(self) -> None:
        """Begin with what waits."""

    def refuse(self, refuses: bool) -> None:
        """Take no more calls."""
        raise NotImplementedError

    @abstractmethod
    def submit(self, job: str, *args: Any) -> str:
        """Run a job. Returns its id, or, if it has none, another that `outcome` knows."""

    def keep(self, future: Some) -> str:
        """Remember it."""
        try:
            id = id_of(future)
        except LookupError:
            id = str(uuid4())
        self.futures[id] = future
        return id

    def cancel(self, id: str) -> bool:
        """Cancel it by its own means."""
        return self.futures[id].cancel()

    def outcome(self, id: str) -> str | None:
        """What has become of it."""
        future = self.futures[id]
        if not future.done():
            return None
        if future.cancelled() or isinstance(future.exception(), concurrent.futures.CancelledError):
            return "cancelled"
        return "failed" if future.exception() else "done"


class Pool(Host):
    """With an executor whose workers are held until they may work."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        super().__init__()
        self.executor = executor
        self.closed = concurrent.futures.ThreadPoolExecutor(1)
        self.closed.shutdown()
        self.refuses = False
        self.go = Path(tempfile.mkdtemp(prefix="pool-")) / "go"
        for _ in range(WORKERS):
            executor.submit(hold, str(self.go))

    def work(self) -> None:
        self.go.touch()

    def submit(self, job: str, *args: Any) -> str:
        from tests.queues import jobs

        try:
            return self.keep(submit(self.closed if self.refuses else self.executor, getattr(jobs, job), *args))
        except RuntimeError as error:
            return f"{REFUSED}{error}"

    def refuse(self, refuses: bool) -> None:
        """Take no more calls, as an executor that has been shut down."""
        self.refuses = refuses


class Loop(Host):
    """With an event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        Thread(target=self.loop.run_forever, daemon=True).start()

    def work(self) -> None:
        pass

    def submit(self, job: str, *args: Any) -> str:
        from tests.queues import async_jobs

        async def create() -> Some:
            return create_task(getattr(async_jobs, job), *args)

        return self.keep(asyncio.run_coroutine_threadsafe(create(), self.loop).result())


def hold(file: str) -> None:
    """Keep a worker busy."""
    from tests.queues.jobs import wait_for

    wait_for(Path(file))


def main(pool: str) -> None:
    """Be the process that takes orders."""
    logging.basicConfig()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if pool == "asyncio":
        Loop().follow()
    executors = {
        "threads": concurrent.futures.ThreadPoolExecutor,
        "processes": concurrent.futures.ProcessPoolExecutor,
    }
    with executors[pool](WORKERS) as executor:
        Pool(executor).follow()


if __name__ == "__main__":
    main(sys.argv[1])
