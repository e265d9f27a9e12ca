"""A thread in which all calls of a library that keeps something per thread are made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar
from weakref import finalize

from job_progress.fork import reset_in_children

T = TypeVar("T")

_Queue = SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]


class OwnThread:
    """Makes calls one after the other in one thread, which starts with the first of them.

    So they share nothing with the threads that ask for them: no connection, no open transaction.
    A forked child starts a thread of its own.

    Args:
        timeout: Seconds after which whoever waits for a call no longer does.
        after_each: Called in the thread after each call.
        at_end: Called in the thread before it ends, as it does when this object is closed, or is gone.
    """

    def __init__(self, timeout: float, after_each: Callable[[], object], at_end: Callable[[], object]) -> None:
        self._timeout = timeout
        self._after_each = after_each
        self._at_end = at_end
        self.reset_after_fork()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """The thread stays with the parent, and so does what waits for it."""
        self._lock = threading.Lock()
        self._queue: _Queue | None = None

    def run(self, call: Callable[[], T]) -> T:
        """What *call* returns; what it raises is raised here. Waits for the calls before it.

        Raises:
            TimeoutError: It has no answer in time. It may get one yet, if it has begun, and is else not made.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._queue is None:
                queue: _Queue = SimpleQueue()
                threading.Thread(
                    target=_work, args=(queue, self._after_each), name="job-progress store", daemon=True
                ).start()
                self._finish = finalize(self, _finish, queue, self._at_end)
                self._finish.atexit = False
                self._queue = queue
            self._queue.put((call, future))
        if not wait([future], self._timeout).done:
            future.cancel()
            raise TimeoutError(f"it does not answer for {self._timeout:g} s")
        return future.result()

    def close(self) -> None:
        """Have the thread end, once it can, and wait for that. A later call starts another."""
        with self._lock:
            finished = self._finish() if self._queue is not None else None
            self._queue = None
        if finished is not None and wait([finished], self._timeout).done:
            finished.result()


def _finish(queue: _Queue, at_end: Callable[[], object]) -> Future[Any]:
    finished: Future[Any] = Future()
    queue.put((at_end, finished))
    queue.put(None)
    return finished


def _work(queue: _Queue, after_each: Callable[[], object]) -> None:
    while (item := queue.get()) is not None:
        call, future = item
        if not future.set_running_or_notify_cancel():
            continue  # nobody waits for it any more
        try:
            answer = _made(call, after_each)
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was asked for
            future.set_exception(error)
        else:
            future.set_result(answer)
        del item, call, future  # or what they hold would live until the next call


def _made(call: Callable[[], T], after_each: Callable[[], object]) -> T:
    try:
        answer = call()
    except BaseException:
        with suppress(Exception):  # the first error says more
            after_each()
        raise
    after_each()
    return answer
