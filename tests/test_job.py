"""Jobs: locking, starting, cancelling, listing and waiting, by id."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from job_progress import (
    Job,
    JobAlreadyProcessing,
    JobCancelled,
    JobNotCancellable,
    JobStatus,
    ProgressJob,
    Tracker,
    current_progress,
    tracked,
)
from job_progress.run import Run
from job_progress.task import QueueTask, queue_task
from job_progress.testing import frozen_clock
from tests.observed_store import ObservedStore

pytestmark = pytest.mark.usefixtures("job_progress_tracker")

ODD_IDS = ["a:b", "*", "a/b", "%s", "ü✓", "with space", "'quoted\"", "a%3Ab", "x" * 200, "../../etc"]


@pytest.mark.parametrize("id", ODD_IDS)
def test_odd_ids_are_just_ids(id: str) -> None:
    """Whatever prints names an execution, and no other one."""
    job = Job("odd")
    assert job.lock(id) is not None
    assert job.lock(id) is None
    with job.start(id) as progress:
        progress.update(0.5)
    state = job.get(id)
    assert state is not None
    assert (state.id, state.status) == (id, "completed")
    assert [state.id for state in job.list()] == [id]


def test_names_and_ids_with_colons_do_not_run_into_each_other() -> None:
    """(a:b, c) and (a, b:c) are two executions."""
    Job("a:b").lock("c")
    assert Job("a").get("b:c") is None


@pytest.mark.parametrize("wrong", ["", "a\nb", "a\x00", "\x1b[31m", "caf\udce9", "x" * 201 + "\n"])
@pytest.mark.parametrize("call", ["get", "lock", "mark_as_pending", "cancel", "start", "watch", "wait", "begin"])
def test_wrong_ids_are_refused(call: str, wrong: str) -> None:
    """Empty or not printable: a clear error at the call, and nothing stored."""
    job = Job("strict")
    with pytest.raises(ValueError, match="id must be 1 to 200 printable characters"):
        getattr(job, call)(wrong)
    assert job.list() == []


@pytest.mark.parametrize("wrong", [None, 1.5, True, object(), b"x", []])
def test_ids_are_strings_numbers_or_uuids(wrong: Any) -> None:
    """Anything else would be an accident."""
    with pytest.raises(TypeError, match="id must be a string, a whole number or a UUID"):
        Job("strict").lock(wrong)


def test_numbers_and_uuids_are_ids_as_they_are_written() -> None:
    """7 and "7" are the same id."""
    job = Job("numbers")
    job.lock(7)
    job.lock(UUID(int=1))
    assert job.get("7") == job.get(7) is not None
    assert job.get("00000000-0000-0000-0000-000000000001") is not None


@pytest.mark.parametrize("wrong", ["", "a\nb", 7.5])
def test_wrong_job_names_are_refused(wrong: Any) -> None:
    """A job's name is as strict as an id."""
    with pytest.raises((ValueError, TypeError), match="job name must be"):
        Job(wrong)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cancellable": 1.5}, ValueError, "cancellable must be True, False or a number from 0 to 1, not 1.5"),
        ({"cancellable": -0.1}, ValueError, "cancellable must be"),
        ({"cancellable": float("nan")}, ValueError, "cancellable must be"),
        ({"cancellable": "0.5"}, TypeError, "cancellable must be"),
        ({"ttl": 0}, ValueError, "ttl must be more than 0"),
        ({"ttl": float("nan")}, ValueError, "ttl must be more than 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """The error says what is allowed and what was given."""
    with pytest.raises(error, match=message):
        Job("strict", **options)


def test_get_of_nothing() -> None:
    """No id and an unknown id have no state; a blank one is given on request, and locks nothing."""
    job = Job("blank")
    assert job.get(None) is None
    assert job.get("7") is None
    blank = job.get("7", create_if_missing=True)
    assert blank is not None
    assert (blank.status, blank.version, blank.is_locked, blank.can_be_cancelled) == ("pending", 0, False, False)
    assert job.get("7") is None
    assert job.lock("7") is not None
    again = job.get("7", create_if_missing=True)
    assert again is not None
    assert again.version > 0


def test_lock_is_held_until_the_run_has_ended() -> None:
    """Nobody gets it while it is pending, processing or being cancelled; after the end somebody does."""
    job = Job("lock", cancellable=True)
    locked = job.lock("7", owner="ada", meta={"file": "a.csv"})
    assert locked is not None
    assert (locked.owner, locked.meta, locked.status) == ("ada", {"file": "a.csv"}, "pending")
    assert job.lock("7") is None
    with job.start("7") as progress:
        assert job.lock("7") is None
        job.cancel("7")
        assert job.lock("7") is None
        progress.flush().exit_if_cancelled()
    relocked = job.lock("7")
    assert relocked is not None
    assert (relocked.owner, relocked.meta, relocked.attempt) == (None, {}, 0)


@pytest.mark.parametrize("options", [{"meta": {"x": object()}}, {"meta": [1]}, {"owner": "a\nb"}, {"owner": 1.5}])
def test_a_lock_with_wrong_metadata_locks_nothing(options: dict[str, Any]) -> None:
    """A clear error at the call, with nothing half written."""
    job = Job("lock")
    with pytest.raises((TypeError, ValueError)):
        job.lock("7", **options)
    assert job.get("7") is None


def test_threads_that_lock_at_once() -> None:
    """Of 32 threads exactly one wins each id."""
    job = Job("race")
    wins: list[str] = []
    barrier = threading.Barrier(32)

    def compete() -> None:
        barrier.wait()
        wins.extend(id for id in map(str, range(20)) if job.lock(id) is not None)

    threads = [threading.Thread(target=compete) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == sorted(map(str, range(20)))


def test_mark_as_pending_is_idempotent() -> None:
    """It makes what is unknown or finished pending, and leaves alone what is under way."""
    job = Job("mark")
    first = job.mark_as_pending("7")
    assert job.mark_as_pending("7") == first
    with job.start("7"):
        assert job.mark_as_pending("7").is_processing
    assert job.mark_as_pending("7").is_pending


def test_a_pending_cancel_takes_effect_at_once_and_swallows_one_start() -> None:
    """The next start is refused with JobCancelled; the one after it runs, from scratch."""
    job = Job("pending")
    job.lock("7")
    assert job.cancel("7").is_cancelled
    with pytest.raises(JobCancelled, match="'7' was cancelled before it started"), job.start("7"):
        raise AssertionError("it must not run")
    with job.start("7") as progress:
        assert progress.state.attempt == 1
    assert job.wait("7").is_completed


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("unknown", "the store knows no such execution"),
        ("processing", "it is processing, and its job is not declared cancellable"),
        ("completed", "it is completed"),
        ("failed", "it is failed"),
    ],
)
def test_what_cannot_be_cancelled_says_why(status: str, message: str) -> None:
    """JobNotCancellable carries the state and the reason, and nothing was changed."""
    job = Job("stubborn")
    if status == "failed":
        with pytest.raises(ZeroDivisionError), job.start("7"):
            raise ZeroDivisionError
    elif status != "unknown":
        with job.start("7"):
            if status == "processing":
                with pytest.raises(JobNotCancellable, match=message):
                    job.cancel("7")
                return
    before = job.get("7")
    with pytest.raises(JobNotCancellable, match=message) as refused:
        job.cancel("7")
    assert job.get("7") == before
    assert before is None or refused.value.state == before


def test_cancelling_is_asked_and_then_acknowledged() -> None:
    """Until the checkpoint it is processing and cancelling; asking twice changes nothing."""
    job = Job("cancel", cancellable=True)
    with job.start("7") as progress:
        asked = job.cancel("7")
        assert (asked.status, asked.is_cancelling) == ("processing", True)
        assert job.cancel("7") == asked
        assert not progress.cancel_requested
        progress.flush()
        progress.exit_if_cancelled()
        raise AssertionError("the checkpoint leaves")
    ended = job.wait("7")
    assert (ended.status, ended.is_cancelling) == ("cancelled", False)
    assert job.cancel("7") == ended


def test_a_run_that_ends_before_its_checkpoint_tells_the_truth() -> None:
    """Asked to cancel, but completed or failed first: that is what it is."""
    job = Job("truth", cancellable=True)
    with job.start("done"):
        job.cancel("done")
    assert job.wait("done").is_completed
    with pytest.raises(ValueError, match="boom"), job.start("broken"):
        job.cancel("broken")
        raise ValueError("boom")
    assert job.wait("broken").is_failed


def test_start_records_how_the_body_ends() -> None:
    """Completed; or failed with what it raises, which goes on untouched."""
    job = Job("hand")
    with job.start("a") as progress:
        assert current_progress() is progress
    assert job.wait("a").progress == 1.0
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as raised, job.start("b"):
        raise boom
    assert raised.value is boom
    assert job.wait("b").error == "ValueError: boom"


@pytest.mark.parametrize("interruption", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_interruptions_are_recorded_by_name_and_go_on(interruption: BaseException) -> None:
    """A queue that stops a job by SystemExit or its like sees it again, and the state is no success."""
    job = Job("interrupted")
    with pytest.raises(type(interruption)), job.start("7"):
        raise interruption
    state = job.wait("7")
    assert state.is_failed
    assert (state.error or "").startswith(f"interrupted by {type(interruption).__name__}")


@pytest.mark.parametrize("who", ["queue", "job-progress"])
def test_an_interruption_that_somebody_asked_for_is_a_cancel(who: str) -> None:
    """Whether the queue says so or the cancel came through here."""
    job = Job("interrupted", cancellable=True)
    task = QueueTask(was_cancelled=lambda error: isinstance(error, SystemExit) and who == "queue")
    with pytest.raises(SystemExit), queue_task(task), job.start("7") as progress:
        if who == "job-progress":
            job.cancel("7")
            progress.flush()
        raise SystemExit
    assert job.wait("7").is_cancelled


def test_a_queues_own_word_for_cancelled_is_a_cancel() -> None:
    """An ordinary exception by which a task ends itself as cancelled, in the queue's terms, is no failure."""
    job = Job("own-word")
    task = QueueTask(was_cancelled=lambda error: isinstance(error, LookupError))
    with pytest.raises(LookupError), queue_task(task), job.start("7"):
        raise LookupError
    state = job.wait("7")
    assert (state.status, state.error) == ("cancelled", None)


def test_a_second_delivery_leaves_the_live_run_alone() -> None:
    """It raises, with the live state, which goes on as if nothing had been."""
    job = Job("twice")
    with job.start("7") as progress:
        before = job.get("7")
        with pytest.raises(JobAlreadyProcessing, match="another run") as refused, job.start("7"):
            raise AssertionError("it must not run")
        assert refused.value.state == before == job.get("7")
        progress.update(0.5).flush()
    assert job.wait("7").is_completed


def test_retries_are_honest() -> None:
    """Between attempts it is pending with error and attempt; then it starts clean, and counts on."""
    job = Job("retry", cancellable=True)
    job.lock("7", owner="ada")
    task = QueueTask(id="7", will_retry=lambda error: isinstance(error, ConnectionError))
    with queue_task(task), pytest.raises(ConnectionError), job.start("7") as progress:
        progress.update(0.6, message="half")
        raise ConnectionError("gone")
    between = job.get("7")
    assert between is not None
    assert (between.status, between.error, between.attempt) == ("pending", "ConnectionError: gone", 1)
    assert job.lock("7") is None
    with queue_task(task), pytest.raises(KeyError), job.start("7") as progress:
        state = progress.state
        assert (state.error, state.progress, state.message, state.attempt, state.owner) == (None, 0.0, None, 2, "ada")
        raise KeyError("final")
    assert job.wait("7").status == "failed"


@pytest.mark.parametrize("error", [OSError, SystemExit])
def test_an_asked_cancel_outlasts_a_retry(error: type[BaseException]) -> None:
    """A run that raises after somebody asked to cancel is not tried again; nor one that a queue stops, to resume it."""
    job = Job("retry", cancellable=True)
    with queue_task(QueueTask(will_retry=lambda _: True)), pytest.raises(error), job.start("7") as progress:
        job.cancel("7")
        progress.flush()
        raise error
    assert job.wait("7").is_cancelled
    with pytest.raises(JobCancelled), job.start("7"):
        raise AssertionError("it must not run")


def test_a_second_run_of_a_finished_id_starts_clean() -> None:
    """Nothing of the first life is left: not its result, error, message, attempt or times."""
    job = Job("again")
    with frozen_clock() as clock:
        with pytest.raises(ValueError, match="boom"), job.start("7") as progress:
            progress.update(0.5, message="old", result=[1]).set(old=1)
            raise ValueError("boom")
        clock.tick(60)
        with job.start("7"):
            state = job.get("7")
            assert state is not None
            assert (state.progress, state.message, state.result, state.error, state.meta) == (0.0, None, None, None, {})
            assert (state.attempt, state.created_at, state.finished_at) == (1, clock(), None)


def test_nested_jobs_keep_apart() -> None:
    """The inner run is its own, and afterwards the outer one is current again."""
    outer, inner = Job("outer"), Job("inner")
    with outer.start("7") as around:
        with inner.start("7"):
            current_progress().update(0.9)
        assert current_progress() is around
        current_progress().update(0.2)
        assert (around.state.progress, inner.wait("7").progress) == (0.2, 1.0)


def test_a_cancel_of_the_outer_job_goes_through_the_inner_one() -> None:
    """An inner run that the outer one's checkpoint interrupts is cancelled too, and does not hold it up."""
    outer, inner = Job("outer", cancellable=True), Job("inner", cancellable=True)
    with outer.start("7") as around:
        outer.cancel("7")
        around.flush()
        with inner.start("7"):
            around.exit_if_cancelled()
        raise AssertionError("the inner start must not swallow it")
    assert (outer.wait("7").status, inner.wait("7").status) == ("cancelled", "cancelled")


def test_threads_with_a_copied_context_report_into_the_run() -> None:
    """As asyncio.to_thread does; a bare thread gets a detached progress, and disturbs nothing."""
    job = Job("threads")
    with job.start("7") as progress:
        context = contextvars.copy_context()
        for target in (
            lambda: context.run(lambda: current_progress().update(0.5)),
            lambda: current_progress().update(0.9),
        ):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        assert progress.state.progress == 0.5


def test_list_is_paged_newest_first() -> None:
    """By status, with a cursor that stays right when states come and go between pages."""
    job = Job("list")
    with frozen_clock() as clock:
        for number in range(7):
            job.lock(number)
            clock.tick(1)
        Job("another").lock("x")
        job.cancel("5")
        first = job.list(limit=3)
        assert [state.id for state in first] == ["6", "5", "4"]
        job.lock("new")
        assert [state.id for state in job.list(limit=3, after=first[-1])] == ["3", "2", "1"]
        assert [state.id for state in job.list(limit=3, after=first[-1].cursor)] == ["3", "2", "1"]
        assert [state.id for state in job.list("cancelled")] == ["5"]
        assert len(job.list([JobStatus.PENDING, "cancelled"])) == 8
        assert job.list(["completed"]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit must be from 1 to 100,000, not 0"),
        ({"status": "done"}, "'done' is not a valid JobStatus"),
        ({"limit": 10**30}, "limit must be from 1 to 100,000"),
        ({"after": "9" * 40 + ":job:7"}, "the cursor of one"),
        ({"after": "²:job:7"}, "the cursor of one"),
        ({"after": "nonsense"}, "the cursor of one, not 'nonsense'"),
    ],
)
def test_wrong_listings_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The error says what was wrong."""
    with pytest.raises(ValueError, match=message):
        Job("list").list(**arguments)


def test_average_duration() -> None:
    """The mean over what completed and is remembered; None if nothing is."""
    job = Job("average")
    assert job.average_duration() is None
    with frozen_clock() as clock:
        for seconds in (2, 4):
            with job.start(str(seconds)):
                clock.tick(seconds)
        with pytest.raises(ValueError, match="boom"), job.start("failed"):
            clock.tick(100)
            raise ValueError("boom")
        assert job.average_duration() == timedelta(seconds=3)
        clock.tick(901)
        assert job.average_duration() is None


def test_finished_states_are_forgotten_in_time_and_live_ones_are_not() -> None:
    """The TTL runs after the end only, and a job may have its own."""
    job, brief = Job("long"), Job("brief", ttl=10)
    with frozen_clock() as clock:
        with job.start("7") as progress:
            clock.tick(23 * 3600)
            progress.flush()
            clock.tick(23 * 3600)
            assert job.get("7") is not None
        with brief.start("7"):
            pass
        clock.tick(11)
        assert (job.get("7") is None, brief.get("7") is None) == (False, True)
        clock.tick(900)
        assert job.get("7") is None
        job.lock("8")
        clock.tick(86399)
        assert job.get("8") is not None
        clock.tick(2)
        assert job.get("8") is None


def test_wait_and_watch_time_out_with_an_error() -> None:
    """It names the execution and how it stands; an unknown id is waited for as well."""
    job = Job("wait")
    with pytest.raises(TimeoutError, match=r"wait '7' did not end within 0.05 s: it is unknown"):
        job.wait("7", timeout=0.05)
    job.lock("7")
    states = job.watch("7", timeout=0.05)
    assert next(states).is_pending
    with pytest.raises(TimeoutError, match="it is pending"):
        next(states)


def test_job_of_finds_the_job() -> None:
    """Behind a function, a class, an object, and whatever wraps a function."""

    @tracked(name="of")
    def function() -> None: ...

    class Import(ProgressJob, name="of class"):
        def get_progress_id(self) -> str:
            return "7"

        def handle_with_progress(self) -> None: ...

    class Task:
        __wrapped__ = function

    assert Job.of(function) is function.job is Job.of(Task())
    assert Job.of(Import) is Job.of(Import()) is Import.job
    for wrong in (print, None, 7):
        with pytest.raises(TypeError, match="is not tracked"):
            Job.of(wrong)


def test_a_job_follows_the_default_tracker(job_progress_tracker: Tracker) -> None:
    """Its tracker is looked up at each call, so that configure() may come after the decorators."""
    job = Job("late")
    assert job.tracker is job_progress_tracker
    assert repr(job) == "Job('late')"
    other = Tracker("memory://")
    assert Job("bound", tracker=other).tracker is other


async def test_async_twins() -> None:
    """Each does what its blocking namesake does."""
    job = Job("async", cancellable=True)
    assert await job.aget("7") is None
    assert await job.alock("7") is not None
    assert await job.alock("7") is None
    assert (await job.amark_as_pending("7")).is_pending
    assert (await job.acancel("7")).is_cancelled
    assert (await job.await_("7")).is_cancelled
    assert [state.status async for state in job.awatch("7")] == ["cancelled"]
    assert [state.id for state in await job.alist()] == ["7"]
    assert await job.aaverage_duration() is None
    with pytest.raises(JobCancelled):
        async with job.astart("7"):
            raise AssertionError("it must not run")


def test_trackers_do_it_all_by_name(job_progress_tracker: Tracker) -> None:
    """A process without the job's code reads, lists, watches and cancels."""
    Job("shop.import", cancellable=True).lock("7")
    tracker = job_progress_tracker
    assert tracker.get("shop.import", None) is None
    assert tracker.get_many([("shop.import", "7"), ("shop.import", "8")])[1] is None
    assert [state.id for state in tracker.list(job="shop.import", status="pending")] == ["7"]
    assert tracker.cancel("shop.import", "7").is_cancelled
    assert tracker.wait("shop.import", "7") == next(iter(tracker.watch("shop.import", "7")))


