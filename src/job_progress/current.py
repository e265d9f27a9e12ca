"""Which run is executing here: its `Progress` goes with the context."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from threading import current_thread, main_thread
from typing import Any

from job_progress.once import warn_once
from job_progress.progress import Progress
from job_progress.run import Run
from job_progress.state import JobState, JobStatus, Settings
from job_progress.task import NO_TASK, QueueTask, current_task, held, queue_task
from job_progress.threads import cancelled_to_the_end, to_the_end

_current: ContextVar[Progress | None] = ContextVar("job_progress_current", default=None)
_live: set[Run] = set()
"""The runs that are executing in this process."""


def current_progress() -> Progress:
    """The `Progress` of the run that is executing in this context.

    Outside of any run it is a detached one, which reports nowhere, so that a job's function can
    be called plainly. No I/O.
    """
    return _current.get() or detached()


def is_within_run() -> bool:
    """Is a run executing in this context?"""
    return _current.get() is not None


def within(progress: Progress) -> AbstractContextManager[None]:
    """Inside, `current_progress` is *progress*, such as a part of the run's. For integrations."""
    return held(_current, progress)


@contextmanager
def _inside(run: Run) -> Iterator[Progress]:
    progress = Progress(run)
    if run.publisher is not None:
        run.publisher.add(run)  # not before: an interrupted start would have heartbeats, and nobody who ends it
    # A tracked function that is called in there is no longer the queue's task, but a part of it.
    with held(_current, progress), queue_task(NO_TASK):
        _live.add(run)
        try:
            yield progress
        finally:
            _live.discard(run)


@contextmanager
def running(run: Run) -> Iterator[Progress]:
    """What happens inside is *run*: `current_progress` is its, and so is the way it ends."""
    try:
        with _inside(run) as progress:
            yield progress
    except GeneratorExit as error:
        run.drop(error)
        raise
    except BaseException as error:
        if not run.finish(error):
            raise
    else:
        run.finish(run.failure)


@asynccontextmanager
async def arunning(run: Run) -> AsyncIterator[Progress]:
    """`running`, without blocking the event loop, and with the end published even if cancelled again and again.

    A cancelled task waits for that no longer than a second: see `to_the_end`.
    """
    from asyncio import CancelledError

    try:
        with _inside(run) as progress:
            yield progress
    except GeneratorExit as error:
        run.drop(error)
        raise
    except CancelledError as error:
        await cancelled_to_the_end(error, run.finish, error)
    except BaseException as error:
        if not await to_the_end(run.finish, error):
            raise
    else:
        await to_the_end(run.finish, run.failure)


def end_unrun(task: QueueTask, begun: Run | JobState) -> Any:
    """End *task* the queue's way: its run was cancelled, or has not begun, as it was cancelled, or done, before."""
    if isinstance(begun, JobState) and begun.is_completed and begun.task == task.known_as(begun.id):
        task.delivery.said = JobStatus.COMPLETED
        return task.end_done(begun)
    task.delivery.said = JobStatus.CANCELLED
    return task.end_cancelled()


async def awaited(result: Any) -> Any:
    """*result*, or what it gives if it is to be awaited."""
    return await result if isinstance(result, Awaitable) else result


def detached() -> Progress:
    """A `Progress` of no run: it can do all that others can, and nobody sees it."""
    state = JobState(
        job="detached",
        id="detached",
        token="detached",  # noqa: S106 - guards nothing
        status=JobStatus.PROCESSING,
        version=1,
        settings=Settings(cancellable=True),
    )
    return Progress(_Detached(state))


class _Detached(Run):
    """A run that reports nowhere; its first report warns if that looks like a mistake."""

    def __init__(self, state: JobState) -> None:
        super().__init__(state)
        self.quiet = self.alert = True

    def wake(self) -> None:
        super().wake()
        if _looks_forgotten():
            warn_once(
                "thread",
                "what the thread %r reports is not seen, and it cannot be cancelled, as it does not know which run it "
                "works for. If it works for one, start it with contextvars.copy_context().run: "
                "pool.submit(contextvars.copy_context().run, function, ...)",
                current_thread().name,
            )


def _looks_forgotten() -> bool:
    """Is this a thread of somebody's own, beside a run that may be the one it works for?"""
    if current_thread() is main_thread() or current_task() is not NO_TASK or _in_event_loop():
        return False
    return any(not run.lost for run in list(_live))


def _in_event_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None
