"""What only arq has: aborts, timeouts, retries and tries, ids that are used again, workers that are asked to stop."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from arq import Retry, create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import default_queue_name, in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.jobs import Job as ArqJob
from arq.jobs import SerializationError
from arq.worker import Worker, func

from job_progress import Job, JobState, Tracker, current_progress, tracked
from job_progress.queues.arq import enqueue_job, install, on_startup
from tests.queues.conftest import Queue
from tests.servers.valkey import ValkeyServer

pytestmark = pytest.mark.environment("arq")

Context = dict[Any, Any]
tracker = Tracker("memory://")
WEEK = timedelta(days=7)


class Silent:
    """What has no text."""

    def __repr__(self) -> str:
        raise ValueError("no text")


@tracked(tracker=tracker, cancellable=True, store_result=True)
async def work(ctx: Context, how: str = "well") -> str:
    """End in one of several ways."""
    current_progress().update(0.5)
    match how:
        case "well":
            return "done"
        case "never":
            await asyncio.Event().wait()
        case "cancelled":
            raise asyncio.CancelledError
        case "at once":
            raise Retry
        case "in a week":
            raise Retry(defer=WEEK)
        case "after an error":
            try:
                raise ConnectionError("no answer")
            except ConnectionError as error:
                raise Retry(defer=0.01) from error
    raise ValueError(how)


@tracked(tracker=tracker, id="product")
async def refresh(ctx: Context, product: int) -> None:
    """Have an id of its own."""


@tracked(tracker=tracker)
async def give(ctx: Context, what: str) -> object:
    """Return something."""
    match what:
        case "cannot be pickled":
            return lambda: None
        case "has no text":
            return Silent()
    return what


def asking(function: Any) -> Any:
    """A decorator above `@tracked` that asks for another try once the function has returned."""

    @wraps(function)
    async def wrapper(ctx: Context, *args: Any) -> None:
        await function(ctx, *args)
        raise Retry

    return wrapper


@asking
@tracked(tracker=tracker)
async def asked(ctx: Context) -> None:
    """Return, which is not the end."""


async def call_both(ctx: Context) -> str:
    """Be untracked, and call what is tracked."""
    await refresh(ctx, 7)
    await refresh(ctx, 8)
    return "called"


async def cancel_other(ctx: Context, id: str) -> None:
    """Cancel another job while this one runs, and enqueue one more."""
    await Job.of(work).acancel(id)
    await enqueue_job(ctx["redis"], refresh, 9)


@pytest.fixture
async def redis(shared_valkey: ValkeyServer) -> AsyncIterator[ArqRedis]:
    """Where arq's queue is, which is empty."""
    redis = await create_pool(RedisSettings.from_dsn(shared_valkey.url))
    await redis.flushall()
    yield redis
    await redis.aclose(close_connection_pool=True)


async def run(redis: ArqRedis, **options: Any) -> Worker:
    """Have a worker do all that there is to do."""
    names = {
        "functions": [work, refresh, call_both, cancel_other, give, asked],
        "poll_delay": 0.01,
        "allow_abort_jobs": True,
    }
    worker = Worker(**{**names, **options}, redis_pool=redis, burst=True, handle_signals=False)
    install(worker)
    await worker.async_run()
    return worker


async def enqueued(redis: ArqRedis, *args: Any, **options: Any) -> ArqJob:
    """A job of `work`."""
    job = await enqueue_job(redis, work, *args, **options)
    assert job is not None
    return job


def state_of(job: ArqJob) -> JobState:
    """What is known of a job of `work`."""
    state = Job.of(work).get(job.job_id)
    assert state is not None
    return state


async def test_a_job_that_runs_is_aborted(redis: ArqRedis) -> None:
    """arq cancels its coroutine; the state is cancelled, and nobody tries again."""
    job = await enqueued(redis, "never")
    running = asyncio.create_task(run(redis))
    while not state_of(job).is_processing:
        await asyncio.sleep(0.01)
    assert await job.abort(poll_delay=0.01)
    await running
    aborted = state_of(job)
    assert (aborted.status, aborted.error, aborted.attempt) == ("cancelled", None, 1)


