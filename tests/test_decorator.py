"""`@tracked`: what becomes of a function, and of its calls."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import multiprocessing
import pickle
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pydantic
import pytest

from job_progress import (
    JobAlreadyProcessing,
    JobCancelled,
    JobState,
    Progress,
    ProgressJob,
    StoreUnavailable,
    Tracker,
    current_progress,
    tracked,
)
from job_progress.queues.lifecycle import enqueued
from job_progress.task import QueueTask, queue_task
from job_progress.testing import isolated_tracker
from tests.observed_store import ObservedStore

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


@tracked(name="tests.double", id="number", store_result=True)
def double(number: int, *, by: int = 2) -> int:
    """Multiply."""
    current_progress().update(0.5)
    return number * by


def final(function: Any, id: object = None) -> JobState:
    state: JobState = function.job.get(id) if id is not None else function.job.list()[0]
    return state


def test_it_stays_a_plain_function() -> None:
    """Name, docstring, signature, kind and pickling are the function's own."""
    assert inspect.isfunction(double)
    assert (double.__name__, double.__doc__, double.__module__) == ("double", "Multiply.", __name__)
    assert str(inspect.signature(double)) == "(number: int, *, by: int = 2) -> int"
    assert inspect.getfullargspec(double).kwonlyargs == ["by"]
    assert pickle.loads(pickle.dumps(double)) is double
    assert not inspect.iscoroutinefunction(double)


def test_postponed_annotations_are_types_in_the_signature() -> None:
    """Whoever looks for types there, as Taskiq does for dependencies, finds them; what has none yet is left alone."""

    def of_later(thing: Later) -> None: ...  # type: ignore[name-defined] # noqa: F821 # pyright: ignore[reportUndefinedVariable]

    assert inspect.signature(double, eval_str=True).parameters["number"].annotation is int
    assert inspect.signature(tracked(of_later)).parameters["thing"].annotation == "Later"


def test_a_call_is_a_run() -> None:
    """It returns what the function returns, and the state has the result, if it is asked for."""
    assert double(7, by=3) == 21
    state = final(double, 7)
    assert (state.status, state.result, state.progress) == ("completed", 21, 1.0)


def test_results_are_published_only_on_request() -> None:
    """What a function returns may be private."""

    @tracked
    def secret() -> str:
        return "secret"

    assert secret() == "secret"
    assert final(secret).result is None


async def test_async_functions_stay_async() -> None:
    """And are tracked the same way."""

    @tracked(id="number", store_result=True)
    async def adouble(number: int) -> int:
        await asyncio.sleep(0)
        current_progress().update(0.5, message="async")
        return number * 2

    @tracked(id="number")
    async def secret(number: int) -> int:
        return number

    assert (await secret(7), final(secret, 7).result) == (7, None)
    assert inspect.iscoroutinefunction(adouble)
    assert (await adouble(1), await adouble(2)) == (2, 4)
    assert (final(adouble, 1).result, final(adouble, 1).message, final(adouble, 2).result) == (2, "async", 4)


