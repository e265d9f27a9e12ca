"""What the contract suite needs to know of a queue, and to do with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import psutil
import redis

ROOT = Path(__file__).parents[2]


class Point(IntEnum):
    """What "complete" means for a queue; the table in the README has a column for each."""

    PENDING = 1
    RUNS = 2
    FAILS = 3
    CANCELS = 4
    REVOKES = 5
    DIES = 6
    SURVIVES = 7
    COSTS = 8
    REPEATS = 9
    AROUND = 10
    REFUSES = 11
    FOLLOWS = 12


class Worker:
    """A real worker of a queue, in processes of its own."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path = ROOT) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it and all its children, with no chance to tidy up."""
        # Until all are gone: one that holds a connection to the broker may still be given a task there.
        while alive := self.processes():
            for process in alive:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self.process.poll()
        self.process.wait()

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to end, as an operator does. Returns its exit code."""
        self.process.terminate()
        return self.process.wait(timeout)

    def processes(self) -> list[int]:
        """Those of its session that are alive: some workers put their children into groups of their own."""
        alive: list[int] = []
        for process in psutil.process_iter(["status", "num_threads"]):
            # One that is dead but for threads, which still hold its sockets, is not dead.
            is_dead = process.info["status"] == psutil.STATUS_ZOMBIE and process.info["num_threads"] in (None, 0, 1)
            with suppress(ProcessLookupError, PermissionError):
                if not is_dead and os.getsid(process.pid) == self.process.pid:
                    alive.append(process.pid)
        return alive

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")


class Driver(ABC):
    """A queue, as the suite uses it. It is made in the test's process, and imports its queue when it is.

    The constructor takes the address of an empty Valkey server for the queue to use, and sets up all that
    enqueuing takes. The worker's command imports the same module, and finds that address in the environment.
    """

    name: ClassVar[str]
    """As the table in the README calls it."""
    environment: ClassVar[str] = "main"
    """In which of `tests.environments` it is."""
    pools: ClassVar[tuple[str, ...]] = ("default",)
    """The kinds of worker that there are, the usual one first."""
    cannot: ClassVar[Mapping[Point | str, str]] = {}
    """Points, or the names of single tests of them, that the queue itself makes impossible, and why; the table's
    footnotes."""
    round_trips: ClassVar[int] = 3
    """To the store, for a job that reports nothing; 4 where its messages can carry nothing of ours."""
    has_cancelled: ClassVar[bool] = True
    """Has it a word for a task that was cancelled, other than done and failed?"""

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    @abstractmethod
    def jobs(self) -> ModuleType:
        """`tests.queues.jobs` or `tests.queues.async_jobs`, whichever it runs."""

    @abstractmethod
    def task(self, job: str) -> object:
        """The queue's own object around a job of `jobs`: what its decorator gives, or what it makes of a function."""

    @abstractmethod
    def command(self, pool: str) -> list[str]:
        """The worker's command, less the interpreter."""

    def worker(self, log: Path, pool: str | None = None, **environment: str) -> Worker:
        """Start a worker."""
        return Worker([sys.executable, *self.command(pool or self.pools[0])], log, environment)

    @abstractmethod
    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        """Enqueue a job of `jobs`; if it fails, it is retried so often, each time about a second later.

        Returns:
            The queue's own id of it.
        """

    @abstractmethod
    def send_again(self, id: str, job: str, *args: Any) -> None:
        """Deliver the same task once more, under the same id, as a queue does that has lost sight of the first."""

    def redeliver(self, id: str, job: str, *args: Any) -> None:
        """After its worker was killed, have the queue deliver it again, as soon as that can be had."""
        self.send_again(id, job, *args)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Inside a `with`, the broker takes nothing: here, as its memory is full. No worker is there."""
        with redis.Redis.from_url(self.address) as client:
            client.config_set("maxmemory", 1)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)

    def send_followed(self, first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, str]:
        """Enqueue a job with its arguments, and another that is to run once it has succeeded. Returns their ids."""
        raise NotImplementedError

    @abstractmethod
    def revoke(self, id: str) -> None:
        """Tell the queue, by its own means, not to run a task that waits."""

    @abstractmethod
    def outcome(self, id: str) -> str | None:
        """What the queue has of a task: "done", "failed" or "cancelled"; `None` if it has no such word (yet)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
