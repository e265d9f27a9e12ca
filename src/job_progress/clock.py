"""The wall clock, read in one place, so that a test can hold it still."""

from collections.abc import Callable
from datetime import UTC, datetime


def _system_clock() -> datetime:
    return datetime.now(UTC)


_read: Callable[[], datetime] = _system_clock


def now() -> datetime:
    """The current time, aware and in UTC. Does no I/O."""
    return _read()


def set_clock(read: Callable[[], datetime] | None) -> None:
    """Read the time from *read* from now on; `None` goes back to the system's clock.

    For tests: see `job_progress.testing.frozen_clock`.
    """
    global _read
    _read = read or _system_clock
