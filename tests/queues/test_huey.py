"""What only Huey has: its signals and exceptions, limits and locks, schedules, pipelines, and immediate mode."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from huey import MemoryHuey
from huey.api import group
from huey.exceptions import CancelExecution, RateLimitExceeded, RetryTask
from huey.signals import SIGNAL_CANCELED, SIGNAL_ERROR, SIGNAL_RETRYING

from job_progress import Job, JobState, Tracker, tracked
from job_progress.queues.huey import install
from job_progress.task import current_task
from tests.observed_store import ObservedStore
from tests.queues.conftest import BUSY, Brokers, Queue
from tests.queues.drivers.huey import Huey
from tests.queues.seen import Seen
from tests.waiting import eventually


class Dispatch(Queue):
    """The contract suite's queue, with Huey's own options."""

    def __init__(self, brokers: Brokers, folder: Path, pool: str) -> None:
        driver = brokers.driver("Huey")
        assert isinstance(driver, Huey)
        super().__init__(driver, brokers, pool, folder)
        self.huey: Any = driver.huey
        self.tasks = driver.tasks

    def job(self, name: str) -> Job:
        """The job behind a task."""
        return Job.of(self.tasks[name])

    def dispatch(self, task: str, *args: Any, **options: Any) -> str:
        """Enqueue a task; `...` among the arguments stands for the test's folder."""
        made = self.tasks[task].s(*(str(self.folder) if arg is ... else arg for arg in args), **options)
        id: str = self.huey.enqueue(made).id
        return id

    def ends(self, task: str, id: str) -> JobState:
        """Wait for the end."""
        return self.becomes(task, id, lambda state: state.is_finished)


@pytest.fixture
def kind() -> str:
    """The usual kind of worker, unless the test asks for others."""
    return "thread"


@pytest.fixture
def queue(brokers: Brokers, tmp_path: Path, kind: str) -> Iterator[Dispatch]:
    """The queue, and no worker yet."""
    queue = Dispatch(brokers, tmp_path, kind)
    yield queue
    queue.close()


@pytest.mark.parametrize("task", ["asking", "explaining"])
def test_a_task_that_asks_for_it_is_tried_again(queue: Dispatch, task: str) -> None:
    """By `RetryTask`, without any retries of its own; it shows what that was raised for, and was never failed."""
    queue.work()
    with Seen() as seen:
        id = queue.dispatch(task, ...)
        seen.follow(queue.job(task), id)
        waiting = queue.becomes(task, id, lambda state: state.is_pending and state.error)
        done = queue.ends(task, id)
    reason = {"asking": "RetryTask: the task asked for it", "explaining": "ConnectionError: no answer"}
    assert waiting.error == reason[task]
    assert (done.status, done.attempt, done.error) == ("completed", 2, None)
    assert "failed" not in seen.statuses


def test_a_retry_without_delay_starts_clean(queue: Dispatch) -> None:
    """Huey enqueues it within the first attempt's own execution."""
    queue.work()
    queue.go()
    with Seen() as seen:
        id = queue.dispatch("flaky", ..., retries=1)
        seen.follow(queue.job("flaky"), id)
        done = queue.ends("flaky", id)
    assert (done.status, done.attempt, done.error) == ("completed", 2, None)
    assert "failed" not in seen.statuses


def test_what_fails_while_it_is_being_cancelled_stays_cancelled(queue: Dispatch) -> None:
    """Its retry is enqueued, and does not bring it back."""
    queue.work()
    id = queue.dispatch("late", ..., retries=1)
    queue.sees("begun")
    queue.job("late").cancel(id)
    queue.go()
    assert queue.outcome(id) == "cancelled"
    state = queue.state("late", id)
    assert state is not None
    assert (state.status, state.attempt) == ("cancelled", 1)


def test_who_asks_for_a_failed_job_at_once_has_it(queue: Dispatch) -> None:
    """What Huey says of the old task, a moment later, is not said of the new lock."""
    queue.work()
    name = f"again {queue.folder.name}"
    id = queue.dispatch("dispatched", name)
    assert queue.outcome(id) == "failed"
    state = queue.state("dispatched", name)
    assert state is not None
    assert (state.status, state.error) == ("pending", None)


def test_a_task_that_cancels_itself_is_cancelled(queue: Dispatch) -> None:
    """By `CancelExecution`, whatever retries it had."""
    queue.work()
    id = queue.dispatch("canceling", False, retries=2)
    state = queue.ends("canceling", id)
    assert (state.status, state.error, state.attempt) == ("cancelled", None, 1)
    assert queue.outcome(id) == "cancelled"


