"""Which run is executing here: its `Progress` goes with the context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar, Token

from job_progress.progress import Progress
from job_progress.run import Run
from job_progress.state import JobState, JobStatus, Settings

_current: ContextVar[Progress | None] = ContextVar("job_progress_current", default=None)


def current_progress() -> Progress:
    """The `Progress` of the run that is executing in this context.

    Outside of any run it is a detached one, which reports nowhere, so that a job's function can
    be called plainly. No I/O.
    """
    return _current.get() or detached()


def _reset(token: Token[Progress | None]) -> None:
    with suppress(ValueError):  # a generator that was begun in one context, and is closed in another
        _current.reset(token)


@contextmanager
def running(run: Run) -> Iterator[Progress]:
    """What happens inside is *run*: `current_progress` is its, and so is the way it ends."""
    progress = Progress(run)
    reset = _current.set(progress)
    try:
        yield progress
    except BaseException as error:
        if not run.finish(error):
            raise
    else:
        run.finish(None)
    finally:
        _reset(reset)


@asynccontextmanager
async def arunning(run: Run) -> AsyncIterator[Progress]:
    """`running`, without blocking the event loop, and with the end published even if cancelled again."""
    from asyncio import shield, to_thread

    progress = Progress(run)
    reset = _current.set(progress)
    try:
        yield progress
    except BaseException as error:
        if not await shield(to_thread(run.finish, error)):
            raise
    else:
        await shield(to_thread(run.finish, None))
    finally:
        _reset(reset)


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
    return Progress(Run(state))
