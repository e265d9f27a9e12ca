"""What strikes in the middle of anything: the garbage collector, and signal handlers; see `Child`."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from functools import partial
from time import monotonic

from job_progress import Progress, Tracker
from job_progress.job import Job
from tests.observed_store import CollectingStore, Cycle
from tests.processes.bodies import hear, say
from tests.processes.jobs import job_at
from tests.waiting import eventually


def drop_watches_and_runs(url: str, seconds: float) -> None:
    """In many threads begin watches and runs, and leave them to a collector that strikes all the time."""
    job = job_at(url)
    with job.start("watched"):
        pass
    gc.set_threshold(20, 2, 2)
    until = monotonic() + float(seconds)
    numbers = iter(range(sys.maxsize))

    def work() -> None:
        while monotonic() < until:
            Cycle(started := job.watch("watched"), next(started))
            Cycle(run := job.start(f"dropped {next(numbers)}"), run.__enter__())
            with job.start(f"ended {next(numbers)}") as progress:
                progress.update(0.5)
                job.get("watched")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.set_threshold(700, 10, 10)
    gc.collect()
    say("done")
    hear()


def drop_where_it_hurts() -> None:
    """Begin watches and runs, and leave them to a collector that runs wherever a lock is held."""
    job = Job("dropped", tracker=Tracker(CollectingStore(), flush_interval=0.01))
    with job.start("watched"):
        pass
    for number in range(20):
        Cycle(watch := job.watch("watched"), next(watch))
        del watch
        Cycle(run := job.start(number), run.__enter__())
        del run
        with job.start(f"ended {number}") as progress:
            progress.update(0.5).flush()
    gc.collect()
    eventually(lambda: not job.list(["pending", "processing"]))
    eventually(lambda: not job.tracker._hub._watchers)
    say(sorted({(str(state.status), state.error) for state in job.list(limit=100)}, key=str))


def report_in_a_signal_handler(url: str, seconds: float) -> None:
    """Report all the time, and in a handler that strikes all the time, too; end in one that strikes a write."""
    job = job_at(url)
    count = 0

    def report(progress: Progress) -> None:
        nonlocal count
        count += 1
        progress.update(count % 100 / 100, message=str(count)).set(count=count).advance()
        assert progress.state.is_processing
        progress.flush()

    def strike(progress: Progress, *_: object) -> None:
        report(progress)
        signal.setitimer(signal.ITIMER_REAL, 0.0002 + count % 20 / 10_000)

    with job.start("reporting") as progress:
        signal.signal(signal.SIGALRM, partial(strike, progress))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        until = monotonic() + float(seconds)
        while monotonic() < until:
            report(progress)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    say("reported")

    signal.signal(signal.SIGALRM, lambda *_: progress.fail("terminated"))
    for number in range(50):
        with job.start(f"terminated {number}") as progress:
            signal.setitimer(signal.ITIMER_REAL, 0.002 + number / 50_000)
            while progress.state.is_processing:
                progress.update(message="busy").flush()
    say("ended")
    hear()


def drop_async_runs(url: str) -> None:
    """Leave a coroutine with a run in it, as a loop does that ends in the middle, to the garbage collector."""
    import asyncio

    job = job_at(url)

    async def work(ready: asyncio.Event) -> None:
        async with job.astart("7"):
            ready.set()
            await asyncio.Event().wait()

    async def main() -> None:
        ready = asyncio.Event()
        tasks.append(asyncio.create_task(work(ready)))
        await ready.wait()

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    tasks.clear()
    gc.collect()
    say("dropped")
    hear()
