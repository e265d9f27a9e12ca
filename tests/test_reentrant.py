"""What may be used from anywhere, as by the garbage collector and by signal handlers."""

from __future__ import annotations

import threading
from time import monotonic

from job_progress.reentrant import LateLock, Wake


def test_what_is_woken_before_it_waits_does_not_wait() -> None:
    """However often, it is one wake; then it waits again, for as long as it is told."""
    wake = Wake()
    wake.set()
    wake.set()
    assert wake.wait()
    began = monotonic()
    assert not wake.wait(0.05)
    assert monotonic() - began >= 0.05
    assert not wake.wait(-1.0)


def test_who_waits_is_woken() -> None:
    """From another thread, also with a time limit longer than any system knows."""
    wake = Wake()
    for timeout in (None, 1e300):
        threading.Timer(0.05, wake.set).start()
        assert wake.wait(timeout)


def test_what_is_to_be_done_under_a_lock_that_is_held_is_done_when_it_is_free() -> None:
    """In the thread that holds it, too; and at once where nobody does."""
    lock, done = LateLock(), list[str]()
    lock.do(lambda: done.append("at once"))
    with lock:
        lock.do(lambda: done.append("first"))
        other = threading.Thread(target=lock.do, args=(lambda: done.append("second"),))
        other.start()
        other.join(10)
        assert not other.is_alive()
        assert done == ["at once"]
    assert done == ["at once", "first", "second"]


def test_nothing_that_is_late_is_left_out() -> None:
    """Whatever many threads do at the same time; and no two are under the lock at once."""
    lock, inside, most, done = LateLock(), 0, 0, 0

    def count() -> None:
        nonlocal inside, most, done
        inside += 1
        most = max(most, inside)
        done += 1
        inside -= 1

    def work() -> None:
        for _ in range(2000):
            lock.do(count)
            with lock:
                count()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (done, most) == (16_000, 1)
