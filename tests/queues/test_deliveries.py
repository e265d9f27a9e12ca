"""One task, delivered more than once, or called more than once: which starts run, wait, are refused, or are dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest

from job_progress import JobAlreadyProcessing, JobCancelled, JobState, Tracker, tracked
from job_progress import clock as our_clock
from job_progress.queues.lifecycle import ended, enqueued, given_up
from job_progress.task import QueueTask, current_task, queue_task
from job_progress.testing import frozen_clock
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("job_progress_tracker")

DAY = 86400

calls: list[str] = []


@tracked(id="name", cancellable=True, store_result=True)
def load(name: str, error: Exception | None = None) -> int:
    """Note that it ran."""
    calls.append(current_task().id or "within")
    if error is not None:
        raise error
    return len(calls)


@tracked
def plain() -> None:
    """Have no id of its own."""


@tracked
async def aplain() -> None:
    """The same, async."""


@pytest.fixture(autouse=True)
def _no_calls_yet() -> None:
    calls.clear()


def deliver(task: str, *args: Any, **more: Any) -> Any:
    """Have a worker run a task of `load`."""
    with queue_task(QueueTask(id=task, function=load, **more)):
        return load("p", *args)


def seen() -> JobState:
    """The state of it."""
    state = load.job.get("p")
    assert state is not None
    return state


def test_only_the_task_that_was_not_cancelled_runs() -> None:
    """Locked, sent, cancelled, locked, sent: of the two tasks only the second runs, whichever comes first."""
    for order in (("one", "two"), ("two", "one")):
        for task in ("one", "two"):
            load.job.lock("p")
            enqueued(load, task, ("p",))
            if task == "one":
                load.job.cancel("p")
        results = [deliver(task) for task in order]
        assert results.count(None) == 1
        assert (seen().status, seen().task) == ("completed", "two")
        load.job.tracker.prune()
    assert len(calls) == 2


def test_a_cancelled_task_is_refused_however_often_it_is_delivered() -> None:
    """While waiting or while running; another task, or a plain call, begins anew."""
    enqueued(load, "one", ("p",))
    load.job.cancel("p")
    assert [deliver("one") for _ in range(3)] == [None, None, None]
    assert not calls
    assert deliver("two") == 1
    assert deliver("one") is None
    assert load("p") == 2


def test_a_task_that_was_sent_after_the_cancel_is_the_one() -> None:
    """Locked, cancelled, and only then sent: it is refused, each time; the next task is not."""
    load.job.lock("p")
    load.job.cancel("p")
    enqueued(load, "one", ("p",))
    assert seen().is_cancelled
    assert [deliver("one"), deliver("one")] == [None, None]
    enqueued(load, "two", ("p",))
    assert deliver("two") == 1


def test_all_tasks_that_wait_for_an_id_are_cancelled_with_it() -> None:
    """It was sent twice; neither runs."""
    enqueued(load, "one", ("p",))
    enqueued(load, "two", ("p",))
    load.job.cancel("p")
    assert (deliver("two"), deliver("one"), calls) == (None, None, [])


def test_who_asks_the_queue_again_begins_anew() -> None:
    """The same task, sent once more by a person, is no longer refused."""
    enqueued(load, "one", ("p",))
    load.job.cancel("p")
    assert deliver("one") is None
    enqueued(load, "one", ("p",))
    assert deliver("one") == 1


@pytest.mark.parametrize("due", [None, 3 * DAY, "a time"])
def test_a_cancelled_task_is_remembered_until_it_has_come(
    due: float | str | None, job_progress_tracker: Tracker
) -> None:
    """Far longer than a finished state is kept, even by `prune`; and until after it is due, where that is known."""
    with frozen_clock() as clock:
        when = our_clock.now() + timedelta(days=3) if due == "a time" else due
        enqueued(load, "one", ("p",), due=when)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        assert load.job.cancel("p").is_cancelled
        clock.tick(DAY - 1 if due is None else 4 * DAY - 1)
        assert job_progress_tracker.prune() == 0
        assert (deliver("one"), calls) == (None, [])


def test_what_is_due_later_can_be_cancelled_until_then() -> None:
    """It is pending for as long as it may come, and not for a day only."""
    with frozen_clock() as clock:
        enqueued(load, "one", ("p",), due=3 * DAY)
        clock.tick(4 * DAY - 1)
        assert load.job.cancel("p").is_cancelled
        enqueued(load, "two", ("p",))
        clock.tick(DAY + 1)
        assert load.job.get("p") is None


def test_a_retry_that_is_due_later_is_waited_for() -> None:
    """Where the queue says how long it pauses."""
    with frozen_clock() as clock:
        with pytest.raises(ConnectionError):
            deliver("one", ConnectionError("x"), will_retry=lambda _: True, retry_delay=lambda _: 2 * DAY)
        clock.tick(3 * DAY - 1)
        assert seen().is_pending


def in_thread(call: Callable[[], Any]) -> tuple[Thread, list[Any]]:
    """Begin *call* beside the test; what it gives, or raises, will be in the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = Thread(target=run)
    thread.start()
    return thread, outcome