def test_a_task_that_cancels_itself_for_now_is_tried_again(queue: Dispatch) -> None:
    """As long as it has retries, by default; then it is cancelled."""
    queue.work()
    id = queue.dispatch("canceling", None, retries=1)
    state = queue.ends("canceling", id)
    assert (state.status, state.attempt) == ("cancelled", 2)


def test_a_task_gets_its_context(queue: Dispatch) -> None:
    """Which an id that is made of the arguments can do without."""
    queue.stop_working()
    name = f"context of {queue.folder.name}"
    id = queue.dispatch("with_context", name)
    pending = queue.state("with_context", name)
    assert pending is not None
    assert pending.is_pending
    queue.work()
    assert queue.ends("with_context", name).message == id


def test_a_lock_that_is_held_is_told(queue: Dispatch) -> None:
    """The job never began, and Huey drops its task."""
    queue.work()
    with queue.huey.lock_task("held"):
        id = queue.dispatch("locked")
        failed = queue.ends("locked", id)
    assert (failed.status, failed.attempt) == ("failed", 0)
    assert failed.error == "TaskLockedException: unable to acquire lock held"


def test_a_rate_limit_is_waited_for(queue: Dispatch) -> None:
    """It is pending until then."""
    queue.work()
    ids = [queue.dispatch("limited") for _ in range(2)]
    assert [queue.ends("limited", id).status for id in ids] == ["completed", "completed"]


def test_what_a_hook_vetoes_is_cancelled(queue: Dispatch) -> None:
    """Even if it had retries, as Huey drops it."""
    queue.work()
    id = queue.dispatch("vetoed", retries=1)
    state = queue.ends("vetoed", id)
    assert (state.status, state.attempt) == ("cancelled", 0)


def test_what_fails_before_the_job_begins_is_told(queue: Dispatch) -> None:
    """Once Huey gives it up, and not before."""
    queue.work()
    with Seen() as seen:
        id = queue.dispatch("never", retries=1)
        seen.follow(queue.job("never"), id)
        failed = queue.ends("never", id)
        assert queue.outcome(id) == "failed"
    assert (failed.status, failed.attempt, failed.error) == ("failed", 0, "PermissionError: not today")


def test_what_expired_has_failed(queue: Dispatch) -> None:
    """It never runs, and says why."""
    queue.work()
    id = queue.dispatch("stubborn", ..., expires=datetime.now() - timedelta(seconds=1))  # noqa: DTZ005 - Huey's own way
    failed = queue.ends("stubborn", id)
    assert (failed.status, failed.error, failed.attempt) == ("failed", "expired before a worker got to it", 0)
    assert not queue.has("begun")


@pytest.mark.parametrize("kind", ["process", "greenlet"])
def test_the_time_limit_is_told(queue: Dispatch) -> None:
    """Where Huey has one, as it has not in threads."""
    queue.work()
    id = queue.dispatch("stubborn", ..., timeout=0.3)
    failed = queue.ends("stubborn", id)
    assert (failed.status, (failed.error or "")[:11]) == ("failed", "TaskTimeout")
    assert queue.outcome(id) == "failed"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("thread", "interrupted, as its worker was stopped"),
        ("process", "interrupted by KeyboardInterrupt"),
        ("greenlet", "interrupted by KeyboardInterrupt"),
    ],
)
def test_a_worker_that_is_stopped_at_once_is_told(queue: Dispatch, error: str) -> None:
    """Huey drops what it was doing, so that has failed, and is not tried again."""
    worker = queue.worker_of_its_own()
    id = queue.dispatch("stubborn", ..., retries=1)
    queue.sees("begun")
    worker.stop(BUSY)
    failed = queue.ends("stubborn", id)
    assert (failed.status, failed.error) == ("failed", error)
    assert not queue.huey.pending()


def test_a_scheduled_task_is_pending_until_it_is_due(queue: Dispatch) -> None:
    """Once: that it moves from the schedule to the queue changes nothing."""
    queue.work()
    with Seen() as seen:
        id = queue.dispatch("add", 1, 2, delay=1)
        seen.follow(queue.job("add"), id)
        pending = queue.state("add", id)
        done = queue.ends("add", id)
    assert pending is not None
    assert (pending.status, done.status, done.created_at) == ("pending", "completed", pending.created_at)


