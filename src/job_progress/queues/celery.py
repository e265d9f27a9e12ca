"""Celery: `install(app)`, once, where the app is made.

    from job_progress.queues.celery import install

    app = Celery("shop", broker="redis://localhost:6379", backend="redis://localhost:6379")
    install(app)

and `@app.task` above `@tracked`. Workers of each pool are started as ever.

What Celery cannot tell: a producer that knows a task by its name only (`send_task`) marks nothing as pending,
so that there the state begins with the run. A pending task that is revoked waits on until a worker meets it.
The pools of threads and `solo` cannot stop a task, and neither they nor gevent's keep time limits. A
task whose worker was killed is turned away while its state is still taken for alive: let `stalled_after` be
shorter than the broker's `visibility_timeout`, or list `JobAlreadyProcessing` in `autoretry_for`. A task that raises
`Ignore` itself, as `self.replace` does, is cancelled, unless it has called `complete` or `fail` before. A task whose
result Celery's serializer does not take has failed to Celery, and completed here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
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
    from celery.utils.imports import symbol_by_name
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[celery]'", name=error.name) from None

from job_progress.job import Job
from job_progress.queues.lifecycle import enqueued, given_up, hook, requeued, revoked
from job_progress.task import QueueTask, current_task, enter_task

logger = logging.getLogger("job_progress")

ENQUEUED = "job_progress_enqueued"
"""The header that spares the worker a round trip."""

_apps: list[celery.Celery] = []


def install(app: celery.Celery) -> None:
    """Have the tracked tasks of *app* show what becomes of them; in each process that sends or runs them.

    A task is pending from before it is sent, which costs one round trip. Doing it twice changes nothing. No I/O.
    """
    if app not in _apps:
        _apps.append(app)
    for signal, receiver in _RECEIVERS.items():
        signal.connect(receiver, weak=False, dispatch_uid=f"{__name__}.{receiver.__name__}")


@hook
def _sending(sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
    if headers.get("retries"):
        return  # sent by the worker, for a run that has told it
    task = next((app.tasks[sender] for app in _apps if sender in app.tasks), None)
    if task is not None:
        arguments, named, _embedded = body
        headers[ENQUEUED] = enqueued(task, headers["id"], _with_self(task, arguments), named)


@hook
def _starting(task_id: str, task: Task, **_: Any) -> None:
    task.request.job_progress_around = current_task()  # another task's, if this one is applied within it
    enter_task(
        QueueTask(
            id=task_id,
            enqueued=task.request.get(ENQUEUED),
            will_retry=partial(_will_retry, task),
            was_cancelled=partial(_was_cancelled, task),
            shown_error=_shown_error,
            end_cancelled=partial(_end_cancelled, task),
        )
    )


@hook
def _ended(task: Task, **_: Any) -> None:
    enter_task(task.request.job_progress_around)


@hook
def _revoked(sender: Task, request: Context, terminated: bool, expired: bool, **_: Any) -> None:
    if terminated:
        _tell(revoked, sender, request)
    elif expired:
        _tell(given_up, sender, request, error="it expired", begun=False)
    else:
        _tell(revoked, sender, request, begun=False)


@hook
def _failed(sender: Task, task_id: str, exception: object, args: Sequence[Any], kwargs: Any, **_: Any) -> None:
    request = Context(id=task_id, args=args, kwargs=kwargs)
    if isinstance(exception, WorkerLostError):
        _tell(given_up, sender, request, error=exception)
    elif isinstance(exception, TimeLimitExceeded):
        _tell(given_up, sender, request, error=f"TimeLimitExceeded: it ran for longer than {exception.args[0]:g} s")
    elif isinstance(exception, Reject):  # also what comes of a retry that could not be sent
        _tell(given_up, sender, request, error=_shown_error(exception), begun=False)
    elif isinstance(exception, Exception):  # the run has told it, unless something else raised it before the run began
        _tell(given_up, sender, request, error=exception, begun=False)


@hook
def _stopped(sender: Task, request: Context, reason: object = None, **_: Any) -> None:
    if reason is not None:
        return  # it is a retry, and the run has told it
    how = requeued if sender.acks_late else given_up  # the message is there still, or gone
    _tell(how, sender, request, error="stopped by its worker")


@hook
def _worker_begins(sender: Any, **_: Any) -> None:
    for task in sender.app.tasks.values():
        request_class = symbol_by_name(task.Request)
        if Job.behind(task) is not None and not hasattr(request_class, "tells_job_progress"):
            task.Request = _telling(request_class)


@hook
def _child_ended(request: Any, error: object) -> None:
    if isinstance(error, (WorkerLostError, SystemExit)):
        # Before the message is back with the broker, if it will be; if it will not, `_failed` is next.
        _tell(requeued, request.task, request, error=error)


def _telling(request_class: Any) -> type:
    """Celery's class for what the parent knows of a task, or a user's own, with a word when the child dies."""

    class TellingRequest(request_class):  # type: ignore[misc]
        tells_job_progress = True

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            _child_ended(self, getattr(exc_info.exception, "exc", exc_info.exception))
            return super().on_failure(exc_info, *args, **kwargs)

    return TellingRequest


_RECEIVERS: dict[Any, Callable[..., None]] = {
    signals.before_task_publish: _sending,
    signals.task_prerun: _starting,
    signals.task_postrun: _ended,
    signals.task_revoked: _revoked,
    signals.task_failure: _failed,
    signals.task_retry: _stopped,
    signals.worker_init: _worker_begins,
}


def _tell(what: Callable[..., None], task: Task, request: Any, **more: Any) -> None:
    what(task, request.id, _with_self(task, request.args), request.kwargs, **more)


def _with_self(task: Task, args: Sequence[Any]) -> Sequence[Any]:
    run = getattr(task, "_orig_run", task.run)  # where Celery keeps it if it wraps it for retries
    return (task, *args) if isinstance(run, MethodType) else args


def _will_retry(task: Any, error: BaseException) -> bool:
    if isinstance(error, Retry):
        return True
    if isinstance(error, Reject):
        return bool(error.requeue and task.acks_late)
    if isinstance(error, SystemExit):
        # A child that was told to end; its parent knows why, and tells: that it was revoked, say, or is lost.
        return isinstance(error.code, int) and error.code < -128
    if not hasattr(task, "_orig_run") or isinstance(error, (Ignore, *getattr(task, "dont_autoretry_for", ()))):
        return False
    most = getattr(task, "override_max_retries", getattr(task, "retry_kwargs", {}).get("max_retries"))
    most = task.max_retries if most is None else most
    return isinstance(error, tuple(task.autoretry_for)) and (most is None or task.request.retries < most)


def _was_cancelled(task: Any, error: BaseException) -> bool:
    if isinstance(error, SoftTimeLimitExceeded):  # from `revoke`, with SIGUSR1, if there is no limit
        return not ((task.request.timelimit or (None, None))[1] or task.soft_time_limit)
    killed = getattr(sys.modules.get("greenlet"), "GreenletExit", ())
    return isinstance(error, (Ignore, killed))


def _shown_error(error: BaseException) -> BaseException:
    if isinstance(error, Retry):
        about: BaseException | None = error.exc
        return about or error.__context__ or error
    if isinstance(error, Reject) and isinstance(error.reason, BaseException):
        return error.reason
    return error


def _end_cancelled(task: Any) -> NoReturn:
    """End it as a task that Celery has revoked itself: `get()` raises `TaskRevokedError`, and a chord hears of it."""
    request = task.request
    ignored = vars(request).get("ignore_result")
    stored = not (task.ignore_result if ignored is None else ignored) or task.store_errors_even_if_ignored
    try:
        if not request.is_eager or task.store_eager_result:
            task.backend.mark_as_revoked(request.id, "cancelled", request=request, store_result=stored)
    except Exception:
        logger.exception("%s %s was cancelled, which Celery's result backend does not take", task.name, request.id)
    raise Ignore("cancelled")
