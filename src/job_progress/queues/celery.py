"""Celery: `install(app)`, once, where the app is made.

    from job_progress.queues.celery import install

    app = Celery("shop", broker="redis://localhost:6379", backend="redis://localhost:6379")
    install(app)

and `@app.task` above `@tracked`. Workers of each pool are started as ever.

What Celery cannot tell: a producer that knows a task by its name only (`send_task`) marks nothing as pending,
so that there the state begins with the run. A pending task that is revoked waits on until a worker meets it.
The pools of threads and `solo` cannot stop a task, and neither they nor gevent's keep time limits. What follows a
task is pending from the start if its id is known by then, which that of a `link` is only if it was set, and that of
a job whose `id=` is what the task before returns is not. A second delivery of a task waits in a worker's process
while the first is at work, and its time limits run meanwhile.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cached_property, wraps
from time import monotonic, sleep
from types import MethodType
from typing import Any, NoReturn

try:
    import celery
    from celery import signals
    from celery.app.task import Context, Task
    from celery.exceptions import (
        Ignore,
        Reject,
        Retry,
        SoftTimeLimitExceeded,
        TimeLimitExceeded,
        WorkerLostError,
    )
    from celery.states import FAILURE, READY_STATES, REJECTED, RETRY, REVOKED, SUCCESS
    from celery.utils.imports import symbol_by_name
    from celery.utils.time import get_exponential_backoff_interval, maybe_make_aware
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[celery]'", name=error.name) from None

from job_progress.job import Job
from job_progress.queues.celery_canvas import UNKNOWN, Follower, followers, tasks_in
from job_progress.queues.lifecycle import Absent, address_of, ended, enqueued, given_up, hook, requeued, revoked
from job_progress.reporter import publish_all_ends
from job_progress.state import JobState, JobStatus
from job_progress.task import Delivery, QueueTask, current_task, enter_task, held

logger = logging.getLogger("job_progress")

ENQUEUED = "job_progress_enqueued"
"""The header that spares the worker a round trip."""
ADDRESS = "job_progress_address"
"""The header for a worker that does not know the task."""
IGNORED = "IGNORED"
PAUSE = 0.1
"""Seconds between two looks whether the first delivery's result has been stored."""

_apps: list[celery.Celery] = []


def install(app: celery.Celery) -> None:
    """Have the tracked tasks of *app* show what becomes of them; in each process that sends or runs them.

    A task is pending from before it is sent, and so is what follows it, which costs one round trip for each.
    Doing it twice changes nothing. No I/O.
    """
    if app not in _apps:
        _apps.append(app)
        app.send_task = _watched(app.send_task)
    for signal, receiver in _RECEIVERS.items():
        signal.connect(receiver, weak=False, dispatch_uid=f"{__name__}.{receiver.__name__}")


# Where tasks are sent: by anybody, and by workers, for retries and for what follows a task.


class _Message:
    """A task that is being sent, with what follows it, as far as nobody has told that before."""

    def __init__(self, first: Follower, then: list[Follower], successor: bool) -> None:
        self.first = first
        self.then = then
        self.is_successor = successor


_sending: ContextVar[list[_Message] | None] = ContextVar("job_progress_celery_sending", default=None)


def _watched(send: Callable[..., Any]) -> Callable[..., Any]:
    """Celery's way to send a task, with a word of what the broker did not take."""

    @wraps(send)
    def send_task(*args: Any, **kwargs: Any) -> Any:
        messages: list[_Message] = []
        try:
            with held(_sending, messages):
                result = send(*args, **kwargs)
        except BaseException as error:
            _refused(messages, error)
            raise
        _taken(messages)
        return result

    return send_task


