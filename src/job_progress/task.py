"""What the core knows of a task queue: what the queue's integration says of the running task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

from msgspec import Struct, field

from job_progress.fork import reset_in_children
from job_progress.state import JobState, JobStatus

T = TypeVar("T")


def _never(error: BaseException) -> bool:
    return False


def _nothing(returned: object) -> None:
    return None


def _itself(error: BaseException) -> BaseException:
    return error


def _quietly() -> None:
    return None


def _unknown(error: BaseException) -> None:
    return None


def _result(state: JobState) -> object:
    return state.result


class Delivery:
    """One delivery of a task to a worker, and what has become of it in this process.

    Attributes:
        is_running: A run of the task's own function is alive, or waits for that of an earlier delivery.
        has_begun: It has begun a run, which is not an earlier delivery's.
        said: What the latest run of that has told the state at its end: `PENDING`, if the queue is to run it
            again; `None`, if none has ended.
        is_over: The queue has done with it, so it begins no run any more, if it still waits for an earlier delivery's
            in a thread that the queue cannot stop.
    """

    __slots__ = ("has_begun", "is_over", "is_running", "said")

    def __init__(self) -> None:
        self.is_running = False
        self.has_begun = False
        self.is_over = False
        self.said: JobStatus | None = None


class QueueTask(Struct, frozen=True, kw_only=True):
    """The task that a queue is executing.

    Attributes:
        id: The queue's own id of it; the id of a tracked job that names none itself.
        function: The task's own function, or the queue's object around it. A tracked function that is called
            within another one's task is no task of the queue. `None`: the first that is called is it.
        enqueued: What `job_progress.queues.lifecycle.enqueued` gave when the task was sent, if its message
            can carry that: it saves the start a round trip.
        will_retry: Will the queue run it again after this error?
        retry_delay: In how many seconds it will do so, if it says.
        was_cancelled: Is this exception how the queue tells the task that somebody cancelled it, or how
            the task tells the queue that it is cancelled?
        failure_in: What is wrong, if the queue takes what the function returned for a failure: its "retry this".
        shown_error: The error to show for what was raised: what a queue's own "retry this" is about, say;
            `None`, if it is no error: unless the queue runs the task again, it has completed.
        end_cancelled: Called once the run is cancelled, or was not begun as it had been cancelled before:
            ends the task the queue's way. It may raise what the queue takes for that, and in an async
            function may be async. By default the task ends well, without a result.
        end_done: Called with the state instead of the function, if an earlier delivery of the task has completed:
            gives the first run's result, or raises, as `end_cancelled` does. By default it gives the result that
            the state has.
        delivery: What has become of this delivery of it.
        asked: The queue was asked for it, as there is no integration: nobody has told whether a start after its end
            is the same task, delivered again, or another one, sent with the same id. It is taken for another one.
    """

    id: str | None = None
    function: object = None
    enqueued: int | None = None
    will_retry: Callable[[BaseException], bool] = _never
    retry_delay: Callable[[BaseException], float | None] = _unknown
    was_cancelled: Callable[[BaseException], bool] = _never
    failure_in: Callable[[object], BaseException | None] = _nothing
    shown_error: Callable[[BaseException], BaseException | None] = _itself
    end_cancelled: Callable[[], object] = _quietly
    end_done: Callable[[JobState], object] = _result
    delivery: Delivery = field(default_factory=Delivery)
    asked: bool = False

    def known_as(self, id: str) -> str | None:
        """What the state of the execution *id* remembers this task as: nothing, if its id is the same."""
        return "" if self.id == id else self.id

    def of_inner_call(self) -> QueueTask:
        """What it is to a tracked function that its own, untracked one calls: it is only tried again with it."""
        return QueueTask(will_retry=lambda error: isinstance(error, Exception) and self.will_retry(error))

    @contextmanager
    def taken_up(self) -> Iterator[QueueTask]:
        """Inside, a run is this task, and other tracked functions that are called are not."""
        if self.id is None:
            with queue_task(self):
                yield self
            return
        with queue_task(self):
            self.delivery.is_running = True
            try:
                yield self
            finally:
                self.delivery.is_running = False


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
        # Not after others, if this is the garbage collector, which closes a generator that was dropped meanwhile.
        if variable.get() is value:
            with suppress(ValueError):  # a generator that was begun in one context, and is closed in another
                variable.reset(token)


class _Forks:
    """A forked child is not the task, even if it was forked in the midst of one."""

    def reset_after_fork(self) -> None:
        _current.set(NO_TASK)


_forks = _Forks()
reset_in_children(_forks)
