"""Is the store there, how fast is it, and what should be put right?"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import metadata
from statistics import median
from time import perf_counter
from uuid import uuid4

from msgspec import structs

from job_progress import clock
from job_progress.cli import words
from job_progress.encoding import change_to
from job_progress.errors import StoreUnavailable
from job_progress.state import JobState, JobStatus
from job_progress.stores.contract import Finding, Store
from job_progress.stores.memory import MemoryStore
from job_progress.tracker import Tracker

SLOW = 0.05
"""Seconds for a round trip above which many jobs that report at once would wait for each other."""
SKEW = timedelta(seconds=2)
"""How far a state may lie in the future before a clock must be wrong."""
_ROUNDS = 20
_PACKAGES = ("msgspec", "platformdirs", "typer", "rich", "redis", "psycopg", "django", "starlette", "flask", "celery")


def examine(tracker: Tracker, source: str) -> Iterator[Finding]:
    """Look at *tracker*'s store and at this installation. About 60 round trips; leaves nothing behind.

    Args:
        tracker: Whose store to look at.
        source: Where its URL comes from, in words.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    yield Finding(f"job-progress {metadata.version('job-progress')}, {_versions()}")
    yield Finding(f"Python {platform.python_version()} at {sys.executable}, {platform.platform(terse=True)}")
    store = tracker.store
    if isinstance(store, MemoryStore):
        yield Finding(
            f"store: {store.describe()}, {source}",
            "no other process sees what it holds: use a store that processes share, such as sqlite:////path/to/file",
        )
        return
    yield Finding(f"store: {store.describe()}, {source}")
    yield from store.examine()
    yield _speed(store)
    states = tracker.list(limit=1000)
    yield Finding(f"states: {words.tally(states) or 'none'}")
    yield from _stalled(states)
    yield from _ahead(states)
    yield from _twins(states)


def _versions() -> str:
    found = {one.lower(): version for one in _PACKAGES if (version := _version(one))}
    return ", ".join(f"{package} {version}" for package, version in found.items())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _speed(store: Store) -> Finding:
    key = f"job-progress.doctor:{uuid4()}"
    state = JobState(job="job-progress.doctor", id=key[-36:], status=JobStatus.COMPLETED, version=1)
    try:
        writing = _timed(lambda version: _write(store, key, state, version))
        reading = _timed(lambda version: store.load([key]))
    finally:
        _forget(store, key, state)
    slow = writing > SLOW or reading > SLOW
    return Finding(
        f"speed: {reading * 1000:.1f} ms to read, {writing * 1000:.1f} ms to write",
        "it is slow: a file belongs on a local disk, and a server near the workers" if slow else "",
    )


def _write(store: Store, key: str, state: JobState, version: int) -> None:
    [conflict] = store.swap([change_to(structs.replace(state, version=version + 1), key, version)])
    if conflict is not None:
        raise StoreUnavailable(f"{store.describe()} lost a write of a moment ago")


def _forget(store: Store, key: str, state: JobState) -> None:
    for record in store.load([key]):
        if record is not None:
            change = change_to(structs.replace(state, version=record.version + 1), key, record.version)
            store.swap([structs.replace(change, lifetime=0.0)])


def _timed(action: Callable[[int], object]) -> float:
    def once(round: int) -> float:
        began = perf_counter()
        action(round)
        return perf_counter() - began

    return median([once(round) for round in range(_ROUNDS)])


def _stalled(states: list[JobState]) -> Iterator[Finding]:
    dead = [state for state in states if state.is_stalled]
    if dead:
        yield Finding(
            f"{len(dead)} stalled, such as {dead[0].job} {dead[0].id}",
            "their workers have died: see how, then run them again, or job-progress cancel them",
        )


def _ahead(states: list[JobState]) -> Iterator[Finding]:
    ahead = max((state.updated_at - clock.now() for state in states if state.updated_at), default=timedelta())
    if ahead > SKEW:
        yield Finding(
            f"a state comes from {ahead.total_seconds():.0f} s in the future",
            "the clocks of two machines differ: keep them in time with NTP, or live jobs may look stalled",
        )


def _twins(states: list[JobState]) -> Iterator[Finding]:
    """Two names of one job: under the first it is only enqueued, under the second it only runs."""
    jobs: dict[str, list[JobState]] = {}
    for state in states:
        jobs.setdefault(state.job, []).append(state)
    waiting = {job: found for job, found in jobs.items() if all(one.is_pending and not one.attempt for one in found)}
    running = {job: found for job, found in jobs.items() if not any(one.is_pending for one in found)}
    for first, waits in waiting.items():
        for second, runs in running.items():
            if _last_part(first) == _last_part(second) or not _tasks(waits).isdisjoint(_tasks(runs)):
                yield Finding(
                    f"{first} only waits, and {second} only runs: they look like one job under two names",
                    "its sender and its worker call it differently: import its module by one name in both, "
                    "or name the job with @tracked(name=...)",
                )


def _last_part(job: str) -> str:
    return re.split("[.:]", job)[-1]


def _tasks(states: list[JobState]) -> set[str]:
    """The queue's ids of their tasks."""
    return {state.task or state.id for state in states if state.task is not None}
