"""What only Procrastinate has: its aborts, its transactions, its retries by hand, and functions of both kinds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job as ProcrastinateJob
from procrastinate.testing import InMemoryConnector
from psycopg_pool import ConnectionPool

from job_progress import Job, JobState, Tracker, clock, current_progress, tracked
from job_progress.queues import procrastinate as integration
from job_progress.queues.lifecycle import given_up
from job_progress.queues.procrastinate import JobManager, install, middleware
from job_progress.task import current_task
from tests.queues.conftest import BUSY, Brokers, Queue
from tests.queues.driver import Worker
from tests.servers.process import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.queues.drivers.procrastinate import Procrastinate

KINDS = ["jobs", "async_jobs"]


class Both(Queue):
    """Procrastinate in the hands of a test, with the functions of both kinds."""

    driver: Procrastinate

    def module(self, kind: str) -> ModuleType:
        """The jobs of a kind."""
        from tests.queues import async_jobs, jobs

        return {"jobs": jobs, "async_jobs": async_jobs}[kind]

    def defer(self, kind: str, job: str, *, retried: bool = False, **kwargs: Any) -> tuple[Job, str]:
        """Defer a job of a kind. Returns it with its id."""
        from tests.queues.drivers.procrastinate_app import name_of

        task = self.driver.app.tasks[name_of(self.module(kind), job, int(retried))]
        return Job.of(task), str(task.defer(**kwargs))

    def asked_to_stop(self, *arguments: str) -> Worker:
        """A worker of the test's own, with further arguments."""
        self.stop_working()
        command = [sys.executable, *self.driver.command(self.pool), *arguments]
        return self._stack.enter_context(Worker(command, self.folder / "worker-own.log", {}))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[App]:
        """The app, for coroutines."""
        with self.driver.app.replace_connector(PsycopgConnector(conninfo=self.driver.server.url)) as app:
            async with app.open_async():
                yield app


@pytest.fixture
def queue(brokers: Brokers, tmp_path: Path) -> Iterator[Both]:
    """Procrastinate, and no worker yet."""
    queue = Both(brokers.driver("Procrastinate"), brokers, "default", tmp_path)
    yield queue
    queue.close()


