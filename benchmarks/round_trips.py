"""What the store has to do: round trips of a job, and one tick of the reporter with a thousand runs.

Round trips are counted by a store that counts and passes everything on to one in memory. The tick
is the reporter's own: its thread is ended and `_tick` called by hand, so that the clock sees one
tick and all of it, from looking for news through deciding and encoding to the commit. Its peer is
the least that could be done: one `executemany` of the very same keys and bytes, in one transaction,
into a table with nothing but these, in an SQLite file with the same settings beside ours. Ours
also compares versions and keeps the labels and indexes that listing needs.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from benchmarks.measure import CountingStore, Row, interleaved
from job_progress import Job, Progress, Tracker
from job_progress.stores.memory import MemoryStore
from job_progress.stores.sqlite import SQLiteStore

RUNS = 1000
ROUNDS = 7
TRIES = 3


def measure() -> list[Row]:
    """Rows of round trips, and of milliseconds per tick."""
    return [*_silent_jobs(), *_one_tick()]


def _silent_jobs() -> list[Row]:
    store = CountingStore(MemoryStore())
    tracker = Tracker(store)
    job = Job("benchmarks.silent", tracker=tracker)

    def trips(id: str) -> int:
        before = store.trips
        with job.start(id):
            pass
        return store.trips - before

    unknown = trips("unknown")
    job.mark_as_pending("pending")
    pending = trips("pending")
    tracker.close()
    return [
        Row("round trips of a job that reports nothing, unknown before", unknown, "trips", goal=2),
        Row("round trips of a job that reports nothing, pending before", pending, "trips", goal=3),
    ]


def _one_tick() -> list[Row]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        store = CountingStore(SQLiteStore(Path(folder) / "states.db", "job-progress"))
        tracker = Tracker(store, flush_interval=0.001, heartbeat=3600, stalled_after=7200)
        job = Job("benchmarks.tick", tracker=tracker)
        stack.callback(tracker.close)
        runs = [stack.enter_context(job.start(str(id))) for id in range(RUNS)]
        tracker.reporter.close()
        steps = count(1)
        worst_trips = 0

        def tick() -> float:
            nonlocal worst_trips
            sleep(0.01)  # until each run may be written again
            _report(runs, next(steps))
            before = store.trips
            begin = perf_counter()
            tracker.reporter._tick()
            seconds = perf_counter() - begin
            if len(store.swapped) != RUNS:
                raise RuntimeError(f"the tick wrote {len(store.swapped)} runs, not {RUNS}")
            worst_trips = max(worst_trips, store.trips - before)
            return seconds

        raw = stack.enter_context(closing(sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)))
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("CREATE TABLE raw (key TEXT PRIMARY KEY, value BLOB NOT NULL)")

        def executemany() -> float:
            sleep(0.01)
            rows = [(change.key, change.value) for change in store.swapped]
            begin = perf_counter()
            raw.execute("BEGIN IMMEDIATE")
            raw.executemany("INSERT OR REPLACE INTO raw VALUES (?, ?)", rows)
            raw.execute("COMMIT")
            return perf_counter() - begin

        times = interleaved({"tick": tick, "raw": executemany}, rounds=ROUNDS, tries=TRIES)
    return [
        Row(f"round trips of one tick of {RUNS:,} changed runs", worst_trips, "trips", goal=1),
        Row(
            f"one tick of {RUNS:,} changed runs, SQLite",
            times["tick"] * 1e3,
            "ms",
            times["raw"] * 1e3,
            "raw `executemany`",
        ),
    ]


def _report(runs: list[Progress], step: int) -> None:
    for progress in runs:
        progress.update(step % 100 / 100, message=f"step {step}")
