"""What only Dramatiq has: async actors, its limits and exceptions, delays, pipelines, and a place in a list."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Middleware, Retry, Worker, actor, group, pipeline
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import RateLimitExceeded
from dramatiq.middleware import AgeLimit, Interrupt, Retries, SkipMessage

from job_progress import Job, JobState, Tracker, clock, tracked
from job_progress.queues.dramatiq import ProgressMiddleware
from tests.observed_store import ObservedStore
from tests.queues.conftest import BUSY, Brokers, Queue
from tests.queues.drivers.dramatiq import FIRST, Dramatiq
from tests.queues.seen import Seen
from tests.queues.test_contract import completes_another, runs
from tests.waiting import eventually


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
        id = queue.dispatch("add", 1, 2, delay=1000)
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


class Limited(RateLimitExceeded):
    """What a rate limiter raises."""

    def __init__(self) -> None:
        super().__init__("too many")  # type: ignore[no-untyped-call]


class Vetoing(Middleware):
    """Somebody's middleware, that lets nothing begin."""

    def before_process_message(self, broker: Any, message: Any) -> None:
        raise SkipMessage("not today")


def history(
    error: BaseException,
    *middleware: Middleware,
    is_cancelled_before: bool = False,
    broker_type: type[StubBroker] = StubBroker,
    **options: Any,
) -> list[str]:
    """What is stored of an actor that raises *error*, one status after the other."""
    store = ObservedStore()
    tracker = Tracker(store)
    broker = broker_type(middleware=[*middleware, ProgressMiddleware()])
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
        (Limited(), {"max_retries": 1, "min_backoff": 1}, ATTEMPT + FINAL),
    ],
    ids=["never", "twice", "throws", "retry_when", "retry_when_not", "Retry", "SkipMessage", "aborted", "limited"],
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


def pipeline_of(*messages: Any) -> Any:
    """The messages, one after the other."""
    made: Any = pipeline
    return made(messages)


def test_all_that_follows_a_failed_message_ends_with_the_reason(queue: Dispatch) -> None:
    """Pending from the start, those after the next included; each says what was before it."""
    queue.stop_working()
    add, fail = queue.actors["add"], queue.actors["fail"]
    last = add.message_with_options(args=(1, 1), pipe_ignore=True)
    messages = [add.message(1, 2), fail.message_with_options(pipe_ignore=True, max_retries=0), add.message(1), last]
    pipeline_of(*messages).run()
    followers = [("fail", messages[1]), ("add", messages[2]), ("add", last)]
    states = [queue.state(name, message.message_id) for name, message in followers]
    assert [state and str(state.status) for state in states] == ["pending"] * 3
    queue.work()
    assert queue.ends("add", messages[0].message_id).is_completed
    assert queue.ends("fail", messages[1].message_id).is_failed
    reasons = [queue.ends("add", message.message_id).error for message in messages[2:]]
    assert reasons == [
        f"not run: {queue.job('fail').name}, before it, has failed",
        f"not run: {queue.job('add').name}, before it, was not run",
    ]


def test_what_is_cancelled_while_it_follows_does_not_run(queue: Dispatch) -> None:
    """That its turn comes does not bring it back; nor is anything run that is after it."""
    queue.stop_working()
    messages = [queue.actors["silent"].message_with_options(pipe_ignore=True) for _ in range(3)]
    pipeline_of(*messages).run()
    ids = [message.message_id for message in messages]
    queue.job("silent").cancel(ids[1])
    queue.work()
    assert queue.ends("silent", ids[0]).is_completed
    assert queue.outcome(ids[1]) == "cancelled"
    last = queue.ends("silent", ids[2])
    assert (last.status, last.attempt) == ("cancelled", 0)
    assert "was cancelled" in (last.error or "")


def test_an_id_that_is_a_matter_of_the_result_is_known_in_time(queue: Dispatch) -> None:
    """It has no state before, and no word of it is in the log."""
    queue.work()
    name = f"named in {queue.folder.name}"
    chain = pipeline_of(
        queue.actors["relay"].message(str(queue.folder), name), queue.actors["named_by_result"].message()
    )
    chain.run()
    assert queue.ends("named_by_result", name).is_completed


def test_a_retry_keeps_what_follows_waiting(queue: Dispatch) -> None:
    """It runs after all."""
    queue.work()
    queue.go()
    flaky = queue.actors["flaky"].message_with_options(args=(str(queue.folder),), max_retries=1, min_backoff=50)
    after = queue.actors["silent"].message_with_options(pipe_ignore=True)
    with Seen() as seen:
        pipeline_of(flaky, after).run()
        seen.follow(queue.job("silent"), after.message_id)
        assert queue.ends("silent", after.message_id).is_completed
    assert "cancelled" not in seen.statuses


@pytest.mark.parametrize(("member", "how"), [("fail", "has failed"), ("skipping", "was cancelled")])
def test_a_groups_callback_ends_with_a_member(queue: Dispatch, member: str, how: str) -> None:
    """Dramatiq calls it once all members are done; it does not count one that has failed, or was skipped."""
    queue.stop_working()
    made: Any = group
    one = made([queue.actors["silent"].message(), queue.actors[member].message_with_options(max_retries=0)])
    callback = queue.actors["silent"].message()
    one.add_completion_callback(callback)
    one.run()
    waiting = queue.state("silent", callback.message_id)
    assert waiting is not None
    assert waiting.is_pending
    queue.work()
    ended = queue.ends("silent", callback.message_id)
    assert (ended.status, ended.attempt) == ("cancelled", 0)
    assert ended.error == f"not run: {queue.job(member).name}, before it, {how}"