def test_a_scheduled_task_that_was_cancelled_never_runs(queue: Dispatch) -> None:
    """That it becomes due does not bring it back."""
    queue.work()
    id = queue.dispatch("stubborn", ..., delay=1)
    assert queue.job("stubborn").cancel(id).is_cancelled
    assert queue.outcome(id) == "cancelled"
    state = queue.state("stubborn", id)
    assert state is not None
    assert state.is_cancelled
    assert not queue.has("begun")


def test_each_of_a_pipeline_is_an_execution_of_its_own(queue: Dispatch) -> None:
    """Pending from the start, and it runs once it has its arguments."""
    queue.stop_working()
    first, second = queue.huey.enqueue(queue.tasks["add"].s(1, 2).then(queue.tasks["add"], 10))
    waiting = queue.state("add", second.id)
    assert waiting is not None
    assert waiting.is_pending
    queue.work()
    assert queue.ends("add", first.id).result == 3
    assert queue.ends("add", second.id).result == 13


@pytest.mark.parametrize("kind", ["thread", "process", "greenlet"])
def test_a_result_that_huey_cannot_store_has_failed(queue: Dispatch) -> None:
    """Huey has nothing of it, and does not go on with what follows."""
    queue.work()
    task = queue.tasks["unstorable"].s()
    task.then(queue.tasks["silent"])
    queue.huey.enqueue(task)
    failed = queue.becomes("unstorable", task.id, lambda state: state.is_failed)
    assert "pickle" in (failed.error or "")
    following = queue.ends("silent", task.on_complete.id)
    reason = f"not run: {queue.job('unstorable').name}, before it, has failed"
    assert (following.status, following.error) == ("cancelled", reason)
    assert queue.outcome(queue.dispatch("add", 1, 1)) == "done"


def test_a_result_or_a_retry_that_the_broker_refuses_has_failed(queue: Dispatch) -> None:
    """Huey says so in its log, and does not come back to them: nothing waits for an attempt that does not come."""
    worker = queue.worker_of_its_own()
    ids = [(task, queue.dispatch(task, ..., retries=1, retry_delay=1)) for task in ("stubborn", "late")]
    for task, id in ids:
        queue.becomes(task, id, lambda state: state.is_processing)
    with queue.driver.refusing():
        queue.go()
        states = [queue.becomes(task, id, lambda state: state.is_failed) for task, id in ids]
        with queue.explained():
            eventually(lambda: worker.log().count("Unhandled error during execution") == 2, BUSY)
    assert ["used memory" in (state.error or "") for state in states] == [True, True]


def test_in_threads_there_is_no_time_limit(queue: Dispatch) -> None:
    """The task goes on, and is completed in the end, to Huey as well."""
    queue.work()
    id = queue.dispatch("stubborn", ..., timeout=0.1)
    queue.sees("begun")
    late = datetime.now(UTC) + timedelta(seconds=0.3)
    eventually(lambda: datetime.now(UTC) > late)
    queue.go()
    assert queue.ends("stubborn", id).is_completed
    assert queue.outcome(id) == "done"


def test_many_at_once_are_told_apart(queue: Dispatch) -> None:
    """A group on several threads: each has its own state and result."""
    queue.work()
    results = queue.huey.enqueue(group([queue.tasks["add"].s(number, 0) for number in range(40)]))
    assert [queue.ends("add", result.id).result for result in results] == list(range(40))


def test_a_tracked_function_inside_of_another_is_a_job_of_its_own(queue: Dispatch) -> None:
    """With an id of its own; the task's is the outer one's."""
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


class Immediate:
    """An instance that runs its tasks at once, with some declared before `install`.

    Attributes:
        errors: What `task` raises, one at each attempt, before it ends well.
        barred: What its outermost decorator raises, so that it does not even begin.
    """

    def __init__(self) -> None:
        self.huey = MemoryHuey(immediate=True)
        self.store = ObservedStore()
        tracker = Tracker(self.store)
        self.errors: list[BaseException] = []
        self.barred: BaseException | None = None
        self.inner: Any = None

        @tracked(name="immediate", tracker=tracker, id=lambda name=None: name or current_task().id)
        def immediate(name: str | None = None) -> None:
            if self.errors:
                raise self.errors.pop(0)

        @wraps(immediate)
        def barred(name: str | None = None) -> None:
            if self.barred:
                raise self.barred
            immediate(name)

        @tracked(name="outer", tracker=tracker)
        def outer() -> None:
            self.inner = self.task()

        self.function, self.task = immediate, self.huey.task()(barred)
        self.outer = self.huey.task()(outer)
        install(self.huey)

    def history(self, *errors: BaseException, **options: Any) -> list[str]:
        """What is stored of the task if it raises these, one status after the other."""
        self.errors = list(errors)
        before = len(self.store.swaps)
        self.huey.enqueue(self.task.s(**options))
        changes = (change.status for changes in self.store.swaps[before:] for change in changes)
        return [status for status, _ in groupby(changes)]


