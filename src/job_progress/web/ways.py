"""The two ways to work: in an event loop, and in a thread of one's own.

The core is written once, with `async`. In a loop it runs as it stands; in a thread whatever it
awaits blocks and is done at once, so that `run` takes it to its end in a single step.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from job_progress.threads import AT_MOST, Threads, in_thread, outcome_of

T = TypeVar("T")

OF_USERS = Threads(AT_MOST)
"""For what users wrote."""


class Bell(ABC):
    """Rung from any thread, heard by all who wait for it."""

    rings = 0
    """How often it was rung: look at it before looking at what it stands for."""

    @abstractmethod
    def ring(self) -> None:
        """Wake all who wait. Never blocks."""

    @abstractmethod
    async def rung(self, heard: int, timeout: float) -> None:
        """Wait until it has been rung more often than *heard*, for *timeout* seconds at most."""


class Way(Protocol):
    """How a face of the web works."""

    streams: bool
    """Can it answer piece by piece?"""
    keep_alive: float
    """Seconds of silence after which a stream says that it is still there."""
    waits: bool
    """Can it hold an answer back without holding up all others?"""

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call what may block."""
        ...

    async def ask(self, function: Callable[..., object], *args: object) -> object:
        """Call what a user wrote, sync or async."""
        ...

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def bell(self) -> Bell:
        """A bell for those who work here."""
        ...

    def here(self) -> object:
        """What those who share a bell share."""
        ...


class LoopBell(Bell):
    """A bell in an event loop: however many wait, ringing it wakes the loop once, and one timer is set."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[None], float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """Wake all who wait."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self.rings += 1
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            _end(one)

    async def rung(self, heard: int, timeout: float) -> None:
        """Wait for a ring."""
        if self.rings > heard:
            return
        until = self._loop.time() + timeout
        waiting = self._loop.create_future()
        self._waiting[waiting] = until
        if self._alarm is None or until < self._alarm.when():
            self._set_alarm(until)
        try:
            await waiting
        finally:
            self._waiting.pop(waiting, None)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(at, self._wake_the_late)

    def _wake_the_late(self) -> None:
        self._alarm = None
        now = self._loop.time()
        for one, until in list(self._waiting.items()):
            if until <= now:
                del self._waiting[one]
                _end(one)
        if self._waiting:
            self._set_alarm(min(self._waiting.values()))


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class ThreadBell(Bell):
    """A bell for threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Wake all who wait."""
        with self._changed:
            self.rings += 1
            self._changed.notify_all()

    async def rung(self, heard: int, timeout: float) -> None:
        """Wait for a ring."""
        with self._changed:
            self._changed.wait_for(lambda: self.rings > heard, timeout)


class InLoop:
    """Many answers at a time in one event loop; what blocks goes to a thread."""

    streams = True
    waits = True
    keep_alive = 15.0

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call it in a thread."""
        return await in_thread(function, *args)

    async def ask(self, function: Callable[..., object], *args: object) -> object:
        """Call it here if it is async, else in a thread."""
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_call_of(function))
        decided = function(*args) if is_async else await self.call_of_users(function, *args)
        return await decided if isinstance(decided, Awaitable) else decided

    async def call_of_users(self, function: Callable[..., object], *args: object) -> object:
        """Call a user's sync function: in a thread, where it holds up no store's answers."""
        return await outcome_of(OF_USERS.begin(function, *args))

    async def pause(self, seconds: float) -> None:
        """Let others go on."""
        await asyncio.sleep(seconds)

    def bell(self) -> Bell:
        """A bell in the running loop."""
        return LoopBell()

    def here(self) -> object:
        """The running loop."""
        return asyncio.get_running_loop()


class InThread:
    """One answer at a time in each thread: that of the framework, with its context and its connections."""

    keep_alive = 2.0  # WSGI finds out that a viewer has gone by writing to it, and its thread is wanted

    def __init__(self, *, streams: bool, waits: bool) -> None:
        self.streams = streams
        self.waits = waits

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call it here."""
        return function(*args)

    async def ask(self, function: Callable[..., object], *args: object) -> object:
        """Call it here; what is async gets a loop of its own."""
        decided = function(*args)
        return asyncio.run(_awaited(decided)) if isinstance(decided, Awaitable) else decided

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def bell(self) -> Bell:
        """A bell for threads."""
        return ThreadBell()

    def here(self) -> object:
        """All threads share theirs."""
        return None


def _call_of(function: Callable[..., object]) -> Any:
    return getattr(function, "__call__", None)  # noqa: B004 - of an object whose call is async


async def _awaited(decided: Awaitable[object]) -> object:
    return await decided


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of *coroutine*, which works in this thread and so never waits for a loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that works in a thread waited for an event loop")
