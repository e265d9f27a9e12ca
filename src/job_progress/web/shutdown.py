"""Ends what is watched when the server wants to stop: it waits for all answers, and tells no application so before."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CoroutineType
from typing import Any
from weakref import WeakKeyDictionary, ref

LOOK_EVERY = 0.25
"""Seconds between two looks at the server while somebody watches."""


class ShutdownGuard:
    """Calls *close* when the server of this process stops; a thread looks while *is_watched*.

    Servers have no common way to say that they stop, so it looks at attributes: `should_exit` of uvicorn's server and
    `alive` of gunicorn's workers. It finds them as the owner of the handler of SIGTERM, and in the tasks of the event
    loop, where a server is found that stops for another reason: after so many requests, or as its program told it.

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
        owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        servers = [server for of_loop in list(self._servers.values()) for server in of_loop]
        return (_is_server(owner) and _wants_to_stop(owner)) or any(server.stops() for server in servers)


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
    """The servers in the tasks of *loop*, and parts of them, which never want to stop."""
    for task in asyncio.all_tasks(loop):
        for step in _steps(task):
            owner = step.cr_frame.f_locals.get("self") if step.cr_frame else None
            if _is_server(owner):
                yield _Server(owner, task)


def _steps(task: asyncio.Task[Any] | None) -> Iterator[CoroutineType[Any, Any, Any]]:
    """The coroutines of *task*, each of which waits for the next."""
    step: Any = None if task is None else task.get_coro()
    while isinstance(step, CoroutineType):
        yield step
        step = step.cr_await


def _is_server(owner: object) -> bool:
    """Is its class one of uvicorn or gunicorn, or derived from one? Objects of others may have such attributes, too."""
    is_theirs = any(cls.__module__.partition(".")[0] in ("uvicorn", "gunicorn") for cls in type(owner).__mro__)
    return is_theirs and (hasattr(owner, "should_exit") or hasattr(owner, "alive"))


def _wants_to_stop(owner: object) -> bool:
    return getattr(owner, "should_exit", False) is True or getattr(owner, "alive", True) is False
