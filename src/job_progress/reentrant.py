"""What a signal handler, and a finaliser that the garbage collector runs, may use: they may strike anywhere.

In the thread that they strike nothing goes on before they return. So whatever they wait for must not be held
there: no lock, no `threading.Event`, which has one, and no store, which has many.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Wake:
    """An event for one thread that waits. Unlike `threading.Event` it may be set from anywhere."""

    def __init__(self) -> None:
        self._unset = threading.Lock()
        self._unset.acquire()

    def set(self) -> None:
        """Wake who waits, or will wait. Returns at once."""
        with suppress(RuntimeError):  # it is set
            self._unset.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for *timeout* seconds at most, and have it unset again. Was it?"""
        return self._unset.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX))


class LateLock:
    """A lock for which a finaliser need not wait: what that has to do under it is done by whoever holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._late: deque[Callable[[], object]] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._catch_up()

    def do(self, call: Callable[[], object]) -> None:
        """Make *call* under the lock, now or as soon as that is free. Never waits; *call* must not, nor raise."""
        self._late.append(call)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._late and self._lock.acquire(blocking=False):
            try:
                while self._late:
                    self._late.popleft()()
            finally:
                self._lock.release()
