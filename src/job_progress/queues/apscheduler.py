"""APScheduler 3: `install(scheduler)`, before or after it is started.

    from job_progress.queues.apscheduler import id_of, install

    install(scheduler)
    schedule = scheduler.add_job(import_products, "interval", hours=1, args=["products.csv"])
    import_products.job.watch(id_of(schedule))

Each firing of a schedule is an execution of its own; where the job has no id of its own, its id is the schedule's,
with the time at which it was due. What is fired too late, or while it still runs from before, has failed, and so has
what APScheduler says has failed before or after the function: in another decorator, say.

What APScheduler cannot tell: until it is due there is a schedule and no execution, so none is pending, and one that
is removed, or paused, before that is not cancelled. Nothing runs again after an error, or when its process has died.
There is no word for a job that was cancelled: to APScheduler it was executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from threading import Thread
from typing import Any

try:
    from apscheduler.events import EVENT_EXECUTOR_ADDED, EVENT_JOB_ERROR, EVENT_JOB_MISSED
    from apscheduler.util import ref_to_obj
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[apscheduler]'", name=error.name) from None

from job_progress.errors import JobAlreadyProcessing
from job_progress.job import Job
from job_progress.names import check_id
from job_progress.queues.lifecycle import enqueued, given_up
from job_progress.state import JobStatus
from job_progress.task import NO_TASK, Delivery, QueueTask, enter_task


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

    def __init__(self, schedule: str, due: Sequence[datetime], function: object, reference: str | None) -> None:
        self.schedule = schedule
        self.function = function
        self.reference = reference
        self.deliveries = {time: Delivery() for time in due}

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_process, (self.schedule, list(self.deliveries), self.reference)

    def __iter__(self) -> Iterator[datetime]:
        for due, delivery in self.deliveries.items():
            enter_task(QueueTask(id=_task(self.schedule, due), function=self.function, delivery=delivery))
            yield due
        enter_task(NO_TASK)


def _in_process(schedule: str, due: Sequence[datetime], reference: str) -> _Firings:
    """The firings in the process of a pool, which has its own functions; what has become of them stays there."""
    return _Firings(schedule, due, ref_to_obj(reference), reference)


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
        self._under_way: dict[tuple[str, datetime], tuple[Any, Delivery]] = {}

    def submit(self, schedule: Any, due: Sequence[datetime]) -> None:
        """Fire it."""
        if Job.behind(schedule.func) is None:
            self._submit(schedule, due)
            return
        firings = _Firings(schedule.id, due, schedule.func, schedule.func_ref)
        self._under_way.update({(schedule.id, time): (schedule, firings.deliveries[time]) for time in due})
        try:
            self._submit(schedule, firings)
        except BaseException as error:  # too many run already, for one
            self._tell({(schedule.id, time): error for time in due})
            raise

    def success(self, id: str, events: Sequence[Any]) -> None:
        """It was called, or not, as it was too late; what its run has not told of an error is told."""
        errors = {event.scheduled_run_time: event.exception for event in events if event.code == EVENT_JOB_ERROR}
        errors |= {event.scheduled_run_time: "missed" for event in events if event.code == EVENT_JOB_MISSED}
        self._tell({(id, event.scheduled_run_time): errors.get(event.scheduled_run_time) for event in events})
        self._success(id, events)

    def error(self, id: str, error: BaseException, *traceback: Any) -> None:
        """It could not be called, or its process has died."""
        self._tell({firing: error for firing in list(self._under_way) if firing[0] == id})
        self._error(id, error, *traceback)

    def _tell(self, ends: Mapping[tuple[str, datetime], BaseException | str | None]) -> None:
        """These firings are over; some have failed."""
        failed: list[tuple[Any, datetime, Delivery, BaseException | str]] = []
        for firing, error in ends.items():
            schedule, delivery = self._under_way.pop(firing, (None, Delivery()))
            if schedule is not None and error is not None and not _has_told(delivery, error):
                failed.append((schedule, firing[1], delivery, error))
        if failed:
            # This may be the thread of the scheduler, or of its event loop, which waits for no store.
            Thread(target=_tell_failed, args=(failed,), name="job-progress-failed").start()


def _has_told(delivery: Delivery, error: BaseException | str) -> bool:
    return delivery.said in (JobStatus.FAILED, JobStatus.CANCELLED) or isinstance(error, JobAlreadyProcessing)


def _tell_failed(failed: Sequence[tuple[Any, datetime, Delivery, BaseException | str]]) -> None:
    for schedule, due, delivery, error in failed:
        call = (schedule.func, _task(schedule.id, due) or schedule.id, schedule.args, schedule.kwargs)
        if not delivery.has_begun:
            enqueued(*call, late=True)  # so that there is something that has failed
        given_up(*call, error=error)