def ends(queue: Queue, job: Job, id: str) -> JobState:
    """Wait for an execution to end."""
    with queue.explained():
        return job.wait(id, BUSY)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_both_kinds_run(queue: Both, kind: str) -> None:
    """Coroutines in the worker's loop, others in its threads: several at once, each with its own progress."""
    queue.work()
    folders = [queue.folder / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    started = [queue.defer(kind, "wait", folder=str(folder)) for folder in folders]
    for folder in folders:
        eventually((folder / "begun").exists, BUSY)
    for job, id in started:
        assert next(state for state in job.watch(id, BUSY) if state.message).percent == 25
    for folder in folders:
        (folder / "go").touch()
    assert [str(ends(queue, job, id).status) for job, id in started] == ["completed"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancel_ends_a_job_with_retries_as_aborted(queue: Both, kind: str) -> None:
    """Procrastinate's own word for it, which keeps it from being tried again."""
    queue.work()
    job, id = queue.defer(kind, "wait", retried=True, folder=str(queue.folder))
    queue.sees("begun")
    job.cancel(id)
    assert ends(queue, job, id).is_cancelled
    assert queue.outcome(id) == "cancelled"
    assert queue.driver.app.job_manager.get_job_status(int(id)).value == "aborted"


@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_waits_and_begins_anew(queue: Both, kind: str) -> None:
    """As its strategy says; the last error then is the end."""
    queue.work()
    job, id = queue.defer(kind, "flaky", retried=True, folder=str(queue.folder))
    queue.sees("begun")
    queue.go()
    done = ends(queue, job, id)
    assert (done.status, done.attempt) == ("completed", 2)


def test_a_coroutine_that_is_aborted_is_cancelled(queue: Both) -> None:
    """Procrastinate cancels it at once, whether it looks for that or not."""
    queue.work()
    job, id = queue.defer("async_jobs", "stubborn", folder=str(queue.folder))
    queue.sees("begun")
    assert queue.driver.app.job_manager.cancel_job_by_id(int(id), abort=True)
    done = ends(queue, job, id)
    assert (done.status, done.error) == ("cancelled", None)
    assert queue.outcome(id) == "cancelled"


def test_a_function_that_gives_in_to_an_abort_is_cancelled(queue: Both) -> None:
    """It asked the context that stands in front of its arguments, and raised `JobAborted`."""
    from tests.queues.drivers.procrastinate_app import attentive

    queue.work()
    name = queue.folder.name
    id = attentive.defer(name=name, folder=str(queue.folder))
    pending = Job.of(attentive).get(name)
    assert pending is not None
    queue.sees("begun")
    assert queue.driver.app.job_manager.cancel_job_by_id(id, abort=True)
    done = ends(queue, Job.of(attentive), name)
    assert (done.status, done.error, done.created_at) == ("cancelled", None, pending.created_at)
    assert queue.outcome(str(id)) == "cancelled"


def test_what_is_cancelled_before_it_is_due_never_runs(queue: Both) -> None:
    """Its job comes when it is due, and is aborted."""
    from tests.queues.drivers.procrastinate_app import name_of

    queue.work()
    task = queue.driver.app.tasks[name_of(queue.module("jobs"), "wait")]
    id = str(task.configure(schedule_in={"seconds": 1}).defer(folder=str(queue.folder)))
    assert Job.of(task).cancel(id).is_cancelled
    assert queue.outcome(id) == "cancelled"
    state = Job.of(task).get(id)
    assert state is not None
    assert state.is_cancelled
    assert not queue.has("begun")


def test_a_job_that_is_deleted_while_it_waits_is_cancelled(queue: Both) -> None:
    """Though nothing is left of it in the database."""
    queue.stop_working()
    job, id = queue.defer("jobs", "add", a=1, b=2)
    assert queue.driver.app.job_manager.cancel_job_by_id(int(id), delete_job=True)
    state = job.get(id)
    assert state is not None
    assert state.is_cancelled


def test_a_job_that_has_ended_cannot_be_cancelled(queue: Both) -> None:
    """Procrastinate says so, and its state stays."""
    queue.work()
    job, id = queue.defer("jobs", "add", a=1, b=2)
    ends(queue, job, id)
    queue.outcome(id)
    assert not queue.driver.app.job_manager.cancel_job_by_id(int(id), abort=True)
    assert ends(queue, job, id).is_completed


def test_a_failed_job_that_is_retried_by_hand_is_pending(queue: Both) -> None:
    """At once, before any worker has taken it up; and then it is right again."""
    queue.work()
    job, id = queue.defer("jobs", "flaky", folder=str(queue.folder))
    assert ends(queue, job, id).is_failed
    queue.outcome(id)
    queue.stop_working()
    queue.driver.app.job_manager.retry_job_by_id(int(id), datetime.now(UTC))
    state = job.get(id)
    assert state is not None
    assert state.is_pending
    queue.go()
    queue.work()
    assert ends(queue, job, id).is_completed


@pytest.mark.parametrize("retried", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fails_before", "fails_after"])
def test_what_fails_around_the_function_ends_as_procrastinate_says(
    queue: Both, kind: str, name: str, retried: bool
) -> None:
    """Coroutines and functions in threads; where it is retried it waits with its error in between."""
    queue.work()
    job, id = queue.defer(kind, name, retried=retried, folder=str(queue.folder))
    if retried:
        waiting = queue_becomes(queue, job, id, lambda state: state.is_pending and state.error)
        assert "LookupError" in (waiting.error or "")
    assert queue.outcome(id) == "failed"
    done = queue_becomes(queue, job, id, lambda state: state.is_failed)
    assert done.attempt == (0 if name == "fails_before" else 3 if retried else 1)


def queue_becomes(queue: Both, job: Job, id: str, condition: Callable[[JobState], object]) -> JobState:
    """Wait until a state is as wanted."""

    def seen() -> JobState | None:
        state = job.get(id)
        return state if state is not None and condition(state) else None

    with queue.explained():
        found = eventually(seen, BUSY)
    assert found is not None
    return found


def test_a_cancelled_job_that_is_retried_by_hand_begins_anew(queue: Both) -> None:
    """It has failed, to Procrastinate, and a person wants it after all."""
    queue.stop_working()
    job, id = queue.defer("jobs", "add", a=1, b=2)
    job.cancel(id)
    with queue.driver.server.connect() as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [int(id)])
    queue.driver.app.job_manager.retry_job_by_id(int(id), datetime.now(UTC))
    assert job.get(id).is_pending  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    queue.work()
    assert ends(queue, job, id).result == 3


def test_a_retry_that_the_database_refuses_has_failed(queue: Both) -> None:
    """The caller has the database's error; nothing is pending."""
    queue.stop_working()
    job, id = queue.defer("jobs", "add", a=1, b=2)
    with queue.driver.server.connect() as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [int(id)])
    given_up(queue.module("jobs").add, id, (1, 2), error="boom")
    with queue.driver.refusing(), pytest.raises(ConnectorException):
        queue.driver.app.job_manager.retry_job_by_id(int(id), datetime.now(UTC))
    state = job.get(id)
    assert state is not None
    assert state.is_failed
    assert "Database error" in (state.error or "")


def test_what_is_scheduled_is_kept_until_it_is_due(queue: Both) -> None:
    """Its state as well; each of a batch for itself."""
    from tests.queues.drivers.procrastinate_app import name_of

    queue.stop_working()
    task = queue.driver.app.tasks[name_of(queue.module("jobs"), "add")]
    later, now = task.configure(schedule_in={"days": 3}).defer(a=1, b=2), task.defer(a=3, b=4)
    states = [Job.of(task).get(str(id)) for id in (later, now)]
    assert [state.due and (state.due - clock.now()).days for state in states if state] == [2, None]
    for id in (later, now):
        queue.driver.app.job_manager.cancel_job_by_id(id)


def test_no_worker_sees_a_job_before_it_is_pending(queue: Both) -> None:
    """Its state is told within the transaction that inserts it."""
    from tests.queues.drivers.procrastinate_app import deferring, watched

    queue.stop_working()
    name, seen = queue.folder.name, list[object]()

    def look() -> None:
        with queue.driver.server.connect() as connection:
            found = connection.execute("SELECT id FROM procrastinate_jobs WHERE args ->> 'name' = %s", [name])
            seen.append(found.fetchall())

    deferring.append(look)
    try:
        id = watched.defer(name=name)
        look()
    finally:
        deferring.clear()
    assert seen == [[], [(id,)]]
    queue.driver.app.job_manager.cancel_job_by_id(id)


def test_a_job_is_pending_within_the_users_own_transaction(queue: Both) -> None:
    """Before it is committed; a worker takes it up when it is."""
    from tests.queues.drivers.procrastinate_app import watched

    queue.work()
    name = queue.folder.name
    with queue.driver.server.connect() as connection, connection.transaction():
        watched.configure(connection=connection).defer(name=name)
        state = Job.of(watched).get(name)
        assert state is not None
        assert state.is_pending
    assert ends(queue, Job.of(watched), name).is_completed


def test_what_was_not_deferred_is_not_pending(queue: Both) -> None:
    """As another job has its queueing lock: nothing is said of it, and Procrastinate's own error is raised."""
    from tests.queues.drivers.procrastinate_app import watched

    queue.stop_working()
    locked = watched.configure(queueing_lock=queue.folder.name)
    first = locked.defer(name=f"first of {queue.folder.name}")
    with pytest.raises(AlreadyEnqueued):
        locked.defer(name=f"second of {queue.folder.name}")
    assert Job.of(watched).get(f"second of {queue.folder.name}") is None
    queue.driver.app.job_manager.cancel_job_by_id(first)


def test_a_database_that_is_away_is_procrastinates_own_error() -> None:
    """Not the driver's: those who catch it need not change."""
    app = App(connector=PsycopgConnector())
    install(app)
    task = app.task(name="counted")(_counted)
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    pool = ConnectionPool(nowhere, min_size=0, max_size=1, timeout=0.1)
    with pool, app.open(pool), pytest.raises(ConnectorException):
        task.defer(number=1)


async def test_coroutines_that_defer_cancel_and_retry(queue: Both) -> None:
    """The async twins of all of it tell the same."""
    from tests.queues.drivers.procrastinate_app import name_of

    queue.stop_working()
    name = name_of(queue.module("async_jobs"), "add")
    async with queue.opened() as app:
        task, manager = app.tasks[name], app.job_manager
        job = Job.of(task)
        ids = await task.batch_defer_async({"a": 1, "b": 1}, {"a": 2, "b": 2})
        for id in [*ids, await task.defer_async(a=3, b=3)]:
            state = await job.aget(str(id))
            assert state is not None
            assert state.is_pending
            assert await manager.cancel_job_by_id_async(id, delete_job=id in ids)
            state = await job.aget(str(id))
            assert state is not None
            assert state.is_cancelled
        again = await task.defer_async(a=4, b=4)
        with queue.driver.server.connect() as connection:
            connection.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [again])
        job.cancel(str(again))
        await manager.retry_job_by_id_async(again, datetime.now(UTC))
        state = await job.aget(str(again))
        assert state is not None
        assert state.is_pending
        assert await manager.cancel_job_by_id_async(again)


