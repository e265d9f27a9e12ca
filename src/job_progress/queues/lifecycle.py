"""What a queue tells of a task outside of its run: that it is waiting, dropped, dead, or to come again.

Queues call these from their hooks, in which nothing may raise: what goes wrong is logged. Of a task whose
function is not tracked they say nothing. Each takes at most two round trips to the store.

In an async hook: `await in_thread(enqueued, …)`, with `job_progress.threads.in_thread`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

from job_progress.encoding import explain
from job_progress.errors import StoreUnavailable
from job_progress.events import Enqueue, GiveUp, Requeue, Revoke
from job_progress.job import Job
from job_progress.state import JobState
from job_progress.task import QueueTask, queue_task

logger = logging.getLogger("job_progress")

P = ParamSpec("P")


def enqueued(
    task: object, id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, late: bool = False
) -> int | None:
    """The queue is about to get a task: it is pending from now on, unless it was locked or runs already.

    Args:
        task: The tracked function, or the queue's own object around it.
        id: The queue's id of the task.
        args: With which the function will be called; what the queue itself puts in front (a bound task, a
            context) included, if only as `None`.
        kwargs: With which the function will be called.
        late: The queue has got it already, so that a worker may even have run it.

    Returns:
        What to hand to the worker with the message, for `QueueTask.enqueued`; `None` if there is nothing.
    """
    state = _tell(task, id, args, kwargs, lambda blank: Enqueue(blank, late), likely_new=True)
    return state.version if state is not None and _is_fresh(state) else None


def _is_fresh(state: JobState) -> bool:
    """Does its version tell all of it? Not of one that was locked, or that waits for a retry."""
    return state.is_pending and state.token is None and state.attempt == 0 and state.created_at == state.updated_at


def revoked(
    task: object, id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, begun: bool = True
) -> None:
    """The queue was told to drop or stop the task, and has done so: it is cancelled. Arguments as for `enqueued`.

    If it had not *begun*, a run of it that is alive is another delivery's, and is left alone.
    """
    _tell(task, id, args, kwargs, lambda blank: Revoke(blank, begun))


def given_up(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    error: BaseException | str,
    begun: bool = True,
) -> None:
    """The queue will not run the task (any more): it has failed, unless it has ended. Arguments as for `enqueued`.

    *error* says why: it expired, say, or ran for too long and was killed, or its worker died. If it had not
    *begun*, a run of it that is alive is another delivery's, and is left alone.
    """
    _tell(task, id, args, kwargs, lambda blank: GiveUp(blank, explain(error), begun))


def requeued(
    task: object,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    error: BaseException | str,
) -> None:
    """The task's worker has died, and the queue will deliver it again: it is pending. Arguments as for `enqueued`.

    *error* says how the worker died.
    """
    _tell(task, id, args, kwargs, lambda blank: Requeue(blank, explain(error)))


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
    try:
        with queue_task(QueueTask(id=id)):
            blank = job.blank_of_task(*job.called(*args, **kwargs or {}))
        return job.tracker.apply(blank, event(blank), likely_new=likely_new)
    except StoreUnavailable as error:
        logger.warning("%s %r: the store did not learn what the queue says of it: %s", job.name, id, error)
    except Exception:
        logger.exception("%s %r: what the queue says of it cannot be stored", job.name, id)
    return None
