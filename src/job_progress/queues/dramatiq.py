"""Dramatiq: a middleware, for every process that sends messages or works.

    from job_progress.queues.dramatiq import ProgressMiddleware

    broker = RedisBroker()
    broker.add_middleware(ProgressMiddleware())

Its place among the others makes no difference. A job that was cancelled ends in `SkipMessage`: acknowledged,
and neither a failure nor tried again.

What Dramatiq cannot tell: it has no way to take a message back; what `dramatiq-abort` skips or aborts is cancelled.
A worker that was killed is found out by another one after `heartbeat_timeout`; the state reads stalled before that.
An async actor is interrupted by `CancelledError` alone, whatever it is for. That a result could not be stored is no
failure to Dramatiq. What follows by `on_success` or `on_failure` is not known before it is sent.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextvars import ContextVar
from time import monotonic
from typing import Any, NoReturn

try:
    from dramatiq.actor import Actor
    from dramatiq.broker import Broker, MessageProxy
    from dramatiq.errors import Retry
    from dramatiq.generic import GenericActor
    from dramatiq.message import Message
    from dramatiq.middleware import Interrupt, Middleware, Retries, Shutdown, SkipMessage, TimeLimit, TimeLimitExceeded
    from dramatiq.middleware.retries import DEFAULT_MAX_BACKOFF
    from dramatiq.results import ResultError, Results
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[dramatiq]'", name=error.name) from None

from job_progress.job import Job
from job_progress.queues.lifecycle import Absent, address_of, ended, enqueued, given_up, hook, revoked
from job_progress.state import JobState, JobStatus
from job_progress.task import NO_TASK, Delivery, QueueTask, enter_task

ENQUEUED = "job_progress_enqueued"
"""An option of a message that saves its worker a round trip."""
ADDRESS = "job_progress_address"
"""An option of a message that says where its state is, for a worker that does not know the actor."""
DUE = "job_progress_due"
"""An option of a message that was delayed until now, in the worker's memory only."""
PATIENCE = 500
"""Milliseconds that a second delivery waits until the first one's result is stored."""

AnyMessage = Message[Any] | MessageProxy