async def test_a_periodic_job_is_pending(queue: Both) -> None:
    """Once, however many workers find that its time has come."""
    from tests.queues.drivers.procrastinate_app import timely

    queue.stop_working()
    name = queue.folder.name
    job = timely.configure(task_kwargs={"name": name, "timestamp": 60}).job
    async with queue.opened() as app:
        id = await app.job_manager.defer_periodic_job(job, name, 60)
        assert id is not None
        state = await Job.of(timely).aget(name)
        assert state is not None
        assert (state.status, state.task) == ("pending", str(id))
        assert await app.job_manager.defer_periodic_job(job, name, 60) is None
        await app.job_manager.cancel_job_by_id_async(id)


def test_untracked_tasks_are_left_alone(queue: Both) -> None:
    """They run, and no state is made."""
    from tests.queues.drivers.procrastinate_app import untracked

    queue.work()
    before = len(queue.job("wait").tracker.list(limit=1000))
    id = untracked.defer(folder=str(queue.folder))
    assert queue.outcome(str(id)) == "done"
    assert queue.has("ended")
    assert len(queue.job("wait").tracker.list(limit=1000)) == before


def test_a_job_whose_task_nobody_knows_is_none_of_ours(queue: Both) -> None:
    """It is deferred, and fails, as ever."""
    queue.work()
    id = queue.driver.app.configure_task("nobody.knows").defer(a=1)
    assert queue.outcome(str(id)) == "failed"