async def test_trackers_do_it_all_by_name_async(job_progress_tracker: Tracker) -> None:
    """And so do the async twins."""
    Job("shop.import").lock("7")
    tracker = job_progress_tracker
    assert await tracker.aget("shop.import", "7") == (await tracker.aget_many([("shop.import", "7")]))[0]
    assert [state.id for state in await tracker.alist()] == ["7"]
    assert (await tracker.acancel("shop.import", "7")).is_cancelled
    assert (await tracker.await_("shop.import", "7")).is_cancelled
    assert await tracker.aaverage_duration("shop.import") is None


def test_what_died_while_being_cancelled_is_found_cancelled() -> None:
    """By whoever looks first: get, list or watch."""
    for look in ("get", "list", "watch"):
        job = Job(f"dead.{look}", cancellable=True)
        with frozen_clock() as clock:
            run = job.begin("7")
            assert isinstance(run, Run)
            job.cancel("7")
            clock.tick(31)
            seen = {
                "get": lambda job=job: job.get("7"),
                "list": lambda job=job: job.list()[0],
                "watch": lambda job=job: next(job.watch("7")),
            }[look]()
            assert seen is not None
            assert seen.is_cancelled
            run.finish(None)
            assert job.get("7") == seen


def test_an_integration_that_fails_to_tell_leaves_no_run_behind(caplog: pytest.LogCaptureFixture) -> None:
    """The job's own error goes on, and the run has failed."""

    def fail(error: BaseException) -> bool:
        raise RuntimeError("integration")

    job = Job("told")
    with pytest.raises(ValueError, match="boom"), queue_task(QueueTask(will_retry=fail)), job.start("7"):
        raise ValueError("boom")
    assert job.wait("7").is_failed
    assert "could not tell" in caplog.text