@pytest.fixture
def immediate() -> Iterator[Immediate]:
    """With a store of its own."""
    immediate = Immediate()
    yield immediate
    Job.of(immediate.task).tracker.close()


def test_in_immediate_mode_the_call_is_the_run(immediate: Immediate) -> None:
    """Under the task's id; and what is called afterwards is not that task any more."""
    job = Job.of(immediate.task)
    first = job.get(immediate.task().id)
    assert first is not None
    assert (first.status, first.attempt) == ("completed", 1)
    immediate.function("other")
    assert len(job.list()) == 2


def test_in_immediate_mode_a_task_may_call_another(immediate: Immediate) -> None:
    """Each is its own execution, with its own attempts."""
    immediate.errors = [RetryTask()]
    result = immediate.outer()
    states = [Job.of(immediate.outer).get(result.id), Job.of(immediate.task).get(immediate.inner.id)]
    assert [state and (state.status, state.attempt) for state in states] == [("completed", 1), ("completed", 2)]


ATTEMPT = ["processing", "pending"]
WELL = ["processing", "completed"]
FINAL = ["processing", "failed"]
CANCELLED = ["processing", "cancelled"]


@pytest.mark.parametrize(
    ("errors", "retries", "expected"),
    [
        ([ConnectionError()], 0, FINAL),
        ([ConnectionError()], 1, ATTEMPT + WELL),
        ([ConnectionError()] * 3, 2, ATTEMPT * 2 + FINAL),
        ([RetryTask()], 0, ATTEMPT + WELL),
        ([CancelExecution()], 0, CANCELLED),
        ([CancelExecution()], 1, ATTEMPT + WELL),
        ([CancelExecution(retry=True)], 0, ATTEMPT + WELL),
        ([CancelExecution(retry=False)], 1, CANCELLED),
        ([RateLimitExceeded("slow", 60)], 0, ATTEMPT),
        ([RateLimitExceeded("slow", 60, retry=False)], 0, FINAL),
        ([KeyboardInterrupt()], 1, FINAL),
    ],
)
def test_what_huey_will_decide_is_foreseen(
    immediate: Immediate, errors: list[BaseException], retries: int, expected: list[str]
) -> None:
    """Nothing is stored that would have to be taken back a moment later."""
    assert immediate.history(*errors, retries=retries) == ["pending", *expected]


def test_what_never_begins_is_told(immediate: Immediate) -> None:
    """It has expired, was revoked, or a hook vetoes it."""
    assert immediate.history(expires=datetime(2000, 1, 1)) == ["pending", "failed"]  # noqa: DTZ001 - Huey's own way
    immediate.task.revoke(revoke_once=True)
    assert immediate.history() == ["pending", "cancelled"]

    def veto(task: Any) -> None:
        raise CancelExecution

    immediate.huey.pre_execute()(veto)
    assert immediate.history(retries=1) == ["pending", "cancelled"]


def test_what_a_decorator_raises_is_told(immediate: Immediate) -> None:
    """The job has not begun, and Huey will not try again."""
    immediate.barred = PermissionError("not today")
    assert immediate.history() == ["pending", "failed"]
    immediate.barred = CancelExecution()
    assert immediate.history() == ["pending", "cancelled"]


def test_what_is_due_is_not_enqueued_anew(immediate: Immediate) -> None:
    """It was pending all the time, or was cancelled meanwhile."""
    job = Job.of(immediate.task)
    assert immediate.history(delay=60) == ["pending"]
    [waiting] = job.list()
    job.cancel(waiting.id)
    [due] = immediate.huey.read_schedule(datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=60))
    due.eta = None  # as if that time had passed
    immediate.huey.enqueue(due)
    assert [state.status for state in job.list()] == ["cancelled"]


