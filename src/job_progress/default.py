"""The tracker of all jobs that name none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from job_progress.tracker import Tracker

P = ParamSpec("P")

_tracker: Tracker | None = None
_lock = threading.Lock()


def default_tracker() -> Tracker:
    """The default tracker: what `configure` made, or one with default settings. No I/O."""
    global _tracker
    with _lock:
        if _tracker is None:
            _tracker = Tracker()
        return _tracker


def set_default_tracker(tracker: Tracker | None) -> Tracker | None:
    """Make *tracker* the default one, `None` for one made at the next use. Returns the one before."""
    global _tracker
    with _lock:
        before, _tracker = _tracker, tracker
        return before


def _and_make_it_the_default(make: Callable[P, Tracker]) -> Callable[P, Tracker]:
    @wraps(make, updated=())
    def configure(*args: P.args, **kwargs: P.kwargs) -> Tracker:
        """Make a `Tracker` with these settings the default one. No I/O.

        Call it once, where the process starts. Takes what `Tracker` takes, raises what it raises,
        and returns the tracker.
        """
        tracker = make(*args, **kwargs)
        set_default_tracker(tracker)
        return tracker

    configure.__name__ = configure.__qualname__ = "configure"
    return configure


configure = _and_make_it_the_default(Tracker)
