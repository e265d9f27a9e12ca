"""A kind of work: its name, its settings, and its executions by id."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from msgspec import structs

from job_progress.asked import NO_CALL, Call, ask
from job_progress.calls import nobody, task_id
from job_progress.claims import LateName
from job_progress.current import arunning, is_within_run, running
from job_progress.default import default_tracker
from job_progress.encoding import plain
from job_progress.errors import JobAlreadyProcessing, JobCancelled, StoreUnavailable
from job_progress.events import Enqueue
from job_progress.given_names import layers
from job_progress.names import check_id, check_name
from job_progress.progress import Progress
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.task import QueueTask, current_task
from job_progress.threads import cancelled_to_the_end, in_thread, to_the_end
from job_progress.tracker import States, Status, Tracker, check_positive

logger = logging.getLogger("job_progress")

Id = str | int | UUID
LONGEST_PAUSE = 1.0
"""Seconds between two looks of a second delivery whether the first is over."""


class Job:
    """A kind of work. Decorated functions and `ProgressJob` classes carry theirs as `.job`.

    Args:
        name: 1 to 200 printable characters; `(name, id)` names one state.
        cancellable: `False`: executions can be cancelled only while pending. `True`: until they
            end. A number from 0 to 1: until their progress has once reached it.
        ttl: Seconds a finished state is remembered; by default the tracker's.
        stuck_after: Seconds after which a run that is alive, but reports nothing new, reads `is_stuck`;
            by default it never does.
        tracker: Where the states live; by default the default tracker, whichever that is by then.
        id_of: Makes the id from the arguments of a call; by default the running queue's task id, or
            else a fresh UUID.
        owner_of: Makes the owner from the arguments of a call; by default nobody.

    Raises:
        ValueError, TypeError: An argument is out of its range.
    """

    def __init__(
        self,
        name: str | LateName,
        *,
        cancellable: bool | float = False,
        ttl: float | None = None,
        stuck_after: float | None = None,
        tracker: Tracker | None = None,
        id_of: Callable[..., Id] = task_id,
        owner_of: Callable[..., str | None] = nobody,
    ) -> None:
        self._name = name if isinstance(name, LateName) else check_name(name, "job name")
        if not isinstance(cancellable, (bool, int, float)):
            raise TypeError(f"cancellable must be True, False or a number from 0 to 1, not {cancellable!r}")
        if not 0.0 <= cancellable <= 1.0:
            raise ValueError(f"cancellable must be True, False or a number from 0 to 1, not {cancellable!r}")
        # No progress is below 0, so a threshold of 0 is no different from False.
        self._cancellable = cancellable if isinstance(cancellable, bool) else float(cancellable) or False
        if ttl is not None:
            check_positive(ttl, "ttl")
        self._ttl = ttl
        if stuck_after is not None:
            check_positive(stuck_after, "stuck_after")
        self._stuck_after = stuck_after
        self._tracker = tracker
        self._id_of = id_of
        self._owner_of = owner_of

    def __repr__(self) -> str:
        return f"Job({str(self._name)!r})"

    @property
    def name(self) -> str:
        """What the job is called. Where it says that not itself, the first who asks settles it; see `tracked`."""
        return self._name.fix() if isinstance(self._name, LateName) else self._name

    @staticmethod
    def of(obj: Any) -> Job:
        """The job behind a decorated function, a `ProgressJob` class or object, or a queue's own task object.

        Raises:
            TypeError: There is none.
        """
        job = Job.behind(obj)
        if job is None:
            raise TypeError(f"{obj!r} is not tracked: decorate it with @tracked, or derive from ProgressJob")
        return job

    @staticmethod
    def behind(obj: Any) -> Job | None:
        """`of`, or `None` if there is none."""
        wrapping: list[Any] = []
        for layer in layers(obj):
            wrapping.append(layer)
            job = getattr(layer, "job", None)
            if isinstance(job, Job):
                if isinstance(job._name, LateName):
                    job._name.learn_from(wrapping)
                return job
        return None

    @property
    def tracker(self) -> Tracker:
        """Where the states of this job live."""
        return self._tracker or default_tracker()

    @contextmanager
    def living_in(self, tracker: Tracker) -> Iterator[None]:
        """Inside a `with`, the states of this job live in *tracker*. For tests."""
        before, self._tracker = self._tracker, tracker
        try:
            yield
        finally:
            self._tracker = before

    def get(self, id: Id | None, create_if_missing: bool = False) -> JobState | None:
        """The state of an execution. One round trip.

        Args:
            id: Which execution; of `None` there is never a state.
            create_if_missing: Give a blank pending state (version 0) instead of `None`. It is not
                stored, and so locks nothing.

        Raises:
            StoreUnavailable: The store does not answer.
            ValueError, TypeError: *id* is none that an execution can have.
        """
        if id is None:
            return None
        state = self.tracker.get(self.name, check_id(id))
        return self._blank(id).bound_to(self.tracker) if state is None and create_if_missing else state

    async def aget(self, id: Id | None, create_if_missing: bool = False) -> JobState | None:
        """`get`, without blocking the event loop."""
        return await in_thread(self.get, id, create_if_missing)

    def lock(self, id: Id, *, owner: str | None = None, meta: dict[str, Any] | None = None) -> JobState | None:
        """Make *id* pending if it is free. One round trip if it is unknown, else two.

        It is free if it is unknown, finished, or was left by a worker that died. Of any number
        that ask at once, exactly one gets it; it then dispatches the job.

        Args:
            id: Which execution.
            owner: Whom it belongs to; shown in the state.
            meta: Small JSON metadata to begin with.

        Returns:
            The pending state, or `None` if somebody else has the lock.

        Raises:
            StoreUnavailable: The store does not answer.
            ValueError, TypeError: An argument is none that can be stored.
        """
        return self.tracker.lock(self._blank(id, owner, meta))

    async def alock(self, id: Id, *, owner: str | None = None, meta: dict[str, Any] | None = None) -> JobState | None:
        """`lock`, without blocking the event loop."""
        return await in_thread(self.lock, id, owner=owner, meta=meta)

    def mark_as_pending(self, id: Id) -> JobState:
        """Make *id* pending unless it is pending or being processed already. At most two round trips.

        For whoever enqueues without locking; doing it twice changes nothing.

        Returns:
            The state as it is then.
        """
        blank = self._blank(id)
        return self.tracker.apply(blank, Enqueue(blank), likely_new=True)

    async def amark_as_pending(self, id: Id) -> JobState:
        """`mark_as_pending`, without blocking the event loop."""
        return await in_thread(self.mark_as_pending, id)

    def cancel(self, id: Id) -> JobState:
        """Ask to cancel an execution; see `Tracker.cancel`."""
        return self.tracker.cancel(self.name, check_id(id))

    async def acancel(self, id: Id) -> JobState:
        """`cancel`, without blocking the event loop."""
        return await in_thread(self.cancel, id)

    def called(self, /, *args: Any, **kwargs: Any) -> tuple[Id, str | None]:
        """The id and the owner of the execution that a call with these arguments is. No I/O."""
        return self._id_of(*args, **kwargs), self._owner_of(*args, **kwargs)

    def taken_up(self, call: Call = NO_CALL) -> AbstractContextManager[QueueTask]:
        """Inside, what *call* of this job is to the queue whose task is running here: that task, or a part of it."""
        task = current_task()
        if task.id is None and not is_within_run():
            task = ask(task, call, lambda function: Job.behind(function) is self)
        if task.delivery.is_running:  # called beside the run, as by `asyncio.gather`
            return QueueTask().taken_up()
        if task.function is not None and (own := Job.behind(task.function)) is not self:
            return (task.of_inner_call() if own is None else QueueTask()).taken_up()
        return task.taken_up()

    def begin(self, id: Id, owner: str | None = None) -> Run | JobState:
        """Start a run that somebody else ends; see `Tracker.begin`. For wrappers: users want `start`.

        A second delivery of a queue's task waits while the run of the first is alive.
        *owner* is whom it belongs to, unless that was said when the id became pending.
        """
        deliveries = _Deliveries(self, id, owner)
        while (begun := deliveries.try_to_begin()) is None:
            sleep(deliveries.pause)
        return begun

    def blank_of_task(self, id: Id, owner: str | None = None) -> JobState:
        """What the running queue's task makes of *id* to begin with. For events; no I/O."""
        blank = self._blank(id, owner)
        return structs.replace(blank, task=current_task().known_as(blank.id))

    async def abegin(self, id: Id, owner: str | None = None) -> Run | JobState:
        """`begin`, without blocking the event loop. If cancelled meanwhile, what has begun, or will, is ended."""
        from asyncio import CancelledError
        from asyncio import sleep as asleep

        deliveries = _Deliveries(self, id, owner)
        try:
            while (begun := await to_the_end(deliveries.try_to_begin)) is None:
                await asleep(deliveries.pause)
        except GeneratorExit as dropped:
            run = deliveries.leave(dropped)
            if run is not None:
                run.drop(dropped)
            raise
        except CancelledError as cancelled:
            run = deliveries.leave(cancelled)
            if run is not None:
                await cancelled_to_the_end(cancelled, run.finish, cancelled)
            raise
        return begun

    def start(self, id: Id) -> AbstractContextManager[Progress]:
        """Run the body of a `with` as this job, by hand and here: it gets the run's `Progress`.

        The body's end is the run's: completed, failed with the error that it raises, or cancelled
        at a checkpoint, after which the program goes on behind the `with`. One round trip at
        the beginning (two if the id was pending) and one at the end.

        Raises:
            JobAlreadyProcessing: On entering: another run of *id* is alive, or this task of a queue has completed it.
            JobCancelled: On entering: *id* was cancelled while it was pending.
            ValueError, TypeError: *id* is none that an execution can have.
        """
        return self._start(check_id(id))

    @contextmanager
    def _start(self, id: str) -> Iterator[Progress]:
        with self.taken_up(), running(self._begun(self.begin(id))) as progress:
            yield progress

    def astart(self, id: Id) -> AbstractAsyncContextManager[Progress]:
        """`start`, without blocking the event loop."""
        return self._astart(check_id(id))

    @asynccontextmanager
    async def _astart(self, id: str) -> AsyncIterator[Progress]:
        with self.taken_up():
            async with arunning(self._begun(await self.abegin(id))) as progress:
                yield progress

    def _begun(self, begun: Run | JobState) -> Run:
        if isinstance(begun, Run):
            return begun
        if begun.is_completed:
            raise JobAlreadyProcessing(f"{self.name} {begun.id!r}: this task of the queue has completed it", begun)
        raise JobCancelled(f"{self.name} {begun.id!r} was cancelled before it started")

    def watch(self, id: Id, timeout: float | None = None) -> Generator[JobState, None, None]:
        """The states of an execution as they come; see `Tracker.watch`."""
        return self.tracker.watch(self.name, check_id(id), timeout)

    def awatch(self, id: Id, timeout: float | None = None) -> AsyncGenerator[JobState, None]:
        """`watch`, without blocking the event loop."""
        return self.tracker.awatch(self.name, check_id(id), timeout)

    def wait(self, id: Id, timeout: float | None = None) -> JobState:
        """Block until an execution has ended; see `Tracker.wait`."""
        return self.tracker.wait(self.name, check_id(id), timeout)

    async def await_(self, id: Id, timeout: float | None = None) -> JobState:
        """`wait`, without blocking the event loop."""
        return await self.tracker.await_(self.name, check_id(id), timeout)

    def list(
        self,
        status: Status | Collection[Status] | None = None,
        limit: int = 50,
        after: JobState | str | None = None,
    ) -> States:
        """Executions, newest first; see `Tracker.list`."""
        return self.tracker.list(self.name, status, limit, after)

    async def alist(
        self,
        status: Status | Collection[Status] | None = None,
        limit: int = 50,
        after: JobState | str | None = None,
    ) -> States:
        """`list`, without blocking the event loop."""
        return await self.tracker.alist(self.name, status, limit, after)

    def average_duration(self) -> timedelta | None:
        """How long an execution takes on average; see `Tracker.average_duration`."""
        return self.tracker.average_duration(self.name)

    async def aaverage_duration(self) -> timedelta | None:
        """`average_duration`, without blocking the event loop."""
        return await self.tracker.aaverage_duration(self.name)

    def _blank(self, id: Id, owner: str | None = None, meta: dict[str, Any] | None = None) -> JobState:
        tracker = self.tracker
        return JobState(
            job=self.name,
            id=check_id(id),
            owner=None if owner is None else check_name(owner, "owner"),
            meta=plain(_checked_meta(meta), "meta", tracker.max_result_bytes),
            settings=structs.replace(
                tracker.settings,
                cancellable=self._cancellable,
                ttl=self._ttl or tracker.settings.ttl,
                stuck_after=self._stuck_after,
            ),
        )


