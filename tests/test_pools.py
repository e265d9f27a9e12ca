"""A job that is cancelled while others work for it: in groups of tasks, and in pools of threads and processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from multiprocessing import get_context
from multiprocessing.pool import ThreadPool
from typing import Any

import anyio
import pytest

from job_progress import Job, JobCancelled, JobState, ProgressJob, current_progress, tracked
from job_progress.current import detached
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


def ask_to_cancel() -> None:
    """Cancel the run that executes here, from outside."""
    state = current_progress().state
    state.cancel()
    eventually(lambda: current_progress().cancel_requested)


async def worker() -> None:
    while True:
        current_progress().exit_if_cancelled()
        await asyncio.sleep(0.001)


def final(job: Job) -> JobState:
    [state] = job.list()
    return state


@tracked(cancellable=True)
async def in_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(worker())
        await asyncio.to_thread(ask_to_cancel)


@tracked(cancellable=True)
async def in_anyio_groups() -> None:
    async with asyncio.TaskGroup() as outer:

        async def inner() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(worker)
                group.start_soon(worker)

        outer.create_task(inner())
        await asyncio.to_thread(ask_to_cancel)


@tracked(cancellable=True)
async def gathered() -> None:
    await asyncio.gather(worker(), worker(), asyncio.to_thread(ask_to_cancel))


@pytest.mark.parametrize("function", [in_a_task_group, in_anyio_groups, gathered])
def test_a_cancel_leaves_a_group_of_tasks_as_a_cancel(function: Any) -> None:
    """However the group wraps it, nested ones too: the call ends quietly, and the state is cancelled."""
    assert asyncio.run(function()) is None
    state = final(function.job)
    assert (state.status, state.error) == ("cancelled", None)


def test_a_cancel_in_a_group_leaves_the_body_of_a_run_by_hand() -> None:
    """The program goes on behind the `with`."""
    job = Job("by hand", cancellable=True)
    with job.start("7") as progress:
        ask_to_cancel()
        try:
            progress.exit_if_cancelled()
        except JobCancelled as cancelled:
            raise BaseExceptionGroup("all", [cancelled, BaseExceptionGroup("deep", [cancelled])]) from None
    assert final(job).is_cancelled


def with_an_error(cancelled: JobCancelled) -> BaseException:
    return ValueError("boom")


def with_anothers_cancel(cancelled: JobCancelled) -> BaseException:
    with Job("another").start("1") as progress:
        return JobCancelled("the other one was", progress.state)


def with_an_interrupt(cancelled: JobCancelled) -> BaseException:
    return KeyboardInterrupt()


@pytest.mark.parametrize("other", [with_an_error, with_anothers_cancel, with_an_interrupt])
def test_any_other_group_fails_as_it_is(other: Callable[[JobCancelled], BaseException]) -> None:
    """The very same group reaches the caller, and the state names it, though it was asked to cancel."""
    raised: list[BaseException] = []

    @tracked(cancellable=True)
    def job() -> None:
        ask_to_cancel()
        try:
            current_progress().exit_if_cancelled()
        except JobCancelled as cancelled:
            raised.append(BaseExceptionGroup("mixed", [cancelled, other(cancelled)]))
            raise raised[0] from None

    with pytest.raises(BaseExceptionGroup) as caught:
        job()
    assert caught.value is raised[0]
    state = final(job.job)
    assert (state.status, state.error) == ("failed", "BaseExceptionGroup: mixed (2 sub-exceptions)")


def ended(call: Callable[[], object]) -> Future[object]:
    """*call* in a thread that the test does not wait for for longer than this."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    eventually(future.done)
    return future


def checked(number: int, context: Any = None) -> int:
    (context or copy_context()).run(current_progress().exit_if_cancelled)
    return number


def items(pool: Any, function: Callable[[int], int]) -> list[int]:
    """The pool's own thread goes through what it is given, and there the checkpoint is."""
    context, progress = copy_context(), current_progress()

    def given() -> Iterator[int]:
        yield from context.run(lambda: progress.track(range(10), checkpoint=True))

    return list(pool.imap_unordered(function, given()))


def bare(number: int) -> int:
    return number


def in_threads(pool: Any) -> list[int]:
    progress = current_progress()
    return list(pool.map(lambda number: (progress.exit_if_cancelled(), number)[1], range(10)))


@pytest.mark.parametrize("way", ["a worker's", "the pool's thread"])
def test_a_checkpoint_in_a_pool_of_threads_ends_the_job(way: str) -> None:
    """The pool passes it on as it does an error, rather than have the job wait and wait for a worker that is gone."""

    @tracked(cancellable=True)
    def job() -> None:
        ask_to_cancel()
        with ThreadPool(2) as pool:
            in_threads(pool) if way == "a worker's" else items(pool, bare)

    assert ended(job).result() is None
    assert final(job.job).is_cancelled


def test_a_checkpoint_in_what_a_pool_of_processes_is_given_ends_the_job() -> None:
    """There, too, a thread of the pool goes through it, in the job's own process."""

    @tracked(cancellable=True)
    def job() -> None:
        ask_to_cancel()
        with get_context("spawn").Pool(1) as pool:
            items(pool, abs)

    assert ended(job).result() is None
    assert final(job.job).is_cancelled


def test_a_checkpoint_in_an_executor_ends_the_job() -> None:
    """An executor passes on whatever is raised."""

    @tracked(cancellable=True)
    def job() -> None:
        ask_to_cancel()
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(copy_context().run, checked, number) for number in range(4)]:
                future.result()

    assert ended(job).result() is None
    assert final(job.job).is_cancelled


def test_a_cancel_in_a_pool_is_no_error_to_a_class() -> None:
    """`on_job_error` is not called for it."""
    errors: list[Exception] = []

    class Pooled(ProgressJob, cancellable=True):
        def get_progress_id(self) -> str:
            return "7"

        def handle_with_progress(self) -> None:
            ask_to_cancel()
            with ThreadPool(2) as pool:
                in_threads(pool)

        def on_job_error(self, error: Exception) -> None:
            errors.append(error)

    assert ended(Pooled().handle).result() is None
    assert (final(Pooled.job).status, errors) == ("cancelled", [])


def test_only_in_a_pool_is_a_cancel_an_exception() -> None:
    """Elsewhere a job's `except Exception` does not swallow it."""

    def raised() -> BaseException | None:
        try:
            detached().cancel_and_exit()
        except JobCancelled as cancelled:
            return cancelled
        return None

    with ThreadPool(1) as pool, ThreadPoolExecutor(1) as executor:
        assert isinstance(pool.apply(raised), Exception)
        assert not isinstance(executor.submit(raised).result(), Exception)
    assert not isinstance(raised(), Exception)
