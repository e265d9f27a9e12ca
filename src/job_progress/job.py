"""A kind of work: its name, its settings, and its executions by id."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import structs

from job_progress.calls import nobody, task_id
from job_progress.current import arunning, running
from job_progress.default import default_tracker
from job_progress.encoding import plain
from job_progress.errors import JobCancelled
from job_progress.events import Enqueue
from job_progress.names import check_id, check_name
from job_progress.progress import Progress
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.task import current_task
from job_progress.threads import in_thread, to_the_end
from job_progress.tracker import States, Status, Tracker, check_positive

Id = str | int | UUID


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
        name: str,
        *,
        cancellable: bool | float = False,
        ttl: float | None = None,
        stuck_after: float | None = None,
        tracker: Tracker | None = None,
        id_of: Callable[..., Id] = task_id,
        owner_of: Callable[..., str | None] = nobody,
    ) -> None:
        self.name = check_name(name, "job name")
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
        return f"Job({self.name!r})"

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
        wrapping: list[Any] = [obj]
        for seen in wrapping:
            job = getattr(seen, "job", None)
            if isinstance(job, Job):
                return job
            inner = (getattr(seen, name, None) for name in _WRAPPED if len(wrapping) < _LAYERS)
            wrapping += [one for one in inner if callable(one)]
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

    def begin(self, id: Id, owner: str | None = None) -> Run | None:
        """Start a run that somebody else ends; see `Tracker.begin`. For wrappers: users want `start`.

        *owner* is whom it belongs to, unless that was said when the id became pending.
        """
        return self.tracker.begin(self.blank_of_task(id, owner))

    def blank_of_task(self, id: Id, owner: str | None = None) -> JobState:
        """What the running queue's task makes of *id* to begin with. For events; no I/O."""
        blank, task = self._blank(id, owner), current_task().id
        return blank if task is None else structs.replace(blank, task="" if task == blank.id else task)

    async def abegin(self, id: Id, owner: str | None = None) -> Run | None:
        """`begin`, without blocking the event loop. If cancelled meanwhile, what has begun is ended."""
        from asyncio import CancelledError

        begun: list[Run | None] = []
        try:
            await to_the_end(lambda: begun.append(self.begin(id, owner)))
        except CancelledError as cancelled:
            if begun and begun[0] is not None:
                await to_the_end(begun[0].finish, cancelled)
            raise
        return begun[0]

    def start(self, id: Id) -> AbstractContextManager[Progress]:
        """Run the body of a `with` as this job, by hand and here: it gets the run's `Progress`.

        The body's end is the run's: completed, failed with the error that it raises, or cancelled
        at a checkpoint, after which the program goes on behind the `with`. One round trip at
        the beginning (two if the id was pending) and one at the end.

        Raises:
            JobAlreadyProcessing: On entering: another run of *id* is alive.
            JobCancelled: On entering: *id* was cancelled while it was pending.
            ValueError, TypeError: *id* is none that an execution can have.
        """
        return self._start(check_id(id))

    @contextmanager
    def _start(self, id: str) -> Iterator[Progress]:
        with running(self._begun(id, self.begin(id))) as progress:
            yield progress

    def astart(self, id: Id) -> AbstractAsyncContextManager[Progress]:
        """`start`, without blocking the event loop."""
        return self._astart(check_id(id))

    @asynccontextmanager
    async def _astart(self, id: str) -> AsyncIterator[Progress]:
        async with arunning(self._begun(id, await self.abegin(id))) as progress:
            yield progress

    def _begun(self, id: str, run: Run | None) -> Run:
        if run is None:
            raise JobCancelled(f"{self.name} {id!r} was cancelled before it started")
        return run

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


_WRAPPED = ("__wrapped__", "func", "fn", "original_func", "run", "coroutine")
"""Where wrappers, and the task objects of queues, keep the function that they are about."""
_LAYERS = 20


def _checked_meta(meta: Any) -> dict[str, Any]:
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"meta must be a dictionary, not {meta!r}")
    return meta or {}
