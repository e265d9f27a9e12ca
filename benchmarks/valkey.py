"""What one state costs in Valkey: to read it, and the memory that it takes.

The states are a thousand typical ones: runs in progress, with a task id as a queue gives it, a count, a
message, a start and an estimated speed, published by their reporter. Reading is `Tracker.get` of one of
them beside a plain `redis.Redis` on the same server that gets what stands at the same key and decodes the
JSON to plain values. The memory is what the server says that its keys take (`MEMORY USAGE`, with every
element of a collection counted), all keys of the store together, the indexes for listing among them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from time import perf_counter, sleep
from uuid import UUID

import msgspec
import redis

from benchmarks import engines
from benchmarks.measure import Row, interleaved
from job_progress import Job, Progress, Tracker
from job_progress.run import Run

STATES = 1000
GETS = 500
ROUNDS = 7
TRIES = 3
JOB = "shop.tasks.import_products"


def measure() -> list[Row]:
    """Rows of microseconds per read, and of bytes per state."""
    with engines.valkey() as another, ExitStack() as stack:
        url = another()
        client = stack.enter_context(closing(redis.Redis.from_url(url)))
        tracker = Tracker(url, flush_interval=0.001)
        stack.callback(tracker.close)
        _publish(tracker)
        size = bytes_per_state(client, STATES)
        id = _id(STATES // 2)
        key = f"job-progress:state:{JOB}:{id}"

        def raw() -> None:
            value = client.get(key)
            if value is None:
                raise RuntimeError("the state is not where the raw client looks for it")
            msgspec.json.decode(value)

        contestants = {"get": _repeated(lambda: tracker.get(JOB, id)), "raw": _repeated(raw)}
        times = interleaved(contestants, rounds=ROUNDS, tries=TRIES)
    each = {name: seconds / GETS * 1e6 for name, seconds in times.items()}
    return [
        Row("`Tracker.get`, Valkey", each["get"], "µs", each["raw"], "raw `GET` and JSON decoded", 1.3),
        Row("memory of a state in progress, Valkey, indexes included", size, "bytes", goal=1024),
    ]


def bytes_per_state(client: redis.Redis, states: int) -> float:
    """The memory that all keys of the client's database take, shared among *states*."""
    with client.pipeline(transaction=False) as pipeline:
        for key in client.scan_iter(count=1000):
            pipeline.memory_usage(key, samples=0)
        sizes: list[int] = pipeline.execute()
    return sum(sizes) / states


def _publish(tracker: Tracker) -> None:
    job = Job(JOB, tracker=tracker)
    runs = [Progress(run) for number in range(STATES) if isinstance(run := job.begin(_id(number)), Run)]
    tracker.reporter.close()
    for progress in runs:
        progress.total = 10_000
    for done in (617, 1234):  # a speed is known from the second report on
        sleep(0.2)
        for progress in runs:
            progress.advance(617).update(message=f"Importing products: row {done:,} of 10,000")
        tracker.reporter._tick()
    state = tracker.get(JOB, _id(0))
    if state is None or state.completed != 1234 or state.rate is None:
        raise RuntimeError(f"the states are not what they should be: {state}")


def _id(number: int) -> str:
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128))


def _repeated(action: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        begin = perf_counter()
        for _ in range(GETS):
            action()
        return perf_counter() - begin

    return run
