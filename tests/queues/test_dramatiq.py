"""What only Dramatiq has: async actors, its limits and exceptions, delays, pipelines, and a place in a list."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Middleware, Retry, Worker, actor, group
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, Interrupt, Retries, SkipMessage

from job_progress import Job, JobState, Tracker, tracked
from job_progress.queues.dramatiq import ProgressMiddleware
from tests.observed_store import ObservedStore
from tests.queues.conftest import BUSY, Brokers, Queue
from tests.queues.drivers.dramatiq import FIRST, Dramatiq
from tests.queues.seen import Seen


class Dispatch(Queue):
    """The contract suite's queue, with Dramatiq's own options."""

    def __init__(self, brokers: Brokers, folder: Path, pool: str = "threads") -> None:
        driver = brokers.driver("Dramatiq")
        assert isinstance(driver, Dramatiq)
        super().__init__(driver, brokers, pool, folder)
        self.actors = driver.actors
        self.dramatiq = driver

    def job(self, name: str) -> Job:
        """The job behind an actor."""
        return Job.of(self.actors[name])

    def dispatch(self, actor: str, *args: Any, delay: int | None = None, **options: Any) -> str:
        """Send a message; `...` among the arguments stands for the test's folder."""
        given = tuple(str(self.folder) if arg is ... else arg for arg in args)
        return self.actors[actor].send_with_options(args=given, delay=delay, **options).message_id

    def ends(self, actor: str, id: str) -> JobState:
        """Wait for the end."""
        return self.becomes(actor, id, lambda state: state.is_finished)


@pytest.fixture
def queue(brokers: Brokers, tmp_path: Path) -> Iterator[Dispatch]:
    """The queue, and no worker yet."""
    queue = Dispatch(brokers, tmp_path)
    yield queue
    queue.close()


both = pytest.mark.parametrize("prefix", ["", "async_"], ids=["sync", "async"])


def test_an_async_actor_runs_and_has_its_result(queue: Dispatch) -> None:
    """On the loop of the `AsyncIO` middleware, under the message's id."""
    queue.work()
    id = queue.dispatch("async_add", 3, 4)
    done = queue.ends("async_add", id)
    assert (done.status, done.result, done.attempt) == ("completed", 7, 1)
    assert queue.outcome(id) == "done"


def test_an_async_actor_is_tried_again(queue: Dispatch) -> None:
    """Pending with its error in between, and never failed."""
    queue.work()
    queue.go()
    with Seen() as seen:
        id = queue.dispatch("async_flaky", ..., max_retries=1, min_backoff=50)
        seen.follow(queue.job("async_flaky"), id)
        done = queue.ends("async_flaky", id)
    assert (done.status, done.attempt) == ("completed", 2)
    assert "failed" not in seen.statuses


def test_an_async_actor_is_cancelled(queue: Dispatch) -> None:
    """At its checkpoint, and its message is skipped."""
    queue.work()
    id = queue.dispatch("async_wait", ..., max_retries=1)
    queue.sees("begun")
    queue.job("async_wait").cancel(id)
    assert queue.ends("async_wait", id).status == "cancelled"
    assert queue.outcome(id) == "cancelled"


@both
def test_the_time_limit_is_told(queue: Dispatch, prefix: str) -> None:
    """By its name, though a coroutine only sees that it is cancelled."""
    queue.work()
    id = queue.dispatch(f"{prefix}stubborn", ..., time_limit=300)
    queue.sees("begun")
    failed = queue.ends(f"{prefix}stubborn", id)
    assert (failed.status, failed.error) == ("failed", "interrupted by TimeLimitExceeded")
    assert queue.outcome(id) == "failed"


def test_what_waited_for_too_long_has_failed(queue: Dispatch) -> None:
    """It never runs, and says why."""
    queue.stop_working()
    id = queue.dispatch("stubborn", ..., max_age=1)
    queue.work()
    failed = queue.ends("stubborn", id)
    assert (failed.status, failed.error, failed.attempt) == ("failed", "SkipMessage: Message age limit exceeded", 0)
    assert not queue.has("begun")


@both
def test_a_worker_that_shuts_down_is_a_retry(queue: Dispatch, prefix: str) -> None:
    """To those that want to be told: the next worker begins it once more."""
    worker = queue.worker_of_its_own()
    id = queue.dispatch(f"{prefix}stubborn", ..., notify_shutdown=True, max_retries=1, min_backoff=2000)
    queue.sees("begun")
    worker.stop(BUSY)
    waiting = queue.becomes(f"{prefix}stubborn", id, lambda state: state.is_pending)
    assert (waiting.attempt, (waiting.error or "")[:15]) == (1, "interrupted by ")
    queue.work()
    queue.go()
    done = queue.ends(f"{prefix}stubborn", id)
    assert (done.status, done.attempt) == ("completed", 2)


