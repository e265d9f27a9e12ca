"""A handful of worker processes: the smallest task queue that can lose a worker and go on."""

from __future__ import annotations

import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple

from job_progress.default import configure, default_tracker
from job_progress.errors import JobNotCancellable, StoreUnavailable
from job_progress.state import JobState

STOP_WITHIN = 5.0
"""Seconds that a worker gets to end by itself."""
PENDING_TTL = 600.0
"""Seconds after which what nobody took up is forgotten, should the whole demo be killed."""

Names = Sequence[tuple[str, str]]


class Call(NamedTuple):
    """A tracked function and its arguments, for a worker."""

    function: Callable[..., Any]
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Setup:
    """What each worker is told at its start.

    Attributes:
        store: The store's URL; `None` for the default.
        prefix: Of the states in it.
        names: Of all states that go with the workers, to be cancelled if their parent dies.
        folder: Removed by the workers if their parent, whose it is, dies.
    """

    store: str | None
    prefix: str
    names: Names
    folder: Path


def cancel_all(names: Names) -> list[JobState]:
    """Cancel what of *names* has not ended yet. At most three round trips each.

    Returns:
        Those that were cancelled, or asked to stop.
    """
    cancelled: list[JobState] = []
    for name in names:
        with suppress(JobNotCancellable):  # it has ended
            cancelled.append(default_tracker().cancel(*name))
    return cancelled


def work(pipe: Connection, setup: Setup) -> None:
    """Be a worker: call what comes through *pipe*, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent sees to it
    configure(setup.store, prefix=setup.prefix, pending_ttl=PENDING_TTL)
    Thread(target=_outlive, args=(setup,), daemon=True).start()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is done, or dead
        while True:
            call: Call = pipe.recv()
            result = None
            with suppress(Exception):  # it is in the job's state, for everybody to see
                result = call.function(*call.args)
            pipe.send(result)
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        shutil.rmtree(setup.folder, ignore_errors=True)


def _outlive(setup: Setup) -> None:
    """When the parent dies, cancel its jobs, so that this worker comes to its end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        with suppress(StoreUnavailable):  # then the job ends when it ends
            cancel_all(setup.names)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process that is started inside is deaf to its terminal from its first moment; here, that comes afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    ensure_running()  # of the processes that every child needs; it would let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """A process, the pipe to it, and what it is busy with."""

    def __init__(self, setup: Setup) -> None:
        context = get_context("spawn")  # as on every system, and a fork would copy threads and connections
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=work, args=(theirs, setup), daemon=True)
        with _interrupts_held_back():
            self.process.start()
        theirs.close()  # so that the pipe ends when the worker does
        self.call: Call | None = None


class Workers:
    """Runs calls in processes, in their order, each as soon as a worker is free."""

    def __init__(self, number: int, setup: Setup) -> None:
        self._calls: deque[Call] = deque()
        self._workers = [Worker(setup) for _ in range(number)]
        self._lost: list[Worker] = []
        self.results: list[Any] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes: idle ones at once, others when their call ends, or else by force."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(STOP_WITHIN)
            worker.process.kill()
            worker.process.join()

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """Have *function* called as soon as a worker is free."""
        self._calls.append(Call(function, args))

    @property
    def busy(self) -> bool:
        """Is there something to do, and somebody to do it?"""
        return bool(self._workers) and (bool(self._calls) or any(worker.call for worker in self._workers))

    def kill(self) -> None:
        """End all processes now, whatever they are at."""
        for worker in self._workers:
            worker.process.kill()

    def wait(self, timeout: float) -> list[Worker]:
        """Hand out calls, and wait up to *timeout* seconds for something to happen.

        Returns:
            Workers that have died since, and what they were at.
        """
        for worker in self._workers:
            if worker.call is None and self._calls:
                with suppress(BrokenPipeError):  # it has died: its end of the pipe says so below
                    worker.call = self._calls.popleft()
                    worker.pipe.send(worker.call)
        ready = wait([worker.pipe for worker in self._workers], timeout)
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            self._hear(worker)
        lost, self._lost = self._lost, []
        return lost

    def _hear(self, worker: Worker) -> None:
        try:
            result = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            self._workers.remove(worker)
            self._lost.append(worker)
        else:
            worker.call = None
            self.results.append(result)