class ProgressMiddleware(Middleware):
    """Tells the states of tracked actors what becomes of their messages."""

    def __init__(self) -> None:
        self._group: object = None  # the latest whose callbacks are pending

    @hook
    def after_declare_actor(self, broker: Broker, actor: Actor[..., Any]) -> None:
        """No hook is called when the broker refuses a message."""
        if not isinstance(broker.enqueue, _Enqueue):
            vars(broker)["enqueue"] = _Enqueue(broker)

    @hook
    def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
        """A worker holds it until it is due, and enqueues it then once more."""
        message.options[DUE] = True

    @hook
    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        """It is pending from now on, unless it is a retry, or was so before it became due; so is what follows it."""
        current = _current.get()
        if message.options.pop(DUE, False) or (current is not None and current.is_about(message)):
            return
        follows = current is not None and current.is_followed_by(message)
        call = _call_of(broker, message)
        version = enqueued(*call, late=follows, due=None if delay is None else delay / 1000)
        address = address_of(*call)
        if version is not None:
            message.options[ENQUEUED] = version
        if address is not None:
            message.options[ADDRESS] = address
        if not follows:
            self._tell_followers(broker, message)

    def _tell_followers(self, broker: Broker, message: AnyMessage) -> None:
        group = message.options.get("group_completion_uuid")
        is_told = group is not None and group == self._group
        self._group = group if group is not None else self._group
        for follower in _followers(broker, message, with_callbacks=not is_told):
            call = _call_of(broker, follower)
            if address_of(*call) is not None:  # else its id is a matter of what it will be given
                enqueued(*call)
            self._tell_followers(broker, follower)

    @hook
    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """The function that is called next, in this thread, or in a coroutine for it, is this message's."""
        work = _Work(broker, message)
        _current.set(work)
        enter_task(
            QueueTask(
                id=message.message_id,
                function=broker.get_actor(message.actor_name),
                enqueued=message.options.get(ENQUEUED),
                will_retry=work.will_retry,
                retry_delay=work.retry_delay,
                was_cancelled=work.was_cancelled,
                shown_error=work.shown_error,
                end_cancelled=work.end_cancelled,
                end_done=work.end_done,
                delivery=work.delivery,
            )
        )

    @hook
    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """A coroutine could not tell that it was aborted."""
        enter_task(NO_TASK)
        if _was_aborted(exception) and _delivery_of(message).said is not JobStatus.CANCELLED:
            revoked(*_call_of(broker, message))

    @hook
    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """It is dropped: expired, which `before_nack` tells, or as somebody wished."""
        enter_task(NO_TASK)
        work = _work_on(message)
        if message.failed or (work is not None and work.is_second):
            return
        if _delivery_of(message).said is None:
            revoked(*_call_of(broker, message))
        _end_followers(broker, message, "was cancelled")

    @hook
    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """It is done, to Dramatiq: well, or with an error after which it was enqueued once more."""
        work, error = _work_on(message), message._exception  # the only place where Dramatiq says why
        if work is None:  # it was delayed, or skipped before it began
            return
        ended(*_call_of(broker, message), delivery=work.delivery, error=error, will_retry=work.is_sent_again)
        if error is not None and not work.is_sent_again:
            _end_followers(broker, message, "has failed")

    @hook
    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Dramatiq gives it up: it expired, or failed for good, perhaps before the function began."""
        delivery, error = _delivery_of(message), message._exception or "Dramatiq gave it up"
        ended(*_call_of(broker, message), delivery=delivery, error=error)
        _end_followers(broker, message, "was cancelled" if delivery.said is JobStatus.CANCELLED else "has failed")


class _Enqueue:
    """A broker's own `enqueue`, and what becomes of it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._enqueue = broker.enqueue

    def __call__(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        is_due = DUE in message.options
        try:
            sent = self._enqueue(message, delay=delay)
        except Exception as error:
            if not is_due:  # else the worker that holds it gives it back
                self._tell_refused(message, error)
            raise
        current = _current.get()
        if current is not None and current.is_about(message):
            current.is_sent_again = True
        return sent

    @hook
    def _tell_refused(self, message: Message[Any], error: Exception) -> None:
        given_up(*_call_of(self._broker, message), error=error, begun=False)
        _end_followers(self._broker, message, "has failed")


class _Work:
    """A message in a worker's hands.

    Attributes:
        message: Which.
        delivery: What the run of the function has told the state at its end.
        is_sent_again: It was enqueued once more, as a retry.
        is_second: An earlier delivery of it has done the work.
    """

    def __init__(self, broker: Broker, message: MessageProxy) -> None:
        self.message = message
        self.delivery = Delivery()
        self.is_sent_again = False
        self.is_second = False
        self._began = monotonic()
        self._broker = broker
        self._options = message.options
        self._of_actor = broker.get_actor(message.actor_name).options
        self._retries = next((one for one in broker.middleware if isinstance(one, Retries)), None)
        self._results = next((one for one in broker.middleware if isinstance(one, Results)), None)
        self._time_limit = next((one.time_limit for one in broker.middleware if isinstance(one, TimeLimit)), None)

    def is_about(self, message: AnyMessage) -> bool:
        """Is this the same one, perhaps to be sent again?"""
        return self.message.message_id == message.message_id

    def is_followed_by(self, message: AnyMessage) -> bool:
        """Is this what a pipeline, or a group, goes on with?"""
        return any(one.message_id == message.message_id for one in _followers(self._broker, self.message))

    def _option(self, name: str, default: Any) -> Any:
        return self._options.get(name, self._of_actor.get(name, default))

    def will_retry(self, error: BaseException) -> bool:
        """What `Retries` is about to decide."""
        if self._retries is None:
            return False
        throws = self._options.get("throws") or self._of_actor.get("throws")
        if throws and isinstance(error, throws):
            return False
        retried = self._options.get("retries", 0)
        retry_when = self._of_actor.get("retry_when", self._retries.retry_when)
        if retry_when is not None:
            return bool(retry_when(retried, error))
        most = self._option("max_retries", self._retries.max_retries)
        return most is None or retried < most

    def retry_delay(self, error: BaseException) -> float | None:
        """The longest that `Retries` may choose, as chance has a part in it."""
        if self._retries is None:
            return None
        if isinstance(error, Retry) and error.delay is not None:
            return error.delay / 1000
        least = self._option("min_backoff", self._retries.min_backoff)
        most = min(self._option("max_backoff", self._retries.max_backoff), DEFAULT_MAX_BACKOFF)
        return float(min(2 * least * 2 ** min(self._options.get("retries", 0), 32), most)) / 1000

    def was_cancelled(self, error: BaseException) -> bool:
        """By `SkipMessage` the function may end itself so."""
        return isinstance(error, SkipMessage) or _was_aborted(error)

    def shown_error(self, error: BaseException) -> BaseException:
        """Why the function asked to be retried; or that its coroutine ran for too long."""
        if isinstance(error, Retry):
            return error.__cause__ or error.__context__ or error
        limit = self._options.get("time_limit") or self._of_actor.get("time_limit", self._time_limit)
        if isinstance(error, CancelledError) and limit is not None and monotonic() - self._began >= limit / 1000:
            return TimeLimitExceeded()
        return error

    def end_cancelled(self) -> NoReturn:
        """Skip the message."""
        raise SkipMessage("the job was cancelled")

    def end_done(self, state: JobState) -> object:
        """Give the first delivery's result to what is to have it, as its worker may have died before it did so."""
        self.is_second = True
        is_stored = self._results is not None and self._option("store_results", self._results.store_results)
        if is_stored and self._results is not None:
            try:
                return self.message.get_result(backend=self._results.backend, block=True, timeout=PATIENCE)
            except ResultError:
                self._options["store_results"] = state.result is not None
        is_piped = any(_is_given(self._broker, self.message, one) for one in _piped(self.message))
        if is_piped and state.result is None:
            raise SkipMessage("an earlier delivery has done it, and its result is not known here")
        return state.result if is_piped or is_stored else None


_current: ContextVar[_Work | None] = ContextVar("job_progress_dramatiq", default=None)


class _NotYet:
    """What the message before will give: no id can be made of it."""

    def __str__(self) -> str:
        raise LookupError("it is not known yet")

    __repr__ = __str__


def _call_of(broker: Broker, message: AnyMessage) -> tuple[object, str, tuple[Any, ...], dict[str, Any]]:
    """The actor, or what stands for it if it is not known here; the id of its execution; and its arguments."""
    actor: Any = broker.actors.get(message.actor_name)
    if actor is None and ADDRESS in message.options:
        return Absent(message.options[ADDRESS]), message.message_id, (), {}
    itself = (actor.fn,) if actor is not None and isinstance(actor.fn, GenericActor) else ()
    return actor, message.message_id, (*itself, *message.args), message.kwargs


def _followers(broker: Broker, message: AnyMessage, *, with_callbacks: bool = True) -> Iterator[Message[Any]]:
    """What is enqueued once it has succeeded, or once its group has: with the arguments that are known."""
    for follower in _piped(message):
        yield follower.copy(args=(*follower.args, *((_NotYet(),) if _is_given(broker, message, follower) else ())))
    for data in message.options.get("group_completion_callbacks") or () if with_callbacks else ():
        yield Message(**data)


def _piped(message: AnyMessage) -> Iterator[Message[Any]]:
    data = message.options.get("pipe_target")
    if data is not None:
        yield Message(**data)


def _is_given(broker: Broker, message: AnyMessage, follower: Message[Any]) -> bool:
    """Is *follower* given what *message* gives?"""
    actor = broker.actors.get(message.actor_name)
    is_ignored = follower.options.get("pipe_ignore") or (actor is not None and actor.options.get("pipe_ignore"))
    return not is_ignored


def _end_followers(broker: Broker, message: AnyMessage, how: str) -> None:
    job = Job.behind(_call_of(broker, message)[0])
    reason = f"not run: {message.actor_name if job is None else job.name}, before it, {how}"
    for follower in _followers(broker, message):
        call = _call_of(broker, follower)
        if address_of(*call) is not None:
            revoked(*call, begun=False, reason=reason)
        _end_followers(broker, follower, "was not run")


def _work_on(message: MessageProxy) -> _Work | None:
    """The work on it, if that is done in this thread."""
    work = _current.get()
    return work if work is not None and work.message is message else None


def _delivery_of(message: MessageProxy) -> Delivery:
    """What its run has told; nothing, if it has not begun, or not here."""
    work = _work_on(message)
    return Delivery() if work is None else work.delivery


def _was_aborted(error: BaseException | None) -> bool:
    """Was the thread interrupted as somebody wished, and not by Dramatiq itself?"""
    return isinstance(error, Interrupt) and not isinstance(error, (TimeLimitExceeded, Shutdown))