@pytest.mark.parametrize("retried", [False, True])
def test_a_worker_that_is_shut_down_ends_its_coroutines(queue: Both, retried: bool) -> None:
    """Nobody has cancelled those: they have failed, or come again where they are retried."""
    worker = queue.asked_to_stop("--shutdown-graceful-timeout=0.1")
    job, id = queue.defer("async_jobs", "stubborn", retried=retried, folder=str(queue.folder))
    queue.sees("begun")
    worker.stop(BUSY)
    state = job.get(id)
    assert state is not None
    assert state.error == "interrupted by CancelledError"
    assert state.status == ("pending" if retried else "failed")
    if retried:
        queue.go()
        queue.work()
        done = ends(queue, job, id)
        assert (done.status, done.attempt) == ("completed", 2)


def test_hundreds_of_jobs(queue: Both) -> None:
    """Deferred at once, each has its state, and all complete."""
    from tests.queues.drivers.procrastinate_app import name_of

    queue.stop_working()
    task = queue.driver.app.tasks[name_of(queue.module("async_jobs"), "silent")]
    ids = task.batch_defer(*[{}] * 300)
    assert Job.of(task).list("pending", limit=1)
    queue.work()
    for id in ids:
        assert ends(queue, Job.of(task), str(id)).is_completed


@tracked(name="counted", id="number")
def _counted(number: int) -> object:
    return current_progress().state.attempt, current_task().id


async def test_any_connector_will_do(job_progress_tracker: Tracker) -> None:
    """Here Procrastinate's own, for tests: the state is pending right after the job has been deferred."""
    app = App(connector=InMemoryConnector())
    install(app)
    task = app.task(name="counted")(_counted)
    await task.defer_async(number=1)
    state = _counted.job.get(1)
    assert state is not None
    assert state.is_pending
    await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
    assert _counted.job.wait(1, BUSY).is_completed


async def test_a_slow_store_does_not_hold_up_a_batch(
    job_progress_tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is waited for once; the jobs are deferred all the same, and run."""
    app = App(connector=InMemoryConnector())
    install(app)
    assert isinstance(app.job_manager, JobManager)
    app.job_manager.patience = 0.0
    task = app.task(name="counted")(_counted)
    assert len(await task.batch_defer_async({"number": 1}, {"number": 2}, {"number": 3})) == 3
    assert [_counted.job.get(number) is not None for number in (1, 2, 3)] == [True, False, False]
    assert "the store is slow" in caplog.text
    await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
    assert [_counted.job.wait(number, BUSY).is_completed for number in (1, 2, 3)] == [True, True, True]


async def _users_own(call_next: Any, context: JobContext, worker: Any) -> Any:
    return await call_next()


def test_install_keeps_what_is_there() -> None:
    """The app's own defaults and middlewares; and doing it again changes nothing."""
    app = App(connector=InMemoryConnector(), worker_defaults={"concurrency": 3, "worker_middleware": [_users_own]})
    install(app)
    manager = app.job_manager
    install(app)
    assert app.job_manager is manager
    assert app.worker_defaults == {"concurrency": 3, "worker_middleware": [middleware, _users_own]}


def test_a_cancelled_job_is_not_retried_by_a_shutdown() -> None:
    """Procrastinate then retries even what is aborted: only a job that ends well does not come again."""
    app = App(connector=InMemoryConnector())
    app.task(name="counted", retry=True)(_counted)
    reason: AbortReason | None = None
    context = JobContext(
        app=app,
        job=ProcrastinateJob(id=1, queue="default", lock=None, queueing_lock=None, task_name="counted"),
        start_timestamp=0.0,
        abort_reason=lambda: reason,
    )
    task = integration._task_of(context)
    with pytest.raises(JobAborted):
        task.end_cancelled()
    assert not task.will_retry(JobAborted())
    assert task.was_cancelled(JobAborted())
    reason = AbortReason.SHUTDOWN
    task.end_cancelled()
    assert task.will_retry(JobAborted())
    assert not task.was_cancelled(JobAborted())