async def test_a_job_that_waits_for_its_time_is_aborted(redis: ArqRedis) -> None:
    """Once a worker has come by it."""
    job = await enqueued(redis, "well", _defer_by=timedelta(hours=1))
    with pytest.raises(TimeoutError):
        await job.abort(timeout=0, poll_delay=0.01)
    await run(redis)
    assert (state_of(job).status, state_of(job).attempt) == ("cancelled", 0)


async def test_what_is_cancelled_is_aborted_to_arq(redis: ArqRedis) -> None:
    """While it waits for its time, and while it runs; arq does not try it again."""
    waiting = await enqueued(redis, "well")
    Job.of(work).cancel(waiting.job_id)
    await run(redis)
    with pytest.raises(asyncio.CancelledError):
        await waiting.result(timeout=0)
    assert (state_of(waiting).status, state_of(waiting).attempt) == ("cancelled", 0)


@pytest.mark.parametrize("by_function", [True, False])
async def test_a_time_limit_is_told(redis: ArqRedis, by_function: bool) -> None:
    """The worker's or the function's own: the state has failed, and says how long it may have taken."""
    job = await enqueued(redis, "never")
    if by_function:
        await run(redis, functions=[func(work, timeout=0.1)])
    else:
        await run(redis, job_timeout=0.1)
    failed = state_of(job)
    assert (failed.status, failed.error) == ("failed", "interrupted by TimeoutError: it took more than 0.1 s")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("at once", "Retry: <Retry defer 0.00s>"),
        ("after an error", "ConnectionError: no answer"),
        ("cancelled", "interrupted by CancelledError"),
    ],
)
async def test_a_retry_is_pending_as_long_as_there_are_tries_left(redis: ArqRedis, how: str, error: str) -> None:
    """With the error that it is about; at the last try it has failed, as arq will not begin with another."""
    job = await enqueued(redis, how)
    seen: list[JobState] = []

    async def look(ctx: Context) -> None:
        seen.append(state_of(job))

    await run(redis, max_tries=2, on_job_end=look)
    assert [(state.status, state.attempt, state.error) for state in seen] == [
        ("pending", 1, error),
        ("failed", 2, error),
    ]
    assert state_of(job) == seen[-1]


async def test_a_worker_that_does_not_retry_is_believed(redis: ArqRedis) -> None:
    """What arq calls an error has failed."""
    job = await enqueued(redis, "at once")
    await run(redis, retry_jobs=False)
    assert (state_of(job).status, state_of(job).attempt) == ("failed", 1)


async def test_a_job_that_was_tried_too_often_has_failed(redis: ArqRedis) -> None:
    """Its workers have died, say: arq gives it up without running it."""
    job = await enqueued(redis, "well")
    await redis.set(retry_key_prefix + job.job_id, 5)
    await run(redis)
    assert (state_of(job).status, state_of(job).error) == ("failed", "JobExecutionFailed: max 5 retries exceeded")


async def test_an_id_that_arq_knows_is_left_alone(redis: ArqRedis) -> None:
    """Enqueued twice, it is one job; even if it was cancelled meanwhile, or its result is still kept."""
    job = await enqueued(redis, "well", _job_id="same")
    Job.of(work).cancel("same")
    assert await enqueue_job(redis, work, "well", _job_id="same") is None
    assert state_of(job).is_cancelled
    await run(redis)
    assert await enqueue_job(redis, work, "well", _job_id="same") is None
    assert state_of(job).is_cancelled


async def test_what_cannot_be_enqueued_has_failed(redis: ArqRedis) -> None:
    """The caller has the error, and the state does not wait for ever."""
    with pytest.raises(SerializationError):
        await enqueue_job(redis, work, lambda: "no pickle", _job_id="lambda")
    state = Job.of(work).get("lambda")
    assert state is not None
    assert (state.status, state.error) == ("failed", 'SerializationError: unable to serialize job "work"')


async def test_an_id_is_free_again_once_arq_has_forgotten_it(redis: ArqRedis) -> None:
    """It begins anew."""
    for _ in range(2):
        job = await enqueued(redis, "well", _job_id="again")
        assert (state_of(job).status, state_of(job).attempt) == ("pending", 0)
        await run(redis, keep_result=0)
        assert (state_of(job).status, state_of(job).attempt) == ("completed", 1)


