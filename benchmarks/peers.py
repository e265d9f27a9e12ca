"""What one report costs the job: ours beside those of task queues, each in its own way, on one Valkey server.

Each peer is called as a job of its own would call it, on the objects that its worker would make. Theirs are
on the server when the call returns. `Progress.update` writes attributes, and the reporter's thread publishes
them to the same server in the meantime. A peer that is not installed is left out.
"""

from __future__ import annotations

import sys
from asyncio import Runner
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from time import perf_counter
from typing import Any

import redis

from benchmarks import engines
from benchmarks.measure import Row, interleaved
from job_progress import Job, Tracker

OUR_CALLS = 500_000
CALLS = 200
"""About as long as ours, so that whatever else the machine does meets both alike."""
ROUNDS = 5
TRIES = 3

Contestant = Callable[[], float]


def measure() -> list[Row]:
    """Rows of microseconds per report."""
    with engines.valkey() as another, ExitStack() as stack:
        contestants = {"ours": stack.enter_context(_ours(another()))}
        for name, peer in PEERS.items():
            try:
                contestants[name] = stack.enter_context(peer(another()))
            except ImportError as error:
                print(f"  {name} is not installed, and left out: {error}", file=sys.stderr, flush=True)
        times = interleaved(contestants, rounds=ROUNDS, tries=TRIES)
    ours = times.pop("ours") / OUR_CALLS * 1e6
    return [
        Row("a report, beside those of task queues", ours, "µs", seconds / CALLS * 1e6, name, GOALS.get(name))
        for name, seconds in times.items()
    ]


@contextmanager
def _ours(url: str) -> Iterator[Contestant]:
    with closing(Tracker(url)) as tracker, Job("benchmarks.peers", tracker=tracker).start("1") as progress:
        fractions = [number / 1000 for number in range(1000)]

        def run() -> float:
            update = progress.update
            begin = perf_counter()
            for _ in range(OUR_CALLS // len(fractions)):
                for fraction in fractions:
                    update(fraction)
            return perf_counter() - begin

        yield run


@contextmanager
def _celery_progress(url: str) -> Iterator[Contestant]:
    from celery import Celery
    from celery_progress.backend import ProgressRecorder

    with Celery("benchmarks", broker=url, backend=url, set_as_current=False) as app:
        task: Any = app.task(_job)
        task.push_request(id="1", called_directly=False)
        recorder = ProgressRecorder(task)
        yield _calls(lambda number: recorder.set_progress(number, CALLS))
        task.pop_request()


@contextmanager
def _rq(url: str) -> Iterator[Contestant]:
    from rq.job import Job

    with closing(redis.Redis.from_url(url)) as client:
        job = Job.create(_job, connection=client)
        job.save()

        def report(number: int) -> None:
            job.meta["progress"] = number / CALLS
            job.save_meta()  # type: ignore[no-untyped-call]

        yield _calls(report)


@contextmanager
def _saq(url: str) -> Iterator[Contestant]:
    from saq import Queue

    with Runner() as loop:
        queue = Queue.from_url(url)
        job = loop.run(queue.enqueue("report"))
        if job is None:
            raise RuntimeError("saq took no job")
        yield _awaited_calls(loop, lambda number: job.update(progress=number / CALLS))
        loop.run(queue.disconnect())


@contextmanager
def _taskiq(url: str) -> Iterator[Contestant]:
    from taskiq import Context, InMemoryBroker, TaskiqMessage
    from taskiq.depends.progress_tracker import ProgressTracker, TaskState
    from taskiq_redis import RedisAsyncResultBackend

    with Runner() as loop:
        results: RedisAsyncResultBackend[object] = RedisAsyncResultBackend(url)
        broker = InMemoryBroker().with_result_backend(results)
        message = TaskiqMessage(task_id="1", task_name="report", labels={}, args=[], kwargs={})
        tracker: ProgressTracker[float] = ProgressTracker(Context(message, broker))
        yield _awaited_calls(loop, lambda number: tracker.set_progress(TaskState.STARTED, number / CALLS))
        loop.run(results.shutdown())


def _job() -> None:
    """Nothing: what a queue is given for a job."""


def _calls(report: Callable[[int], object]) -> Contestant:
    def run() -> float:
        begin = perf_counter()
        for number in range(CALLS):
            report(number)
        return perf_counter() - begin

    return run


def _awaited_calls(loop: Runner, report: Callable[[int], Awaitable[object]]) -> Contestant:
    async def calls() -> float:
        begin = perf_counter()
        for number in range(CALLS):
            await report(number)
        return perf_counter() - begin

    return lambda: loop.run(calls())


CELERY_PROGRESS = "celery-progress, `set_progress`"
PEERS: Mapping[str, Callable[[str], AbstractContextManager[Contestant]]] = {
    CELERY_PROGRESS: _celery_progress,
    "RQ, `save_meta`": _rq,
    "SAQ, `job.update`": _saq,
    "taskiq-redis, `set_progress`": _taskiq,
}
"""Each is given the URL of an empty database."""
GOALS = {CELERY_PROGRESS: 1 / 2000}
