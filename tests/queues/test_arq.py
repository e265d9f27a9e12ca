"""What only arq has: aborts, timeouts, retries and tries, ids that are used again, workers that are asked to stop."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from arq import Retry, create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import retry_key_prefix
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
        case "after an error":
            try:
                raise ConnectionError("no answer")
            except ConnectionError as error:
                raise Retry(defer=0.01) from error
    raise ValueError(how)


@tracked(tracker=tracker, id="product")
async def refresh(ctx: Context, product: int) -> None:
    """Have an id of its own."""


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
    names = {"functions": [work, refresh, call_both, cancel_other], "poll_delay": 0.01, "allow_abort_jobs": True}
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