def test_a_groups_callback_runs_once_all_members_are_done(queue: Dispatch) -> None:
    """Those that are pipelines included."""
    queue.work()
    made: Any = group
    silent = queue.actors["silent"]
    one = made(
        [
            silent.message(),
            pipeline_of(silent.message_with_options(pipe_ignore=True), silent.message_with_options(pipe_ignore=True)),
        ]
    )
    callback = silent.message()
    one.add_completion_callback(callback)
    one.run()
    done = queue.ends("silent", callback.message_id)
    assert (done.status, done.attempt) == ("completed", 1)


@pytest.mark.parametrize("actor_name", ["Add", "Refresh"])
def test_a_class_based_actor_is_a_job(queue: Dispatch, actor_name: str) -> None:
    """It is pending, under the message's id or its own, runs, and is found behind the actor and its object."""
    queue.stop_working()
    found = queue.actors[actor_name]
    product = f"product of {queue.folder.name}"
    message = found.send(3, 4) if actor_name == "Add" else found.send(product)
    id = message.message_id if actor_name == "Add" else product
    assert Job.of(found) is Job.of(found.fn)
    state = queue.state(actor_name, id)
    assert state is not None
    assert state.is_pending
    queue.work()
    done = queue.ends(actor_name, id)
    assert (done.status, done.attempt) == ("completed", 1)
    assert done.result == (7 if actor_name == "Add" else f"refreshed {product}")


def test_what_the_worker_does_not_know_has_failed(queue: Dispatch) -> None:
    """The message says where its state is; that is in the worker's default tracker."""
    queue.worker_of_its_own(JOB_PROGRESS_STORE=os.environ["QUEUE_TESTS_STORE"], WITHOUT_ONLY_HERE="yes")
    chain = pipeline_of(
        queue.actors["only_here"].message_with_options(), queue.actors["silent"].message_with_options(pipe_ignore=True)
    )
    chain.run()
    failed = queue.ends("only_here", chain.messages[0].message_id)
    assert (failed.status, failed.attempt) == ("failed", 0)
    assert (failed.error or "").startswith("ActorNotFound")
    assert queue.ends("silent", chain.messages[1].message_id).is_cancelled


def test_what_is_refused_has_failed_however_it_is_sent(queue: Dispatch) -> None:
    """With a delay, in a group, in a pipeline, whose others are not run; or as its arguments cannot be sent."""
    queue.stop_working()
    silent = queue.actors["silent"]
    made: Any = group
    messages = [silent.message_with_options(pipe_ignore=True) for _ in range(4)]
    grouped: Any = made([messages[1]])
    chain = pipeline_of(*messages[2:])
    with queue.driver.refusing():
        for send in (lambda: queue.dramatiq.broker.enqueue(messages[0], delay=60_000), grouped.run, chain.run):
            with pytest.raises(Exception, match="maxmemory"):
                send()
    states = [queue.state("silent", message.message_id) for message in messages]
    assert [state and str(state.status) for state in states] == ["failed", "failed", "failed", "cancelled"]
    unsendable = queue.actors["wait"].message(object())
    with pytest.raises(TypeError):
        queue.dramatiq.broker.enqueue(unsendable)
    state = queue.state("wait", unsendable.message_id)
    assert state is not None
    assert state.is_failed


def test_a_retry_that_the_broker_refuses_has_failed() -> None:
    """Dramatiq drops it, as it acknowledges the message all the same."""

    class Full(StubBroker):
        def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
            self.emit_before("enqueue", message, delay) if delay is not None else None
            if delay is not None:
                raise ConnectionError("full")
            return super().enqueue(message, delay=delay)

    assert history(ConnectionError(), Retries(), broker_type=Full, max_retries=3) == ["pending", *ATTEMPT, "failed"]


def test_what_is_due_later_is_kept_until_then(queue: Dispatch) -> None:
    """A delayed message, and one that is to be retried, by whichever of Dramatiq's options."""
    queue.work()
    hour = 3600.0
    delayed = queue.dispatch("add", 1, 2, delay=int(hour * 1000))
    asked = queue.dispatch("asking_late")
    backed_off = queue.dispatch("fail", max_retries=1, min_backoff=int(hour * 1000))
    states = [queue.state("add", delayed)]
    states += [
        queue.becomes(name, id, lambda state: state.error)
        for name, id in (("asking_late", asked), ("fail", backed_off))
    ]
    for state in states:
        assert state is not None
        assert state.is_pending
        assert state.due is not None
        assert hour - 60 < (state.due - clock.now()).total_seconds() <= 2 * hour
        assert state.lifetime > hour - 60 + state.settings.pending_ttl


@pytest.mark.parametrize("late", [False, True], ids=["while it runs", "after it"])
def test_a_second_delivery_goes_on_with_the_first_ones_result(queue: Dispatch, late: bool) -> None:
    """It is what Dramatiq has stored, and what the next of a pipeline gets, which runs once."""
    worker = queue.worker_of_its_own()
    giving = queue.actors["giving"].message(str(queue.folder))
    chain = pipeline_of(giving, queue.actors["relay"].message(str(queue.folder)))
    chain.run()
    first, second = chain.messages
    queue.sees("begun")
    if late:
        queue.go()
        assert queue.ends("relay", second.message_id).is_completed
    again = first.copy(options={"redis_message_id": f"{first.message_id}-again"})
    queue.dramatiq.broker.do_enqueue(again.queue_name, again.options["redis_message_id"], again.encode())
    if not late:
        with queue.explained():
            eventually(lambda: "another delivery of the same task" in worker.log(), BUSY)
        queue.go()
        assert queue.ends("relay", second.message_id).is_completed
    completes_another(queue)
    assert runs(queue) == 1
    assert (queue.folder / "given").read_text() == "a result\n"
    results = queue.dramatiq.broker.get_results_backend()
    assert first.get_result(backend=results) == "a result"


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
