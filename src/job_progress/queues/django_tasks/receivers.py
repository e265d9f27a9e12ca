"""What the signals mean to the states. None of these raises, as that would reach who enqueues, or end the worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from threading import Thread
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from job_progress.queues.lifecycle import ended, enqueued, given_up, hook
from job_progress.state import JobState
from job_progress.task import QueueTask, current_task, enter_task
from job_progress.threads import in_thread


@hook
def task_enqueued(task_result: Any, **kwargs: Any) -> None:
    """The task is pending, unless a worker was faster, or its transaction is rolled back. At most two round trips."""
    after = task_result.task.run_after
    due = None if after is None else (after - timezone.now()).total_seconds()
    call = _call(task_result.task, task_result.id, task_result.args, task_result.kwargs)
    enqueued(*call, late=True, due=due)
    row = getattr(task_result, "db_result", None)
    if row is not None and connections[row._state.db].in_atomic_block:
        transaction.on_commit(_UntilCommit(call), using=row._state.db, robust=True)


@hook
def task_started(task_result: Any, **kwargs: Any) -> None:
    """The tracked function that is called next here is this task."""

    def end_done(state: JobState) -> object:
        try:
            # Whichever way it was made to come again, what the first run has returned is still there.
            return task_result.task.get_backend().get_result(task_result.id)._return_value
        except Exception:  # noqa: BLE001 - there are backends that have no results
            return state.result

    task = QueueTask(id=task_result.id, function=task_result.task, end_done=end_done)
    _started.set((task, current_task(), _started.get()))  # the immediate backend may run it within another one
    enter_task(task)


@hook
def task_finished(task_result: Any, **kwargs: Any) -> None:
    """It was that task, and this is how it has ended, to Django."""
    started = _started.get()
    if started is None or started[0].id != task_result.id:
        return
    task, outer, before = started
    _started.set(before)
    enter_task(outer)
    error = (sys.exc_info()[1] or _error_of(task_result)) if task_result.status == "FAILED" else None
    call = _call(task_result.task, task_result.id, task_result.args, task_result.kwargs)
    ended(*call, delivery=task.delivery, error=error)


_Started = tuple[QueueTask, QueueTask, Any]
_started: ContextVar[_Started | None] = ContextVar("job_progress_django_started", default=None)
"""The task that runs here, what ran around it, and this before it was begun."""


def _error_of(task_result: Any) -> str:
    return task_result.errors[-1].exception_class_path if task_result.errors else "it has failed"


def _call(task: Any, id: str, args: Any, kwargs: Any) -> tuple[Any, str, list[Any], dict[str, Any]]:
    return task, id, [*([None] if task.takes_context else []), *args], kwargs


class _UntilCommit:
    """Is called once the transaction is committed; thrown away uncalled, if it, or a part of it, is rolled back."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self._call: tuple[Any, ...] | None = call

    def __call__(self) -> None:
        self._call = None

    def __del__(self) -> None:
        # Whoever rolls back waits for no store.
        if self._call is not None and not sys.is_finalizing():
            Thread(target=_tell_rolled_back, args=(self._call,), name="job-progress-rolled-back").start()


def _tell_rolled_back(call: tuple[Any, ...]) -> None:
    given_up(*call, error="its transaction was rolled back", begun=False)


def telling(enqueue: Callable[..., Any]) -> Callable[..., Any]:
    """`Task.enqueue`, which also tells of what the backend does not take: no signal does."""

    @wraps(enqueue)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return enqueue(self, *args, **kwargs)
        except Exception as error:
            _tell_refused(self, args, kwargs, error)
            raise

    return call


def atelling(aenqueue: Callable[..., Any]) -> Callable[..., Any]:
    """`telling`, for `Task.aenqueue`."""

    @wraps(aenqueue)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await aenqueue(self, *args, **kwargs)
        except Exception as error:
            await in_thread(_tell_refused, self, args, kwargs, error)
            raise

    return call


@hook
def _tell_refused(task: Any, args: Any, kwargs: Any, error: Exception) -> None:
    given_up(*_call(task, "it has none", args, kwargs), error=error, begun=False)