async def test_a_function_has_the_name_that_arq_gave_it(redis: ArqRedis) -> None:
    """What `func` made of it is enqueued under that, with arguments by name; its job is found."""
    named = func(refresh, name="refresh-a-product")
    assert Job.of(named) is Job.of(refresh)
    assert await enqueue_job(redis, named, product=6, _expires=60) is not None
    pending = Job.of(refresh).get(6)
    assert pending is not None
    assert pending.is_pending
    await run(redis, functions=[named])
    done = Job.of(refresh).get(6)
    assert done is not None
    assert done.is_completed


async def test_what_is_untracked_is_left_alone_and_what_it_calls_is_not(redis: ArqRedis) -> None:
    """arq has its result, and the jobs that it has called have their states."""
    job = await redis.enqueue_job("call_both")
    assert job is not None
    await run(redis)
    assert await job.result(timeout=0) == "called"
    assert [state and state.status for state in (Job.of(refresh).get(7), Job.of(refresh).get(8))] == ["completed"] * 2


async def test_several_run_at_once(redis: ArqRedis) -> None:
    """Each in its own context; one of them cancels another, and enqueues a third by the worker's own pool."""
    jobs = [await enqueued(redis, "well") for _ in range(20)]
    later = await enqueued(redis, "well", _defer_by=0.5)
    assert await enqueue_job(redis, cancel_other, later.job_id) is not None
    await run(redis)
    assert {state_of(job).status for job in jobs} == {"completed"}
    assert state_of(later).is_cancelled
    refreshed = Job.of(refresh).get(9)
    assert refreshed is not None
    assert refreshed.is_completed


