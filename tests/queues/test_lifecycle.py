"""What queues tell of a task outside of its run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest

from job_progress import Job, JobCancelled, StoreUnavailable, Tracker, tracked
from job_progress.queues.lifecycle import ahook, enqueued, given_up, hook, requeued, revoked
from job_progress.task import QueueTask, queue_task
from tests.observed_store import ObservedStore
from tests.servers.process import free_port
from tests.waiting import eventually

TELL: dict[str, Callable[..., object]] = {
    "enqueued": enqueued,
    "revoked": revoked,
    "given up": partial(given_up, error="expired"),
    "requeued": partial(requeued, error="worker lost"),
}


@tracked(id="product", owner="by")
def refresh(context: object, product: int, by: str = "nobody") -> None:
    """A job with an id of its own, to whose arguments its queue adds one."""


@tracked
def plain() -> None:
    """A job with none."""


def test_the_call_says_id_and_owner_and_the_queue_the_task(job_progress_tracker: Tracker) -> None:
    """What the queue will put in front of the arguments is told as anything."""
    enqueued(refresh, "task-1", (None, 7), {"by": "ada"})
    state = refresh.job.get(7)
    assert state is not None
    assert (state.status, state.owner, state.task) == ("pending", "ada", "task-1")


def test_without_an_id_of_its_own_the_task_is_the_id(job_progress_tracker: Tracker) -> None:
    """And is not stored twice."""
    enqueued(plain, "task-1")
    state = plain.job.get("task-1")
    assert state is not None
    assert state.task == ""


def test_a_worker_tells_of_a_task_that_was_enqueued_under_another_name(
    job_progress_tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its message says that it is pending, and it is not: once for each job, and not of those that are."""
    for turn in range(2):
        for name, id in (("tests.twin", "other"), ("tests.right", "right")):
            version = enqueued(tracked(name="tests.right")(_work), f"{id}-{turn}")
            with queue_task(QueueTask(id=f"{id}-{turn}", enqueued=version)):
                tracked(name=name)(_work)()
    [record] = caplog.records
    assert "tests.twin 'other-0': its message says that it is pending, and here it is not" in record.getMessage()


def _work() -> None:
    """Nothing."""


def test_a_delivery_that_never_began_is_not_the_run_of_another(job_progress_tracker: Tracker) -> None:
    """It was dropped; the same task, delivered before, runs on. Of a task that waits it is the end."""
    with queue_task(QueueTask(id="task-1")), plain.job.start("task-1"):
        revoked(plain, "task-1", begun=False)
        given_up(plain, "task-1", error="expired", begun=False)
        state = plain.job.get("task-1")
        assert state is not None
        assert state.is_processing
    enqueued(plain, "task-2")
    revoked(plain, "task-2", begun=False)
    enqueued(plain, "task-3")
    given_up(plain, "task-3", error="expired", begun=False)
    assert [state.status for state in plain.job.list()] == ["failed", "cancelled", "completed"]


def test_a_word_about_one_task_does_not_end_the_run_of_another(job_progress_tracker: Tracker) -> None:
    """Even under the same id."""
    with queue_task(QueueTask(id="task-1")), refresh.job.start(7):
        for tell in TELL.values():
            tell(refresh, "task-2", (None, 7))
        state = refresh.job.get(7)
        assert state is not None
        assert state.is_processing
        assert not state.is_cancelling
        revoked(refresh, "task-1", (None, 7))
        assert refresh.job.get(7).is_cancelled  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("tell", TELL.values(), ids=list(TELL))
