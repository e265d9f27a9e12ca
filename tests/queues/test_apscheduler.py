"""What only APScheduler has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from job_progress import Job, JobState, Tracker, current_progress, tracked
from job_progress.queues.apscheduler import id_of, install
from tests.observed_store import ObservedStore
from tests.queues.around import failing_after, failing_before
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

BUSY = 60.0
LONG_AGO = timedelta(hours=1)


@tracked(store_result=True)
def add(a: int, b: int) -> int:
    """Have a result."""
    return a + b


@tracked
def silent() -> None:
    """Report nothing."""


@tracked(cancellable=True)
def count(begun: Event) -> None:
    """Stop at a checkpoint, and nowhere else."""
    begun.set()
    for _ in current_progress().track(iter(int, 1), checkpoint=True):
        begun.wait(0.001)


@tracked
def held(go: Event) -> None:
    """End when told to."""
    go.wait(BUSY)


@tracked(id="product")
def refresh(product: int) -> None:
    """Have an id of its own."""


@tracked(store_result=True)
async def aadd(a: int, b: int) -> int:
    """Have a result, after a while."""
    await asyncio.sleep(0.01)
    return a + b


def untracked() -> str:
    """Be none of ours, and run one that is."""
    add(1, 1)
    return current_progress().state.id


@pytest.fixture
def scheduler(job_progress_tracker: Tracker) -> Iterator[Any]:
    """One that runs, with threads, and states in memory."""
    scheduler = BackgroundScheduler(job_defaults={"misfire_grace_time": None})
    install(scheduler)
    scheduler.start()
    yield scheduler
    shut_down(scheduler)


def shut_down(scheduler: Any) -> None:
    """End it, unless it has ended: not before it is done with what is due, which its thread would trip over."""
    if scheduler.running:
        scheduler.remove_all_jobs()
        scheduler.shutdown()


def ends(job: Job, id: str) -> JobState:
    """Wait until an execution has ended."""
    return job.wait(id, BUSY)


def ended(job: Job, number: int) -> list[JobState]:
    """Wait until so many executions have ended, and give them."""
    return eventually(lambda: states if len(states := job.list(("completed", "failed"))) >= number else [], BUSY)


def heard(scheduler: Any, mask: int) -> Future[Any]:
    """The next event."""
    future: Future[Any] = Future()
    scheduler.add_listener(lambda event: None if future.done() else future.set_result(event), mask)
    return future


def test_each_firing_is_an_execution(scheduler: Any) -> None:
    """Its id says which: the schedule, and when it was due; and it takes the arguments that the schedule has."""
    times: list[datetime] = []
    scheduler.add_listener(lambda event: times.append(event.scheduled_run_time), EVENT_JOB_EXECUTED)
    schedule = scheduler.add_job(add, "interval", seconds=0.05, args=[3, 4], id="sums", max_instances=100)
    first = id_of(schedule)
    assert first.startswith("sums 20")
    ended(add.job, 3)
    schedule.remove()
    shut_down(scheduler)
    states = add.job.list()
    assert [state.id for state in states] == [id_of("sums", time) for time in reversed(times)]
    assert {(state.status, state.result, state.attempt) for state in states} == {("completed", 7, 1)}
    assert Job.of(schedule) is add.job


def test_firings_that_were_late_are_told_apart(job_progress_tracker: Tracker) -> None:
    """Where a schedule makes up for each, one after the other in one thread."""
    scheduler = BackgroundScheduler()
    install(scheduler)
    begin = datetime.now(UTC) - timedelta(seconds=3)
    scheduler.add_job(
        add, "interval", seconds=1, start_date=begin, next_run_time=begin, args=[3, 4], id="sums",
        coalesce=False, misfire_grace_time=None,
    )  # fmt: skip
    scheduler.start()
    expected = {id_of("sums", begin + timedelta(seconds=second)) for second in range(3)}
    assert expected <= {state.id for state in ended(add.job, 3)}
    shut_down(scheduler)


def test_what_is_missed_has_failed(scheduler: Any) -> None:
    """It was due too long ago to be fired; it never ran."""
    schedule = scheduler.add_job(
        add, "date", run_date=datetime.now(UTC) - LONG_AGO, args=[3, 4], misfire_grace_time=1
    )  # fmt: skip
    state = ends(add.job, id_of(schedule))
    assert (state.status, state.error, state.attempt) == ("failed", "missed", 0)


def test_what_was_locked_and_is_missed_has_failed(scheduler: Any) -> None:
    """Or it would be pending for ever, and nobody could lock it again."""
    assert refresh.job.lock(7)
    scheduler.add_job(refresh, "date", run_date=datetime.now(UTC) - LONG_AGO, args=[7], misfire_grace_time=1)
    assert ends(refresh.job, "7").is_failed
    assert refresh.job.lock(7)
    scheduler.add_job(refresh, args=[7])
    done = ends(refresh.job, "7")
    assert (done.status, done.attempt) == ("completed", 1)


def test_what_was_locked_and_cancelled_is_not_run(scheduler: Any) -> None:
    """Though it is fired."""
    refresh.job.lock(7)
    refresh.job.cancel(7)
    executed = heard(scheduler, EVENT_JOB_EXECUTED)
    scheduler.add_job(refresh, args=[7])
    executed.result(BUSY)
    state = refresh.job.get(7)
    assert state is not None
    assert (state.status, state.attempt) == ("cancelled", 0)


def test_what_still_runs_from_before_fails_the_next(scheduler: Any) -> None:
    """The one that runs goes on, and completes."""
    go = Event()
    schedule = scheduler.add_job(held, "interval", seconds=0.05, args=[go])
    first = id_of(schedule)
    failed = ended(held.job, 2)
    assert {state.status for state in failed} == {"failed"}
    assert "maximum number of instances" in (failed[0].error or "")
    schedule.remove()
    go.set()
    assert ends(held.job, first).is_completed


def test_a_run_that_is_cancelled_stops_at_its_checkpoint(scheduler: Any) -> None:
    """To APScheduler it was executed."""
    executed = heard(scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    begun = Event()
    schedule = scheduler.add_job(count, args=[begun])
    id = id_of(schedule)
    assert begun.wait(BUSY)
    count.job.cancel(id)
    assert ends(count.job, id).is_cancelled
    assert executed.result(BUSY).code == EVENT_JOB_EXECUTED


def test_untracked_functions_are_left_alone(scheduler: Any) -> None:
    """They run as ever; what they call is not what was fired, nor what their thread had to do before."""
    scheduler.add_executor(ThreadPoolExecutor(1), "one thread")
    executed = heard(scheduler, EVENT_JOB_EXECUTED)
    before = id_of(scheduler.add_job(add, args=[3, 4], executor="one thread"))
    executed.result(BUSY)
    executed = heard(scheduler, EVENT_JOB_EXECUTED)
    scheduler.add_job(untracked, executor="one thread")
    assert executed.result(BUSY).retval == "detached"
    assert [len(state.id) for state in add.job.list("completed")] == [36, len(before)]


def test_a_schedule_s_name_keeps_nothing_from_running(scheduler: Any) -> None:
    """Too long, it is shortened; one that no id can have is replaced."""
    executed = heard(scheduler, EVENT_JOB_EXECUTED)
    id = id_of(scheduler.add_job(add, args=[3, 4], id="x" * 200))
    executed.result(BUSY)
    assert ends(add.job, id).is_completed
    scheduler.add_job(add, args=[3, 4], id="two\nlines")
    assert [len(state.id) for state in ended(add.job, 2)] == [36, 200]
    with pytest.raises(ValueError, match="printable"):
        id_of("two\nlines", datetime.now(UTC))


@tracked(store_result=True)
def around_me() -> None:
    """Report nothing."""


@pytest.mark.parametrize("around", [failing_before, failing_after])
def test_what_fails_around_the_function_has_failed(scheduler: Any, around: Any) -> None:
    """Under the id that it was fired with; the error is APScheduler's."""
    error = heard(scheduler, EVENT_JOB_ERROR)
    id = id_of(scheduler.add_job(around(around_me)))
    assert isinstance(error.result(BUSY).exception, LookupError)
    eventually(lambda: (state := around_me.job.get(id)) is not None and state.is_failed, BUSY)
    assert [state.attempt for state in around_me.job.list()] == [0 if around is failing_before else 1]


