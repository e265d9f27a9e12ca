"""A thread in which all calls are made."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from job_progress.stores.own_thread import OwnThread
from tests.waiting import eventually


@pytest.fixture
def heard() -> list[str]:
    """What the thread has done."""
    return []


@pytest.fixture
def own(heard: list[str]) -> Iterator[OwnThread]:
    """One that tells."""
    own = OwnThread(60.0, partial(heard.append, "after"), partial(heard.append, "end"))
    yield own
    own.close()


def ended(thread: threading.Thread) -> Callable[[], bool]:
    return lambda: not thread.is_alive()


def test_all_calls_are_made_in_one_other_thread(own: OwnThread, heard: list[str]) -> None:
    """Whoever asks, one after the other, with what is to be done after each."""
    with ThreadPoolExecutor(8) as pool:
        threads = set(pool.map(lambda _: own.run(threading.current_thread), range(50)))
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert heard == ["after"] * 50


def test_an_error_is_raised_where_the_call_was_asked_for(own: OwnThread, heard: list[str]) -> None:
    """And the thread goes on."""
    thread = own.run(threading.current_thread)
    with pytest.raises(SystemExit, match="reason"):
        own.run(partial(exec, "raise SystemExit('reason')"))
    assert own.run(threading.current_thread) is thread
    assert heard == ["after"] * 3


def test_what_fails_after_a_call_fails_the_call() -> None:
    """Nobody waits for ever."""
    own = OwnThread(60.0, partial(int, "none"), list)
    with pytest.raises(ValueError, match="none"):
        own.run(list)
    with pytest.raises(SystemExit, match="reason"):  # the first error says more
        own.run(partial(exec, "raise SystemExit('reason')"))
    with pytest.raises(ValueError, match="none"):
        own.close()


def test_closing_ends_the_thread(own: OwnThread, heard: list[str]) -> None:
    """It does what is to be done at the end first; without a thread nothing is; a later call has another."""
    own.close()
    assert heard == []
    thread = own.run(threading.current_thread)
    own.close()
    assert heard[:2] == ["after", "end"]
    assert eventually(ended(thread))
    assert own.run(threading.current_thread) is not thread


def test_a_thread_ends_with_its_owner(heard: list[str]) -> None:
    """Who forgets to close leaves no thread."""
    own = OwnThread(60.0, list, partial(heard.append, "end"))
    thread = own.run(threading.current_thread)
    del own
    gc.collect()
    assert eventually(ended(thread))
    assert heard == ["end"]


def test_after_a_fork_the_thread_is_another() -> None:
    """What a forked child does at once is to forget the thread that it does not have."""
    own = OwnThread(60.0, list, list)
    thread = own.run(threading.current_thread)
    own.reset_after_fork()
    assert own.run(threading.current_thread) is not thread
    assert own.run(os.getpid) == os.getpid()
    own.close()


def test_nobody_waits_for_ever(heard: list[str]) -> None:
    """Neither for a call that does not come back, nor for those behind it, which are not made, nor for the end."""
    own = OwnThread(0.1, list, partial(heard.append, "end"))
    go_on = threading.Event()
    with pytest.raises(TimeoutError, match=r"it does not answer for 0\.1 s"):
        own.run(go_on.wait)
    with pytest.raises(TimeoutError):
        own.run(partial(heard.append, "too late"))
    own.close()
    go_on.set()
    assert eventually(lambda: heard) == ["end"]
