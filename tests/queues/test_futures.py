"""Futures of executors, and tasks of asyncio."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any
from weakref import WeakSet

import pytest

from job_progress import Job, JobAlreadyProcessing, JobState, Tracker, current_progress, tracked
from job_progress.queues.futures import create_task, id_of, submit
from tests.observed_store import ObservedStore
from tests.queues.around import afailing_after, afailing_before, failing_after, failing_before
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

BUSY = 60.0
user: ContextVar[str] = ContextVar("user", default="nobody")


@tracked(store_result=True)
def whoami(begun: Event | None = None, go: Event | None = None) -> str:
    """Say in which context it runs; once it is told to, if it is to be told."""
    if begun is not None and go is not None:
        begun.set()
        go.wait(BUSY)
    return user.get()


@tracked(cancellable=True)
def count(begun: Event) -> str:
    """Stop at a checkpoint, and nowhere else."""
    begun.set()
    for _ in current_progress().track(iter(int, 1), checkpoint=True):
        begun.wait(0.001)
    return "never"


@tracked(id="product")
def refresh(product: int, fail: bool = False) -> None:
    """Have an id of its own."""
    if fail:
        raise ValueError("boom")


@tracked(id=lambda: "no"[2])
def nameless() -> None:
    """Have an id that cannot be told."""


@tracked(cancellable=True, store_result=True)
async def acount(items: int, pause: float = 0.0) -> str:
    """Go through some items, with a checkpoint at each."""
    for _ in current_progress().track(range(items), checkpoint=True):
        await asyncio.sleep(pause)
    return user.get()


@tracked
async def silent() -> None:
    """Report nothing."""


@tracked
async def impatient() -> None:
    """Wait for too long."""
    async with asyncio.timeout(0.01):
        await asyncio.sleep(BUSY)


@pytest.fixture
def threads(job_progress_tracker: Tracker) -> Iterator[ThreadPoolExecutor]:
    """One thread, and states in memory."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def busy(threads: ThreadPoolExecutor) -> Iterator[Event]:
    """The thread has something to do until this event is set."""
    go = Event()
    threads.submit(go.wait, BUSY)
    yield go
    go.set()


@pytest.fixture
def future_jobs(states: ValkeyServer) -> ModuleType:
    """Functions for processes, with their states in Valkey."""
    from tests.queues import future_jobs

    return future_jobs


@pytest.fixture(params=["fork", "spawn"])
def processes(request: pytest.FixtureRequest, future_jobs: ModuleType) -> Iterator[ProcessPoolExecutor]:
    """One process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context(request.param)) as executor:
        yield executor


def state_of(future: Future[Any] | asyncio.Task[Any]) -> JobState:
    """The state of the execution."""
    state = Job.of(future).get(id_of(future))
    assert state is not None
    return state


def ends(future: Future[Any], status: str) -> JobState:
    """Wait until the state has ended, which for some is told only after the future is done."""
    wait([future], BUSY)
    eventually(lambda: state_of(future).status == status, BUSY)
    return state_of(future)


# Threads.


def test_a_future_is_the_executors_own(threads: ThreadPoolExecutor, busy: Event) -> None:
    """With the job and the id to be found; pending, then completed."""
    user.set("ada")
    future = submit(threads, whoami)
    assert isinstance(future, Future)
    assert Job.of(future) is whoami.job
    assert state_of(future).is_pending
    user.set("bob")
    busy.set()
    assert future.result(BUSY) == "ada"  # the context is that of submit
    assert ends(future, "completed").result == "ada"


def test_an_id_comes_from_the_arguments(threads: ThreadPoolExecutor) -> None:
    """Where the job says so."""
    future = submit(threads, refresh, 7)
    assert id_of(future) == "7"
    ends(future, "completed")


def test_what_cannot_be_told_is_said_when_asked_for(threads: ThreadPoolExecutor) -> None:
    """The run fails by the job's own mistake; of other futures there is no id either."""
    future = submit(threads, nameless)
    with pytest.raises(IndexError):
        future.result(BUSY)
    for unknown in (future, threads.submit(int)):
        with pytest.raises(LookupError, match="has no id"):
            id_of(unknown)


def test_a_future_that_is_cancelled_in_time_is_cancelled(threads: ThreadPoolExecutor, busy: Event) -> None:
    """By itself, or as its executor ends."""
    one, other = submit(threads, whoami), submit(threads, whoami)
    assert one.cancel()
    assert state_of(one).is_cancelled
    threads.shutdown(wait=False, cancel_futures=True)
    assert state_of(other).is_cancelled


def test_one_cancelled_through_its_state_never_begins(threads: ThreadPoolExecutor, busy: Event) -> None:
    """Its result is an error that says so."""
    begun = Event()
    future = submit(threads, count, begun)
    count.job.cancel(id_of(future))
    busy.set()
    with pytest.raises(CancelledError):
        future.result(BUSY)
    assert not begun.is_set()
    ends(future, "cancelled")


