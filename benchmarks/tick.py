"""One tick of the reporter with a thousand changed runs, on each store, beside the least that could be done there.

The tick is the reporter's own: its thread is ended and `_tick` called by hand, so that the clock sees one
tick and all of it, from looking for news through deciding and encoding to the store's last answer. The peers
write the very same bytes and do nothing else, with a plain client, to the same engine: in SQLite and
PostgreSQL one upsert of keys and values in one transaction, into a table with nothing but these (by
`executemany` into a file beside ours with the same settings; from two arrays by `unnest`); in Valkey a
pipeline of `SET key value`, with what stands at our keys as the values. Ours also compares versions, keeps
the labels and indexes that listing needs, and in Valkey and PostgreSQL tells those who watch.

Round trips are counted where the client for Valkey sends something.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import psycopg
import redis

from benchmarks import engines
from benchmarks.measure import CountingStore, Row, interleaved
from job_progress import Job, Progress, Tracker
from job_progress.run import Run
from job_progress.stores import open_store
from job_progress.stores.redis import RedisStore

RUNS = 1000
ROUNDS = 7
TRIES = 3
PREFIX = "job-progress"


def measure() -> list[Row]:
    """Rows of round trips, and of milliseconds per tick."""
    return [*_sqlite(), *_valkey(), *_postgresql()]


def _sqlite() -> list[Row]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        store = CountingStore(open_store(f"sqlite:///{folder}/states.db", PREFIX))
        tick = stack.enter_context(_ticking(store))
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
    return [_row("SQLite", times, "raw `executemany`")]


def _valkey() -> list[Row]:
    with engines.valkey() as another, ExitStack() as stack:
        url = another()
        pool = redis.ConnectionPool.from_url(url, connection_class=_CountedConnection)
        store = CountingStore(RedisStore(stack.enter_context(closing(redis.Redis.from_pool(pool))), PREFIX))
        tick = stack.enter_context(_ticking(store))
        raw = stack.enter_context(closing(redis.Redis.from_url(url)))
        most_trips = 0

        def counted_tick() -> float:
            nonlocal most_trips
            before = _CountedConnection.sent
            seconds = tick()
            most_trips = max(most_trips, _CountedConnection.sent - before)
            return seconds

        def pipeline() -> float:
            keys = [change.key for change in store.swapped]
            values = [value for value in raw.mget([f"{PREFIX}:state:{key}" for key in keys]) if value is not None]
            if len(values) != RUNS:
                raise RuntimeError(f"the raw client found {len(values)} states, not {RUNS}")
            begin = perf_counter()
            with raw.pipeline(transaction=False) as commands:
                for key, value in zip(keys, values, strict=True):
                    commands.set(f"{PREFIX}:plain:{key}", value)
                commands.execute()
            return perf_counter() - begin

        times = interleaved({"tick": counted_tick, "raw": pipeline}, rounds=ROUNDS, tries=TRIES)
    return [
        Row(f"round trips of one tick of {RUNS:,} changed runs, Valkey", most_trips, "trips", goal=1),
        _row("Valkey", times, "raw pipelined `SET`", 2.0),
    ]


def _postgresql() -> list[Row]:
    with engines.postgresql() as another, ExitStack() as stack:
        url = another()
        store = CountingStore(open_store(url, PREFIX))
        tick = stack.enter_context(_ticking(store))
        raw = stack.enter_context(psycopg.connect(url, autocommit=True))
        raw.execute("CREATE TABLE raw (key text PRIMARY KEY, value bytea NOT NULL)")

        def upsert() -> float:
            keys = [change.key for change in store.swapped]
            values = [change.value for change in store.swapped]
            begin = perf_counter()
            raw.execute(
                "INSERT INTO raw SELECT * FROM unnest(%s::text[], %b::bytea[]) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (keys, values),
            )
            return perf_counter() - begin

        times = interleaved({"tick": tick, "raw": upsert}, rounds=ROUNDS, tries=TRIES)
    return [_row("PostgreSQL", times, "raw upsert from `unnest`")]


def _row(engine: str, times: dict[str, float], peer: str, goal: float | None = None) -> Row:
    measure = f"one tick of {RUNS:,} changed runs, {engine}"
    return Row(measure, times["tick"] * 1e3, "ms", times["raw"] * 1e3, peer, goal)


@contextmanager
def _ticking(store: CountingStore) -> Iterator[Callable[[], float]]:
    """A contestant: each call changes all runs, and gives the seconds of the tick that publishes them."""
    with ExitStack() as stack:
        tracker = Tracker(store, prefix=PREFIX, flush_interval=0.001)
        stack.callback(tracker.close)
        job = Job("benchmarks.tick", tracker=tracker)
        runs = [Progress(run) for id in range(RUNS) if isinstance(run := job.begin(str(id)), Run)]
        tracker.reporter.close()
        steps = count(1)

        def tick() -> float:
            sleep(0.01)  # until each run may be written again
            _report(runs, next(steps))
            begin = perf_counter()
            tracker.reporter._tick()
            seconds = perf_counter() - begin
            if len(store.swapped) != RUNS:
                raise RuntimeError(f"the tick wrote {len(store.swapped)} runs, not {RUNS}")
            return seconds

        yield tick


def _report(runs: list[Progress], step: int) -> None:
    for progress in runs:
        progress.update(step % 100 / 100, message=f"step {step}")


class _CountedConnection(redis.Connection):
    """Counts what is sent, by all connections together: each time, answers are waited for."""

    sent = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        _CountedConnection.sent += 1
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]
