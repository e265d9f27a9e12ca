"""Huey: `install`, once for each instance, in the module that makes it.

    from job_progress.queues.huey import install

    huey = RedisHuey()
    install(huey)

Tasks may have been declared before, and `immediate` mode is fine. A job that was cancelled ends in `CancelExecution`:
to Huey it is canceled, and neither an error nor tried again. What follows a task in a pipeline, and a chord's callback,
is pending from the start, unless its id is made of arguments; once it will not come, it is cancelled with the reason.

What Huey cannot tell: a task that was revoked is cancelled when a worker gets to it, for Huey keeps it in the queue
until then. A worker that was killed is noticed by nobody, and its task is not delivered again; the state reads
stalled. Threads of a worker that is stopped at once are abandoned, and their tasks have failed as interrupted.
A chord's callback runs even if a task of the chord has failed or was cancelled. In threads Huey has no time limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

try:
    from huey import exceptions, signals
    from huey.api import group
    from huey.exceptions import CancelExecution, RetryTask
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[huey]'", name=error.name) from None

from job_progress.job import Job
from job_progress.queues.lifecycle import ended, enqueued, given_up, hook, revoked
from job_progress.state import JobState, JobStatus
from job_progress.task import QueueTask, queue_task

RATE_LIMITED: Any = getattr(exceptions, "RateLimitExceeded", ())
"""Huey 2 has no rate limits."""

# Attributes of a task, in the memory of one process.
DUE = "job_progress_due"
"""It was scheduled until now, and is enqueued once more."""
NEXT = "job_progress_next"
"""It is to be enqueued once the task that it follows, which runs, has succeeded."""
EXECUTION = "job_progress_execution"
"""Its `_Execution`."""

EXPIRED = "expired before a worker got to it"
INTERRUPTED = "interrupted, as its worker was stopped"
FAILED = "has failed"
CANCELLED = "was cancelled"


def install(huey: Any) -> None:
    """Have the states of tracked tasks follow what *huey* does with them. No I/O.

    Args:
        huey: A `Huey` of any kind, such as `RedisHuey`.
    """
    _Hooks(huey).connect()


class _Dropped(BaseException):
    """Has Huey drop a task that an earlier delivery has completed: it keeps the result, and what follows came then."""


class _Execution:
    """A task in a worker's hands.

    Attributes:
        is_canceled: It was canceled; by a hook before its function was called, as long as it is not over.
        is_over: Huey has said how it ended, and has stored its result.
    """

    def __init__(self, task: Any) -> None:
        self._task = task
        self.is_canceled = False
        self.is_over = False
        self.queue_task = QueueTask(
            id=task.id,
            function=_function_of(task) or type(task),
            will_retry=self._will_retry,
            retry_delay=self._retry_delay,
            was_cancelled=self._was_cancelled,
            shown_error=_shown,
            end_cancelled=_end_cancelled,
            end_done=_end_done,
        )
        self.delivery = self.queue_task.delivery

    def _will_retry(self, error: BaseException) -> bool:
        """What `Huey` is about to decide."""
        if isinstance(error, CancelExecution) and error.retry is not None:
            return bool(error.retry)
        if isinstance(error, RetryTask) or (isinstance(error, RATE_LIMITED) and getattr(error, "retry", False)):
            return True
        return isinstance(error, Exception) and bool(self._task.retries)

    def _retry_delay(self, error: Any) -> float:
        delay = self._task.retry_delay
        if isinstance(error, RATE_LIMITED):
            delay = delay or error.delay
        elif isinstance(error, RetryTask) and error.eta is not None:
            delay = error.eta - datetime.now(error.eta.tzinfo)
        elif isinstance(error, RetryTask) and error.delay is not None:
            delay = error.delay
        return delay.total_seconds() if isinstance(delay, timedelta) else float(delay)

    def _was_cancelled(self, error: BaseException) -> bool:
        """The function may end itself so."""
        return isinstance(error, CancelExecution) and not self._will_retry(error)


class _Hooks:
    """What Huey calls, and what it is called by."""

    def __init__(self, huey: Any) -> None:
        self._huey = huey
        self._enqueue, self._execute, self._read_schedule = huey.enqueue, huey.execute, huey.read_schedule

    def connect(self) -> None:
        huey = self._huey
        huey.enqueue, huey.execute, huey.read_schedule = self._enqueue_told, self._execute_told, self._read_due
        huey.signal(signals.SIGNAL_ENQUEUED)(self._tell_enqueued)
        huey.signal(signals.SIGNAL_REVOKED)(self._tell_revoked)
        huey.signal(signals.SIGNAL_EXPIRED)(self._tell_expired)
        huey.signal(signals.SIGNAL_INTERRUPTED)(self._tell_interrupted)
        huey.signal(signals.SIGNAL_CANCELED)(self._note_canceled)
        huey.post_execute("job_progress")(self._tell_end)

    # In place of what Huey has.

    def _enqueue_told(self, task: Any) -> Any:
        if isinstance(task, group):
            return self._enqueue(task)
        self._tell_callbacks(task)
        try:
            return self._enqueue(task)
        except Exception as error:
            self._tell_refused(task, error)
            raise

    def _execute_told(self, task: Any, timestamp: Any = None) -> Any:
        execution = _Execution(task)
        following = [task.on_complete, *_callback_of(task)]
        vars(task)[EXECUTION] = execution
        for one in following:
            if one is not None:
                vars(one)[NEXT] = True
        try:
            with queue_task(execution.queue_task):
                result = self._execute(task, timestamp)
        except _Dropped:
            return None
        except BaseException as error:
            self._tell_lost(task, execution, error)
            raise
        finally:
            vars(task).pop(EXECUTION, None)
            for one in following:
                if one is not None:
                    vars(one).pop(NEXT, None)
        if execution.is_canceled and not execution.is_over:
            self._tell_revoked(signals.SIGNAL_CANCELED, task)
        return result

    def _read_due(self, timestamp: Any = None) -> Any:
        due = self._read_schedule(timestamp)
        for task in due:
            vars(task)[DUE] = True
        return due

    # Of what waits.

    @hook
    def _tell_enqueued(self, signal: str, task: Any) -> None:
        """Not of one that is enqueued once more, as it is due, or inside of its own execution, to be tried again."""
        if vars(task).pop(DUE, False) or EXECUTION in vars(task):
            return
        if vars(task).pop(NEXT, False):
            # What was cancelled by somebody stays so; what was said not to come does come, if Huey says so.
            state = _state_of(task)
            enqueued(*_call_of(task), late=not (state and state.is_cancelled and state.error), due=self._due(task))
        else:
            enqueued(*_call_of(task), due=self._due(task))
            self._tell_waiting(task.on_complete)

    def _tell_callbacks(self, task: Any) -> None:
        """A chord's callback waits from the start, and so do those of the chords in it."""
        for chord in _chords_in(task):
            self._tell_waiting(chord.callback)

    @hook
    def _tell_waiting(self, task: Any) -> None:
        """It is to be enqueued once something else has succeeded, and so are those that follow."""
        for one in _chain(task):
            if _has_own_id(one):
                enqueued(*_call_of(one), due=self._due(one))

    def _due(self, task: Any) -> datetime | None:
        eta: datetime | None = task.eta
        if eta is None or eta.tzinfo is not None:
            return eta
        return eta.replace(tzinfo=UTC) if self._huey.utc else eta.astimezone()

    @hook
    def _tell_refused(self, task: Any, error: Exception) -> None:
        """The broker has not taken it."""
        heads = [chord.callback for chord in _chords_in(task)] or [task]
        for one in (one for head in heads for one in _chain(head)):
            if one is task or _has_own_id(one):
                given_up(*_call_of(one), error=error, begun=False)

    # Of what has ended, or will not run.

    @hook
    def _tell_revoked(self, signal: str, task: Any) -> None:
        revoked(*_call_of(task), begun=False)
        _drop_following(task, CANCELLED)

    @hook
    def _tell_expired(self, signal: str, task: Any) -> None:
        given_up(*_call_of(task), error=EXPIRED, begun=False)
        _drop_following(task, FAILED)

    @hook
    def _tell_interrupted(self, signal: str, task: Any) -> None:
        """Told in the worker's own thread, or by the main one, which abandons it."""
        execution: _Execution = vars(task).get(EXECUTION) or _Execution(task)
        ended(*_call_of(task), delivery=execution.delivery, error=INTERRUPTED)
        _drop_following(task, FAILED, with_callback=True)

    @hook
    def _note_canceled(self, signal: str, task: Any) -> None:
        if EXECUTION in vars(task):
            vars(task)[EXECUTION].is_canceled = True

    @hook
    def _tell_end(self, task: Any, result: Any, error: BaseException | None) -> None:
        """Called once the result is stored, and before the next attempt, or what follows, is enqueued."""
        execution: _Execution = vars(task).get(EXECUTION) or _Execution(task)
        execution.is_over = True
        delivery, call = execution.delivery, _call_of(task)
        is_final = error is not None and not task.retries
        if is_final and isinstance(error, CancelExecution) and delivery.said is not JobStatus.COMPLETED:
            if delivery.said is not JobStatus.CANCELLED:
                revoked(*call, begun=delivery.has_begun)
        else:
            ended(*call, delivery=delivery, error=error and _shown(error), will_retry=not is_final)
        if delivery.said is JobStatus.CANCELLED or (is_final and isinstance(error, CancelExecution)):
            _drop_following(task, CANCELLED)
        elif is_final:
            _drop_following(task, FAILED)

    @hook
    def _tell_lost(self, task: Any, execution: _Execution, error: BaseException) -> None:
        """Huey could not store its result, or not enqueue its next attempt, or what follows; it will not try again."""
        if not execution.is_over:
            ended(*_call_of(task), delivery=execution.delivery, error=error)
        elif execution.delivery.said is not JobStatus.COMPLETED:
            given_up(*_call_of(task), error=error, begun=execution.delivery.has_begun)
        _drop_following(task, FAILED, with_callback=True)