def test_what_was_cancelled_before_it_begins_is_canceled(immediate: Immediate) -> None:
    """To Huey as well: its task has no result, and no retry."""
    job, seen = Job.of(immediate.task), list[str]()
    immediate.huey.signal(SIGNAL_CANCELED, SIGNAL_RETRYING, SIGNAL_ERROR)(lambda signal, task: seen.append(signal))
    job.lock("7")
    job.cancel("7")
    immediate.huey.execute(immediate.task.s("7", retries=1))
    state = job.get("7")
    assert state is not None
    assert (state.status, seen) == ("cancelled", [SIGNAL_CANCELED])


class Waiting:
    """An instance whose tasks wait until the test has them run, in its own process.

    Attributes:
        calls: The arguments of each.
        raises: What the job raises.
        returns: What it returns, instead of the number of its arguments.
    """

    def __init__(self) -> None:
        self.huey = MemoryHuey(store_none=True)
        install(self.huey)
        self.tracker = Tracker("memory://")
        self.calls: list[tuple[object, ...]] = []
        self.raises: BaseException | None = None
        self.returns: object = None

        @tracked(name="step", tracker=self.tracker, cancellable=True)
        def step(*args: object) -> object:
            self.calls.append(args)
            if self.raises is not None:
                raise self.raises
            return self.returns or len(args)

        @tracked(name="callback", tracker=self.tracker)
        def callback(results: list[object]) -> None:
            self.calls.append(("callback", *results))

        @tracked(name="of arguments", tracker=self.tracker, id="number")
        def of_arguments(number: int) -> None:
            self.calls.append(("of arguments", number))

        self.step, self.callback, self.of_arguments = (
            self.huey.task()(function) for function in (step, callback, of_arguments)
        )

    def found(self, task: Any, job: str = "step") -> JobState:
        """The state of a task of *job*."""
        state = self.tracker.get(job, task.id)
        assert state is not None
        return state

    def work(self) -> None:
        """Run all that waits, as a worker does."""
        while (task := self.huey.dequeue()) is not None:
            try:
                self.huey.execute(task)
            except Exception:
                continue  # a worker logs it, and goes on


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    """With a store of its own."""
    waiting = Waiting()
    yield waiting
    waiting.tracker.close()


PIPELINE_ENDS: list[tuple[str, str]] = [
    ("fails", "has failed"),
    ("expires", "has failed"),
    ("is cancelled", "was cancelled"),
    ("is revoked", "was cancelled"),
    ("cancels itself", "was cancelled"),
    ("is interrupted", "has failed"),
    ("leaves", "has failed"),
]


@pytest.mark.parametrize(("how", "why"), PIPELINE_ENDS)
def test_what_follows_ends_with_the_reason(waiting: Waiting, how: str, why: str) -> None:
    """All of the rest of the pipeline, whatever has become of its first task."""
    first, second, third = (waiting.step.s(number) for number in range(3))
    if how == "expires":
        first.expires = datetime(2000, 1, 1)  # noqa: DTZ001 - Huey's own way
    waiting.huey.enqueue(first.then(second).then(third))
    assert [waiting.found(task).status for task in (first, second, third)] == ["pending"] * 3
    match how:
        case "fails":
            waiting.raises = ValueError()
        case "is cancelled":
            Job.of(waiting.step).cancel(first.id)
        case "is revoked":
            waiting.huey.revoke(first)
        case "cancels itself":
            waiting.raises = CancelExecution(retry=False)
        case "is interrupted":
            waiting.raises = KeyboardInterrupt()
        case "leaves":
            waiting.raises = SystemExit()
    try:
        waiting.work()
    except SystemExit:
        assert how == "leaves"
    ends = [(waiting.found(task).status, waiting.found(task).error) for task in (second, third)]
    assert ends == [("cancelled", f"not run: step, before it, {why}")] * 2


def test_what_follows_waits_while_the_first_is_tried_again(waiting: Waiting) -> None:
    """It ends once that has failed for good."""
    first, second = waiting.step.s(1, retries=1), waiting.step.s(2)
    waiting.huey.enqueue(first.then(second))
    waiting.raises = ValueError()
    waiting.huey.execute(waiting.huey.dequeue())
    assert waiting.found(first).is_pending
    assert waiting.found(second).is_pending
    waiting.work()
    assert waiting.found(second).is_cancelled


