"""Which states a command is about, and reading them again and again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic, sleep

from job_progress.cli import words
from job_progress.cli.bars import Show
from job_progress.errors import ProgressError, StoreUnavailable
from job_progress.state import JobState, JobStatus
from job_progress.tracker import States, Tracker

INTERVAL = 0.1
"""Seconds between two looks at what is watched; each is one round trip."""
PAGE = 500
"""States in one round trip of a listing."""
REMEMBERED = 100
"""How many that have ended are still shown while others run."""
RUNNING = (JobStatus.PENDING, JobStatus.PROCESSING)
ANY_JOB = "any job"
"""Stands for the job of an id that no state has."""

Names = list[tuple[str, str]]


class NotFound(ProgressError):
    """The store has no such state."""


def named(tracker: Tracker, args: Sequence[str]) -> Names:
    """The `(job, id)` of each state that `[JOB] ID…` means: a word alone is an id, of whichever jobs have it.

    One round trip per 500 states for a word alone, else none.
    """
    if len(args) != 1:
        return [(args[0], id) for id in args[1:]]
    return [(state.job, state.id) for state in everything(tracker) if state.id == args[0]]


def everything(tracker: Tracker) -> Iterator[JobState]:
    """All states, newest first. One round trip per 500."""
    page = tracker.list(limit=PAGE)
    while page:
        yield from page
        page = tracker.list(limit=PAGE, after=page[-1]) if len(page) == PAGE else []


def found(tracker: Tracker, args: Sequence[str]) -> States:
    """The states that `[JOB] ID…` means; two round trips at most for few states.

    Raises:
        NotFound: One of them is unknown.
    """
    names = named(tracker, args)
    states = tracker.get_many(names)
    unknown = [f"{job} {id}" for (job, id), state in zip(names, states, strict=True) if state is None]
    if unknown or not names:
        raise NotFound(f"there is no {words.clean(', no '.join(unknown) or args[0])} in {tracker.store.describe()}")
    return [state for state in states if state is not None]


class Chosen:
    """What `[JOB] ID…` means, by its names; those that are unknown (yet) are blank, of version 0."""

    def __init__(self, tracker: Tracker, args: Sequence[str]) -> None:
        self._tracker = tracker
        self._args = args
        self._names: Names = []
        self._known: dict[tuple[str, str], JobState] = {}

    def look(self) -> States:
        """Read them all: one round trip, once it is clear which jobs they are of."""
        self._names = self._names or named(self._tracker, self._args)
        for name, state in zip(self._names, self._tracker.get_many(self._names), strict=True):
            if state is not None:  # one that was forgotten since stays as it was last
                self._known[name] = state
        names = self._names or [(ANY_JOB, self._args[0])]
        return [self._known.get((job, id)) or JobState(job=job, id=id) for job, id in names]


class Running:
    """All that is pending or processing, and what has ended since it was first seen so."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._known: dict[tuple[str, str], JobState] = {}

    def look(self) -> States:
        """Read what runs: one round trip, and one more when something has ended."""
        known = self._known
        running = {(one.job, one.id): one for one in self._tracker.list(status=RUNNING, limit=PAGE)}
        gone = [name for name, state in known.items() if not state.is_finished and name not in running]
        for name, state in zip(gone, self._tracker.get_listed(gone) if gone else (), strict=True):
            if state is None:
                del known[name]  # forgotten, and nobody can say how it ended
            else:
                known[name] = state
        known |= reversed(running.items())  # the oldest is on top, as it came first
        ended = [name for name, state in known.items() if state.is_finished]
        for name in ended[: max(len(ended) - REMEMBERED, 0)]:
            del known[name]
        return list(known.values())


def follow(look: Callable[[], States], show: Show, *, to_the_end: bool, timeout: float | None = None) -> States:
    """Look and show, ten times a second, until all have ended; then return them.

    Once the store has answered, times when it is away are waited through.

    Args:
        look: Reads the states.
        show: Shows them.
        to_the_end: Stop when all have ended; otherwise never.
        timeout: Seconds after which to give up; by default never.

    Raises:
        TimeoutError: They have not ended within *timeout*.
        StoreUnavailable: The store does not answer the first time.
    """
    deadline = inf if timeout is None else monotonic() + timeout
    states, away = look(), False
    while True:
        show(states)
        if to_the_end and all(state.is_finished for state in states):
            return states
        if monotonic() >= deadline:
            raise TimeoutError(f"not finished after {timeout:g} s: {words.tally(states)}")
        sleep(INTERVAL)
        try:
            states, away = look(), False
        except StoreUnavailable as error:
            if not away:
                print(f"{words.clean(str(error))}; watching goes on when it is back", file=sys.stderr)
            away = True
