"""What tracking adds to an empty task: to sending it, and to its worker, on Celery and on RQ.

A real worker of each kind, with one task at a time, in a process of its own; queue and states on one Valkey server.
The worker is held up at a gate until all tasks are there, so that what is timed is its work alone: from
the gate's opening to the end of the last task. The peer is the same queue without us: a plain task and worker.
Celery's worker is the one with a child (prefork), and keeps no results; RQ's `Worker` forks for each job, its
`SimpleWorker` does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from statistics import median
from time import perf_counter

import redis

from benchmarks import celery_app, empty_tasks, engines, tracked_tasks
from benchmarks.measure import Row, interleaved
from job_progress import Tracker
from job_progress.default import set_default_tracker

ROUNDS = 5
TRIES = 2

Send = Callable[..., object]
"""Sends a function with arguments."""
Command = list[str]
"""Of the worker."""
Start = Callable[[str, bool], tuple[Send, Command]]
"""What sends to the queue at an URL, and its worker: with our tracking or without."""


def measure() -> list[Row]:
    """Rows of microseconds per task."""
    return [
        *_rows("Celery", "prefork", _celery, 300),
        *_rows("RQ", "`Worker`", _rq("Worker"), 30),
        *_rows("RQ", "`SimpleWorker`", _rq("SimpleWorker"), 200),
    ]


def _rows(queue: str, kind: str, start: Start, tasks: int) -> Iterator[Row]:
    with engines.valkey() as another, ExitStack() as stack:
        plain = stack.enter_context(_line(another(), start, tasks, with_tracking=False))
        url = another()
        ours = stack.enter_context(_line(url, start, tasks, with_tracking=True))
        before = set_default_tracker(stack.enter_context(closing(Tracker(url))))
        stack.callback(set_default_tracker, before)
        running = interleaved({"ours": ours.run, "plain": plain.run}, rounds=ROUNDS, tries=TRIES)
        sending = {"ours": _typical(ours.sending), "plain": _typical(plain.sending)}
    for what, times in (("sending", sending), ("running", running)):
        each = {name: seconds / tasks * 1e6 for name, seconds in times.items()}
        yield Row(f"{what} an empty task, {queue}, {kind}", each["ours"], "µs", each["plain"], "untracked")


def _typical(times: Sequence[float]) -> float:
    """What `interleaved` would make of them."""
    return median(min(times[start : start + TRIES]) for start in range(0, len(times), TRIES))


class _Line:
    """A queue with its worker: what sends to it, and how long that has taken each time."""

    def __init__(self, url: str, send: Send, empty: Callable[[], None], tasks: int) -> None:
        self._url = url
        self._send = send
        self._empty = empty
        self._tasks = tasks
        self.sending: list[float] = []

    def run(self) -> float:
        """The seconds that the worker takes for all tasks."""
        self._send(empty_tasks.hold_up, self._url)
        begin = perf_counter()
        for _ in range(self._tasks):
            self._send(self._empty)
        self.sending.append(perf_counter() - begin)
        self._send(empty_tasks.say_done, self._url)
        with empty_tasks.patient_client(self._url) as client:
            begin = perf_counter()
            client.rpush(empty_tasks.GATE, "1")
            client.blpop(empty_tasks.DONE)
            return perf_counter() - begin


@contextmanager
def _line(url: str, start: Start, tasks: int, *, with_tracking: bool) -> Iterator[_Line]:
    send, command = start(url, with_tracking)
    environment = os.environ | {celery_app.ADDRESS: url}
    if with_tracking:
        environment |= {celery_app.TRACKED: "yes", tracked_tasks.ADDRESS: url}
    quiet = subprocess.DEVNULL
    worker = subprocess.Popen([sys.executable, "-m", *command], env=environment, stdout=quiet, stderr=quiet)
    try:
        yield _Line(url, send, tracked_tasks.empty if with_tracking else empty_tasks.empty, tasks)
    finally:
        worker.terminate()
        worker.wait()


def _celery(url: str, with_tracking: bool) -> tuple[Send, Command]:
    app = celery_app.make(url, with_tracking)
    command = ["celery", "--app", "benchmarks.celery_app", "worker", "--pool", "prefork", "--concurrency", "1"]
    return lambda function, *args: app.tasks[f"{function.__module__}.{function.__name__}"].apply_async(args), command


def _rq(worker: str) -> Start:
    def start(url: str, with_tracking: bool) -> tuple[Send, Command]:
        import rq

        from job_progress.queues.rq import Queue

        queue = (Queue if with_tracking else rq.Queue)(connection=redis.Redis.from_url(url))
        name = f"job_progress.queues.rq.{worker}" if with_tracking else f"rq.{worker}"
        return queue.enqueue, ["rq.cli", "worker", "--url", url, "--worker-class", name, "--path", "."]

    return start