async def test_a_failure_that_cannot_be_read_stops_no_worker(redis: ArqRedis, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the worker goes on."""
    job = await enqueued(redis, "well")
    await redis.set(retry_key_prefix + job.job_id, 5)

    def unreadable(raw: bytes) -> dict[str, Any]:
        import pickle

        found: dict[str, Any] = pickle.loads(raw)
        if "r" in found:
            raise ValueError("unreadable")
        return found

    with caplog.at_level(logging.ERROR, "job_progress"):
        worker = await run(redis, job_deserializer=unreadable)
    assert worker.jobs_failed == 1
    assert "_tell_failure failed" in caplog.text


async def test_on_startup_is_for_workers_to_call(redis: ArqRedis, caplog: pytest.LogCaptureFixture) -> None:
    """Within one's own hook, too; from elsewhere it changes nothing, says so in the log, and raises nothing."""

    async def startup(ctx: Context) -> None:
        await on_startup(ctx)

    job = await enqueued(redis, "well")
    worker = Worker([work], redis_pool=redis, burst=True, handle_signals=False, poll_delay=0.01, on_startup=startup)
    await worker.async_run()
    assert state_of(job).is_completed
    await on_startup({})
    assert "on_startup is for arq's workers to call" in caplog.text


def test_a_worker_that_is_asked_to_stop_leaves_its_jobs_to_others(queue: Queue, tmp_path: Path) -> None:
    """Each is pending, with what has interrupted it, and then runs a second time."""
    worker = queue.worker_of_its_own()
    id = queue.send("wait", ...)
    queue.sees("begun")
    worker.stop()
    waiting = queue.state("wait", id)
    assert waiting is not None
    assert (waiting.status, waiting.error) == ("pending", "interrupted by CancelledError")
    (queue.folder / "begun").unlink()
    queue.worker_of_its_own()
    queue.sees("begun")
    queue.go()
    done = queue.becomes("wait", id, lambda state: state.is_finished)
    assert (done.status, done.attempt) == ("completed", 2)


@pytest.mark.parametrize("what", ["cannot be pickled", "has no text"])
async def test_a_result_that_arq_cannot_store_has_failed(redis: ArqRedis, what: str) -> None:
    """To arq it has; the function's run had completed until then."""
    job = await enqueue_job(redis, give, what)
    assert job is not None
    await run(redis)
    ended = await job.result_info()
    assert ended is not None
    assert not ended.success
    failed = Job.of(give).get(job.job_id)
    assert failed is not None
    assert failed.is_failed
    assert failed.error


async def test_a_retry_that_is_asked_for_around_the_function_is_the_next_attempt(redis: ArqRedis) -> None:
    """As long as there are tries left; then it has failed."""
    job = await enqueue_job(redis, asked)
    assert job is not None
    await run(redis, max_tries=3)
    failed = Job.of(asked).get(job.job_id)
    assert failed is not None
    assert (failed.status, failed.attempt, failed.error) == ("failed", 3, "Retry: <Retry defer 0.00s>")


async def test_a_second_delivery_leaves_the_first_ones_result(redis: ArqRedis) -> None:
    """It does not run; arq takes it from its queue all the same."""
    job = await enqueue_job(redis, give, "one")
    assert job is not None
    message = await redis.get(job_key_prefix + job.job_id)
    await run(redis)
    await redis.set(job_key_prefix + job.job_id, message)
    await redis.zadd(default_queue_name, {job.job_id: 1})
    await run(redis)
    assert await job.result(timeout=0) == "one"
    assert await redis.zcard(default_queue_name) == 0
    state = Job.of(give).get(job.job_id)
    assert state is not None
    assert (state.status, state.attempt) == ("completed", 1)


async def test_what_expired_or_cannot_be_read_has_failed(redis: ArqRedis) -> None:
    """arq does not say then which function it was for; its id does, unless that is made of arguments."""
    expired = await enqueued(redis, "well", _defer_by=0.1, _expires=0.05)
    unreadable = await enqueued(redis, "well", _defer_by=0.1)
    nameless = await enqueue_job(redis, refresh, 8, _defer_by=0.1, _expires=0.05)
    assert nameless is not None
    await redis.set(job_key_prefix + unreadable.job_id, b"no pickle")
    await run(redis)
    assert (state_of(expired).status, state_of(expired).error) == ("failed", "JobExecutionFailed: job expired")
    assert state_of(unreadable).error == "DeserializationError: unable to deserialize job"


async def test_states_are_kept_until_they_are_due(redis: ArqRedis) -> None:
    """A week from now, or at the end of a retry's pause."""
    now = datetime.now(UTC)
    jobs = [
        await enqueued(redis, "well", _defer_by=WEEK),
        await enqueued(redis, "well", _defer_by=WEEK.total_seconds()),
        await enqueued(redis, "well", _defer_until=now + WEEK),
        await enqueued(redis, "well", _defer_until=(now + WEEK).astimezone().replace(tzinfo=None)),
        await enqueued(redis, "in a week"),
    ]
    await run(redis, max_burst_jobs=1)
    for job in jobs:
        state = state_of(job)
        assert state.is_pending
        assert state.due is not None
        assert abs(state.due - now - WEEK) < timedelta(minutes=1)
        assert state.lifetime > WEEK.total_seconds()


async def test_who_is_cancelled_while_enqueuing_leaves_nothing_pending(redis: ArqRedis) -> None:
    """At any moment of it: if arq has the job it runs, else it has failed, or nobody has heard of it."""
    ids = [f"cancelled at {moment}" for moment in range(20)]
    for moment, id in enumerate(ids):
        enqueuing = asyncio.create_task(enqueue_job(redis, work, "well", _job_id=id))
        await asyncio.sleep(moment * 0.0002)
        enqueuing.cancel()
        with suppress(asyncio.CancelledError):
            await enqueuing
    await run(redis)
    states = [Job.of(work).get(id) for id in ids]
    assert [state for state in states if state is not None and state.is_locked] == []


def test_a_job_whose_last_try_has_died_has_failed(queue: Queue) -> None:
    """Even if arq gives it up before its worker counts as dead; nobody has seen it go on."""
    worker = queue.worker_of_its_own()
    id = queue.send("wait", ...)
    queue.sees("begun")
    worker.kill()
    driver: Any = queue.driver
    driver.runner.run(driver.redis.set(retry_key_prefix + id, 5))
    driver.runner.run(driver.redis.delete(in_progress_key_prefix + id))
    queue.worker_of_its_own()
    failed = queue.becomes("wait", id, lambda state: state.is_finished)
    assert (failed.status, failed.error) == ("failed", "JobExecutionFailed: max 5 retries exceeded")
