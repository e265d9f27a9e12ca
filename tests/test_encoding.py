"""What is said of an error: all of it, and what everybody may see who may see the job."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from job_progress import Job, JobFailed, JobState, Tracker, tracked
from job_progress.encoding import explain, explain_report
from job_progress.queues.lifecycle import given_up, requeued, revoked
from job_progress.task import QueueTask, queue_task

SECRET = "postgres://shop:hunter2@db/shop"


class OutOfStock(JobFailed):
    """A job's own, for people."""


class Unprintable(Exception):
    """Its message cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)


def traceback_of(error: Exception) -> str:
    """What Python prints when nobody catches *error*."""
    try:
        raise error
    except Exception:
        return traceback.format_exc()


@pytest.mark.parametrize(
    ("error", "text", "for_viewers"),
    [
        (ValueError(SECRET), f"ValueError: {SECRET}", "ValueError"),
        (ValueError(), "ValueError", "ValueError"),
        (Unprintable(), "Unprintable: (its message could not be made: RuntimeError)", "Unprintable"),
        (
            ExceptionGroup(SECRET, [JobFailed("no hoses")]),
            f"ExceptionGroup: {SECRET} (1 sub-exception)",
            "ExceptionGroup",
        ),
        (JobFailed("no hoses"), "JobFailed: no hoses", "no hoses"),
        (OutOfStock("no hoses"), "OutOfStock: no hoses", "no hoses"),
        (JobFailed(), "JobFailed", "JobFailed"),
        ("no hoses", "no hoses", "no hoses"),
        ("it is over: really", "it is over: really", "it is over: really"),
    ],
)
def test_viewers_see_what_is_meant_for_people(error: BaseException | str, text: str, for_viewers: str) -> None:
    """A text, and what a `JobFailed` says; of any other exception its type."""
    why = explain(error)
    assert (why.text, why.for_viewers) == (text, for_viewers)


def test_no_traceback_is_meant_for_people() -> None:
    """Not in a text, and not in what a `JobFailed` says: viewers see the type that it ends with, if it does."""
    printed = traceback_of(OSError(SECRET))
    assert explain(printed).text == printed
    assert explain(printed).for_viewers == "OSError"
    assert explain(JobFailed(f"sorry\n{printed}")).for_viewers == "OSError"
    assert explain(printed.rpartition("\n  File")[0]).for_viewers == "failed"
    assert explain("Traceback (most recent call last):").for_viewers == "failed"


def test_a_queues_report_is_the_end_of_a_traceback_or_its_own_words() -> None:
    """The message may have several lines, of which none is taken for the type."""
    why = explain_report(traceback_of(ConnectionError(f"cannot connect to\nHost: {SECRET}")))
    assert (why.text, why.for_viewers) == (f"ConnectionError: cannot connect to\nHost: {SECRET}", "ConnectionError")
    words = explain_report("Work-horse terminated; waitpid returned 9\n")
    assert words.text == words.for_viewers == "Work-horse terminated; waitpid returned 9"


def test_an_interruption_names_what_interrupted(job_progress_tracker: Tracker) -> None:
    """Also to viewers, without what it says."""
    job = Job("shop.import")
    with suppress(SystemExit), job.start("7"):
        raise SystemExit(SECRET)
    state = known(job)
    assert (state.error, state.error_for_viewers) == (
        f"interrupted by SystemExit: {SECRET}",
        "interrupted by SystemExit",
    )


@pytest.mark.parametrize(("will_retry", "status"), [(False, "failed"), (True, "pending")])
def test_a_run_tells_both(job_progress_tracker: Tracker, will_retry: bool, status: str) -> None:
    """Whether it will be tried again or not; a `JobFailed` is tried again like any exception."""
    job = Job("shop.import")
    for error, seen in ((ValueError(SECRET), "ValueError"), (JobFailed("no hoses"), "no hoses")):
        with (
            suppress(ValueError, JobFailed),
            queue_task(QueueTask(will_retry=lambda error: will_retry)),
            job.start("7"),
        ):
            raise error
        state = known(job)
        assert (state.status, state.error, state.error_for_viewers) == (
            status,
            f"{type(error).__name__}: {error}",
            seen,
        )
        assert "error_for_viewers" not in state.to_dict()


@tracked(id="number")
def refresh(number: str) -> None:
    """A job that a queue knows."""


def test_a_queue_tells_both(job_progress_tracker: Tracker) -> None:
    """What it hands on of an exception is for those who may see all; its own words are for everybody."""

    def told(tell: Callable[..., None], **why: Any) -> tuple[str | None, str | None]:
        refresh.job.lock("7")
        tell(refresh, "task-1", ("7",), **why)
        state = known(refresh.job)
        return state.error, state.error_for_viewers

    assert told(requeued, error=ValueError(SECRET)) == (f"ValueError: {SECRET}", "ValueError")
    report = explain_report(traceback_of(OSError(SECRET)))
    assert told(given_up, error=report) == (f"OSError: {SECRET}", "OSError")
    assert told(given_up, error="it expired") == ("it expired", "it expired")
    assert told(revoked, reason="what it follows has failed") == ("what it follows has failed",) * 2


def known(job: Job) -> JobState:
    """What the store knows."""
    state = job.get("7")
    assert state is not None
    return state
