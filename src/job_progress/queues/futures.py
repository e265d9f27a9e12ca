"""Futures, for those who have no queue: threads and processes of `concurrent.futures`, tasks of asyncio.

    from job_progress.queues.futures import create_task, id_of, submit

    future = submit(executor, import_products, "products.csv")
    task = create_task(refresh, 7)  # in a running loop
    import_products.job.watch(id_of(future))

They are the executor's and the loop's own objects. A future that is cancelled before it begins, and a task that is
cancelled whenever, ends as cancelled. A job that was cancelled through its state ends them likewise: their result
is a `CancelledError`, though `future.cancelled()` says so only of one that had not begun.

What a future or a task has for an error is what its state says, whatever the function has done: an error of another
decorator, before or after it, or a result that a process cannot send back.

What futures cannot tell: nothing runs again after an error, or when its process has died. If a process of a pool
dies, all that the pool had has failed. A task begins at once, so it is never pending. What a process pool has
handed to a process already, though that has not begun with it, can be cancelled through its state only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from job_progress.errors import JobAlreadyProcessing
from job_progress.job import Job
from job_progress.names import check_id
from job_progress.queues.lifecycle import ended, enqueued, given_up, revoked
from job_progress.task import Delivery, QueueTask, queue_task
from job_progress.threads import RUNS

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
    in_thread = isinstance(executor, ThreadPoolExecutor)
    delivery = Delivery()
    delivery.has_begun = not in_thread  # or it may have: what becomes of it in a process is not seen here
    run: Callable[[], R] = partial(_run, call, enqueued(*call), delivery if in_thread else None)
    try:
        future = executor.submit(partial(copy_context().run, run) if in_thread else run)
    except BaseException as error:
        given_up(*call, error=error)
        raise
    _mark(future, job, call)
    future.add_done_callback(partial(_done, [call], delivery))
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
    delivery = Delivery()
    task = loop.create_task(_arun([call], delivery))
    _mark(task, job, call)
    task.add_done_callback(partial(_done_task, [call], delivery))
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


def _run(call: _Call, version: int | None, delivery: Delivery | None) -> Any:
    """Run the function, where the executor does."""
    function, id, args, kwargs = call
    task = QueueTask(
        id=id,
        function=function,
        enqueued=version,
        end_cancelled=_end_cancelled,
        delivery=delivery or Delivery(),
    )
    with queue_task(task):
        result = function(*args, **kwargs)
    if delivery is None:  # a process of a pool, of which the one that waits for it sees nothing
        ended(*call, delivery=task.delivery)
    return result


def _end_cancelled() -> None:
    raise CancelledError("the job was cancelled")


def _done(last_call: list[_Call], delivery: Delivery, future: Future[Any]) -> None:
    """Tell what the function could not tell itself. The list is emptied: a future keeps what it calls when done."""
    call = last_call.pop()
    if future.cancelled():
        revoked(*call)
    else:
        ended(*call, delivery=delivery, error=future.exception())


async def _arun(waiting: list[_Call], delivery: Delivery) -> Any:
    function, id, args, kwargs = waiting.pop()
    task = QueueTask(
        id=id,
        function=function,
        was_cancelled=_is_cancelled,
        end_cancelled=_aend_cancelled,
        delivery=delivery,
    )
    with queue_task(task):
        return await function(*args, **kwargs)


def _is_cancelled(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


def _aend_cancelled() -> None:
    raise asyncio.CancelledError("the job was cancelled")


def _done_task(last_call: list[_Call], delivery: Delivery, task: asyncio.Task[Any]) -> None:
    """Tell what the function could not tell itself: nothing, mostly."""
    call = last_call.pop()
    error = None if task.cancelled() else task.exception()
    if error is None and (delivery.has_begun or not task.cancelled()):
        return
    RUNS.begin(_tell_ended, call, delivery, error)


def _tell_ended(call: _Call, delivery: Delivery, error: BaseException | None) -> None:
    if not delivery.has_begun and not isinstance(error, JobAlreadyProcessing):
        enqueued(*call)  # so that there is something that has ended
    if error is None:
        revoked(*call)
    else:
        ended(*call, delivery=delivery, error=error)
