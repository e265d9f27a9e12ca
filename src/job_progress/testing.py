"""For tests of jobs: run one and see all it reported, cancel it where you like, hold the clock still.

The fixture `job_progress_tracker`, which comes with the package, gives a test a default tracker
of its own, in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction
from typing import Any, Generic, TypeVar

from msgspec import Struct

from job_progress import clock
from job_progress.claims import claims_of_its_own
from job_progress.count import Count
from job_progress.default import set_default_tracker
from job_progress.events import RunEvent
from job_progress.job import Job
from job_progress.progress_job import ProgressJob
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.stores.memory import MemoryStore
from job_progress.task import NO_TASK, QueueTask
from job_progress.tracker import Tracker

R = TypeVar("R")


class FinishedRun(Struct, Generic[R], frozen=True):
    """What became of a run.

    Attributes:
        returned: What the function returned; `None` if it raised or was cancelled.
        raised: What it raised, if it did.
        states: The run's states from its start to its end, one for each call that reported
            something new: nothing is left out, as it is by a store that is written now and then.
    """

    returned: R | None
    raised: BaseException | None
    states: list[JobState]

    @property
    def state(self) -> JobState:
        """The final state."""
        return self.states[-1]


class _ObservedRun(Run):
    """Stays quiet, so that each report wakes it, and takes a snapshot then."""

    tracker: _ObservingTracker
    _cancel_requested = False

    def follow(self, count: Count) -> None:
        super().follow(count)
        self.followed = None  # so that the next item comes here, too

    def wake(self) -> None:
        if not self.reported().is_in(self.tracker.states[-1]):
            self.tracker.states.append(self.state)

    def hand_out_returned(self, result: Any) -> None:
        super().hand_out_returned(result)
        self.wake()

    def end(self, event: RunEvent) -> None:
        super().end(event)
        self.tracker.states.append(self.state)

    @property
    def cancel_requested(self) -> bool:
        """Every checkpoint reads this once."""
        if not self._cancel_requested and self.tracker.checkpoint_passed():
            self.tracker.reporter.settle(self, None)
            self.tracker.cancel(self.known.job, self.known.id)
            self.tracker.reporter.settle(self, None)
        return self._cancel_requested

    @cancel_requested.setter
    def cancel_requested(self, requested: bool) -> None:
        self._cancel_requested = requested


class _ObservingTracker(Tracker):
    run_type = _ObservedRun

    def __init__(self, cancel_at: int | None) -> None:
        super().__init__(MemoryStore())
        self.states: list[JobState] = []
        self._checkpoints_left = cancel_at

    def begin(self, blank: JobState, task: QueueTask = NO_TASK, *, needs_store: bool = False) -> Run | JobState:
        run = super().begin(blank, task, needs_store=needs_store)
        if isinstance(run, _ObservedRun):
            run.tracker = self
            self.states.append(run.state)
        return run

    def checkpoint_passed(self) -> bool:
        """Is this the one at which to cancel?"""
        if self._checkpoints_left is not None:
            self._checkpoints_left -= 1
        return self._checkpoints_left == 0


def run_job(
    function: Callable[..., R] | ProgressJob, *args: Any, cancel_at: int | None = None, **kwargs: Any
) -> FinishedRun[R]:
    """Run a tracked function, or a `ProgressJob`, here and now, in a memory of its own.

    Args:
        function: What is decorated with `@tracked`, sync or async; or an object of a `ProgressJob`.
        args: For the function.
        cancel_at: Ask to cancel it when it reaches this checkpoint, counted from 1: a call of
            `exit_if_cancelled`, a look at `cancel_requested`, or an item of `track(checkpoint=True)`.
        kwargs: For the function.

    Returns:
        What became of it; whatever the job raises is in there.

    Raises:
        TypeError: It is not tracked.
    """
    job = Job.of(function)
    call: Callable[..., Any] = function.handle if isinstance(function, ProgressJob) else function
    if isinstance(function, ProgressJob) and iscoroutinefunction(function.handle_with_progress):
        call = function.ahandle
    tracker = _ObservingTracker(cancel_at)
    returned: R | None = None
    raised: BaseException | None = None
    with job.living_in(tracker):
        try:
            result = call(*args, **kwargs)
            returned = asyncio.run(result) if asyncio.iscoroutine(result) else result
        except BaseException as error:  # noqa: BLE001 - it is what the caller wants to see
            raised = error
    tracker.close()
    return FinishedRun(returned, raised, tracker.states)


class FrozenClock:
    """A clock that moves only when told to."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        """The time."""
        return self._now

    def tick(self, seconds: float) -> datetime:
        """Move it by *seconds*, backwards if negative. Returns the new time."""
        self._now += timedelta(seconds=seconds)
        return self._now


@contextmanager
def frozen_clock(start: datetime | None = None) -> Iterator[FrozenClock]:
    """Hold the library's clock still inside a `with`, at *start* (aware; by default 2030-01-01 UTC).

    When the reporter writes, and how fast a run seems, goes on as it was. So does a server's own clock,
    by which a store that has one judges what has expired and who has stalled.
    """
    frozen = FrozenClock(start or datetime(2030, 1, 1, tzinfo=UTC))
    clock.set_clock(frozen)
    try:
        yield frozen
    finally:
        clock.set_clock(None)


@contextmanager
def isolated_tracker() -> Iterator[Tracker]:
    """Inside a `with`, the default tracker is a new one in memory, and job names may be used again."""
    tracker = Tracker(MemoryStore())
    before = set_default_tracker(tracker)
    try:
        with claims_of_its_own():
            yield tracker
    finally:
        set_default_tracker(before)
        tracker.close()
