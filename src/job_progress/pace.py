"""How fast a run gets on: the estimate behind `eta` and `rate`."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

WINDOW = 20
FRESH_FOR = 0.5
"""Seconds for which an estimate is not made anew: it is for people to read."""


class _Sample(NamedTuple):
    time: float
    amount: float


_Stretch = tuple[float, float, float]  # speed, time, amount


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
        self._stretches: deque[_Stretch] = deque(maxlen=WINDOW)  # between them
        self._began: float | None = None
        self._estimate: float | None = None
        self._estimate_until = -inf

    def observe(self, now: float, amount: float | None) -> None:
        """At *now*, *amount* is done in all. Less than before starts anew from there."""
        if amount is None:
            return
        samples, stretches = self._samples, self._stretches
        if self._began is None:
            self._began = now
        if samples and amount < samples[-1].amount:
            samples.clear()
            stretches.clear()
            self._estimate = None
        if samples and (amount == samples[-1].amount or now <= samples[-1].time):
            return
        if len(samples) > 1 and now - samples[-2].time < (now - self._began) / 60:
            samples.pop()
            stretches.pop()
        if samples:
            last = samples[-1]
            time, more = now - last.time, amount - last.amount
            stretches.append((more / time, time, more))
        samples.append(_Sample(now, amount))

    def per_second(self) -> float | None:
        """The estimate, more than 0; `None` before there are two reports to compare."""
        if not self._stretches:
            return None
        now = self._samples[-1].time
        if self._estimate is None or now >= self._estimate_until:
            self._estimate, self._estimate_until = self._mean(), now + FRESH_FOR
        return self._estimate

    def _mean(self) -> float:
        number = len(self._stretches)
        # Of three, leave out one at each side; of one or two, none.
        cut = max(number // 5, 1) if number > 2 else 0
        time = amount = 0.0
        for _, one_time, one_amount in sorted(self._stretches)[cut : number - cut]:
            time += one_time
            amount += one_amount
        return amount / time
