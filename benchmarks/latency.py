"""How soon another process sees a report, and what a blocked store does to the job that reports.

Seen: a worker process reports at random times, 0.2 s apart on average, into one store after the other.
This process watches the run (`Tracker.watch`) while a peer, in a thread and with a connection of its own,
reads the same state every 500 ms, as progress bars of task queues do by default (celery-progress
asks its server that often). A report is seen when it, or a newer one, is read; the delay counts
from the worker's call of `update`. A hundred reports make the 99th percentile the second-worst.

Blocked: in bursts of calls of `update`, each timed by itself, the slowest hundredth begins at the
99th percentile. It is taken while another process holds the write lock of the store's file, and
right before that while nobody does; the reading of the clock is part of both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, perf_counter_ns, sleep

from benchmarks.engines import ENGINES, AnotherStore
from benchmarks.measure import Row, interleaved, percentile
from benchmarks.worker import ID, JOB
from job_progress import Job, Progress, Tracker

REPORTS = 100
APART = 0.2
"""Seconds between two of them, on average."""
POLL_EVERY = 0.5
CALLS = 1_000_000
ROUNDS = 5


def measure() -> list[Row]:
    """Rows of milliseconds until a report is seen, and of nanoseconds of a slow `update`."""
    seen = [row for name, engine in ENGINES.items() for row in _seen(name, engine)]
    return [*seen, *_blocked()]


def _seen(store: str, engine: Callable[[], AbstractContextManager[AnotherStore]]) -> list[Row]:
    with engine() as another:
        url = another()
        watched: dict[int, float] = {}
        polled: dict[int, float] = {}
        over = Event()
        poller = Thread(target=_poll, args=(url, polled, over))
        tracker = Tracker(url)
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", "report", url, str(REPORTS), str(APART)], stdout=subprocess.PIPE
        )
        poller.start()
        try:
            for state in tracker.watch(JOB, ID, timeout=REPORTS + 30):
                note(state.message, watched)
            output, _ = worker.communicate()
        finally:
            worker.kill()
            over.set()
            poller.join()
            tracker.close()
    made: list[float] = json.loads(output)
    ours, peer = delays(made, watched), delays(made, polled)
    what, name = f"report → seen by another process, {store}", f"reading every {POLL_EVERY * 1e3:g} ms"
    return [
        Row(f"{what}, median", percentile(ours, 0.5), "ms", percentile(peer, 0.5), name),
        Row(f"{what}, p99", percentile(ours, 0.99), "ms", percentile(peer, 0.99), name),
    ]


def _poll(url: str, seen: dict[int, float], over: Event) -> None:
    tracker = Tracker(url)
    while not over.wait(POLL_EVERY):
        state = tracker.get(JOB, ID)
        if state is not None:
            note(state.message, seen)
    tracker.close()


def note(message: str | None, seen: dict[int, float]) -> None:
    """The report that *message* is the number of is seen now, unless it was seen before."""
    if message is not None:
        seen.setdefault(int(message), monotonic())


def delays(made: list[float], seen: dict[int, float]) -> list[float]:
    """Milliseconds from each report to the first sight of it or of a newer one."""
    found: list[float] = []
    at = float("inf")
    for number in reversed(range(len(made))):
        at = min(at, seen.get(number, at))
        found.append((at - made[number]) * 1e3)
    return found


def _blocked() -> list[Row]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "states.db"
        tracker = Tracker(f"sqlite:///{path}")
        reader = Tracker(f"sqlite:///{path}")  # with a connection of its own, as the other waits for the lock
        with Job(JOB, tracker=tracker).start(ID) as progress:

            def free() -> float:
                sleep(0.2)  # until what was held back before is published
                return _slow_update(progress)

            def blocked() -> float:
                holder = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.worker", "lock", str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                with holder:
                    if holder.stdout is None or not holder.stdout.readline():
                        raise RuntimeError("the other process did not get the lock")
                    before = _version(reader)
                    nanoseconds = _slow_update(progress)
                    if _version(reader) != before:
                        raise RuntimeError("the store was written although it was locked")
                    return nanoseconds

            times = interleaved({"free": free, "blocked": blocked}, rounds=ROUNDS, tries=1)
        reader.close()
        tracker.close()
    return [
        Row("p99 of `update` while the store is locked", times["blocked"], "ns", times["free"], "the same, not locked")
    ]


def _slow_update(progress: Progress) -> float:
    update, clock = progress.update, perf_counter_ns
    times = [0] * CALLS
    for call in range(CALLS):
        begin = clock()
        update(0.5 if call & 1 else 0.25)
        times[call] = clock() - begin
    return percentile(times, 0.99)


def _version(tracker: Tracker) -> int:
    state = tracker.get(JOB, ID)
    if state is None:
        raise RuntimeError("the run has no state")
    return state.version