def test_members_of_string_enumerations_are_ids_by_their_value() -> None:
    """As they are everywhere else."""

    class Feed(str, Enum):  # noqa: UP042 - a StrEnum would print as its value anyway
        A = "a"

    job = Job("enumeration")
    assert job.lock(Feed.A) is not None
    assert job.lock("a") is None


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("outcome", ["begun", "refused"])
async def test_a_task_cancelled_while_its_run_begins_leaves_none_alive(outcome: str, times: int) -> None:
    """What the thread has begun meanwhile is ended, also if it is cancelled again and again, as by anyio."""
    store = ObservedStore()
    job = Job("begun", tracker=Tracker(store))
    other = job.begin("7") if outcome == "refused" else None
    entered, go = threading.Event(), threading.Event()

    def take_time() -> None:
        entered.set()
        go.wait(10)

    async def work() -> None:
        async with job.astart("7"):
            raise AssertionError("not reached")

    store.before_swap = take_time
    task = asyncio.create_task(work())
    await asyncio.to_thread(entered.wait, 10)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    store.before_swap = lambda: None
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = job.get("7")
    assert state is not None
    assert state.is_failed == (outcome == "begun")
    if isinstance(other, Run):
        other.finish(None)
    job.tracker.close()


@pytest.mark.parametrize("error", [None, ValueError])
async def test_a_task_cancelled_again_and_again_has_ended_once_its_end_is_published(
    error: type[Exception] | None,
) -> None:
    """A queue that goes on, and delivers it again, finds the place free; the cancellation is not lost either."""
    store = ObservedStore()
    job = Job("ended", tracker=Tracker(store))
    entered, go = threading.Event(), threading.Event()

    def take_time() -> None:
        entered.set()
        go.wait(10)

    async def work() -> None:
        async with job.astart("7"):
            store.before_swap = take_time
            if error is not None:
                raise error

    task = asyncio.create_task(work())
    await asyncio.to_thread(entered.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not task.done()
    store.before_swap = lambda: None
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = job.get("7")
    assert state is not None
    assert state.status == ("failed" if error else "completed")
    job.tracker.close()


def test_a_run_in_a_generator_may_be_closed_in_another_context() -> None:
    """As frameworks do that step through one; its end is recorded all the same."""
    job = Job("generator")

    def steps() -> Iterator[int]:
        with job.start("7"):
            yield 1
            yield 2

    generator = steps()
    contextvars.copy_context().run(next, generator)
    contextvars.copy_context().run(list, generator)
    assert job.wait("7").is_completed


LONG = "https://example.org/feed?" + "x" * 300


def test_a_long_id_is_shortened_and_found_by_the_long_one(job_progress_tracker: Tracker) -> None:
    """Visibly, by its hash, the same way wherever it is given; it stays a different id from others that begin so."""
    short = LONG[:183] + "…" + sha256(LONG.encode()).hexdigest()[:16]
    job = Job("long", cancellable=True)
    locked = job.lock(LONG)
    assert locked is not None
    assert (locked.id, len(locked.id)) == (short, 200)
    assert job.lock(short) is None
    for found in (job.get(LONG), job.get(short), job_progress_tracker.get("long", LONG), job.mark_as_pending(LONG)):
        assert found == locked
    with job.start(LONG) as progress:
        assert progress.state.id == short
        assert job.cancel(LONG).is_cancelling
        assert [state.id for state in job.list()] == [short]
    assert job.wait(LONG, timeout=10).id == short
    assert next(job.watch(LONG)).is_completed
    assert job.get(LONG + "y") is None
    assert job.get("y" + LONG) is None
    assert job.get(LONG[:200]) is None
