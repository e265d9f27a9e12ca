"""The tracker of all jobs that name none."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from job_progress.tracker import Tracker

P = ParamSpec("P")

# A dictionary, as its operations are atomic: a lock could be held by another thread at a fork.
_default: dict[None, Tracker] = {}


def default_tracker() -> Tracker:
    """The default tracker: what `configure` made, or one with default settings. No I/O."""
    return _default.get(None) or _default.setdefault(None, Tracker())


def set_default_tracker(tracker: Tracker | None) -> Tracker | None:
    """Make *tracker* the default one, `None` for one made at the next use. Returns the one before."""
    before = _default.pop(None, None)
    if tracker is not None:
        _default[None] = tracker
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