def waits_already(caplog: pytest.LogCaptureFixture) -> bool:
    """Has a second delivery met the first?"""
    return "another delivery of the same task" in caplog.text


def test_a_second_delivery_waits_and_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """It is no failure; once the first has completed it gives that one's result, and does nothing."""
    with queue_task(QueueTask(id="one")), load.job.start("p") as progress:
        thread, outcome = in_thread(lambda: deliver("one"))
        eventually(lambda: waits_already(caplog))
        assert (seen().attempt, seen().is_processing, outcome) == (1, True, [])
        progress.update(result=42)
    thread.join()
    assert (outcome, calls, seen().attempt) == ([42], [], 1)
    with queue_task(QueueTask(id="one")), pytest.raises(JobAlreadyProcessing, match="has completed it"):
        load.job._start("p").__enter__()


def test_a_second_delivery_that_the_queue_has_done_with_takes_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It waits in a thread, which the queue cannot stop when its time is over; what it waits for is left alone."""
    second = QueueTask(id="one", function=load)

    waiting: list[tuple[Thread, list[Any]]] = []

    def wait() -> None:
        with queue_task(second):
            load("p")

    with (
        queue_task(QueueTask(id="one", will_retry=lambda _: True)),
        pytest.raises(ConnectionError),
        load.job.start("p"),
    ):
        waiting.append(in_thread(wait))
        eventually(lambda: waits_already(caplog))
        end(second, error=TimeoutError("1 s"))
        assert seen().is_processing
        raise ConnectionError
    [(thread, outcome)] = waiting
    thread.join()
    assert [type(error) for error in outcome] == [JobAlreadyProcessing]
    assert (calls, seen().status, seen().attempt) == ([], "pending", 1)


def test_a_second_delivery_takes_up_a_retry(caplog: pytest.LogCaptureFixture) -> None:
    """A successor that was sent before the first run had left, as by a retry without a pause."""
    second: list[tuple[Thread, list[Any]]] = []
    with (
        queue_task(QueueTask(id="one", will_retry=lambda _: True)),
        pytest.raises(ConnectionError),
        load.job.start("p"),
    ):
        second.append(in_thread(lambda: deliver("one")))
        eventually(lambda: waits_already(caplog))
        raise ConnectionError
    [(thread, outcome)] = second
    thread.join()
    assert (outcome, seen().attempt, seen().status) == ([1], 2, "completed")


def test_a_second_delivery_takes_over_the_dead(caplog: pytest.LogCaptureFixture, job_progress_tracker: Tracker) -> None:
    """As soon as the first counts as stalled, and not before."""
    with frozen_clock() as clock:
        with queue_task(QueueTask(id="one")):
            begun = load.job.begin("p")
            assert not isinstance(begun, JobState)
            begun.detach()  # its process is gone
        thread, outcome = in_thread(lambda: deliver("one"))
        eventually(lambda: waits_already(caplog))
        assert not outcome
        clock.tick(31)
        thread.join()
    assert (outcome, seen().attempt, seen().status) == ([1], 2, "completed")


async def test_an_async_second_delivery_waits_without_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    """And ends at once if it is cancelled meanwhile, which leaves the first alone."""
    with queue_task(QueueTask(id="one", function=aplain)):
        async with aplain.job.astart("one"):
            pass
        aplain.job.tracker.prune()
        task = asyncio.current_task()
        assert task is not None
        async with aplain.job.astart("one"):

            async def second() -> None:
                with queue_task(QueueTask(id="one", function=aplain)):
                    await aplain()

            waiting = asyncio.create_task(second())
            while not waits_already(caplog):
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            state = await aplain.job.aget("one")
            assert state is not None
            assert (state.status, state.attempt) == ("processing", 1)


def test_another_task_of_the_same_id_is_turned_away() -> None:
    """It is a call of its own, which does not wait."""
    with queue_task(QueueTask(id="one")), load.job.start("p"), pytest.raises(JobAlreadyProcessing):
        deliver("two")


def test_calls_within_an_untracked_task_have_ids_of_their_own() -> None:
    """In a row, or beside each other."""
    with queue_task(QueueTask(id="one", function=len)):
        for _ in range(3):
            plain()

    async def beside_each_other() -> None:
        with queue_task(QueueTask(id="one", function=len)):
            await asyncio.gather(aplain(), aplain(), aplain())

    asyncio.run(beside_each_other())
    for job in (plain.job, aplain.job):
        states = job.list()
        assert [state.status for state in states] == ["completed"] * 3
        assert "one" not in {state.id for state in states}


def test_the_tasks_own_function_keeps_its_id_when_something_around_it_repeats_it() -> None:
    """Whether it failed before or not; each is an attempt. What is called beside its run has an id of its own."""
    task = QueueTask(id="one", function=plain)
    with queue_task(task):
        plain()
        plain()
        with plain.job.start("one"):
            inner = QueueTask(id="one", function=plain, delivery=task.delivery)
            with queue_task(inner):
                plain()
    states = {state.id: state for state in plain.job.list()}
    assert len(states) == 2
    assert (states["one"].attempt, states["one"].status) == (3, "completed")


def test_an_error_within_an_untracked_task_that_is_tried_again_waits_with_it() -> None:
    """The queue runs the whole again, and with it the call."""

    def deliver_untracked(error: Exception | None) -> None:
        with queue_task(QueueTask(id="one", function=len, will_retry=lambda _: True)):
            load("p", error)

    with pytest.raises(ConnectionError):
        deliver_untracked(ConnectionError("x"))
    assert (seen().status, seen().error) == ("pending", "ConnectionError: x")
    deliver_untracked(None)
    assert (seen().status, seen().attempt) == ("completed", 2)


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_a_queue_takes_for_no_error_is_none(goes_on: bool) -> None:
    """An exception with which a task leaves, as it was replaced: it is completed, or waits for its next part."""
    with pytest.raises(StopIteration):
        deliver("one", StopIteration(), will_retry=lambda _: goes_on, shown_error=lambda _: None)
    assert (seen().status, seen().error) == ("pending" if goes_on else "completed", None)


def end(task: QueueTask, **word: Any) -> None:
    """The queue's last word on a delivery."""
    ended(load, "one", ("p",), delivery=task.delivery, **word)


