"""How fast a run gets on: the estimate behind `eta` and `rate`."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import NamedTuple

WINDOW = 20


class _Sample(NamedTuple):
    time: float
    amount: float


class Pace:
    """Amount per second, by a trimmed mean over the latest stretches of a run.

    The last 20 stretches between two reports are kept, each at least a sixtieth of the time
    that the run has taken, so that they cover about its latest third. The fastest and the
    slowest fifth are left out, and the rest is added up: amount over time. A pause (a suspended
    laptop, one slow item) and a jump (work resumed or skipped) each make one extreme stretch,
    and so leave no trace, where an average since the start would be wrong for good and a moving
    average for a while. Amount over time, not the mean or median of speeds, keeps it right when
    items differ in size. What lies before the first report is not counted: a run often begins
    with a jump to where it left off.

    Times are monotonic seconds, given by the caller: nothing here reads a clock.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=WINDOW + 1)
        self._began: float | None = None

    def observe(self, now: float, amount: float | None) -> None:
        """At *now*, *amount* is done in all. Less than before starts anew from there."""
        samples = self._samples
        if amount is None:
            return
        if self._began is None:
            self._began = now
        if samples and amount < samples[-1].amount:
            samples.clear()
        if samples and amount == samples[-1].amount:
            return
        if len(samples) > 1 and now - samples[-2].time < (now - self._began) / 60:
            samples.pop()
        samples.append(_Sample(now, amount))

    def per_second(self) -> float | None:
        """The estimate, more than 0; `None` before there are two reports to compare."""
        stretches = [
            (later.time - sooner.time, later.amount - sooner.amount)
            for sooner, later in pairwise(self._samples)
            if later.time > sooner.time
        ]
        stretches.sort(key=lambda stretch: stretch[1] / stretch[0])
        # Of three, leave out one at each side; of one or two, none.
        cut = max(len(stretches) // 5, 1) if len(stretches) > 2 else 0
        kept = stretches[cut : len(stretches) - cut]
        time = sum(stretch[0] for stretch in kept)
        return sum(stretch[1] for stretch in kept) / time if time else None
