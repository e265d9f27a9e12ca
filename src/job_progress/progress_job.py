"""Jobs as classes, for those who like them: a thin face over `Job`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from job_progress.claims import claim, default_name
from job_progress.current import arunning, awaited, current_progress, end_unrun, running
from job_progress.job import Id, Job
from job_progress.progress import Progress
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.tracker import Tracker

logger = logging.getLogger("job_progress")


class ProgressJob(ABC):
    """A job whose objects are its executions; `handle()` runs one.

    Class arguments, as in `class Import(ProgressJob, cancellable=0.75)`, are the options of
    `@tracked`, except for `id`, which `get_progress_id` is.
    """

    job: ClassVar[Job]
    _stores_result: ClassVar[bool]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        cancellable: bool | float = False,
        ttl: float | None = None,
        stuck_after: float | None = None,
        tracker: Tracker | None = None,
        store_result: bool = False,
    ) -> None:
        super().__init_subclass__()
        job_name = name or default_name(cls)
        cls.job = Job(job_name, cancellable=cancellable, ttl=ttl, stuck_after=stuck_after, tracker=tracker)
        cls._stores_result = store_result
        claim(job_name, cls, tracker)

    @abstractmethod
    def get_progress_id(self) -> Id:
        """The id of this execution."""

    @abstractmethod
    def handle_with_progress(self) -> Any:
        """The work, reporting through `self.progress()`. May be `async`; then `ahandle` runs it."""

    def handle(self) -> Any:
        """Run the job, here and now; what `@tracked` says of a call is true of this one.

        Returns:
            What `handle_with_progress` returns; `None` if it was cancelled.
        """
        with self.job.taken_up() as task:
            run = self.job.begin(self.get_progress_id())
            if isinstance(run, Run):
                with running(run) as progress:
                    try:
                        self._progress = progress
                        return self._publish(run, self.handle_with_progress())
                    except Exception as error:
                        self._report(run, error)
                        raise
            return end_unrun(task, run)

    async def ahandle(self) -> Any:
        """`handle`, for an async `handle_with_progress`."""
        with self.job.taken_up() as task:
            run = await self.job.abegin(self.get_progress_id())
            if isinstance(run, Run):
                async with arunning(run) as progress:
                    try:
                        self._progress = progress
                        return self._publish(run, await awaited(self.handle_with_progress()))
                    except Exception as error:
                        self._report(run, error)
                        raise
            return await awaited(end_unrun(task, run))

    def progress(self) -> Progress:
        """The `Progress` of this object's run, in whichever thread; outside of a run, a detached one."""
        progress: Progress | None = getattr(self, "_progress", None)
        return progress or current_progress()

    def on_job_error(self, error: Exception) -> None:  # noqa: B027 - a hook that may stay as it is
        """Called with what `handle_with_progress` raised, before it is raised on. Does nothing by default."""

    @classmethod
    def get_progress(cls, id: Id | None, create_if_missing: bool = False) -> JobState | None:
        """The state of an execution; see `Job.get`."""
        return cls.job.get(id, create_if_missing)

    @classmethod
    async def aget_progress(cls, id: Id | None, create_if_missing: bool = False) -> JobState | None:
        """`get_progress`, without blocking the event loop."""
        return await cls.job.aget(id, create_if_missing)

    @classmethod
    def lock(cls, id: Id, *, owner: str | None = None, meta: dict[str, Any] | None = None) -> JobState | None:
        """Make *id* pending if it is free; see `Job.lock`."""
        return cls.job.lock(id, owner=owner, meta=meta)

    @classmethod
    async def alock(cls, id: Id, *, owner: str | None = None, meta: dict[str, Any] | None = None) -> JobState | None:
        """`lock`, without blocking the event loop."""
        return await cls.job.alock(id, owner=owner, meta=meta)

    @classmethod
    def mark_as_pending(cls, id: Id) -> JobState:
        """Make *id* pending unless it runs; see `Job.mark_as_pending`."""
        return cls.job.mark_as_pending(id)

    @classmethod
    async def amark_as_pending(cls, id: Id) -> JobState:
        """`mark_as_pending`, without blocking the event loop."""
        return await cls.job.amark_as_pending(id)

    @classmethod
    def cancel(cls, id: Id) -> JobState:
        """Ask to cancel an execution; see `Job.cancel`."""
        return cls.job.cancel(id)

    @classmethod
    async def acancel(cls, id: Id) -> JobState:
        """`cancel`, without blocking the event loop."""
        return await cls.job.acancel(id)

    def _publish(self, run: Run, result: Any) -> Any:
        if self._stores_result and result is not None:
            run.hand_out_returned(result)
        return result

    def _report(self, run: Run, error: Exception) -> None:
        if run.is_own(error):  # cancelled in a pool, whose workers pass on nothing but an Exception
            return
        try:
            self.on_job_error(error)
        except Exception:
            logger.exception("%s.on_job_error raised; what the job raised goes on", type(self).__qualname__)