def test_a_late_word_on_one_firing_leaves_the_next_alone(scheduler: Any) -> None:
    """Of the same id: the first has failed by its own word, so nothing more is told of it."""
    errors = heard(scheduler, EVENT_JOB_ERROR)
    scheduler.add_job(refuse, args=[7, True])
    errors.result(BUSY)
    executed = heard(scheduler, EVENT_JOB_EXECUTED)
    scheduler.add_job(refuse, args=[7, False])
    executed.result(BUSY)
    state = refuse.job.get(7)
    assert state is not None
    assert (state.status, state.error) == ("completed", None)


@tracked(id="product")
def refuse(product: int, fails: bool) -> None:
    """Have an id of its own, and fail."""
    if fails:
        raise ValueError("boom")


def test_without_a_next_time_there_is_no_next_id(job_progress_tracker: Tracker) -> None:
    """As of a scheduler that has not been started."""
    with pytest.raises(ValueError, match="no next run time"):
        id_of(BackgroundScheduler().add_job(silent))
    with pytest.raises(ValueError, match="no next run time"):
        id_of("sums")


def test_it_may_be_installed_late(job_progress_tracker: Tracker) -> None:
    """In a scheduler that runs; and it is for executors that are added later, too."""
    scheduler: Any = BackgroundScheduler()
    scheduler.start()
    install(scheduler)
    scheduler.add_executor(ThreadPoolExecutor(1), "later")
    for executor in ("default", "later"):
        id = id_of(scheduler.add_job(add, args=[3, 4], executor=executor, misfire_grace_time=None))
        assert ends(add.job, id).result == 7
    shut_down(scheduler)