def _end_cancelled() -> None:
    """To Huey, it is canceled."""
    raise CancelExecution(retry=False)


def _end_done(state: JobState) -> None:
    raise _Dropped


def _shown(error: BaseException) -> BaseException:
    """What a task asks to be tried again for, if it says so."""
    if not isinstance(error, RetryTask):
        return error
    reason: BaseException = error if error.args[0] else RetryTask("the task asked for it")
    return error.__cause__ or error.__context__ or reason


# What a task is.


def _function_of(task: Any) -> Any:
    """The tracked function of a task, which its class keeps nowhere but inside of `execute`."""
    cells = type(task).execute.__closure__ or ()
    return next((cell.cell_contents for cell in cells if Job.behind(cell.cell_contents)), None)


def _call_of(task: Any) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
    """The function of a task, its id, and its arguments."""
    kwargs = {**task.kwargs, "task": task} if task.context else task.kwargs
    return _function_of(task), task.id, tuple(task.args), kwargs


def _id_of(task: Any) -> Any:
    """The id of the execution that a task is; `None`, if that cannot be told yet, or is of no interest."""
    function, id, args, kwargs = _call_of(task)
    job = Job.behind(function)
    if job is None:
        return None
    with queue_task(QueueTask(id=id)):
        try:
            return job.called(*args, **kwargs)[0]
        except Exception:  # noqa: BLE001 - it lacks the result of what it follows
            return None