def test_of_what_is_not_tracked_nothing_is_said(
    tell: Callable[..., object], job_progress_tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither to the store nor in the log."""
    tell(len, "task-1", ([],))
    assert not job_progress_tracker.list()
    assert not caplog.records


@pytest.mark.parametrize("tell", TELL.values(), ids=list(TELL))
def test_a_call_that_cannot_be_is_said_in_the_log(
    tell: Callable[..., object], job_progress_tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """An argument is missing, so that there is no id: nothing is raised."""
    tell(refresh, "task-1", ())
    assert "cannot be stored" in caplog.text


@pytest.mark.parametrize("tell", TELL.values(), ids=list(TELL))
def test_a_store_that_is_away_is_said_in_the_log(tell: Callable[..., object], caplog: pytest.LogCaptureFixture) -> None:
    """In one line without a traceback: nothing is raised."""
    job = Job("away", tracker=Tracker(f"redis://127.0.0.1:{free_port()}/0"))
    tell(SimpleNamespace(job=job), "task-1")
    [record] = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


def test_a_hook_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What it would have raised is in the log, with its traceback."""

    @hook
    def broken() -> None:
        raise LookupError("boom")

    broken()
    assert "LookupError: boom" in caplog.text


async def test_an_async_hook_raises_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged in the same way."""

    @ahook
    async def broken() -> None:
        raise LookupError("boom")

    await broken()
    assert "LookupError: boom" in caplog.text


def test_a_tracked_call_inside_a_run_is_not_the_queues_task(job_progress_tracker: Tracker) -> None:
    """Its error is its own end, and not one that the queue will retry; and it has an id of its own."""
    inner_job = Job("inner")

    @tracked(name="outer")
    def outer() -> None:
        with pytest.raises(ConnectionError), inner_job.start("1"):
            raise ConnectionError("no answer")
        plain()

    with queue_task(QueueTask(id="task-1", will_retry=lambda error: True)):
        outer()
    inner = inner_job.get("1")
    assert inner is not None
    assert inner.is_failed
    assert [state.id for state in plain.job.list()] != ["task-1"]
    assert [state.id for state in outer.job.list()] == ["task-1"]


def test_a_cancelled_task_ends_the_queues_way(job_progress_tracker: Tracker) -> None:
    """Whether it was cancelled before it began or while it ran; a task that ends otherwise does not."""

    class Ignore(Exception):
        """What a queue takes for cancelled."""

    def ignore() -> None:
        raise Ignore

    @tracked(name="cancels", id="id", cancellable=True)
    def cancels(id: str, itself: bool = False) -> str:
        from job_progress import current_progress

        if itself:
            current_progress().cancel_and_exit()
        return "done"

    task = QueueTask(id="task-1", end_cancelled=ignore)
    with queue_task(task), pytest.raises(Ignore):
        cancels("1", itself=True)
    cancels.job.lock("2")
    cancels.job.cancel("2")
    with queue_task(task), pytest.raises(Ignore):
        cancels("2")
    with queue_task(task):
        assert cancels("3") == "done"
    states = [cancels.job.get(id) for id in "123"]
    assert [state and str(state.status) for state in states] == ["cancelled", "cancelled", "completed"]


async def test_what_is_returned_may_be_a_failure(job_progress_tracker: Tracker) -> None:
    """Where a queue takes it for one: the call returns it all the same, and it is no result."""

    @tracked(name="returns", store_result=True)
    def returns(value: object) -> object:
        return value

    @tracked(name="areturns", store_result=True)
    async def areturns(value: object) -> object:
        return value

    def failure_in(returned: object) -> LookupError | None:
        return LookupError("try again") if returned is again else None

    again = object()
    with queue_task(QueueTask(id="1", failure_in=failure_in, will_retry=lambda error: isinstance(error, LookupError))):
        assert returns(again) is again
        assert await areturns(again) is again
    with queue_task(QueueTask(id="2", failure_in=failure_in)):
        assert returns(7) == await areturns(7) == 7
    for job in (returns.job, areturns.job):
        waiting, done = job.get("1"), job.get("2")
        assert waiting is not None
        assert done is not None
        assert (waiting.status, waiting.error, waiting.result) == ("pending", "LookupError: try again", None)
        assert (done.status, done.result) == ("completed", 7)


def test_a_start_that_knows_what_was_enqueued_takes_one_round_trip(job_progress_tracker: Tracker) -> None:
    """It keeps when that was; if the state has changed since, the start finds out, and costs one more."""
    store = ObservedStore()
    job = Job("counted", tracker=Tracker(store), id_of=lambda: "x")
    call = SimpleNamespace(job=job)
    version = enqueued(call, "task-1")
    [pending] = job.list()
    assert (store.round_trips, version) == (1, pending.version)
    with queue_task(QueueTask(id="task-1", enqueued=version)), job.start("x") as progress:
        assert store.round_trips == 2
        assert (progress.state.created_at, progress.state.attempt) == (pending.created_at, 1)
    assert store.round_trips == 3

    version = enqueued(call, "task-2")
    job.cancel("x")
    with queue_task(QueueTask(id="task-2", enqueued=version)), pytest.raises(JobCancelled), job.start("x"):
        pass


def test_what_was_locked_is_not_guessed(job_progress_tracker: Tracker) -> None:
    """Its owner and metadata are in the store alone; and so is a state that waits for a retry."""
    refresh.job.lock(7, owner="ada", meta={"from": "shop"})
    assert enqueued(refresh, "task-1", (None, 7)) is None
    retried = QueueTask(id="task-3", will_retry=lambda error: True)
    with queue_task(retried), pytest.raises(ConnectionError), plain.job.start("task-3"):
        raise ConnectionError("no answer")
    assert enqueued(plain, "task-3") is None


def test_senders_do_not_each_wait_for_a_silent_store(caplog: pytest.LogCaptureFixture) -> None:
    """One of them does, and says so; the others send without it, until a while later the next one asks again."""
    store = ObservedStore()
    job = Job("silent", tracker=Tracker(store), id_of=lambda: "x")
    call = SimpleNamespace(job=job)
    asked: list[float] = []

    def be_silent() -> None:
        asked.append(time.monotonic())
        time.sleep(0.3)
        raise StoreUnavailable("no answer")

    store.before_swap = be_silent
    for _ in range(5):
        assert enqueued(call, "task-1") is None
    assert (len(asked), len(caplog.records)) == (1, 1)
    store.before_swap = lambda: None
    assert eventually(lambda: enqueued(call, "task-1"))
    assert time.monotonic() - asked[0] > 0.9
