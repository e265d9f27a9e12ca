"""What the core knows of a task queue: whatever the queue's integration says of the running task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

from msgspec import Struct

from job_progress.fork import reset_in_children

T = TypeVar("T")


def _never(error: BaseException) -> bool:
    return False


def _nothing(returned: object) -> None:
    return None


def _itself(error: BaseException) -> BaseException:
    return error


def _quietly() -> None:
    return None


class QueueTask(Struct, frozen=True, kw_only=True):
    """The task that a queue is executing.

    Attributes:
        id: The queue's own id of it; the id of a tracked job that names none itself.
        enqueued: What `job_progress.queues.lifecycle.enqueued` gave when the task was sent, if its message
            can carry that: it saves the start a round trip.
        will_retry: Will the queue run it again after this error?
        was_cancelled: Is this exception how the queue tells the task that somebody cancelled it, or how
            the task tells the queue that it is cancelled?
        failure_in: What is wrong, if the queue takes what the function returned for a failure: its "retry this".
        shown_error: The error to show for what was raised: what a queue's own "retry this" is about, say.
        end_cancelled: Called once the run is cancelled, or was not begun as it had been cancelled before:
            ends the task the queue's way. It may raise what the queue takes for that, and in an async
            function may be async. By default the task ends well, without a result.
    """

    id: str | None = None
    enqueued: int | None = None
    will_retry: Callable[[BaseException], bool] = _never
    was_cancelled: Callable[[BaseException], bool] = _never
    failure_in: Callable[[object], BaseException | None] = _nothing
    shown_error: Callable[[BaseException], BaseException] = _itself
    end_cancelled: Callable[[], object] = _quietly


NO_TASK = QueueTask()
_current: ContextVar[QueueTask] = ContextVar("job_progress_queue_task", default=NO_TASK)


def current_task() -> QueueTask:
    """The task that is executing in this context; one without an id, if there is none."""
    return _current.get()


def enter_task(task: QueueTask) -> None:
    """From here on, a tracked function that is called in this context is *task*. For hooks; see `queue_task`."""
    _current.set(task)


def queue_task(task: QueueTask) -> AbstractContextManager[None]:
    """The tracked function that is called inside is *task*. For integrations of queues."""
    return held(_current, task)


@contextmanager
def held(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Inside, *variable* is *value*."""
    token = variable.set(value)
    try:
        yield
    finally:
        with suppress(ValueError):  # a generator that was begun in one context, and is closed in another
            variable.reset(token)


class _Forks:
    """A forked child is not the task, even if it was forked in the midst of one: it would be so for ever."""

    def reset_after_fork(self) -> None:
        _current.set(NO_TASK)


_forks = _Forks()
reset_in_children(_forks)
