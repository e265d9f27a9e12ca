"""The library's own threads for async calls: what the application does in its own holds up none of them."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import pytest

from job_progress import Job, JobState, Tracker, tracked
from job_progress.queues.futures import create_task, id_of
from job_progress.stores import Record
from job_progress.threads import RUNS, Threads, in_thread, outcome_of, to_the_end
from tests.observed_store import ObservedStore
from tests.waiting import eventually


@asynccontextmanager
async def busy_executor() -> AsyncIterator[None]:
    """The loop's own executor has one thread, and something else to do."""
    executor, done = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(executor)
    executor.submit(done.wait, 30)
    try:
        yield
    finally:
        done.set()


async def test_a_busy_executor_of_the_application_delays_nothing() -> None:
    """Jobs begin, report and end; states are read, watched, refreshed and cancelled."""
    job = Job("busy", cancellable=True, tracker=Tracker("memory://"))
    async with busy_executor(), asyncio.timeout(5):
        async with job.astart("7") as progress:
            await progress.update(0.5).aflush()
            state = await job.aget("7")
            assert state is not None
            assert (await state.arefresh()).progress == 0.5
            assert (await state.acancel()).is_cancelling
            assert [seen.progress async for seen in job.awatch("7") if await done(progress.acomplete())] == [0.5, 1.0]
        assert [state.id for state in await job.alist()] == ["7"]


async def done(completing: Awaitable[object]) -> bool:
    """Complete the run, once for each state that is seen; it is true."""
    await completing
    return True


async def test_a_dropped_task_is_told_though_the_executor_is_busy() -> None:
    """One of asyncio that is cancelled before it begins."""

    @tracked(tracker=Tracker("memory://"))
    async def work() -> None: ...

    async with busy_executor():
        task = create_task(work)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert eventually(lambda: (state := work.job.get(id_of(task))) and state.is_cancelled)


class SilentStore(ObservedStore):
    """It answers those who read only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.asked = 0

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        self.asked += 1
        self.answers.wait(30)
        return super().load(keys)


async def test_viewers_of_a_silent_store_hold_up_nobody_else() -> None:
    """Thirty of them: neither what the application does in threads, nor jobs that begin and end."""
    store = SilentStore()
    job = Job("silent", tracker=Tracker(store))

    async def view(number: int) -> JobState:
        return [state async for state in job.awatch(number)][-1]

    viewers = [asyncio.create_task(view(number)) for number in range(30)]
    while not store.asked:
        await asyncio.sleep(0.01)
    began = monotonic()
    await asyncio.to_thread(int)
    for number in range(30):
        async with job.astart(number):
            pass
    assert monotonic() - began < 2
    store.answers.set()
    assert all(state.is_completed for state in await asyncio.gather(*viewers))


async def test_a_call_has_a_copy_of_the_context_and_raises_where_it_was_asked_for() -> None:
    """Also what a coroutine cannot raise as it is."""
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")

    def look() -> str:
        seen = variable.get()
        variable.set("changed")
        return seen

    assert await in_thread(look) == "inside"
    assert variable.get() == "inside"
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await in_thread(next, iter(()))


async def test_no_more_threads_than_are_needed() -> None:
    """One for calls that come one after another; and for many at a time, no more than there may be."""
    threads = Threads(3)
    used: set[int] = set()
    for _ in range(20):
        used.add(await outcome_of(threads.begin(threading.get_ident)))
    assert len(used) == 1
    ready = threading.Barrier(3)
    await asyncio.gather(*[outcome_of(threads.begin(ready.wait, 10)) for _ in range(9)])
    assert not eventually(lambda: not threads.are_busy) or threads._started == 3


async def test_a_call_that_was_cancelled_before_it_began_is_not_made() -> None:
    """Nobody waits for it."""
    threads, go, made = Threads(1), threading.Event(), threading.Event()
    first, second = threads.begin(go.wait, 10), threads.begin(made.set)
    second.cancel()
    go.set()
    await first
    await outcome_of(threads.begin(int))
    assert not made.is_set()


async def test_a_cancelled_task_does_not_wait_for_long_for_what_it_should_have_ended() -> None:
    """The call goes on, and the cancellation too."""
    go, ended = threading.Event(), threading.Event()

    def call() -> None:
        go.wait(30)
        ended.set()

    began = monotonic()
    task = asyncio.create_task(to_the_end(call))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert monotonic() - began < 5
    go.set()
    assert ended.wait(10)


async def test_a_run_that_begins_after_its_task_was_cancelled_ends_at_once() -> None:
    """And so does one that had not ended in time."""
    store, go = ObservedStore(), threading.Event()
    job = Job("late", tracker=Tracker(store))

    async def work(id: str, *, at_end: bool) -> None:
        if not at_end:
            store.before_swap = go.wait
        async with job.astart(id):
            store.before_swap = go.wait
            await asyncio.sleep(30)

    def failed(id: str) -> bool:
        state = job.get(id)
        return state is not None and state.is_failed

    for id, at_end in (("beginning", False), ("ending", True)):
        go.clear()
        store.before_swap = lambda: None
        began = monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(id, at_end=at_end), 0.2)
        assert monotonic() - began < 5
        go.set()
        eventually(partial(failed, id))
    job.tracker.close()


def test_a_forked_child_has_threads_of_its_own() -> None:
    """Though all of the parent's are busy."""
    go = threading.Event()

    async def fill() -> None:
        for _ in range(40):
            RUNS.begin(go.wait, 30)

    asyncio.run(fill())
    child = os.fork()
    if child == 0:
        try:
            os._exit(asyncio.run(asyncio.wait_for(to_the_end(lambda: 7), 10)))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    go.set()
    eventually(lambda: not RUNS.are_busy)


def test_a_silent_store_does_not_keep_a_process_from_ending() -> None:
    """Nor the loop that a viewer has left."""
    program = """
import asyncio, time
from job_progress import Job, Tracker
from job_progress.stores.memory import MemoryStore

class Silent(MemoryStore):
    def load(self, keys):
        time.sleep(60)

async def main():
    job = Job("silent", tracker=Tracker(Silent()))
    viewers = [asyncio.create_task(job.aget(str(number))) for number in range(30)]
    await asyncio.sleep(0.1)

asyncio.run(main())
"""
    began = monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=40)
    assert monotonic() - began < 20
