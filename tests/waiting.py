"""How tests wait: for a condition, and never for a time in the hope that it is long enough."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float = 10.0) -> T:
    """Ask *condition* again and again until what it says is true, and return that.

    Raises:
        AssertionError: It is not within *timeout* seconds.
    """
    deadline = monotonic() + timeout
    while not (answer := condition()):
        assert monotonic() < deadline, f"still {answer!r} after {timeout:g} s"
        sleep(0.005)
    return answer
