"""How the async twins of blocking calls are made: the same call, in a thread of the library's own.

Not in the event loop's executor, which is the application's: where that is busy, no run could begin or end, and
where a store is silent, all that the application does there would wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from job_progress.fork import reset_in_children

if TYPE_CHECKING:
    from asyncio import Future

P = ParamSpec("P")
T = TypeVar("T")
_Calls = SimpleQueue[Callable[[], None]]

AT_MOST = 16
"""Threads of each kind, of which there are no more than are needed at the same time."""
CANCELLED_WITHIN = 1.0
"""Seconds after which a cancelled task no longer waits for a call that should have ended before."""


class Threads:
    """Make calls for event loops: at most *at_most* at a time, in threads that keep no process from ending."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self.reset_after_fork()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """The threads stay with the parent, and so does what it has asked for."""
        self._calls: _Calls = SimpleQueue()
        self._started = 0
        self._busy = 0  # with calls that wait for a thread, too
        self._lock = threading.Lock()

    @property
    def are_busy(self) -> bool:
        """Is there a call that has not ended? No I/O."""
        return self._busy > 0

    def begin(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[tuple[T | None, Any]]:
        """Have a thread call it, with a copy of this context: what will be what it returns, and what it raises."""
        from asyncio import get_running_loop

        loop, context = get_running_loop(), copy_context()
        outcome: Future[tuple[T | None, Any]] = loop.create_future()

        def make() -> None:
            returned, error = None, None
            if not outcome.cancelled():
                try:
                    returned = context.run(call, *args, **kwargs)
                except BaseException as raised:  # noqa: BLE001 - it is raised where the call was asked for
                    error = raised
            with self._lock:  # before it is told, or the next call would find this thread busy
                self._busy -= 1
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_tell, outcome, (returned, error))

        self._have_made(make)
        return outcome

    def _have_made(self, make: Callable[[], None]) -> None:
        with self._lock:
            self._busy += 1
            self._calls.put(make)
            if self._busy <= self._started or self._started == self._at_most:
                return
            self._started += 1
        try:
            threading.Thread(target=_work, args=(self._calls,), name="job-progress call", daemon=True).start()
        except RuntimeError:  # as at the end of a process, or where it may have no more
            with self._lock:
                self._started -= 1
                nobody_else_will = not self._started
            if nobody_else_will:
                with suppress(Empty):
                    self._calls.get_nowait()()


def _work(calls: _Calls) -> None:
    while True:
        calls.get()()


def _tell(outcome: Future[T], told: T) -> None:
    if not outcome.done():
        outcome.set_result(told)


CALLS = Threads(AT_MOST)
"""For whoever looks at states, or changes them from outside of their runs."""
RUNS = Threads(AT_MOST)
"""For the beginnings and ends of runs, which must not wait for those."""


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`call(*args, **kwargs)`, in a thread with a copy of this context."""
    return await outcome_of(CALLS.begin(call, *args, **kwargs))


async def of_run(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`in_thread`, for what a run publishes."""
    return await outcome_of(RUNS.begin(call, *args, **kwargs))


async def outcome_of(outcome: Future[tuple[T | None, Any]]) -> T:
    """What `Threads.begin` gave, once it is there: returned, or raised."""
    returned, error = await outcome
    if error is not None:
        try:
            raise error
        finally:
            del error  # or it would keep this frame, and the frame it
    return cast("T", returned)


async def to_the_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`of_run`, but the call has ended when this does, however often it is cancelled meanwhile; then it is, too.

    That is so if the call ends soon: once cancelled, this waits no longer than `CANCELLED_WITHIN` seconds, and the
    call goes on by itself.
    """
    return await _ended(RUNS.begin(call, *args, **kwargs), None)


async def cancelled_to_the_end(
    cancelled: BaseException, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """`to_the_end`, where the task is *cancelled* already: always raises that."""
    await _ended(RUNS.begin(call, *args, **kwargs), cancelled)


async def _ended(outcome: Future[tuple[T | None, Any]], cancelled: BaseException | None) -> T:
    from asyncio import CancelledError, get_running_loop, wait

    now = get_running_loop().time
    until = None if cancelled is None else now() + CANCELLED_WITHIN
    while not outcome.done() and (until is None or now() < until):
        try:
            await wait([outcome], timeout=None if until is None else until - now())
        except CancelledError as error:  # time limits of anyio do so again and again
            cancelled, until = error, until or now() + CANCELLED_WITHIN
    if cancelled is not None:
        raise cancelled from (outcome.result()[1] if outcome.done() else None)
    return await outcome_of(outcome)
