"""What the core knows of a task queue: whatever the queue's integration says of the running task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct


def _never(error: BaseException) -> bool:
    return False


class QueueTask(Struct, frozen=True, kw_only=True):
    """The task that a queue is executing.

    Attributes:
        id: The queue's own id of it; the id of a tracked job that names none itself.
        will_retry: Will the queue run it again after this error?
        was_cancelled: Is this exception how the queue tells the task that somebody cancelled it?
    """

    id: str | None = None
    will_retry: Callable[[BaseException], bool] = _never
    was_cancelled: Callable[[BaseException], bool] = _never


_current: ContextVar[QueueTask | None] = ContextVar("job_progress_queue_task", default=None)
_NO_TASK = QueueTask()


def current_task() -> QueueTask:
    """The task that is executing in this context; one without an id, if there is none."""
    return _current.get() or _NO_TASK


@contextmanager
def queue_task(task: QueueTask) -> Iterator[None]:
    """Jobs that run inside know that they are *task*. For integrations of queues."""
    reset = _current.set(task)
    try:
        yield
    finally:
        _current.reset(reset)