async def test_a_cancelled_task_is_recorded_and_goes_on() -> None:
    """asyncio's own cancellation is an interruption, named in the error; the end is published all the same."""
    entered = asyncio.Event()

    @tracked(id="id")
    async def sleepy(id: str) -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(sleepy("7"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert final(sleepy, "7").error == "interrupted by CancelledError"


async def test_an_async_job_is_cancelled_at_its_checkpoint() -> None:
    """Quietly: the call returns None."""

    @tracked(id="id", cancellable=True)
    async def patient(id: str) -> str:
        patient.job.cancel(id)
        await current_progress().aflush()
        current_progress().exit_if_cancelled()
        return "not reached"

    assert await patient("7") is None
    assert final(patient, "7").is_cancelled
    patient.job.lock("8")
    patient.job.cancel("8")
    assert await patient("8") is None


def test_a_cancelled_call_returns_none() -> None:
    """At a checkpoint, or if it was cancelled before it started."""
    ran: list[str] = []

    @tracked(id="id", cancellable=True)
    def stoppable(id: str) -> str:
        ran.append(id)
        stoppable.job.cancel(id)
        current_progress().flush().exit_if_cancelled()
        return "not reached"

    assert stoppable("7") is None
    stoppable.job.lock("8")
    stoppable.job.cancel("8")
    assert stoppable("8") is None
    assert ran == ["7"]


@pytest.mark.parametrize("raised", [ValueError("boom"), SystemExit(1)])
def test_what_it_raises_goes_on_untouched(raised: BaseException) -> None:
    """The queue's own error handling sees the same object."""

    @tracked(id="id")
    def broken(id: str) -> None:
        raise raised

    with pytest.raises(type(raised)) as seen:
        broken("7")
    assert seen.value is raised
    assert final(broken, "7").is_failed


def test_a_duplicate_call_is_refused() -> None:
    """As a second delivery by a queue would be."""

    @tracked(id="id")
    def recursive(id: str) -> None:
        recursive(id)

    with pytest.raises(JobAlreadyProcessing):
        recursive("7")


def test_ids_come_from_arguments_callables_tasks_or_chance() -> None:
    """By name, with defaults; by a function of the arguments; the queue's task id; or else a fresh UUID."""

    @tracked(id="name")
    def named(other: int, name: str = "default") -> None: ...

    def id_of(number: int, scale: int = 1) -> str:
        return f"{number}-{scale}"

    @tracked(id=id_of)
    def computed(number: int, scale: int = 1) -> None: ...

    @tracked
    def anonymous() -> None: ...

    named(1)
    named(1, "given")
    computed(3, scale=4)
    assert {state.id for state in named.job.list()} == {"default", "given"}
    assert final(computed).id == "3-4"
    anonymous()
    anonymous()
    assert len({state.id for state in anonymous.job.list()}) == 2
    with queue_task(QueueTask(id="task-7")):
        anonymous()
    assert final(anonymous, "task-7").is_completed


def test_an_id_that_is_none_is_an_error_at_the_call() -> None:
    """And the function is not called, nor anything stored."""

    @tracked(id="product")
    def refresh(product: object) -> None:
        raise AssertionError("not reached")

    with pytest.raises(TypeError, match="id must be a string, a whole number or a UUID"):
        refresh(object())
    with pytest.raises(ValueError, match="id must be 1 to 200 printable characters"):
        refresh("")
    with pytest.raises(TypeError, match="missing a required argument: 'product'"):
        refresh()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    assert refresh.job.list() == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"id": "produkt"}, TypeError, r"id='produkt' names no argument of .*refresh\(product, args, options\)"),
        ({"id": "args"}, TypeError, "names no argument"),
        ({"id": "options"}, TypeError, "names no argument"),
        ({"owner": "nutzer"}, TypeError, r"owner='nutzer' names no argument of .*refresh\(product, args, options\)"),
        ({"owner": 7}, TypeError, "owner= takes the name of an argument or a function"),
        ({"id": 7}, TypeError, "id= takes the name of an argument or a function"),
        ({"cancellable": 2}, ValueError, "cancellable must be"),
        ({"name": "a\nb"}, ValueError, "job name must be"),
        ({"ttl": -1}, ValueError, "ttl must be more than 0"),
        ({"stuck_after": 0}, ValueError, "stuck_after must be more than 0"),
    ],
)
def test_wrong_options_are_an_error_where_they_stand(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """At the decoration, not at the first call."""

    def refresh(product: int, *args: int, **options: int) -> None: ...

    with pytest.raises(error, match=message):
        tracked(**options)(refresh)


def test_what_cannot_be_tracked_is_refused() -> None:
    """Generators have no run, a class has ProgressJob, and a queue's own object belongs above."""

    def generator() -> Iterator[int]:
        yield 1

    async def agenerator() -> AsyncIterator[int]:
        yield 1

    wrong: Any
    for wrong, message in (
        (generator, "generator"),
        (agenerator, "generator"),
        (int, "ProgressJob"),
        (7, "function"),
        (functools.partial(print), "decorator above it"),
    ):
        with pytest.raises(TypeError, match=message):
            tracked(wrong)


def test_returning_nothing_takes_nothing_back() -> None:
    """A result that was published by hand stays, also where the one that is returned would be published."""

    @tracked(id="id", store_result=True)
    def by_hand(id: str) -> None:
        current_progress().update(result=7)

    by_hand("1")
    state = by_hand.job.get("1")
    assert state is not None
    assert state.result == 7


def test_two_functions_cannot_share_a_name() -> None:
    """Their states would be mixed up; the same function again, as after a reload, is no other."""

    def define() -> Any:
        @tracked(name="shared")
        def first() -> None: ...

        return first

    assert define() is not define()
    with pytest.raises(ValueError, match=r"second cannot be the job 'shared': that is .*first in .*test_decorator.py"):

        @tracked(name="shared")
        def second() -> None: ...

    elsewhere = Tracker("memory://")

    @tracked(name="shared", tracker=elsewhere)
    def third() -> None: ...

    with isolated_tracker():

        @tracked(name="shared")
        def fourth() -> None: ...


def test_it_works_under_another_decorator() -> None:
    """As under a queue's own: what wraps it finds the function and its job."""

    def task(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def send(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return send

    @task
    @tracked(id="number", store_result=True)
    def triple(number: int) -> int:
        return number * 3

    assert triple(7) == 21
    assert final(triple, 7).result == 21


class Broken(pydantic.BaseModel):
    """A model that cannot be dumped."""

    @pydantic.model_serializer
    def dump(self) -> str:
        raise LookupError("secret")


UNSTORABLE = [
    (object(), "result cannot be stored as JSON: object has no JSON form"),
    ({(1, 2): 3}, r"result cannot be stored as JSON: tuple has no JSON form \(in a dict\)"),
    ("x" * 103_000, r"result is 103,002 bytes as JSON and may be 65,536 \(max_result_bytes\)"),
    ([1.0, math.nan], "result cannot be stored as JSON: JSON has no nan"),
    ({1: "a", "1": "b"}, "result cannot be stored as JSON: two keys of a dictionary are '1' once they are strings"),
    (Broken(), r"result cannot be stored as JSON: model_dump\(\) of Broken raised PydanticSerializationError \(in"),
]


@pytest.mark.parametrize(("returned", "why"), UNSTORABLE)
@pytest.mark.parametrize("kind", ["function", "coroutine", "class"])
def test_what_cannot_be_published_fails_no_done_work(
    kind: str, returned: object, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets it, the run has completed, and its state and one line of the log say what is missing, and why."""

    @tracked(id="id", store_result=True)
    def function(id: str) -> object:
        current_progress().update(result="partial")
        return returned

    @tracked(id="id", store_result=True)
    async def coroutine(id: str) -> object:
        current_progress().update(result="partial")
        return returned

    class Class(ProgressJob, store_result=True):
        def get_progress_id(self) -> str:
            return "7"

        def handle_with_progress(self) -> object:
            self.progress().update(result="partial")
            return returned

    if kind == "function":
        given, job = function("7"), function.job
    elif kind == "coroutine":
        given, job = asyncio.run(coroutine("7")), coroutine.job
    else:
        given, job = Class().handle(), Class.job
    assert given is returned
    state = job.get("7")
    assert state is not None
    assert (state.status, state.error, state.result, state.attempt) == ("completed", None, None, 1)
    assert re.match(why, state.result_omitted or "")
    assert state.to_dict()["result_omitted"] == state.result_omitted
    [record] = caplog.records
    assert (state.result_omitted or "?") in record.getMessage()


def test_a_result_that_is_kept_ends_the_omission() -> None:
    """So does the next attempt, though its function returns nothing."""
    returns: list[object] = ["x" * 70_000, [1], object(), None]

    @tracked(id="id", store_result=True)
    def job(id: str) -> object:
        return returns.pop(0)

    seen: list[tuple[Any, bool]] = []
    for _ in range(4):
        job("7")
        state = final(job, "7")
        seen.append((state.result, state.result_omitted is not None))
    assert seen == [(None, True), ([1], False), (None, True), (None, False)]


def test_the_job_does_not_depend_on_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the store away from beginning to end the function runs, and returns what it returns."""
    monkeypatch.setattr("job_progress.reporter.SETTLE_WITHIN", 0.01)
    store = ObservedStore()
    store.away = True
    tracker = Tracker(store)

    @tracked(tracker=tracker)
    def independent() -> int:
        for _ in current_progress().track(range(1000), checkpoint=True):
            pass
        return 42

    assert independent() == 42
    with pytest.raises(StoreUnavailable):
        independent.job.list()
    tracker.close()


def test_other_peoples_job_cancelled_is_not_swallowed() -> None:
    """A run catches its own cancellation, not one that speaks of another run."""
    other = JobState(job="other", id="1", token="other")

    @tracked(id="id")
    def caught(id: str) -> None:
        raise JobCancelled

    @tracked(id="id")
    def passing(id: str) -> None:
        raise JobCancelled("another's", other)

    caught("7")
    with pytest.raises(JobCancelled, match="another's"):
        passing("7")
    assert (final(caught, "7").status, final(passing, "7").status) == ("cancelled", "cancelled")


def test_it_can_be_called_by_name_in_another_process() -> None:
    """A spawned process finds the function where it was defined."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(double, (4,)).get(30) == 8


def test_a_thread_pool_of_calls() -> None:
    """Each call has a progress of its own."""
    barrier = threading.Barrier(8)
    seen: list[Progress] = []

    @tracked(id="number")
    def parallel(number: int) -> None:
        barrier.wait()
        seen.append(current_progress().update(number / 10))
        barrier.wait()
        assert current_progress().state.progress == number / 10

    threads = [threading.Thread(target=parallel, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 8
    assert {state.status for state in parallel.job.list()} == {"completed"}


@pytest.mark.parametrize("owner", ["user_id", lambda number, user_id=None: user_id], ids=["argument", "callable"])
async def test_an_execution_belongs_to_whom_its_call_names(owner: Any) -> None:
    """The owner is an argument, or made of the arguments; nobody, if that is None; sync and async alike."""

    @tracked(id="number", owner=owner)
    def owned(number: int, user_id: int | str | None = None) -> None:
        pass

    @tracked(id="number", owner=owner)
    async def aowned(number: int, user_id: int | str | None = None) -> None:
        pass

    cases: list[tuple[int | str | None, str | None]] = [("ada", "ada"), (7, "7"), (None, None)]
    for number, (user_id, expected) in enumerate(cases):
        owned(number, user_id=user_id)
        await aowned(number, user_id=user_id)
        assert (final(owned, number).owner, final(aowned, number).owner) == (expected, expected)


def test_the_owner_of_a_lock_stays_the_owner() -> None:
    """Whoever dispatched the job said whom it is for; a pending state without an owner gets that of the call."""

    @tracked(id="number", owner="user_id")
    def owned(number: int, user_id: str) -> None:
        pass

    owned.job.lock(1, owner="ada")
    owned.job.mark_as_pending(2)
    owned(1, "bob")
    owned(2, "bob")
    assert (final(owned, 1).owner, final(owned, 2).owner) == ("ada", "bob")


def test_an_owner_that_can_be_none_is_an_error_at_the_call() -> None:
    """As with an id; the function is not run."""
    ran: list[object] = []

    @tracked(owner="user")
    def owned(user: object) -> None:
        ran.append(user)

    with pytest.raises(TypeError, match="owner must be a string"):
        owned(object())
    assert ran == []


def test_a_long_id_fails_no_call() -> None:
    """It is shortened, and the job finds the execution by what the call was given."""
    address = "https://example.org/" + "x" * 300

    @tracked(id="url", name="tests.fetch")
    def fetch(url: str) -> int:
        return len(url)

    assert fetch(address) == 320
    state = final(fetch, address)
    assert state.is_completed
    assert state.id.startswith("https://example.org/xxx")
    assert "…" in state.id
    with queue_task(QueueTask(id="task-7")):
        enqueued(fetch, "task-7", [address + "y"])
        assert final(fetch, address + "y").is_pending
        fetch(address + "y")
    assert final(fetch, address + "y").is_completed
    assert len(fetch.job.list()) == 2


def test_what_an_attempt_noted_goes_with_it() -> None:
    """While it waits for the retry it shows; the next attempt begins with what the lock was given."""
    seen: list[dict[str, Any]] = []

    @tracked(id="id")
    def flaky(id: str) -> None:
        seen.append(current_progress().state.meta)
        if len(seen) == 1:
            current_progress().set(file="a.csv", by="grace")
            raise ValueError

    flaky.job.lock("7", meta={"by": "ada"})
    task = QueueTask(id="task-7", will_retry=lambda error: True)
    with queue_task(task), pytest.raises(ValueError):
        flaky("7")
    waiting = final(flaky, "7")
    assert (waiting.status, waiting.meta) == ("pending", {"file": "a.csv", "by": "grace"})
    with queue_task(task):
        flaky("7")
    assert seen == [{"by": "ada"}, {"by": "ada"}]
    assert final(flaky, "7").meta == {"by": "ada"}