def test_it_takes_two_round_trips(scheduler: Any) -> None:
    """One to begin, and one to end."""
    store = ObservedStore()
    with silent.job.living_in(Tracker(store)):
        executed = heard(scheduler, EVENT_JOB_EXECUTED)
        scheduler.add_job(silent)
        executed.result(BUSY)
        assert store.round_trips == 2


async def test_coroutines_side_by_side(job_progress_tracker: Tracker) -> None:
    """Each is a run of its own, on the scheduler's loop; and functions are, in its threads."""
    scheduler = AsyncIOScheduler(job_defaults={"misfire_grace_time": None})
    install(scheduler)
    scheduler.start()
    schedules = [scheduler.add_job(function, args=[number, 1]) for number in range(20) for function in (aadd, add)]
    for number, schedule in enumerate(schedules):
        state = await Job.of(schedule).await_(id_of(schedule), BUSY)
        assert (state.status, state.result) == ("completed", number // 2 + 1)
    missed = scheduler.add_job(
        aadd, "date", run_date=datetime.now(UTC) - LONG_AGO, args=[1, 1], misfire_grace_time=1
    )  # fmt: skip
    assert (await aadd.job.await_(id_of(missed), BUSY)).is_failed
    shut_down(scheduler)


def test_a_process_that_dies_fails_what_ran_in_it(states: ValkeyServer, tmp_path: Path) -> None:
    """APScheduler makes a new pool for what comes next."""
    from tests.queues import future_jobs, jobs

    scheduler: Any = BackgroundScheduler(
        executors={"default": ProcessPoolExecutor(1)}, job_defaults={"misfire_grace_time": None}
    )
    install(scheduler)
    scheduler.start()
    schedule = scheduler.add_job(future_jobs.die, args=[str(tmp_path)])
    id = id_of(schedule)
    eventually((tmp_path / "begun").exists, BUSY)
    (tmp_path / "go").touch()
    state = ends(future_jobs.die.job, id)
    assert (state.status, state.progress) == ("failed", 0.5)
    assert (state.error or "").startswith("BrokenProcessPool: ")
    after = id_of(scheduler.add_job(jobs.add, args=[3, 4]))
    assert ends(jobs.add.job, after).result == 7
    shut_down(scheduler)


def test_schedules_in_a_job_store_stay_as_they_are(states: ValkeyServer) -> None:
    """What is stored names the function itself."""
    from tests.queues import jobs

    name = f"schedules-{uuid4()}"
    scheduler: Any = BackgroundScheduler(
        jobstores={"default": RedisJobStore(jobs_key=name, run_times_key=f"{name}-times", port=states.port)},
        job_defaults={"misfire_grace_time": None},
    )
    install(scheduler)
    scheduler.start(paused=True)
    schedule = scheduler.add_job(jobs.add, args=[3, 4])
    assert scheduler.get_job(schedule.id).func is jobs.add
    id = id_of(schedule)
    scheduler.resume()
    assert ends(jobs.add.job, id).result == 7
    shut_down(scheduler)
