"""What a signal handler, and a finaliser that the garbage collector runs, may use: they may strike anywhere.

In the thread that they strike nothing goes on before they return. So whatever they wait for must not be held
there: no lock, no `threading.Event`, which has one, and no store, which has many.
"""

from __future__ import annotations

import threading
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