@hook
def _before_sending(sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
    args, kwargs, embedded = body
    first, here = Follower(sender, headers["id"], args, kwargs), _executing.get()
    known: set[str] = set() if here is None else here.known
    then = [one for one in followers(embedded) if one.id not in known]
    is_successor = here is not None and here.comes_again_as(first)
    if here is not None:
        here.is_replaced |= here.id in {one.id for one in (first, *then)}
        here.goes_on |= is_successor or any(here.comes_again_as(one) for one in then)
    if (messages := _sending.get()) is not None:
        messages.append(_Message(first, then, is_successor))
    if here is not None and is_successor:
        if not here.delivery.is_running and (headers["retries"] or here.delivery.said is not None):
            # Before it can begin, or it would be taken for a second delivery of what is done.
            here.end(sys.exc_info()[1] or "it is to run again", will_retry=True)
        return
    due = _due(headers.get("eta"), _task(sender))
    # What the worker sends as promised was perhaps cancelled since, and is not wanted anew.
    headers[ENQUEUED] = _of(first, enqueued, late=bool(headers.get("retries")) or first.id in known, due=due)
    headers[ADDRESS] = _of(first, address_of)
    for one in followers(embedded, headers.get("group_index") or 0):
        if one.id not in known:
            _of(one, enqueued, due=due)


def _due(eta: str | None, task: Task | None) -> datetime | None:
    try:
        return None if eta is None or task is None else maybe_make_aware(datetime.fromisoformat(eta), task.app.timezone)
    except ValueError:  # it is for Celery to say so
        return None


@hook
def _refused(messages: list[_Message], error: BaseException) -> None:
    here = _executing.get()
    for message in messages:
        if here is not None and here.id in {one.id for one in (message.first, *message.then)}:
            here.goes_on = here.is_replaced = False
        if not message.is_successor:
            _of(message.first, given_up, error=error, begun=False)
        _not_run(message.then, message.first.name, "could not be sent")


@hook
def _taken(messages: list[_Message]) -> None:
    here = _executing.get()
    if here is not None:
        here.sent |= {one.id for message in messages for one in (message.first, *message.then)}


def _task(name: str) -> Task | None:
    return next((app.tasks[name] for app in _apps if name in app.tasks), None)


def _of(one: Follower, tell: Callable[..., Any], **word: Any) -> Any:
    """Tell about a task that is sent, or will be: if it is one of ours, and its id is known already."""
    task = _task(one.name)
    if Job.behind(task) is None:
        return None
    args = _with_self(task, one.args)
    if one.args and one.args[0] is UNKNOWN and address_of(task, one.id, args, one.kwargs) is None:
        return None  # its id depends on what it will be given
    return tell(task, one.id, args, one.kwargs, **word)


def _not_run(then: Sequence[Follower], name: Any, what: str) -> None:
    for one in then:
        _of(one, revoked, begun=False, reason=f"not run: {name}, before it, {what}")


# Where a task is executed.


class _Execution:
    """A delivery of a task, in the process and thread in which it is executed.

    Attributes:
        around: Within which other one it is applied, and what that is to tracked functions.
        is_part: It is applied within a run of the very same task, and so is a call of its own.
        goes_on: The same task was sent once more, by a retry, or as what replaces it.
        is_replaced: Something was sent that takes its place, if only in the end.
        is_dropped: Another delivery has done it.
        sent: The ids of what was sent by it, and of what follows that.
    """

    def __init__(self, task: Any, id: str) -> None:
        self.task = task
        self.id = id
        self.request: Any = task.request
        self.around = _executing.get(), current_task()
        self.delivery = Delivery()
        self.is_part = any(one.task is task and one.id == id for one in self._outer())
        self.goes_on = self.is_replaced = self.is_dropped = False
        self.sent: set[str] = set()

    def _outer(self) -> Iterator[_Execution]:
        one = self.around[0]
        while one is not None:
            yield one
            one = one.around[0]

    def as_task(self) -> QueueTask:
        """What it is to tracked functions."""
        if self.is_part:
            return QueueTask(will_retry=self.will_retry, shown_error=self.shown_error)
        return QueueTask(
            id=self.id,
            function=self.task,
            enqueued=self.request.get(ENQUEUED),
            will_retry=self.will_retry,
            retry_delay=self.retry_delay,
            was_cancelled=self.was_cancelled,
            failure_in=self.failure_in,
            shown_error=self.shown_error,
            end_cancelled=self.end_cancelled,
            end_done=self.end_done,
            delivery=self.delivery,
        )

    @cached_property
    def followers(self) -> list[Follower]:
        """What its message says of what follows it."""
        return list(followers(vars(self.request)))

    @cached_property
    def known(self) -> set[str]:
        """The ids of what it may have to send, as was told when it was sent itself."""
        promised = self.followers
        if self.task.name == "celery.chord_unlock":
            promised = [*promised, *tasks_in(list(self.request.args or ()))]
        return {one.id for one in promised}

    def comes_again_as(self, one: Follower) -> bool:
        """Is *one* a further execution of the same: a retry, or the next page of it?"""
        if (one.name, one.id) != (self.task.name, self.id) or self.is_part:
            return False
        arguments = (self.request.args or (), self.request.kwargs), (one.args, one.kwargs)
        old, new = (address_of(self.task, self.id, _with_self(self.task, args), kwargs) for args, kwargs in arguments)
        return old == new

    # What the function's run asks.

    def will_retry(self, error: BaseException) -> bool:
        task = self.task
        if self.goes_on or isinstance(error, Retry):
            return True
        if isinstance(error, Reject):
            return bool(error.requeue and task.acks_late and not self.request.is_eager)
        if isinstance(error, SystemExit):
            # A child that was told to end; its parent knows why, and tells: that it was revoked, say, or is lost.
            told_to_end = isinstance(error.code, int) and error.code < -128
            return told_to_end or (not self.request.is_eager and _comes_again(task, self.request.retries, error))
        if not hasattr(task, "_orig_run") or isinstance(error, (Ignore, *getattr(task, "dont_autoretry_for", ()))):
            return False
        most = getattr(task, "override_max_retries", getattr(task, "retry_kwargs", {}).get("max_retries"))
        most = task.max_retries if most is None else most
        return isinstance(error, tuple(task.autoretry_for)) and (most is None or self.request.retries < most)

    def retry_delay(self, error: BaseException) -> float | None:
        if isinstance(error, Retry):
            when = error.when
            return (when - datetime.now(when.tzinfo)).total_seconds() if isinstance(when, datetime) else when
        if not isinstance(error, tuple(getattr(self.task, "autoretry_for", ()))):
            return None
        if factor := getattr(self.task, "retry_backoff", False):
            most = getattr(self.task, "retry_backoff_max", 600)
            return float(get_exponential_backoff_interval(int(max(1.0, factor)), self.request.retries, int(most)))
        delay = getattr(self.task, "retry_kwargs", {}).get("countdown", self.task.default_retry_delay)
        return None if delay is None else float(delay)

    def was_cancelled(self, error: BaseException) -> bool:
        if isinstance(error, SoftTimeLimitExceeded):  # from `revoke`, with SIGUSR1, if there is no limit
            return not ((self.request.timelimit or (None, None))[1] or self.task.soft_time_limit)
        if isinstance(error, Ignore):
            return not self.is_replaced and self._stored("status") == REVOKED
        return isinstance(error, getattr(sys.modules.get("greenlet"), "GreenletExit", ()))

    def failure_in(self, returned: object) -> BaseException | None:
        return Ignore("it is to run again") if self.goes_on else None

    def shown_error(self, error: BaseException) -> BaseException | None:
        if isinstance(error, Retry):
            about: BaseException | None = error.exc
            return about or error.__context__ or error
        if isinstance(error, Reject) and isinstance(error.reason, BaseException):
            return error.reason
        if isinstance(error, Ignore):
            if self.is_replaced or self._stored("status") != FAILURE:
                return None
            # The task has told Celery itself how it has ended.
            result = self._stored("result")
            return result if isinstance(result, BaseException) else RuntimeError(result)
        return error

    def _stored(self, what: str) -> Any:
        """What the result backend has of the task; `None` if it has, or tells, nothing."""
        try:
            # That of `rpc://` is with whoever has sent the task.
            if self._has_result and self.task.backend.as_uri() != "rpc://":
                return self.task.backend.get_task_meta(self.id, cache=False)[what]
        except Exception:  # there may be none, or it is away
            logger.debug("%s %s: the result backend does not tell", self.task.name, self.id, exc_info=True)
        return None

    @property
    def _has_result(self) -> bool:
        ignored = vars(self.request).get("ignore_result")
        is_wanted = not (self.task.ignore_result if ignored is None else ignored)
        return bool(is_wanted and (not self.request.is_eager or self.task.store_eager_result))

    def end_cancelled(self) -> NoReturn:
        """End it as one that Celery has revoked itself: `get()` raises `TaskRevokedError`, and a chord hears of it."""
        task, request = self.task, self.request
        is_repeat = (request.delivery_info or {}).get("redelivered") and self._stored("status") == REVOKED
        stored = self._has_result or task.store_errors_even_if_ignored
        try:
            if not is_repeat and (not request.is_eager or task.store_eager_result):
                task.backend.mark_as_revoked(self.id, "cancelled", request=request, store_result=stored)
        except Exception:
            logger.exception("%s %s was cancelled, which Celery's result backend does not take", task.name, self.id)
        raise Ignore("cancelled")

    def end_done(self, state: JobState) -> NoReturn:
        """Leave result, callbacks and chord to the delivery that has done it, unless that has died before."""
        self.is_dropped = True
        until = monotonic() + state.settings.stalled_after
        while (status := self._stored("status")) is not None and status not in READY_STATES:
            if monotonic() >= until:
                self.is_dropped = False
                self.delivery.has_begun = True  # what Celery says now is about that run
                raise Reject(LookupError("its result was lost with its worker"), requeue=True)
            sleep(PAUSE)
        raise Ignore("another delivery has done it")

    # What Celery says.

    def end(self, error: BaseException | str | None, *, will_retry: bool = False) -> None:
        """The last word on it."""
        if self.is_part:
            return
        arguments = self.id, _with_self(self.task, self.request.args or ()), self.request.kwargs
        if error is not None and self.delivery.said is None and self.request.is_eager:
            enqueued(self.task, *arguments, late=True)  # nobody has
        ended(self.task, *arguments, delivery=self.delivery, error=error, will_retry=will_retry)
        if error is not None and self.delivery.said is not JobStatus.CANCELLED:
            self.delivery.said = JobStatus.PENDING if will_retry else JobStatus.FAILED

    def end_followers(self, what: str) -> None:
        """They will not come, for what has become of it; but for those that were sent."""
        if not self.request.is_eager:
            _not_run([one for one in self.followers if one.id not in self.sent], self.task.name, what)

    def failed(self, error: BaseException) -> None:
        """To Celery it has failed."""
        self.end(self.shown_error(error) or error, will_retry=self.goes_on)
        if not self.goes_on:
            self.end_followers("has failed")

    def left(self, state: str | None, returned: Any) -> None:
        """Celery has done with it here, and calls that *state*."""
        raised = sys.exc_info()[1]
        if state == FAILURE:
            self.failed(returned)
        elif state is None and isinstance(raised, Exception):
            self.failed(raised)
        elif state == SUCCESS and not self.goes_on:
            self.end(None)
        elif state == RETRY and self.request.is_eager:
            self.end(self.shown_error(returned), will_retry=True)
        elif state == REJECTED:
            if self.will_retry(returned):
                self.end(self.shown_error(returned), will_retry=True)
            else:
                self.failed(returned)
        elif state == IGNORED and not (self.is_replaced or self.is_dropped):
            if self.delivery.said is None:
                reason = f"not run: {returned!r}"
                _tell(revoked, self.task, self.request, begun=False, reason=reason)
            cancelled = self.delivery.said is JobStatus.CANCELLED
            self.end_followers("was cancelled" if cancelled else "was ignored")


_executing: ContextVar[_Execution | None] = ContextVar("job_progress_celery_executing", default=None)
_left: ContextVar[_Execution | None] = ContextVar("job_progress_celery_left", default=None)
"""The latest one, if it was left by an exception that Celery has yet to speak of."""


@hook
def _starting(task_id: str, task: Task, **_: Any) -> None:
    here = _Execution(task, task_id)
    _executing.set(here)
    _left.set(None)
    enter_task(here.as_task())


@hook
def _ended(task: Task, task_id: str, state: str | None, retval: Any, **_: Any) -> None:
    here = _executing.get()
    if here is None or here.request is not task.request:
        return
    around, outer = here.around
    enter_task(outer)
    try:
        here.left(state, retval)
    finally:
        _executing.set(around)
        _left.set(here if sys.exc_info()[1] is not None else None)


@hook
def _failed(sender: Task, task_id: str, exception: object, args: Sequence[Any], kwargs: Any, **_: Any) -> None:
    here, left, parent = _executing.get(), _left.get(), _parent.get()
    if here is not None and here.id == task_id:
        return  # Celery has not left it yet
    if left is not None and left.id == task_id:
        if isinstance(exception, Exception):  # its result could not be stored, say
            left.failed(exception)
        return
    request = Context(id=task_id, args=args, kwargs=kwargs)
    if isinstance(exception, WorkerLostError):
        _tell(given_up, sender, request, error=exception)
    elif isinstance(exception, TimeLimitExceeded):
        if _comes_again(sender, 0, exception):
            return
        _tell(given_up, sender, request, error=f"TimeLimitExceeded: it ran for longer than {exception.args[0]:g} s")
    elif isinstance(exception, Exception):  # the child has told it, unless the message never got that far
        error = exception.reason if isinstance(exception, Reject) else exception
        _tell(given_up, sender, request, error=error if isinstance(error, Exception) else str(error), begun=False)
    if parent is not None:
        _not_run(list(followers(parent.message.payload[2])), sender.name, "has failed")


@hook
def _unknown(message: Any, id: str, name: str, exc: BaseException, **_: Any) -> None:
    if address := message.headers.get(ADDRESS):
        given_up(Absent(address), id, error=f"{name} is not known to the worker that got it", begun=False)
    _not_run(list(followers(message.payload[2])), name, "is not known to the worker that got it")


@hook
def _revoked(sender: Task, request: Context, terminated: bool, expired: bool, **_: Any) -> None:
    if expired:
        _tell(given_up, sender, request, error="it expired", begun=False)
    else:
        _tell(revoked, sender, request, begun=terminated)
    _not_run(list(followers(vars(request))), sender.name, "has expired" if expired else "was cancelled")


@hook
def _stopped(sender: Task, request: Context, reason: object = None, **_: Any) -> None:
    if reason is not None:
        return  # it is a retry, and the run has told it
    if sender.acks_late:
        _tell(requeued, sender, request, error="stopped by its worker")
    else:  # the message is gone
        _tell(given_up, sender, request, error="stopped by its worker")
        _not_run(list(followers(vars(request))), sender.name, "was stopped")


# What the parent of a worker's processes says of the tasks that they had.

_parent: ContextVar[Any] = ContextVar("job_progress_celery_parent", default=None)
"""What Celery has of the task whose end is told by the parent."""


@hook
def _worker_begins(sender: Any, **_: Any) -> None:
    for task in sender.app.tasks.values():
        request_class = symbol_by_name(task.Request)
        if not hasattr(request_class, "job_progress_was_requeued"):
            task.Request = _telling(request_class)


def _telling(request_class: Any) -> type:
    """Celery's class for what the parent knows of a task, or a user's own, with a word when it ends there."""

    class TellingRequest(request_class):  # type: ignore[misc]
        job_progress_was_requeued = False

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            with _told_by_parent(self, getattr(exc_info.exception, "exc", exc_info.exception)):
                return super().on_failure(exc_info, *args, **kwargs)

        def on_timeout(self, soft: Any, timeout: Any) -> Any:
            with _told_by_parent(self, None if soft else TimeLimitExceeded(timeout)):
                return super().on_timeout(soft, timeout)

    return TellingRequest


@contextmanager
def _told_by_parent(request: Any, error: BaseException | None) -> Iterator[None]:
    _before_it_is_back(request, error)
    with held(_parent, request):
        yield


@hook
def _before_it_is_back(request: Any, error: BaseException | None) -> None:
    retries = request.request_dict.get("retries") or 0
    if not request.job_progress_was_requeued and _comes_again(request.task, retries, error):
        request.job_progress_was_requeued = True  # once, as it may run again from now on
        _tell(requeued, request.task, request, error=error)


def _comes_again(task: Task, retries: int, error: BaseException | None) -> bool:
    """Will Celery run the task again though its process has ended, or ran for too long?"""
    if isinstance(error, TimeLimitExceeded):
        return bool(task.acks_late and not getattr(task, "acks_on_timeout", task.acks_on_failure_or_timeout))
    if not isinstance(error, (WorkerLostError, SystemExit)):
        return False
    if getattr(task, "retry_on_worker_lost", False):  # since 5.7
        return task.max_retries is None or retries < task.max_retries
    return bool(task.acks_late and task.reject_on_worker_lost)


@hook
def _process_ends(**_: Any) -> None:
    publish_all_ends()  # a child of a pool leaves without what `atexit` knows


_RECEIVERS: dict[Any, Callable[..., None]] = {
    signals.before_task_publish: _before_sending,
    signals.task_prerun: _starting,
    signals.task_postrun: _ended,
    signals.task_revoked: _revoked,
    signals.task_unknown: _unknown,
    signals.task_failure: _failed,
    signals.task_internal_error: _failed,
    signals.task_retry: _stopped,
    signals.worker_init: _worker_begins,
    signals.worker_process_shutdown: _process_ends,
}


def _tell(what: Callable[..., None], task: Task, request: Any, **more: Any) -> None:
    what(task, request.id, _with_self(task, request.args), request.kwargs, **more)


def _with_self(task: Any, args: Sequence[Any]) -> Sequence[Any]:
    run = getattr(task, "_orig_run", task.run)  # where Celery keeps it if it wraps it for retries
    return (task, *args) if isinstance(run, MethodType) else args