def test_one_cancelled_while_it_runs_stops_at_its_checkpoint(threads: ThreadPoolExecutor) -> None:
    """And its result is that error."""
    begun = Event()
    future = submit(threads, count, begun)
    assert begun.wait(BUSY)
    count.job.cancel(id_of(future))
    with pytest.raises(CancelledError):
        future.result(BUSY)
    ends(future, "cancelled")


def test_what_an_executor_does_not_take_has_failed(threads: ThreadPoolExecutor) -> None:
    """As it was pending by then; the executor's error is the caller's."""
    threads.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        submit(threads, refresh, 7)
    state = refresh.job.get(7)
    assert state is not None
    assert state.is_failed
    assert "shutdown" in (state.error or "")


def test_threads_that_cannot_begin_fail_all(job_progress_tracker: Tracker) -> None:
    """The executor is broken."""
    go = Event()

    def initializer() -> None:
        go.wait(BUSY)
        raise OSError("no licence")

    with ThreadPoolExecutor(1, initializer=initializer) as executor:
        future = submit(executor, whoami)
        assert state_of(future).is_pending
        go.set()
        assert (ends(future, "failed").error or "").startswith("BrokenThreadPool: ")


def test_arguments_are_let_go_of(threads: ThreadPoolExecutor) -> None:
    """Once it is done, by a future that is kept."""
    alive: WeakSet[Event] = WeakSet()
    go = Event()
    go.set()
    alive.add(begun := Event())
    future = submit(threads, whoami, begun, go)
    del begun
    ends(future, "completed")
    eventually(lambda: not alive)


def test_a_future_inside_a_run_is_a_run_of_its_own(threads: ThreadPoolExecutor) -> None:
    """The one around it goes on as it was."""
    with Job("outer").start("1") as progress:
        progress.update(0.5)
        future = submit(threads, refresh, 7)
        ends(future, "completed")
        assert progress.state.progress == 0.5
        assert current_progress().state.id == "1"


def test_it_takes_three_round_trips() -> None:
    """One to submit, one to begin, and one to end."""
    store = ObservedStore()
    job = refresh.job
    with ThreadPoolExecutor(1) as executor, job.living_in(Tracker(store)):
        submit(executor, refresh, 7).result(BUSY)
        assert store.round_trips == 3


def test_what_is_not_for_it_is_refused(threads: ThreadPoolExecutor) -> None:
    """A function that is not tracked, or is async; nothing is submitted."""
    with pytest.raises(TypeError, match="not tracked"):
        submit(threads, int)
    with pytest.raises(TypeError, match="create_task"):
        submit(threads, acount, 1)


@tracked
def silently() -> None:
    """Report nothing."""


@tracked
async def asilently() -> None:
    """Report nothing."""


def after(future: Future[Any] | asyncio.Task[Any]) -> JobState:
    """The state once it has failed."""
    eventually(lambda: (state := Job.of(future).get(id_of(future))) is not None and state.is_failed, BUSY)
    return state_of(future)


@pytest.mark.parametrize("around", [failing_before, failing_after])
def test_what_fails_around_the_function_has_failed(threads: ThreadPoolExecutor, around: Any) -> None:
    """As the future has."""
    future = submit(threads, around(silently))
    with pytest.raises(LookupError):
        future.result(BUSY)
    assert "LookupError" in (after(future).error or "")


@pytest.mark.parametrize("around", [afailing_before, afailing_after])
async def test_what_fails_around_a_coroutine_has_failed(job_progress_tracker: Tracker, around: Any) -> None:
    """As the task has, though there was no state before."""
    task: asyncio.Task[Any] = create_task(around(asilently))
    with pytest.raises(LookupError):
        await task
    await aeventually(lambda: bool(asilently.job.list("failed")))
    state = state_of(task)
    assert (state.attempt, "LookupError" in (state.error or "")) == (0 if around is afailing_before else 1, True)


async def test_a_task_that_is_cancelled_before_its_function_is_cancelled(job_progress_tracker: Tracker) -> None:
    """In what wraps it: it had begun, but its function never does."""

    @wraps(asilently)
    async def waits() -> None:
        await asyncio.sleep(BUSY)
        await asilently()

    task = create_task(waits)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await aeventually(lambda: bool(asilently.job.list("cancelled")))


# Processes.


