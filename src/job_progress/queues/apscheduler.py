"""APScheduler 3: `install(scheduler)`, before or after it is started.

    from job_progress.queues.apscheduler import id_of, install

    install(scheduler)
    schedule = scheduler.add_job(import_products, "interval", hours=1, args=["products.csv"])
    import_products.job.watch(id_of(schedule))

Each firing of a schedule is an execution of its own; where the job has no id of its own, its id is the schedule's,
with the time at which it was due. What is fired too late, or while it still runs from before, has failed.

What APScheduler cannot tell: until it is due there is a schedule and no execution, so none is pending, and one that
is removed, or paused, before that is not cancelled. Nothing runs again after an error, or when its process has died.
There is no word for a job that was cancelled: to APScheduler it was executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Thread
from typing import Any

try:
    from apscheduler.events import EVENT_EXECUTOR_ADDED, EVENT_JOB_MISSED
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[apscheduler]'", name=error.name) from None

from job_progress.job import Job
from job_progress.names import check_id
from job_progress.queues.lifecycle import enqueued, given_up
from job_progress.task import NO_TASK, QueueTask, enter_task


def install(scheduler: Any) -> None:
    """Have the tracked functions that *scheduler* fires know which firing they are.

    Args:
        scheduler: One of APScheduler 3, of any kind, with executors of any kind.
    """
    for executor in list(scheduler._executors.values()):
        _Watched(executor)
    scheduler.add_listener(lambda event: _Watched(scheduler._executors[event.alias]), EVENT_EXECUTOR_ADDED)


def id_of(schedule: Any, due: datetime | None = None) -> str:
    """The id of the execution that one firing of a schedule is, where the job has no id of its own. No I/O.

    Args:
        schedule: APScheduler's job, or its id.
        due: When it is to be fired; by default, when it is next.

    Raises:
        ValueError: It will not be fired again, or its scheduler has not been started; or its id is too long for one.
    """
    if due is None:
        due = getattr(schedule, "next_run_time", None)
        if due is None:
            raise ValueError(f"{schedule!r} has no next run time: name the one that you mean")
    return check_id(f"{getattr(schedule, 'id', schedule)} {due.astimezone(UTC).isoformat()}")


class _Firings:
    """When a schedule is to be fired; whoever goes through it says of each firing which task it is.

    APScheduler does, right before it calls the function: in its thread, process or coroutine.
    """

    def __init__(self, schedule: str, due: Sequence[datetime]) -> None:
        self.schedule = schedule
        self.due = due

    def __iter__(self) -> Iterator[datetime]:
        for due in self.due:
            enter_task(QueueTask(id=_task(self.schedule, due)))
            yield due
        enter_task(NO_TASK)


def _task(schedule: str, due: datetime) -> str | None:
    try:
        return id_of(schedule, due)
    except ValueError:  # a job that runs under another id is better than none that runs
        return None


class _Watched:
    """An executor, of which three methods are ours: those between which a firing comes and goes."""

    def __init__(self, executor: Any) -> None:
        self._submit, executor.submit_job = executor.submit_job, self.submit
        self._success, executor._run_job_success = executor._run_job_success, self.success
        self._error, executor._run_job_error = executor._run_job_error, self.error
        self._under_way: dict[tuple[str, datetime], Any] = {}

    def submit(self, schedule: Any, due: Sequence[datetime]) -> None:
        """Fire it."""
        if Job.behind(schedule.func) is None:
            self._submit(schedule, due)
            return
        self._under_way.update({(schedule.id, time): schedule for time in due})
        try:
            self._submit(schedule, _Firings(schedule.id, due))
        except BaseException as error:  # too many run already, for one
            self._give_up(schedule.id, due, error)
            raise

    def success(self, id: str, events: Sequence[Any]) -> None:
        """It was called, or not, as it was too late; whatever came of the call, the run has told itself."""
        self._give_up(id, [event.scheduled_run_time for event in events if event.code == EVENT_JOB_MISSED], "missed")
        for event in events:
            self._under_way.pop((id, event.scheduled_run_time), None)
        self._success(id, events)

    def error(self, id: str, error: BaseException, *traceback: Any) -> None:
        """It could not be called, or its process has died."""
        self._give_up(id, [due for schedule, due in list(self._under_way) if schedule == id], error)
        self._error(id, error, *traceback)

    def _give_up(self, id: str, due: Sequence[datetime], error: BaseException | str) -> None:
        firings = [(time, self._under_way.pop((id, time), None)) for time in due]
        known = [(time, schedule) for time, schedule in firings if schedule is not None]
        if known:
            # This may be the thread of the scheduler, or of its event loop, which waits for no store.
            Thread(target=_tell_given_up, args=(known, error), name="job-progress-missed").start()


def _tell_given_up(firings: Sequence[tuple[datetime, Any]], error: BaseException | str) -> None:
    for due, schedule in firings:
        call = (schedule.func, _task(schedule.id, due) or schedule.id, schedule.args, schedule.kwargs)
        enqueued(*call, late=True)  # so that there is something that has failed
        given_up(*call, error=error)
