"""What reporting costs the job: `track`, `update` and `advance` beside tqdm.

Everything runs inside one real run on an SQLite store, with the reporter's thread publishing it
ten times a second. tqdm is enabled and draws with its default settings into an open `os.devnull`;
it gets a new bar for each repetition, as a job would make one, and so pays for finding out how
often to look at the clock (its first 0.1 s) as it does in use. Each repetition is two million
calls or items. The loop around them is part of all times; what it costs alone is a row of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TextIO

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.measure import Row, interleaved
from job_progress import Job, Progress, Tracker

ITEMS = 2_000_000
ROUNDS = 5
TRIES = 3


def measure() -> list[Row]:
    """Rows of nanoseconds per item or call."""
    with TemporaryDirectory() as folder, Path(os.devnull).open("w", encoding="utf-8") as devnull:
        tracker = Tracker(f"sqlite:///{folder}/states.db")
        with Job("benchmarks.hot_path", tracker=tracker).start("1") as progress:
            times = _race(progress, devnull)
        tracker.close()
    each = {name: seconds / ITEMS * 1e9 for name, seconds in times.items()}
    return [
        Row("`track`, per item", each["track"], "ns", each["tqdm"], "tqdm, per item", 0.5),
        Row("`update(fraction)`, per call", each["update"], "ns", each["tqdm.update(1)"], "`tqdm.update(1)`", 0.7),
        Row("`advance()`, per call", each["advance"], "ns", each["tqdm.update()"], "`tqdm.update()`", 0.5),
        Row("the bare loop, part of the three above", each["bare"], "ns"),
    ]


def _race(progress: Progress, devnull: TextIO) -> dict[str, float]:
    # A thousand, again and again: two million floats would not fit the cache, and memory is not what is measured here.
    fractions = [item / 1000 for item in range(1000)]
    laps = range(ITEMS // len(fractions))

    def bare() -> float:
        begin = perf_counter()
        for _ in range(ITEMS):
            pass
        return perf_counter() - begin

    def track() -> float:
        begin = perf_counter()
        for _ in progress.track(range(ITEMS)):
            pass
        return perf_counter() - begin

    def tqdm_items() -> float:
        begin = perf_counter()
        for _ in tqdm(range(ITEMS), file=devnull):
            pass
        return perf_counter() - begin

    def update() -> float:
        update = progress.update
        begin = perf_counter()
        for _ in laps:
            for fraction in fractions:
                update(fraction)
        return perf_counter() - begin

    def tqdm_update_one() -> float:
        with tqdm(total=ITEMS, file=devnull) as bar:
            update = bar.update
            begin = perf_counter()
            for _ in laps:
                for _ in fractions:
                    update(1)
            return perf_counter() - begin

    def advance() -> float:
        progress.total = ITEMS * ROUNDS * TRIES
        advance = progress.advance
        begin = perf_counter()
        for _ in laps:
            for _ in fractions:
                advance()
        return perf_counter() - begin

    def tqdm_update() -> float:
        with tqdm(total=ITEMS, file=devnull) as bar:
            update = bar.update
            begin = perf_counter()
            for _ in laps:
                for _ in fractions:
                    update()
            return perf_counter() - begin

    contestants = {
        "bare": bare,
        "track": track,
        "tqdm": tqdm_items,
        "update": update,
        "tqdm.update(1)": tqdm_update_one,
        "advance": advance,
        "tqdm.update()": tqdm_update,
    }
    return interleaved(contestants, rounds=ROUNDS, tries=TRIES)
