"""How soon the page of a viewer hears of a report: over a stream of events, and by polling.

A worker process reports at random times, 0.2 s apart on average, into Valkey; a server process has the live
view (uvicorn, as `job-progress serve` runs it); this process is the viewer. It reads the stream of events of
that state as it comes and, in another thread and on a connection of its own, asks the same server for the
same state every 500 ms, as the script of celery-progress does by default. A report is heard of when it, or a
newer one, has arrived; the delay counts from the worker's call of `update`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from threading import Event, Thread

import msgspec

from benchmarks import engines
from benchmarks.latency import POLL_EVERY, delays, note
from benchmarks.measure import Row, percentile
from benchmarks.web_server import START, address, serving
from benchmarks.worker import ID, JOB
from job_progress import Job, Tracker

REPORTS = 150
APART = 0.4
"""Seconds between two of them, on average; at least half of that: the job is quiet."""
TIMEOUT = 60.0
"""Seconds without any event."""


def measure() -> list[Row]:
    """Rows of milliseconds until a report is heard of."""
    with engines.valkey() as another:
        url = another()
        with closing(Tracker(url)) as tracker:
            Job(JOB, tracker=tracker).lock(ID)
        with serving("ours", url) as server:
            made, streamed, polled = _watch(url, server.port)
    ours, peer = delays(made, streamed), delays(made, polled)
    what, name = "report → event at a viewer, Valkey", f"polling every {POLL_EVERY * 1e3:g} ms"
    return [
        Row(f"{what}, median", percentile(ours, 0.5), "ms", percentile(peer, 0.5), name, limit=10),
        Row(f"{what}, p99", percentile(ours, 0.99), "ms", percentile(peer, 0.99), name, limit=50),
    ]


def _watch(url: str, port: int) -> tuple[list[float], dict[int, float], dict[int, float]]:
    streamed: dict[int, float] = {}
    polled: dict[int, float] = {}
    over = Event()
    poller = Thread(target=_poll, args=(port, polled, over))
    with closing(HTTPConnection("127.0.0.1", port, timeout=START)) as connection:
        events = _events(connection)
        next(events)
        poller.start()
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", "report", url, str(REPORTS), str(APART)], stdout=subprocess.PIPE
        )
        try:
            for state in events:
                note(state.message, streamed)
            output, _ = worker.communicate()
        finally:
            worker.kill()
            over.set()
            poller.join()
    return json.loads(output), streamed, polled


class Shown(msgspec.Struct):
    """What the benchmark looks at of a state."""

    message: str | None


def _events(connection: HTTPConnection) -> Iterator[Shown]:
    connection.request("GET", f"{address(JOB, ID)}/events")
    connection.sock.settimeout(TIMEOUT)
    response = connection.getresponse()
    while line := response.readline():
        if line.startswith(b'data: {"job"'):
            yield msgspec.json.decode(line.removeprefix(b"data: "), type=Shown)


def _poll(port: int, seen: dict[int, float], over: Event) -> None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        while not over.wait(POLL_EVERY):
            connection.request("GET", address(JOB, ID))
            note(msgspec.json.decode(connection.getresponse().read(), type=Shown).message, seen)