def begin(**more: Any) -> QueueTask:
    """A task that is under way."""
    enqueued(load, "one", ("p",))
    return QueueTask(id="one", function=load, **more)


def test_what_fails_after_the_function_has_failed() -> None:
    """The queue's word wins over what the run said; of the next delivery it is an attempt that counts."""
    task = begin()
    with queue_task(task):
        load("p")
    end(task, error=ValueError("cannot be stored"))
    assert (seen().status, seen().error) == ("failed", "ValueError: cannot be stored")
    assert deliver("one") == 2
    assert (seen().status, seen().attempt) == ("completed", 2)


def test_what_is_tried_again_after_the_function_waits() -> None:
    """So it is no longer completed, and its next delivery is not dropped."""
    task = begin()
    with queue_task(task):
        load("p")
    end(task, error=ValueError("no commit"), will_retry=True)
    assert (seen().status, seen().error, seen().attempt) == ("pending", "ValueError: no commit", 1)
    assert deliver("one") == 2
    assert seen().attempt == 2


@pytest.mark.parametrize("will_retry", [False, True])
def test_what_goes_on_after_the_queue_s_time_limit_has_failed_or_waits(will_retry: bool) -> None:
    """A thread cannot be stopped: its run is superseded, so it stops at a checkpoint and changes nothing any more."""
    task = begin()
    with queue_task(task), load.job.start("p") as progress:
        end(task, error=TimeoutError("1 s"), will_retry=will_retry)
        assert seen().status == ("pending" if will_retry else "failed")
        progress.update(0.5).flush()
        assert progress.cancel_requested
    assert (seen().status, seen().error) == ("pending" if will_retry else "failed", "TimeoutError: 1 s")


