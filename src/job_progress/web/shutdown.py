"""Ends what is watched when the server wants to stop: it waits for all answers, and tells no application so before."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from inspect import getattr_static
from types import CoroutineType
from typing import Any
from weakref import WeakKeyDictionary, ref

LOOK_EVERY = 0.25
"""Seconds between two looks at the server while somebody watches."""


class ShutdownGuard:
    """Calls *close* when the server of this process stops; a thread looks while *is_watched*.

    Servers have no common way to say that they stop, so it looks at what some of them keep: `should_exit` (uvicorn)
    and `alive` (the workers of gunicorn), of the object that handles SIGTERM, and of the one that runs the event
    loop, which also knows when it stops for another reason: after so many requests, or as its program told it.

    Args:
        is_watched: Is there anybody left for whom the server would wait?
        close: Ends all of them, and is called again for those who come later.
    """

    def __init__(self, is_watched: Callable[[], bool], close: Callable[[], object]) -> None:
        self._is_watched = is_watched
        self._close = close
        self._servers: WeakKeyDictionary[asyncio.AbstractEventLoop, list[_Server]] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Somebody watches, from here on. No I/O."""
        with suppress(RuntimeError):  # there is no loop in this thread
            loop = asyncio.get_running_loop()
            if loop not in self._servers:
                self._servers[loop] = list(_servers_of(loop))
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="job-progress shutdown", daemon=True)
                with suppress(RuntimeError):  # the process ends, or may have no more threads
                    self._thread.start()

    def _work(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            with self._lock:
                if not self._is_watched():
                    self._thread = None
                    return
            if self._stops():
                self._close()

    def _stops(self) -> bool:
        handler = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        servers = [server for of_loop in list(self._servers.values()) for server in of_loop]
        return _wants_to_stop(handler) or any(server.stops() for server in servers)


class _Server:
    """What runs an event loop: *owner*, in the steps of *task*, both of which may go."""

    def __init__(self, owner: object, task: asyncio.Task[Any]) -> None:
        self._owner = ref(owner)
        self._task = ref(task)
        self._shutdown = getattr(getattr(type(owner), "shutdown", None), "__code__", None)

    def stops(self) -> bool:
        """Does it want to stop, or has it begun to?"""
        return _wants_to_stop(self._owner()) or any(step.cr_code is self._shutdown for step in _steps(self._task()))


def _servers_of(loop: asyncio.AbstractEventLoop) -> Iterator[_Server]:
    """What looks like a server in the tasks of *loop*: it may be a part of one, which never wants to stop."""
    for task in asyncio.all_tasks(loop):
        for step in _steps(task):
            owner = step.cr_frame.f_locals.get("self") if step.cr_frame else None
            if _can_stop(owner) and type(owner).__weakrefoffset__:
                yield _Server(owner, task)


def _steps(task: asyncio.Task[Any] | None) -> Iterator[CoroutineType[Any, Any, Any]]:
    """The coroutines of *task*, each of which waits for the next."""
    step: Any = None if task is None else task.get_coro()
    while isinstance(step, CoroutineType):
        yield step
        step = step.cr_await


def _can_stop(owner: object) -> bool:
    return isinstance(_kept(owner, "should_exit"), bool) or isinstance(_kept(owner, "alive"), bool)


def _wants_to_stop(owner: object) -> bool:
    return _kept(owner, "should_exit") is True or _kept(owner, "alive") is False


def _kept(owner: object, name: str) -> object:
    return getattr_static(owner, name, None)  # whatever else has that name is not to be woken
