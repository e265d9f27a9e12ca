"""The other process of `latency`: a worker that reports at random times, or one that holds the store's lock.

As a worker it prints, at its end, when it made each report, by the machine's monotonic clock,
which all processes of a machine share.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
from time import monotonic, sleep

from job_progress import Job, Tracker

JOB = "benchmarks.latency"
ID = "1"


def report(url: str, reports: int, apart: float) -> None:
    """Report *reports* times in a run of its own, half to one and a half times *apart* seconds apart.

    The message says which report it is.
    """
    tracker = Tracker(url)
    times: list[float] = []
    chance = random.Random(1)
    with Job(JOB, tracker=tracker).start(ID) as progress:
        for number in range(reports):
            sleep(apart * chance.uniform(0.5, 1.5))
            times.append(monotonic())
            progress.update(number / reports, message=str(number))
        sleep(1.0)  # the last one is read by all before the end comes
    tracker.close()
    print(json.dumps(times))


def lock(path: str) -> None:
    """Hold the write lock of the SQLite file at *path* until standard input ends."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.read()
    connection.execute("ROLLBACK")


if __name__ == "__main__":
    if sys.argv[1] == "report":
        report(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        lock(sys.argv[2])
