"""Counting items, from any number of threads, without a lock."""

from __future__ import annotations

import itertools
from threading import get_ident


class Count:
    """A counting of items, over a share of the progress.

    `completed` is set by an iteration, which is one thread's; `ones` and `add` count for any
    number of threads.
    """

    __slots__ = ("_tallies", "base", "completed", "ones", "size", "total")

    def __init__(self, base: float, size: float, total: int | None, completed: int = 0) -> None:
        self.base = base
        self.size = size
        self.total = total
        self.completed = completed
        # To take the next of these is one step of the interpreter, and so needs no lock.
        self.ones = itertools.count()
        # One tally per thread: no thread writes another's, and so this needs none either.
        self._tallies: dict[int, int] = {}

    def add(self, n: int) -> None:
        """Count *n* more."""
        thread = get_ident()
        self._tallies[thread] = self._tallies.get(thread, 0) + n

    def read(self) -> tuple[int, int | None, float | None]:
        """Items done, items in all, and the progress that makes."""
        # The only way to look at an itertools.count without taking from it: "count(7)".
        ones = int(repr(self.ones)[6:-1])
        completed = self.completed + ones + sum(self._tallies.copy().values())
        total = self.total
        if total is None:
            return completed, None, None
        share = min(completed / total, 1.0) if total else 1.0
        return completed, total, self.base + self.size * share