def test_what_follows_and_was_cancelled_never_runs(waiting: Waiting) -> None:
    """That Huey enqueues it once its turn has come does not bring it back; the first one runs."""
    first, second = waiting.step.s(1), waiting.step.s(2)
    waiting.huey.enqueue(first.then(second))
    assert Job.of(waiting.step).cancel(second.id).is_cancelled
    waiting.work()
    assert waiting.calls == [(1,)]
    assert (waiting.found(second).status, waiting.found(second).error) == ("cancelled", None)


def test_a_pipeline_that_is_rescheduled_goes_on(waiting: Waiting) -> None:
    """Huey revokes its first task and enqueues it anew, with the same ones behind: these come after all."""
    first, second = waiting.step.s(1), waiting.step.s(2)
    results: Any = waiting.huey.enqueue(first.then(second))
    again, _ = next(iter(results)).reschedule()
    waiting.work()
    assert waiting.found(first).is_cancelled
    assert waiting.found(again).is_completed
    assert waiting.found(second).is_completed
    assert waiting.calls == [(1,), (2, 1)]


def test_an_id_of_arguments_is_known_once_these_are(waiting: Waiting) -> None:
    """What follows has none before; it breaks no hook, and logs nothing."""
    first, second = waiting.step.s("one", "two"), waiting.of_arguments.s()
    waiting.huey.enqueue(first.then(second))
    assert Job.of(waiting.of_arguments).list() == []
    waiting.work()
    [state] = Job.of(waiting.of_arguments).list()
    assert (state.id, state.status, state.attempt) == ("2", "completed", 1)


CHORDS: list[tuple[str, str, str | None]] = [
    ("succeeds", "completed", None),
    ("fails", "completed", None),
    ("is revoked", "completed", None),
    ("is cancelled", "completed", None),
    ("is interrupted", "cancelled", "not run: step, before it, has failed"),
    ("cannot be stored", "cancelled", "not run: step, before it, has failed"),
]


@pytest.mark.parametrize(("how", "status", "error"), CHORDS)
def test_the_callback_of_a_chord_waits_from_the_start(
    waiting: Waiting, how: str, status: str, error: str | None
) -> None:
    """Huey runs it with whatever has become of the members; not if one of them is lost."""
    members = [waiting.step.s(number) for number in range(2)]
    callback = waiting.callback.s()
    waiting.huey.enqueue(group(members).then(callback))
    assert waiting.found(callback, "callback").is_pending
    match how:
        case "is revoked":
            waiting.huey.revoke(members[1])
        case "is cancelled":
            Job.of(waiting.step).cancel(members[1].id)
    waiting.huey.execute(waiting.huey.dequeue())
    assert waiting.found(callback, "callback").is_pending
    match how:
        case "fails":
            waiting.raises = ValueError()
        case "is interrupted":
            waiting.raises = KeyboardInterrupt()
        case "cannot be stored":
            waiting.returns = lambda: None
    waiting.work()
    ended = waiting.found(callback, "callback")
    assert (ended.status, ended.error) == (status, error)


def test_a_second_delivery_leaves_what_the_first_has_left(waiting: Waiting) -> None:
    """Its result stays, even if it was taken; and neither what follows nor the chord hears of it again."""
    first, second = waiting.step.s(1), waiting.step.s(2)
    waiting.huey.enqueue(first.then(second))
    copies = [waiting.huey.serialize_task(first) for _ in range(2)]
    waiting.work()
    assert waiting.huey.result(first.id) == 1
    for copy in copies:
        waiting.huey.storage.enqueue(copy)
    waiting.work()
    assert waiting.huey.result(first.id) is None
    assert waiting.calls == [(1,), (2, 1)]
    assert (waiting.found(first).status, waiting.found(first).attempt) == ("completed", 1)


def test_states_are_kept_until_they_are_due(waiting: Waiting) -> None:
    """A week from now, or at the end of a retry's pause; by Huey's own word."""
    week = timedelta(days=7)
    now = datetime.now(UTC)
    tasks = [waiting.step.s(number, retries=number, retry_delay=week.total_seconds()) for number in (1, 0, 0)]
    for task, error in zip(tasks, [ValueError(), RetryTask(delay=week), RetryTask(eta=now + week)], strict=True):
        waiting.raises = error
        waiting.huey.enqueue(task)
        waiting.work()
    tasks.append(waiting.step.s(delay=week))
    waiting.huey.enqueue(tasks[-1])
    for task in tasks:
        state = waiting.found(task)
        assert state.is_pending
        assert state.due is not None
        assert abs(state.due - now - week) < timedelta(minutes=1)
        assert state.lifetime > week.total_seconds()
