"""Dramatiq: a middleware, for every process that sends messages or works.

    from job_progress.queues.dramatiq import ProgressMiddleware

    broker = RedisBroker()
    broker.add_middleware(ProgressMiddleware())

Its place among the others makes no difference. A job that was cancelled ends in `SkipMessage`: acknowledged,
and neither a failure nor tried again.

What Dramatiq cannot tell: it has no way to take a message back; what `dramatiq-abort` skips or aborts is cancelled.
A worker that was killed is found out by another one after `heartbeat_timeout`; the state reads stalled before that.
An async actor is interrupted by `CancelledError` alone, whatever it is for. A message for an actor that the worker
does not know is dropped without a word of its function.
"""

from __future__ import annotations

from asyncio import CancelledError
from contextvars import ContextVar
from time import monotonic
from typing import Any

try:
    from dramatiq.broker import Broker, MessageProxy
    from dramatiq.errors import Retry
    from dramatiq.message import Message
    from dramatiq.middleware import Interrupt, Middleware, Retries, Shutdown, SkipMessage, TimeLimit, TimeLimitExceeded
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[dramatiq]'", name=error.name) from None

from job_progress.errors import JobAlreadyProcessing
from job_progress.queues.lifecycle import enqueued, given_up, hook, revoked
from job_progress.state import JobStatus
from job_progress.task import NO_TASK, QueueTask, enter_task

ENQUEUED = "job_progress_enqueued"
"""An option of a message that saves its worker a round trip."""
DUE = "job_progress_due"
"""An option of a message that was delayed until now, in the worker's memory only."""


class ProgressMiddleware(Middleware):
    """Tells the states of tracked actors what becomes of their messages."""

    @hook
    def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
        """A worker holds it until it is due, and enqueues it then once more."""
        message.options[DUE] = True

    @hook
    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        """It is pending from now on, unless it is a retry, or was so before it became due."""
        if not message.options.pop(DUE, False) and not message.options.get("retries"):
            version = enqueued(*_call_of(broker, message))
            if version is not None:
                message.options[ENQUEUED] = version

    @hook
    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """The function that is called next, in this thread, or in a coroutine for it, is this message's."""
        delivery = _Delivery(broker, message)
        _current.set(delivery)
        enter_task(
            QueueTask(
                id=message.message_id,
                enqueued=message.options.get(ENQUEUED),
                will_retry=delivery.will_retry,
                was_cancelled=delivery.was_cancelled,
                shown_error=delivery.shown_error,
                end_cancelled=delivery.end_cancelled,
            )
        )

    @hook
    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """A coroutine could not tell that it was aborted."""
        enter_task(NO_TASK)
        if _was_aborted(exception) and _told(message) is not JobStatus.CANCELLED:
            revoked(*_call_of(broker, message))

    @hook
    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """It is dropped: expired, which `before_nack` tells, or as somebody wished."""
        enter_task(NO_TASK)
        if not message.failed and _told(message) is None:
            revoked(*_call_of(broker, message))

    @hook
    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Dramatiq gives it up: it expired, or failed for good, perhaps before the function began."""
        error = message._exception  # the only place where Dramatiq says why
        if _told(message) not in ENDED and not isinstance(error, JobAlreadyProcessing):
            given_up(*_call_of(broker, message), error=error or "Dramatiq gave it up")


ENDED = (JobStatus.FAILED, JobStatus.CANCELLED)


class _Delivery:
    """A message in a worker's hands.

    Attributes:
        message: Which.
        told: What the run of the function has told the state at its end, unless it completed.
    """

    def __init__(self, broker: Broker, message: MessageProxy) -> None:
        self.message = message
        self.told: JobStatus | None = None
        self._began = monotonic()
        self._options = message.options
        self._of_actor = broker.get_actor(message.actor_name).options
        self._retries = next((one for one in broker.middleware if isinstance(one, Retries)), None)
        self._time_limit = next((one.time_limit for one in broker.middleware if isinstance(one, TimeLimit)), None)

    def will_retry(self, error: BaseException) -> bool:
        """What `Retries` is about to decide."""
        again = self._retries is not None and self._is_retried(self._retries, error)
        self.told = JobStatus.PENDING if again else JobStatus.FAILED
        return again

    def _is_retried(self, retries: Retries, error: BaseException) -> bool:
        throws = self._options.get("throws") or self._of_actor.get("throws")
        if throws and isinstance(error, throws):
            return False
        retried = self._options.get("retries", 0)
        retry_when = self._of_actor.get("retry_when", retries.retry_when)
        if retry_when is not None:
            return bool(retry_when(retried, error))
        most = self._options.get("max_retries", self._of_actor.get("max_retries", retries.max_retries))
        return most is None or retried < most

    def was_cancelled(self, error: BaseException) -> bool:
        """By `SkipMessage` the function may end itself so."""
        if isinstance(error, SkipMessage) or _was_aborted(error):
            self.told = JobStatus.CANCELLED
            return True
        return False

    def shown_error(self, error: BaseException) -> BaseException:
        """Why the function asked to be retried; or that its coroutine ran for too long."""
        if isinstance(error, Retry):
            return error.__cause__ or error.__context__ or error
        limit = self._options.get("time_limit") or self._of_actor.get("time_limit", self._time_limit)
        if isinstance(error, CancelledError) and limit is not None and monotonic() - self._began >= limit / 1000:
            return TimeLimitExceeded()
        return error

    def end_cancelled(self) -> None:
        """Skip the message."""
        self.told = JobStatus.CANCELLED
        raise SkipMessage("the job was cancelled")


_current: ContextVar[_Delivery | None] = ContextVar("job_progress_dramatiq", default=None)


def _call_of(
    broker: Broker, message: Message[Any] | MessageProxy
) -> tuple[object, str, tuple[Any, ...], dict[str, Any]]:
    """The actor, if it is known here; the id of its execution; and its arguments."""
    return broker.actors.get(message.actor_name), message.message_id, message.args, message.kwargs


def _told(message: MessageProxy) -> JobStatus | None:
    """What the run has told at its end; `None` if it completed, or has not begun, or not here."""
    delivery = _current.get()
    return delivery.told if delivery is not None and delivery.message is message else None


def _was_aborted(error: BaseException | None) -> bool:
    """Was the thread interrupted as somebody wished, and not by Dramatiq itself?"""
    return isinstance(error, Interrupt) and not isinstance(error, (TimeLimitExceeded, Shutdown))
