"""Huey: `install`, once for each instance, in the module that makes it.

    from job_progress.queues.huey import install

    huey = RedisHuey()
    install(huey)

Tasks may have been declared before, and `immediate` mode is fine. A job that was cancelled ends in `CancelExecution`:
to Huey it is canceled, and neither an error nor tried again.

What Huey cannot tell: a task that was revoked is cancelled when a worker gets to it, for Huey keeps it in the queue
until then. A worker that was killed is noticed by nobody, and its task is not delivered again; the state reads
stalled. Threads of a worker that is stopped at once are abandoned, and their tasks have failed as interrupted.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

try:
    from huey import exceptions, signals
    from huey.exceptions import CancelExecution, RetryTask
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[huey]'", name=error.name) from None

from job_progress.errors import JobAlreadyProcessing
from job_progress.job import Job
from job_progress.queues.lifecycle import enqueued, given_up, hook, revoked
from job_progress.task import QueueTask, held, queue_task

RATE_LIMITED: Any = getattr(exceptions, "RateLimitExceeded", ())
"""Huey 2 has no rate limits."""
DUE = "job_progress_due"
"""An attribute of a task that was scheduled until now, in the memory of the process that enqueues it once more."""

WHY = {
    signals.SIGNAL_EXPIRED: "expired before a worker got to it",
    signals.SIGNAL_INTERRUPTED: "interrupted, as its worker was stopped",
}


def install(huey: Any) -> None:
    """Have the states of tracked tasks follow what *huey* does with them. No I/O.

    Args:
        huey: A `Huey` of any kind, such as `RedisHuey`.
    """
    execute, read_schedule = huey.execute, huey.read_schedule

    def execute_tracked(task: Any, timestamp: Any = None) -> Any:
        execution = _Execution(task)
        with held(_executing, execution), queue_task(execution.as_queue_task()):
            result = execute(task, timestamp)
            if execution.is_vetoed:
                _tell_revoked(signals.SIGNAL_CANCELED, task)
            return result

    def read_due(timestamp: Any = None) -> Any:
        due = read_schedule(timestamp)
        for task in due:
            setattr(task, DUE, True)
        return due

    huey.execute, huey.read_schedule = execute_tracked, read_due
    huey.signal(signals.SIGNAL_ENQUEUED)(_tell_enqueued)
    huey.signal(signals.SIGNAL_REVOKED)(_tell_revoked)
    huey.signal(signals.SIGNAL_EXPIRED, signals.SIGNAL_INTERRUPTED)(_tell_given_up)
    huey.signal(signals.SIGNAL_CANCELED)(_note_veto)
    huey.post_execute("job_progress")(_tell_end)


class _Execution:
    """A task in a worker's hands.

    Attributes:
        task: Which.
        is_told: The run of the function has told the state its end, and it is not tried again.
        is_vetoed: It was canceled, and its function was not called.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.is_told = False
        self.is_vetoed = False

    def as_queue_task(self) -> QueueTask:
        return QueueTask(
            id=self.task.id,
            will_retry=self.will_retry,
            was_cancelled=self.was_cancelled,
            shown_error=_shown,
            end_cancelled=self.end_cancelled,
        )

    def will_retry(self, error: BaseException) -> bool:
        """What `Huey` is about to decide."""
        again = isinstance(error, Exception) and bool(self.task.retries)
        if isinstance(error, CancelExecution) and error.retry is not None:
            again = bool(error.retry)
        elif isinstance(error, RetryTask) or (isinstance(error, RATE_LIMITED) and getattr(error, "retry", False)):
            again = True
        self.is_told = not again
        return again

    def was_cancelled(self, error: BaseException) -> bool:
        """The function may end itself so."""
        return isinstance(error, CancelExecution) and not self.will_retry(error)

    def end_cancelled(self) -> None:
        """To Huey, it is canceled."""
        self.is_told = True
        raise CancelExecution(retry=False)


_executing: ContextVar[_Execution | None] = ContextVar("job_progress_huey", default=None)


def _execution_of(task: Any) -> _Execution | None:
    """What goes on around the caller, if that is *task*."""
    execution = _executing.get()
    return execution if execution is not None and execution.task is task else None


@hook
def _tell_enqueued(signal: str, task: Any) -> None:
    """Not of one that is enqueued once more, as it is due, or inside of its own execution, to be tried again."""
    if not vars(task).pop(DUE, False) and _execution_of(task) is None:
        enqueued(*_call_of(task))


@hook
def _tell_revoked(signal: str, task: Any) -> None:
    revoked(*_call_of(task))


@hook
def _tell_given_up(signal: str, task: Any) -> None:
    if not (_execution_of(task) or _Execution(task)).is_told:
        given_up(*_call_of(task), error=WHY[signal])


@hook
def _note_veto(signal: str, task: Any) -> None:
    """As long as `_tell_end` does not know better."""
    (_execution_of(task) or _Execution(task)).is_vetoed = True


@hook
def _tell_end(task: Any, result: Any, error: BaseException | None) -> None:
    """What ended for good without the function's run, as before that began."""
    execution = _execution_of(task) or _Execution(task)
    execution.is_vetoed = False
    if error is None or task.retries or execution.is_told or isinstance(error, JobAlreadyProcessing):
        return
    if isinstance(error, CancelExecution):
        revoked(*_call_of(task))
    else:
        given_up(*_call_of(task), error=_shown(error))


def _shown(error: BaseException) -> BaseException:
    """What a task asks to be tried again for, if it says so."""
    if not isinstance(error, RetryTask):
        return error
    reason: BaseException = error if error.args[0] else RetryTask("the task asked for it")
    return error.__cause__ or error.__context__ or reason


def _call_of(task: Any) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
    """The function of a task, which its class keeps nowhere but inside of `execute`; its id; and its arguments."""
    cells = type(task).execute.__closure__ or ()
    function = next((cell.cell_contents for cell in cells if Job.behind(cell.cell_contents)), None)
    return function, task.id, task.args, {**task.kwargs, "task": task} if task.context else task.kwargs
