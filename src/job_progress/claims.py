"""Which function or class bears which job's name: one each, or their states would be mixed up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from job_progress.tracker import Tracker

_claimed: dict[str, tuple[str, str]] = {}
"""Names of jobs on the default tracker, and the definitions that bear them."""


def default_name(definition: Any) -> str:
    """`module.qualname`, the same in a script and in the processes that multiprocessing spawns from it."""
    module = "__main__" if definition.__module__ == "__mp_main__" else definition.__module__
    return f"{module}.{definition.__qualname__}"


def claim(name: str, definition: Any, tracker: Tracker | None) -> None:
    """Let *definition*, a function or class, bear the job name *name* on *tracker*.

    The same definition may claim it again, as when its module is reloaded or imported twice.

    Raises:
        ValueError: Another definition bears it: their states would be mixed up.
    """
    claimed = _claimed if tracker is None else tracker.claimed
    file = getattr(sys.modules.get(definition.__module__), "__file__", None)
    bearer = (file or definition.__module__, definition.__qualname__)
    other = claimed.setdefault(name, bearer)
    if other != bearer:
        raise ValueError(
            f"{definition.__qualname__} cannot be the job {name!r}: that is {other[1]} in {other[0]}; "
            "give one of them another name="
        )


def claimed(tracker: Tracker) -> list[str]:
    """The names of all jobs that this process knows, on the default tracker or on *tracker*."""
    return [*_claimed.copy(), *(name for name in tracker.claimed.copy() if name not in _claimed)]


@contextmanager
def claims_of_its_own() -> Iterator[None]:
    """Names claimed before, on the default tracker, do not count inside, nor those from inside afterwards."""
    before = _claimed.copy()
    _claimed.clear()
    try:
        yield
    finally:
        _claimed.clear()
        _claimed.update(before)