def test_a_worker_that_shuts_down_ends_what_is_being_cancelled(queue: Dispatch) -> None:
    """It is cancelled, and the retry that Dramatiq makes of it does not run."""
    worker = queue.worker_of_its_own()
    id = queue.dispatch("late", ..., notify_shutdown=True, max_retries=1, min_backoff=2000)
    queue.sees("begun")
    queue.job("late").cancel(id)
    queue.becomes("late", id, lambda state: state.is_cancelling)
    queue.sees("asked")
    worker.stop(BUSY)
    assert queue.ends("late", id).status == "cancelled"
    (queue.folder / "begun").unlink()
    queue.work()
    assert queue.outcome(id) == "cancelled"
    assert not queue.has("begun")
    after = queue.state("late", id)
    assert after is not None
    assert (after.status, after.attempt) == ("cancelled", 1)


@both
def test_what_is_aborted_while_it_runs_is_cancelled(queue: Dispatch, prefix: str) -> None:
    """By dramatiq-abort, which interrupts the thread."""
    queue.work()
    id = queue.dispatch(f"{prefix}stubborn", ...)
    queue.sees("begun")
    queue.driver.revoke(id)
    state = queue.becomes(f"{prefix}stubborn", id, lambda state: state.is_cancelled)
    assert state.error is None
    assert queue.outcome(id) == "failed"


def test_a_delayed_message_is_pending_until_it_is_due(queue: Dispatch) -> None:
    """Once: when it moves from one of Dramatiq's queues to the other, nothing is changed."""
    queue.work()
    with Seen() as seen:
        id = queue.dispatch("add", 1, 2, delay=200)
        seen.follow(queue.job("add"), id)
        pending = queue.state("add", id)
        done = queue.ends("add", id)
    assert pending is not None
    assert (pending.status, done.status, done.created_at) == ("pending", "completed", pending.created_at)
    assert [status for status in seen.statuses if status == "pending"] == ["pending"]


def test_a_delayed_message_that_was_cancelled_never_runs(queue: Dispatch) -> None:
    """That it becomes due does not bring it back."""
    queue.work()
    id = queue.dispatch("stubborn", ..., delay=500)
    assert queue.job("stubborn").cancel(id).is_cancelled
    assert queue.outcome(id) == "cancelled"
    state = queue.state("stubborn", id)
    assert state is not None
    assert state.is_cancelled
    assert not queue.has("begun")


def test_who_asks_for_a_failed_job_at_once_has_it(queue: Dispatch) -> None:
    """What Dramatiq says of the old message, a moment later, is not said of the new lock."""
    queue.work()
    name = f"again {queue.folder.name}"
    id = queue.dispatch("dispatched", name)
    assert queue.outcome(id) == "failed"
    state = queue.state("dispatched", name)
    assert state is not None
    assert (state.status, state.error) == ("pending", None)


ATTEMPT = ["processing", "pending"]
FINAL = ["processing", "failed"]
CANCELLED = ["processing", "cancelled"]


class Aborted(Interrupt):
    """What somebody's middleware raises in a thread."""


class Vetoing(Middleware):
    """Somebody's middleware, that lets nothing begin."""

    def before_process_message(self, broker: Any, message: Any) -> None:
        raise SkipMessage("not today")


def history(
    error: BaseException, *middleware: Middleware, is_cancelled_before: bool = False, **options: Any
) -> list[str]:
    """What is stored of an actor that raises *error*, one status after the other."""
    store = ObservedStore()
    tracker = Tracker(store)
    broker = StubBroker(middleware=[*middleware, ProgressMiddleware()])
    broker.actor_options |= set(options)

    @tracked(name="history", tracker=tracker)
    def job() -> None:
        raise error

    message = actor(broker=broker, **options)(job).send()
    if is_cancelled_before:
        job.job.cancel(message.message_id)
    worker = Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    try:
        broker.join("default", fail_fast=False)
        worker.join()
    finally:
        worker.stop()
        tracker.close()
    return [status for status, _ in groupby(change.status for changes in store.swaps for change in changes)]


def is_first(retries: int, error: BaseException) -> bool:
    """Try again once."""
    return retries == 0


def never_again(retries: int, error: BaseException) -> bool:
    """Do not try again."""
    return False


@pytest.mark.parametrize(
    ("error", "options", "expected"),
    [
        (ConnectionError(), {"max_retries": 0}, FINAL),
        (ConnectionError(), {"max_retries": 2, "min_backoff": 1}, ATTEMPT * 2 + FINAL),
        (ConnectionError(), {"throws": (KeyError, ConnectionError)}, FINAL),
        (ConnectionError(), {"retry_when": is_first, "min_backoff": 1}, ATTEMPT + FINAL),
        (ConnectionError(), {"retry_when": never_again, "max_retries": 9}, FINAL),
        (Retry(delay=1), {"max_retries": 1}, ATTEMPT + FINAL),
        (SkipMessage(), {}, CANCELLED),
        (Aborted(), {"max_retries": 0}, CANCELLED),
    ],
    ids=["never", "twice", "throws", "retry_when", "retry_when_not", "Retry", "SkipMessage", "aborted"],
)
@pytest.mark.parametrize("has_retries", [True, False], ids=["Retries", "no-Retries"])
def test_what_dramatiq_will_decide_is_foreseen(
    error: BaseException, options: dict[str, Any], expected: list[str], has_retries: bool
) -> None:
    """Nothing is stored that would have to be taken back a moment later."""
    if has_retries:
        assert history(error, Retries(), **options) == ["pending", *expected]
    else:
        assert history(error, **options) == ["pending", *expected[-2:]]


