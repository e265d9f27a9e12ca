"""The clocks, read in one place, so that a test can hold them still."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic


def _system_clock() -> datetime:
    return datetime.now(UTC)


_read: Callable[[], datetime] = _system_clock
_steady: Callable[[], float] = monotonic


def now() -> datetime:
    """The current time, aware and in UTC. Does no I/O."""
    return _read()


def steady() -> float:
    """Seconds on a clock that never jumps, the same one for all processes of a machine until it is booted."""
    return _steady()


def set_clock(read: Callable[[], datetime] | None, steady: Callable[[], float] | None = None) -> None:
    """Read the time from *read* from now on, and the steady clock from *steady*, or else from *read* too.

    `None` goes back to the system's clocks. For tests: see `job_progress.testing.frozen_clock`.
    """
    global _read, _steady
    _read = read or _system_clock
    _steady = steady or (monotonic if read is None else lambda: read().timestamp())
