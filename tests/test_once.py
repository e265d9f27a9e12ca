"""Mistakes that nobody would see: each is told once, in words that say what to do."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from job_progress import Job, Progress, Tracker, current_progress, tracked
from job_progress.current import detached
from job_progress.once import warn_once
from job_progress.task import QueueTask, queue_task
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("job_progress.once._warned", set())


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged."""
    return lambda: [record.getMessage() for record in caplog.records]


Told = Callable[[], list[str]]


@pytest.fixture
def progress() -> Iterator[Progress]:
    """The progress of a real run."""
    with Job("shop.import", cancellable=True).start("7") as progress:
        yield progress


def test_a_kind_is_told_once(told: Told) -> None:
    """However often it happens, and others besides."""
    for number in range(3):
        warn_once("kind", "number %d", number)
        warn_once("other", "another %d", number)
    assert told() == ["number 0", "another 0"]


def test_a_filter_of_the_log_that_fails_does_not_fail_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning is lost, and nothing else."""

    def broken(record: object) -> bool:
        raise LookupError

    monkeypatch.setattr("job_progress.once.logger.filters", [broken])
    assert detached().update(50).state.progress == 1.0


def test_percents_are_told_apart_from_fractions(progress: Progress, told: Told) -> None:
    """`update(50)` says that all is done; what rounding puts above 1 is no mistake."""
    for fraction in (0.1 * 3 / 0.3, sum([0.1] * 10), 1.0 + 1e-9, 1):
        progress.update(fraction)
    assert told() == []
    progress.update(50).update(60)
    progress.part(0.5, 0.1).update(70)
    [message] = told()
    assert message == "progress is a number from 0 to 1, so that update(50) says all is done"


def report(progress: Progress | None = None) -> None:
    (progress or current_progress()).advance()


@pytest.mark.parametrize("call", [lambda p: p.update(0.5), lambda p: p.advance(), lambda p: p.cancel_requested])
@pytest.mark.usefixtures("progress")
def test_a_thread_that_does_not_know_its_run_is_told_how(call: Callable[[Progress], object], told: Told) -> None:
    """Whether it reports or looks for a cancel; with what the warning says, it knows."""
    with ThreadPoolExecutor(1, "importer") as pool:
        for _ in range(2):
            pool.submit(lambda: call(current_progress())).result()
        [message] = told()
        assert "what the thread 'importer_0' reports is not seen" in message
        assert "contextvars.copy_context().run" in message
        pool.submit(copy_context().run, report).result()
    assert current_progress().state.completed == 1


def test_who_has_no_run_to_know_is_told_nothing(progress: Progress, told: Told) -> None:
    """Neither the main thread, nor a queue's task that is not tracked, nor a coroutine, nor who has the handle."""

    async def coroutine() -> None:
        report(detached())

    def of_a_task() -> None:
        with queue_task(QueueTask(id="task-7")):
            report()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(of_a_task).result()
        pool.submit(report, progress).result()
        pool.submit(lambda: asyncio.run(coroutine())).result()
    report(detached())
    assert told() == []


def test_without_a_run_nothing_is_told(told: Told) -> None:
    """A job's function may be called plainly, in a thread as well."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(report).result()
    assert told() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(
    "call", [lambda p: p.update(0.5), lambda p: p.advance(), lambda p: list(p.track("ab")), lambda p: p.set(a=1)]
)
def test_a_forked_process_is_told_who_must_report(
    progress: Progress, call: Callable[[Progress], object], told: Told, tmp_path: Path
) -> None:
    """Its reports are not seen; that is told in its own log, once, whichever report comes first."""
    progress.advance()

    child = os.fork()
    if child == 0:
        try:
            call(current_progress())
            call(current_progress())
            (tmp_path / "told").write_text("\n".join(told()))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    [message] = (tmp_path / "told").read_text().splitlines()
    assert message.startswith("shop.import '7': what a process reports that was forked off the run is not seen.")
    assert "progress.track(pool.imap_unordered(...), total=n)" in message
    assert told() == []


def test_the_way_that_is_told_counts_what_processes_have_done(progress: Progress) -> None:
    """The run reports as results come in."""
    with get_context("spawn").Pool(1) as pool:
        assert sorted(progress.track(pool.imap_unordered(abs, range(-3, 0)), total=3)) == [1, 2, 3]
    state = progress.state
    assert (state.completed, state.total, state.progress) == (3, 3, 1.0)


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_that_never_looked_whether_it_was_cancelled_is_told_where_to(fails: bool, told: Told) -> None:
    """At its end, once for each job; the truth is what the state says."""

    @tracked(cancellable=True, name="deaf")
    def deaf() -> None:
        current_progress().state.cancel()
        if fails:
            raise ValueError

    for _ in range(2):
        try:
            deaf()
        except ValueError:
            assert fails
    [message] = told()
    assert message.startswith("deaf '")
    assert "was asked to cancel, and ended without having looked whether it was" in message
    assert "progress.exit_if_cancelled()" in message
    assert [state.status for state in deaf.job.list()] == ["failed" if fails else "completed"] * 2


def test_who_looks_is_told_nothing(told: Told) -> None:
    """Neither a job that stops, nor one that has looked before it was asked, nor one that nobody asked."""

    @tracked(cancellable=True)
    def looks(when: str) -> None:
        if when == "before":
            current_progress().exit_if_cancelled()
        if when != "never asked":
            current_progress().state.cancel()
        if when == "after":
            eventually(lambda: current_progress().cancel_requested)
            current_progress().exit_if_cancelled()

    for when in ("before", "after", "never asked"):
        looks(when)
    assert [state.status for state in looks.job.list()] == ["completed", "cancelled", "completed"]
    assert told() == []


@pytest.mark.parametrize("cancellable", [True, 0.5])
def test_a_cancel_is_known_at_the_first_checkpoint(cancellable: Any, job_progress_tracker: Tracker) -> None:
    """A job that reports nothing for a long time, and has not looked yet, knows of it after a second all the same."""
    begun, asked, left = threading.Event(), threading.Event(), threading.Event()
    known: list[bool] = []

    @tracked(cancellable=cancellable, id="id")
    def silent(id: str) -> None:
        run, _, _ = current_progress().share()
        begun.set()
        asked.wait(10)
        # What is asked here is not what a job would ask, so that it does not count as looking.
        eventually(lambda: run.cancel_requested, timeout=2.0)
        assert not run.checkpoints
        known.append(current_progress().cancel_requested)
        left.set()

    thread = threading.Thread(target=silent, args=("7",))
    thread.start()
    assert begun.wait(10)
    silent.job.cancel("7")
    asked.set()
    assert left.wait(10)
    thread.join(10)
    assert known == [True]