def test_what_never_begins_is_told() -> None:
    """It was vetoed, or is too old, or was cancelled, which the start finds out."""
    assert history(OSError(), Vetoing()) == ["pending", "cancelled"]
    assert history(OSError(), AgeLimit(max_age=-1)) == ["pending", "failed"]
    assert history(OSError(), Retries(), is_cancelled_before=True)[-1] == "cancelled"


def test_what_the_actor_throws_is_not_tried_again(queue: Dispatch) -> None:
    """It has failed at once, by the actor's own word."""
    queue.work()
    id = queue.dispatch("throwing")
    failed = queue.ends("throwing", id)
    assert (failed.status, failed.error, failed.attempt) == ("failed", "LookupError: not to be tried again", 1)
    assert queue.outcome(id) == "failed"


def test_what_retry_when_says_is_known_beforehand(queue: Dispatch) -> None:
    """Pending after the first error, failed after the second, for good."""
    queue.work()
    with Seen() as seen:
        id = queue.dispatch("choosing")
        seen.follow(queue.job("choosing"), id)
        failed = queue.ends("choosing", id)
    assert (failed.status, failed.attempt) == ("failed", 2)
    assert seen.statuses.count("failed") == 1
    assert queue.outcome(id) == "failed"


def test_a_retry_that_the_job_asks_for_shows_its_reason(queue: Dispatch) -> None:
    """What `Retry` was raised from."""
    queue.work()
    id = queue.dispatch("asking")
    failed = queue.ends("asking", id)
    assert (failed.status, failed.attempt, failed.error) == ("failed", 2, "ConnectionError: no answer")


def test_a_job_that_skips_its_message_is_cancelled(queue: Dispatch) -> None:
    """Its own way to say that there is nothing to do is no failure."""
    queue.work()
    id = queue.dispatch("skipping")
    state = queue.ends("skipping", id)
    assert (state.status, state.error, state.attempt) == ("cancelled", None, 1)
    assert queue.outcome(id) == "cancelled"


@pytest.mark.parametrize("place", [{}, {FIRST: "yes"}], ids=["last", "first"])
def test_what_fails_before_the_job_begins_is_told(queue: Dispatch, place: dict[str, str]) -> None:
    """Once Dramatiq gives the message up, and not before; wherever the middleware stands."""
    queue.worker_of_its_own(**place)
    with Seen() as seen:
        id = queue.dispatch("never")
        seen.follow(queue.job("never"), id)
        failed = queue.ends("never", id)
        assert queue.outcome(id) == "failed"
    assert (failed.status, failed.attempt, failed.error) == ("failed", 0, "PermissionError: not today")


def test_the_first_of_all_middleware_does_as_well(queue: Dispatch) -> None:
    """Runs, retries and cancels are told as from the last place."""
    queue.worker_of_its_own(**{FIRST: "yes"})
    queue.go()
    flaky, skipped = queue.dispatch("flaky", ..., max_retries=1, min_backoff=50), queue.dispatch("skipping")
    done = queue.ends("flaky", flaky)
    assert (done.status, done.attempt) == ("completed", 2)
    assert queue.ends("skipping", skipped).status == "cancelled"


def test_the_next_of_a_pipeline_is_pending_once_it_has_its_arguments(queue: Dispatch) -> None:
    """Each is an execution of its own."""
    queue.work()
    add = queue.actors["add"]
    chain: Any = add.message(1, 2) | add.message(10)
    first, second = (message.message_id for message in chain.messages)
    chain.run()
    assert queue.ends("add", first).result == 3
    assert queue.ends("add", second).result == 13


def test_many_at_once_are_told_apart(queue: Dispatch) -> None:
    """A group on several threads: each has its own state and result."""
    queue.work()
    names = ("add", "async_add") * 20
    messages = [(name, queue.actors[name].message(number, 0)) for number, name in enumerate(names)]
    made: Any = group
    made([message for _, message in messages]).run()
    for name, message in messages:
        assert queue.ends(name, message.message_id).result == message.args[0]


def test_a_tracked_function_inside_of_another_is_a_job_of_its_own(queue: Dispatch) -> None:
    """With an id of its own; the message's is the outer one's."""
    queue.work()
    id = queue.dispatch("nesting")
    assert queue.ends("nesting", id).result == [id, 3, id]


def test_what_is_not_tracked_is_left_alone(queue: Dispatch) -> None:
    """No state, no word in the log."""
    worker = queue.work()
    before = len(worker.log())
    id = queue.dispatch("untracked")
    assert queue.outcome(id) == "done"
    assert all(state.id != id for state in queue.job("add").tracker.list(limit=100))
    assert "job_progress" not in worker.log()[before:]
