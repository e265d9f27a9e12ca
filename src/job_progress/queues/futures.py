"""Futures, for those who have no queue: threads and processes of `concurrent.futures`, tasks of asyncio.

    from job_progress.queues.futures import create_task, id_of, submit

    future = submit(executor, import_products, "products.csv")
    task = create_task(refresh, 7)  # in a running loop
    import_products.job.watch(id_of(future))

They are the executor's and the loop's own objects. A future that is cancelled before it begins, and a task that is
cancelled whenever, ends as cancelled. A job that was cancelled through its state ends them likewise: their result
is a `CancelledError`, though `future.cancelled()` says so only of one that had not begun.

What futures cannot tell: nothing runs again after an error, or when its process has died. If a process of a pool
dies, all that the pool had has failed. A task begins at once, so it is never pending. What a process pool has
handed to a process already, though that has not begun with it, can be cancelled through its state only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from job_progress.errors import JobAlreadyProcessing
from job_progress.job import Job
from job_progress.names import check_id
from job_progress.queues.lifecycle import enqueued, given_up, revoked
from job_progress.task import QueueTask, queue_task

P = ParamSpec("P")
R = TypeVar("R")

_Call = tuple[Callable[..., Any], str, Sequence[Any], Mapping[str, Any]]
"""A function, what is a queue's own id of its execution elsewhere, and the arguments."""


def submit(executor: Executor, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    """`executor.submit`, with a state that is pending until the function begins. One round trip.

    In a thread, the function runs in a copy of this context.

    Args:
        executor: A `ThreadPoolExecutor` or `ProcessPoolExecutor`.
        function: What is decorated with `@tracked`.
        args: For the function.
        kwargs: For the function.

    Raises:
        TypeError: The function is not tracked, or async.
        RuntimeError: The executor takes no more.
    """
    if iscoroutinefunction(function):
        raise TypeError(f"submit takes no async function, as {function!r} is: there is create_task")
    job = Job.of(function)
    call: _Call = (function, str(uuid4()), args, kwargs)
    run: Callable[[], R] = partial(_run, call, enqueued(*call))
    in_thread = isinstance(executor, ThreadPoolExecutor)
    try:
        future = executor.submit(partial(copy_context().run, run) if in_thread else run)
    except BaseException as error:
        given_up(*call, error=error)
        raise
    _mark(future, job, call)
    future.add_done_callback(partial(_done, [call], in_thread))
    return future


def create_task(function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Task[R]:
    """`asyncio.create_task`, for a function and its arguments. No I/O. Keep the task: asyncio does not.

    Args:
        function: An async function that is decorated with `@tracked`.
        args: For the function.
        kwargs: For the function.

    Raises:
        TypeError: The function is not tracked, or not async.
        RuntimeError: No loop is running.
    """
    if not iscoroutinefunction(function):
        raise TypeError(f"create_task takes an async function, not {function!r}: there is submit")
    job, loop = Job.of(function), asyncio.get_running_loop()
    call: _Call = (function, str(uuid4()), args, kwargs)
    waiting: list[_Call] = [call]
    task = loop.create_task(_arun(waiting))
    _mark(task, job, call)
    task.add_done_callback(partial(_done_task, waiting))
    return task


def id_of(future: Future[Any] | asyncio.Task[Any]) -> str:
    """The id of the execution that a future or task of this module is. No I/O.

    Raises:
        LookupError: It is of another making, or its job cannot make an id of its arguments.
    """
    id: str | None = getattr(future, "job_progress_id", None)
    if id is None:
        raise LookupError(f"{future!r} has no id: it is not from submit or create_task, or its job's id= has failed")
    return id


def _mark(future: Any, job: Job, call: _Call) -> None:
    """Have `Job.of` find the job, and `id_of` the id."""
    _, task, args, kwargs = call
    id: str | None = None
    with suppress(Exception), queue_task(QueueTask(id=task)):  # it has been said in the log, or will be when it runs
        id = check_id(job.called(*args, **kwargs)[0])
    future.job, future.job_progress_id = job, id


def _run(call: _Call, version: int | None) -> Any:
    """Run the function, where the executor does."""
    function, id, args, kwargs = call
    with queue_task(QueueTask(id=id, enqueued=version, end_cancelled=_end_cancelled)):
        return function(*args, **kwargs)


def _end_cancelled() -> None:
    raise CancelledError("the job was cancelled")


def _done(last_call: list[_Call], in_thread: bool, future: Future[Any]) -> None:
    """Tell what the function could not tell itself. The list is emptied: a future keeps what it calls when done."""
    call = last_call.pop()
    if future.cancelled():
        revoked(*call)
        return
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        given_up(*call, error=error)
    elif error is not None and not in_thread and not isinstance(error, JobAlreadyProcessing):
        given_up(*call, error=error)  # what the function raised, which it has told; or it never got to its process


async def _arun(waiting: list[_Call]) -> Any:
    function, id, args, kwargs = waiting.pop()
    task = QueueTask(id=id, was_cancelled=_is_cancelled, end_cancelled=_aend_cancelled)
    with queue_task(task):
        return await function(*args, **kwargs)


def _is_cancelled(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


def _aend_cancelled() -> None:
    raise asyncio.CancelledError("the job was cancelled")


def _done_task(waiting: list[_Call], task: asyncio.Task[Any]) -> None:
    """Tell of a task that was cancelled before it began, as nobody else has."""
    if waiting:
        task.get_loop().run_in_executor(None, _tell_dropped, waiting.pop())


def _tell_dropped(call: _Call) -> None:
    enqueued(*call)
    revoked(*call)