def _has_own_id(task: Any) -> bool:
    """Is it known before its arguments are, among which is the result of what it follows?"""
    return bool(_id_of(task) == task.id)


def _state_of(task: Any) -> JobState | None:
    job, id = Job.behind(_function_of(task)), _id_of(task)
    return None if job is None else job.get(id)


def _name_of(task: Any) -> str:
    job = Job.behind(_function_of(task))
    return job.name if job else f"{task.__module__}.{task.name}"


def _chain(task: Any) -> Iterator[Any]:
    """A task and those that follow it."""
    while task is not None:
        yield task
        task = task.on_complete


def _callback_of(task: Any) -> list[Any]:
    """What is to run once the chord is done whose member is this task, or one that follows it."""
    configs = (getattr(one, "chord_config", None) for one in _chain(task))  # Huey 2 has no chords
    return [config.callback for config in configs if config is not None]


def _chords_in(task: Any) -> Iterator[Any]:
    """A chord, if it is one, and those that are its members."""
    if hasattr(task, "callback"):
        yield task
        for member in task.tasks:
            yield from _chords_in(member)


def _drop_following(task: Any, why: str, *, with_callback: bool = False) -> None:
    """What follows a task does not come any more."""
    reason = f"not run: {_name_of(task)}, before it, {why}"
    heads = [task.on_complete, *(_callback_of(task) if with_callback else [])]
    for one in (one for head in heads for one in _chain(head)):
        if _has_own_id(one):
            revoked(*_call_of(one), begun=False, reason=reason)
