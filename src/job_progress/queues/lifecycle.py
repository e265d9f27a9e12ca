"""What a queue tells of a task outside of its run: that it waits, how it ended, or that it will come again.

Queues call these from their hooks, in which nothing may raise: what goes wrong is logged. Of a task whose
function is not tracked they say nothing. Each takes at most two round trips to the store.

In an async hook: `await in_thread(enqueued, …)`, with `job_progress.threads.in_thread`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from job_progress import clock
from job_progress.encoding import explain
from job_progress.errors import JobAlreadyProcessing, StoreUnavailable
from job_progress.events import Enqueue, Explanation, GiveUp, Requeue, Revoke
from job_progress.job import Job
from job_progress.state import JobState, JobStatus
from job_progress.task import Delivery, QueueTask, queue_task
from job_progress.tracker import Tracker

logger = logging.getLogger("job_progress")

LONGEST_SILENCE = 30.0
"""Seconds for which a store that did not answer is not told of what is sent."""
_away_until: WeakKeyDictionary[Tracker, float] = WeakKeyDictionary()

P = ParamSpec("P")


def enqueued(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    late: bool = False,
    due: datetime | float | None = None,
) -> int | None:
    """The queue is about to get a task: it is pending from now on, unless it was locked or runs already.

    Args:
        task: The tracked function, or the queue's own object around it.
        id: The queue's id of the task.
        args: With which the function will be called; what the queue itself puts in front (a bound task, a
            context) included, if only as `None`.
        kwargs: With which the function will be called.
        late: The queue has got it already, so that a worker may even have run it.
        due: When the queue will run it, if not at once: a time (aware), or seconds from now. The state is kept
            until `pending_ttl` after that.

    After a store did not answer, senders do not wait for it again at once: what is sent within three times as long,
    and half a minute at most, is not told to be pending, and its state begins with its run.

    Returns:
        What to hand to the worker with the message, for `QueueTask.enqueued`; `None` if there is nothing.
    """
    job = Job.behind(task)
    if job is not None and monotonic() < _away_until.get(job.tracker, 0.0):
        return None
    when = clock.now() + timedelta(seconds=due) if isinstance(due, (int, float)) else due

    def event(blank: JobState) -> Enqueue:
        return Enqueue(replace(blank, due=when), late)

    state = _tell(task, id, args, kwargs, event, likely_new=True)
    return state.version if state is not None and _is_fresh(state) else None


def _is_fresh(state: JobState) -> bool:
    """Does its version tell all of it? Not of one that was locked or cancelled before, or that waits for a retry."""
    guessed = {name: getattr(state, name) for name in _GUESSED}
    return state == JobState(**guessed) and state.created_at == state.updated_at


_GUESSED = ("job", "id", "version", "created_at", "updated_at", "owner", "task", "due", "settings")
"""What a worker knows of a fresh state without reading it. A field that only newer versions have is not among them."""


def revoked(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    begun: bool = True,
    reason: str | None = None,
) -> None:
    """The queue was told to drop or stop the task, and has done so: it is cancelled. Arguments as for `enqueued`.

    If it had not *begun*, a run of it that is alive is another delivery's, and is left alone. *reason* says why it
    will not run, if it was not asked for: what it was to follow has failed, say. The state shows it as its error.
    """
    why = None if reason is None else explain(reason)
    _tell(task, id, args, kwargs, lambda blank: Revoke(blank, begun, why))


def given_up(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    error: BaseException | str | Explanation,
    begun: bool = True,
) -> None:
    """The queue will not run the task (any more): it has failed. Arguments as for `enqueued`.

    *error* says why: it expired, say, or ran for too long and was killed, or its worker died, or the broker did not
    take it. If it had not *begun*, a run of it that is alive, or has ended, is another delivery's, and is left alone.
    """
    _tell(task, id, args, kwargs, lambda blank: GiveUp(blank, explain(error), begun))


def requeued(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    error: BaseException | str | Explanation,
    begun: bool = True,
) -> None:
    """The task's worker has died, and the queue will deliver it again: it is pending. Arguments as for `enqueued`.

    *error* says how the worker died. If it is not known whether the run had *begun* there, one that is alive is
    left alone: the next delivery waits for it.
    """
    _tell(task, id, args, kwargs, lambda blank: Requeue(blank, explain(error), begun=begun))


def ended(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    delivery: Delivery,
    error: BaseException | str | Explanation | None = None,
    will_retry: bool = False,
) -> None:
    """The queue says how a delivery of the task has ended; what it says ends in the state. Arguments as for `enqueued`.

    For the hook that a queue calls last: after the function, after all that wraps it, and after the result was
    stored. No I/O where the function's run has told the state the same.

    *delivery* is `QueueTask.delivery`, as it was handed to the function's run. *error* says why the task has failed,
    to the queue; `None`: it has not. *will_retry*: the queue will run it again. A run that is still alive, as in a
    thread that goes on after the queue's time limit, is superseded by that: it stops at its next checkpoint.
    """
    said, delivery.is_over = delivery.said, True
    if isinstance(error, JobAlreadyProcessing) or said is JobStatus.CANCELLED:
        return
    if error is None:
        if said is JobStatus.PENDING:  # what wraps the function has caught its error, so nothing runs again
            _tell(task, id, args, kwargs, lambda blank: GiveUp(blank, None))
        elif said is None and not delivery.has_begun:
            revoked(task, id, args, kwargs, begun=False, reason="not run: its task ended without calling it")
    elif will_retry and said is not JobStatus.PENDING:
        after_run = delivery.has_begun and said is not None
        _tell(task, id, args, kwargs, lambda blank: Requeue(blank, explain(error), after_run, delivery.has_begun))
    elif not will_retry and said is not JobStatus.FAILED:
        given_up(task, id, args, kwargs, error=error, begun=delivery.has_begun)


def state_of(
    task: object, id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> JobState | None:
    """The state whose latest run the task is, or is to be, if there is one. Arguments as for `enqueued`.

    One round trip. Unlike the others this may raise; it is for hooks that would else decide blindly.
    """
    job = Job.behind(task)
    if job is None:
        return None
    with queue_task(QueueTask(id=id)):
        blank = job.blank_of_task(*job.called(*args, **kwargs or {}))
    state = job.get(blank.id)
    return state if state is not None and state.task == blank.task else None


class Absent:
    """A task whose function this process cannot import: what stands for it here. Its state is in the default tracker.

    Args:
        address: What `address_of` gave where the task was sent.
    """

    def __init__(self, address: str) -> None:
        name, _, id = address.partition("\n")
        self.job = Job(name, id_of=lambda *args, **kwargs: id)


def address_of(task: object, id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> str | None:
    """What a task's message should carry, for a worker that cannot import its function; see `Absent`. No I/O.

    Arguments as for `enqueued`. `None`: it is not tracked, or its id cannot be told.
    """
    job = Job.behind(task)
    if job is not None:
        with suppress(Exception), queue_task(QueueTask(id=id)):
            return f"{job.name}\n{job.called(*args, **kwargs or {})[0]}"
    return None


def hook(function: Callable[P, object]) -> Callable[P, None]:
    """*function* for a queue to call: it gives nothing, and what it raises is logged instead."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            logger.exception("the hook %s failed; the task goes on", function.__qualname__)

    return call


def ahook(function: Callable[P, Awaitable[object]]) -> Callable[P, Coroutine[Any, Any, None]]:
    """`hook`, for an async *function*."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await function(*args, **kwargs)
        except Exception:
            logger.exception("the hook %s failed; the task goes on", function.__qualname__)

    return call


def _tell(
    task: object,
    id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    event: Callable[[JobState], Enqueue | Revoke | GiveUp | Requeue],
    *,
    likely_new: bool = False,
) -> JobState | None:
    job = Job.behind(task)
    if job is None:
        return None
    began = monotonic()
    try:
        with queue_task(QueueTask(id=id)):
            blank = job.blank_of_task(*job.called(*args, **kwargs or {}))
        return job.tracker.apply(blank, event(blank), likely_new=likely_new)
    except StoreUnavailable as error:
        now = monotonic()
        _away_until[job.tracker] = now + min(3 * (now - began), LONGEST_SILENCE)
        logger.warning("%s %r: the store did not learn what the queue says of it: %s", job.name, id, error)
    except Exception:
        logger.exception("%s %r: what the queue says of it cannot be stored", job.name, id)
    return None