def test_a_dead_process_fails_all_that_its_pool_has(
    processes: ProcessPoolExecutor, future_jobs: ModuleType, tmp_path: Path
) -> None:
    """What ran in it, with its last progress; and what waited."""
    futures = [submit(processes, future_jobs.die, str(tmp_path)) for _ in range(4)]
    eventually((tmp_path / "begun").exists, BUSY)
    assert sorted(state_of(future).status for future in futures) == ["pending", "pending", "pending", "processing"]
    (tmp_path / "go").touch()
    failed = [ends(future, "failed") for future in futures]
    assert [state.progress for state in failed] == [0.5, 0.0, 0.0, 0.0]
    assert all((state.error or "").startswith("BrokenProcessPool: ") for state in failed)
    assert isinstance(futures[0].exception(), BrokenProcessPool)


def test_what_cannot_be_sent_to_a_process_has_failed(processes: ProcessPoolExecutor, future_jobs: ModuleType) -> None:
    """It is never run, and would be pending for ever."""
    future = submit(processes, future_jobs.die, Event())
    assert "pickle" in (ends(future, "failed").error or "")


def test_what_cannot_be_sent_back_has_failed(processes: ProcessPoolExecutor, future_jobs: ModuleType) -> None:
    """The function did what it should, but nobody gets its result: the state says what the future does."""
    future = submit(processes, future_jobs.locked)
    with pytest.raises(TypeError, match="pickle"):
        future.result(BUSY)
    assert "pickle" in (ends(future, "failed").error or "")


def test_a_second_call_of_an_id_that_runs_leaves_it_alone(future_jobs: ModuleType, tmp_path: Path) -> None:
    """The second future has the error; the first completes."""
    with ProcessPoolExecutor(2) as executor:
        first = submit(executor, future_jobs.alone, str(tmp_path), str(tmp_path))
        eventually((tmp_path / "begun").exists, BUSY)
        second = submit(executor, future_jobs.alone, str(tmp_path), str(tmp_path))
        with pytest.raises(JobAlreadyProcessing):
            second.result(BUSY)
        assert state_of(first).is_processing
        (tmp_path / "go").touch()
        ends(first, "completed")


# Tasks of asyncio.


async def test_a_task_is_the_loops_own(job_progress_tracker: Tracker) -> None:
    """With the job and the id to be found; it has a copy of the context."""
    user.set("ada")
    task = create_task(acount, 3)
    user.set("bob")
    assert Job.of(task) is acount.job
    assert await task == "ada"
    state = await acount.job.aget(id_of(task))
    assert state is not None
    assert (state.status, state.result, state.total) == ("completed", "ada", 3)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_cancelled_task_is_cancelled(job_progress_tracker: Tracker, begun: bool) -> None:
    """Whether it has begun or not."""
    task = create_task(acount, 10**6, 0.001)
    if begun:
        await aeventually(lambda: bool(acount.job.list("processing")))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await aeventually(lambda: state_of(task).is_cancelled if acount.job.get(id_of(task)) else False)
    assert state_of(task).attempt == begun


async def test_a_task_cancelled_through_its_state_is_cancelled(job_progress_tracker: Tracker) -> None:
    """At its checkpoint."""
    task = create_task(acount, 10**6, 0.001)
    await aeventually(lambda: bool(acount.job.list("processing")))
    await acount.job.acancel(id_of(task))
    await asyncio.wait([task])
    assert task.cancelled()
    assert state_of(task).is_cancelled


async def test_a_timeout_around_a_task_cancels_it_and_one_inside_fails_it(job_progress_tracker: Tracker) -> None:
    """The one is asyncio's way to cancel; the other is an error of the job."""
    outside = create_task(acount, 10**6, 0.001)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outside, 0.2)
    assert state_of(outside).is_cancelled
    inside = create_task(impatient)
    with pytest.raises(TimeoutError):
        await inside
    assert (state_of(inside).status, state_of(inside).error) == ("failed", "TimeoutError")


async def test_a_task_takes_two_round_trips(job_progress_tracker: Tracker) -> None:
    """One to begin, and one to end."""
    store = ObservedStore()
    with silent.job.living_in(Tracker(store)):
        await create_task(silent)
        assert store.round_trips == 2


async def test_tasks_side_by_side(job_progress_tracker: Tracker) -> None:
    """Each is a run of its own."""
    tasks = [create_task(acount, number) for number in range(50)]
    await asyncio.gather(*tasks)
    assert [state_of(task).total for task in tasks] == list(range(50))


async def test_what_is_no_task_is_refused(job_progress_tracker: Tracker) -> None:
    """A function that is not async, or not tracked."""
    with pytest.raises(TypeError, match="submit"):
        create_task(whoami)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="not tracked"):
        create_task(aeventually, bool)


def test_a_task_needs_a_loop() -> None:
    """As it does with asyncio."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        create_task(acount, 1)


async def aeventually(condition: Callable[[], bool]) -> None:
    """`eventually`, beside which the loop goes on."""
    async with asyncio.timeout(BUSY):
        while not condition():
            await asyncio.sleep(0.005)