class _Deliveries:
    """The running queue's task is delivered: to begin its run, once the run of an earlier delivery is over.

    Attributes:
        pause: Seconds to wait until the next look.
    """

    def __init__(self, job: Job, id: Id, owner: str | None) -> None:
        self._job = job
        self._blank = job.blank_of_task(id, owner)
        self._task = current_task()
        self._alive_until: float | None = None
        self._first: list[Run | BaseException] = []
        self.pause = 0.025

    def leave(self, why: BaseException) -> Run | None:
        """Nobody waits any more: the run that has begun, for the caller to end. One that begins later ends at once."""
        self._first.append(why)
        first = self._first[0]
        return first if isinstance(first, Run) else None

    def try_to_begin(self) -> Run | JobState | None:
        """The run, or why there is none (see `Tracker.begin`); `None` as long as an earlier delivery's is alive.

        While the store is away nobody knows that, so the run does not begin before the other counts as dead.
        """
        begun = self._try_to_begin()
        if isinstance(begun, Run):
            self._first.append(begun)
            if isinstance(left := self._first[0], BaseException):
                begun.finish(left)
        return begun

    def _try_to_begin(self) -> Run | JobState | None:
        if self._task.delivery.is_over and self._alive_until is not None:
            raise JobAlreadyProcessing(f"{self._job.name} {self._blank.id!r}: the queue has done with this delivery")
        waits = self._alive_until is not None and monotonic() < self._alive_until
        try:
            return self._job.tracker.begin(self._blank, self._task, needs_store=waits)
        except JobAlreadyProcessing as error:
            state = error.state
            if state is None or self._blank.task is None or state.task != self._blank.task:
                raise
            if self._alive_until is None:
                self._task = structs.replace(self._task, asked=False)  # two at once are the same task
                logger.warning("%s; this is another delivery of the same task, which waits", error)
            self._alive_until = monotonic() + state.settings.stalled_after
        except StoreUnavailable:
            pass
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        return None


def _checked_meta(meta: Any) -> dict[str, Any]:
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"meta must be a dictionary, not {meta!r}")
    return meta or {}
