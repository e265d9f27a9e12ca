"""Progress bars of other libraries, as countings of a run. A bar inside of another one is a part of it."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from math import isfinite
from typing import Any

from job_progress.count import Count
from job_progress.progress import Progress
from job_progress.run import Run

_innermost: ContextVar[Bar | None] = ContextVar("job_progress_bar", default=None)
_MOST = 2**63 - 1


class Amount(Count):
    """A counting in numbers of whatever kind, as other libraries have them.

    Args:
        base: Where its share of the progress begins.
        size: How large that is.
        done: How much is done.
        whole: How much there is to do; `None` or 0: nobody knows.

    Attributes:
        done: See above; both may be set anew.
        whole: See above.
    """

    __slots__ = ("done", "whole")

    def __init__(self, base: float, size: float, done: Any, whole: Any) -> None:
        super().__init__(base, size, None)
        self.done = done
        self.whole = whole

    def read(self) -> tuple[int, int | None, float | None]:
        """Both, as the whole numbers next to them, and the progress that they make."""
        whole = _number(self.whole)
        self.total = round(whole) if whole and 0 < whole < _MOST else None
        completed = round(min(max(_number(self.done) or 0.0, 0.0), _MOST))
        fraction = self.fraction()
        return completed, self.total, None if fraction is None else self.base + self.size * fraction

    def fraction(self, inside: float = 0.0) -> float | None:
        """What of it is done, from 0 to 1, with *inside* more; `None`: nobody knows."""
        whole, done = _number(self.whole), _number(self.done)
        if not whole or whole < 0 or done is None:
            return None
        return min(max(done + inside, 0.0) / whole, 1.0)


class Bar(Amount):
    """A bar that is open, or was.

    Of bars inside of one another the run follows the outermost: its items are counted, and the share of
    the item that it is at is filled by those inside. Of several at a time, as in threads, each fills an item.

    Args:
        progress: What it reports into.
        done: How much is done.
        whole: How much there is to do; `None` or 0: nobody knows.
        description: The message.

    Attributes:
        run: Whose bar it is.
        outermost: The one that the run should follow: if it does not, `report`.
    """

    __slots__ = ("_around", "_closed_at", "_description", "_inside", "_is_open", "_progress", "outermost", "run")

    def __init__(self, progress: Progress, done: Any, whole: Any, description: str = "") -> None:
        self.run, base, size = progress.share()
        super().__init__(base, size, done, whole)
        self._progress = progress
        self._description = ""
        self._inside: dict[Bar, None] = {}  # whose single operations need no lock
        self._is_open = True
        self._closed_at: Any = None
        self._around = self._found_around()
        if self._around is not None:
            # What was in there before has had its turn.
            for bar in self._around._contents(is_open=False):
                self._around._inside.pop(bar, None)
            self._around._inside[self] = None
        _innermost.set(self)
        self.report()
        self.describe(description)

    def report(self) -> Bar:
        """Have the run follow the outermost bar, and give that. No I/O."""
        outermost = self
        while outermost._around is not None:
            outermost = outermost._around
        self.outermost = outermost
        if self.run.followed is not outermost:
            self.run.follow(outermost)
        return outermost

    def describe(self, description: str) -> None:
        """Make *description* the message; an empty one leaves that as it is. No I/O."""
        if description != self._description:
            self._description = description
            if description:
                self._progress.update(message=description)

    def close(self) -> None:
        """It will not change any more. Those inside, if they are still open, go on without it."""
        around = self._around
        self._closed_at = None if around is None else around.done
        self._is_open = False
        left = self._contents(is_open=True)
        if around is None and left:
            around, *left = left
            around._around = None
        for bar in left:
            bar._around = around
        if around is not None:
            around._inside |= dict.fromkeys(left)
            if self._description and around._description:
                self._progress.update(message=around._description)
        if _innermost.get() is self:
            _innermost.set(self._around)
        self.run.followed = None  # so that each of those looks anew for the outermost
        (around or self).report()

    def fraction(self, inside: float = 0.0) -> float | None:
        """What of it is done, with what the bars inside make of it; of nothing at all, all is, in the end."""
        if self.whole == 0 and not self._is_open:
            return 1.0
        counted = (bar for bar in list(self._inside) if bar._is_open or bar._closed_at == self.done)
        return super().fraction(inside + sum(bar.fraction() or 0.0 for bar in counted))

    def _contents(self, *, is_open: bool) -> list[Bar]:
        return [bar for bar in list(self._inside) if bar._is_open is is_open]

    def _found_around(self) -> Bar | None:
        """The bar that this one is opened in: the innermost of this context, or else the one that the run follows."""
        bar = _innermost.get()
        while bar is not None and not bar._is_open:
            bar = bar._around
        for found in (bar, self.run.count):
            if isinstance(found, Bar) and found._is_open and found._is_about(self.run, self.base, self.size):
                return found
        return None

    def _is_about(self, run: Run, base: float, size: float) -> bool:
        return (self.run, self.base, self.size) == (run, base, size)


def is_seen(progress: Progress) -> bool:
    """Does anybody see what is reported into *progress*? Outside of a run nobody does."""
    return progress.share()[0].publisher is not None


def is_log(stream: Any) -> bool:
    """Is it where a program writes by default, with nobody at a terminal who looks?"""
    if stream not in (sys.stdout, sys.stderr):
        return False
    try:
        return not stream.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return True


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) else None