@pytest.mark.parametrize("is_over", [False, True])
def test_a_retry_that_has_begun_already_is_left_alone(is_over: bool) -> None:
    """What failed before or after its function was sent again before the queue could say so: that run lives."""
    first = begin()
    if is_over:
        with queue_task(first), pytest.raises(ValueError, match="x"):
            load("p", ValueError("x"))
    with queue_task(begin()), load.job.start("p") as progress:
        end(first, error=ConnectionError("no answer"), will_retry=True)
        assert seen().is_processing
        progress.update(0.5).flush()
    assert seen().is_completed


@pytest.mark.parametrize("will_retry", [False, True])
def test_what_fails_before_the_function_says_so(will_retry: bool) -> None:
    """It is not pending without a word."""
    end(begin(), error=ValueError("no setup"), will_retry=will_retry)
    assert (seen().status, seen().error) == ("pending" if will_retry else "failed", "ValueError: no setup")


def test_what_is_not_called_is_not_waited_for() -> None:
    """Something around the function has ended the task without it."""
    end(begin())
    assert (seen().status, seen().error) == ("cancelled", "not run: its task ended without calling it")


def test_a_retry_that_the_queue_does_not_do_has_failed() -> None:
    """Something around the function has caught its error; or the queue thought better of it."""
    for word in ({}, {"error": ValueError("boom")}):
        task = begin(will_retry=lambda _: True)
        with queue_task(task), pytest.raises(ValueError, match="boom"):
            load("p", ValueError("boom"))
        assert seen().is_pending
        end(task, **word)
        assert (seen().status, seen().error) == ("failed", "ValueError: boom")


def test_the_queues_word_on_a_cancelled_task_changes_nothing() -> None:
    """Nor does that of a delivery which has met the run of another."""
    task = begin()
    load.job.cancel("p")
    with queue_task(task):
        load("p")
    end(task, error=JobCancelled("it was"))
    assert seen().is_cancelled
    with queue_task(QueueTask(id="two")), load.job.start("p"):
        end(QueueTask(id="two"), error=JobAlreadyProcessing("it is"))
        given_up(load, "two", ("p",), error="expired", begun=False)
        assert seen().is_processing
    given_up(load, "two", ("p",), error="expired", begun=False)
    assert seen().is_completed


def test_an_agreement_costs_nothing(job_progress_tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    """Where run and queue say the same, the state is not written again."""
    for error, will_retry in ((None, False), (ValueError("boom"), False), (ValueError("boom"), True)):
        task = QueueTask(id="one", function=load, will_retry=(lambda _: True) if will_retry else (lambda _: False))
        try:
            with queue_task(task):
                load("p", error)
        except ValueError:
            pass
        before = seen()
        end(task, error=error, will_retry=will_retry)
        assert seen().version == before.version
        job_progress_tracker.prune()
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]
