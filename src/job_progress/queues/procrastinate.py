"""Procrastinate: `install(app)`, once the app is made, in the module that the worker imports too.

    app = App(connector=PsycopgConnector(conninfo="postgresql://…"))
    install(app)

    @app.task(retry=3)
    @tracked
    def import_products(path: str): ...

It puts `middleware` first among the app's default worker middleware, and gives the app a `JobManager` of ours. Who
hands `worker_middleware=` to `run_worker` replaces the defaults, and has to name `middleware` there. With
Procrastinate's Django app: `PROCRASTINATE_ON_APP_READY = "job_progress.queues.procrastinate.install"`.

What Procrastinate cannot tell: that a worker was killed. The state reads stalled, and is right again once somebody
has called `retry_job` for it, as Procrastinate's manual says. A job that no worker knows the task of stays pending.
A job that is deferred by name, where its code is not known, has no state before it runs. If a transaction of yours is
rolled back in which you defer, the state stays pending until it is forgotten: no driver tells of that. A coroutine that
has retries and is aborted has failed, to Procrastinate, while its state is cancelled.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Any

try:
    import procrastinate
    from procrastinate.exceptions import JobAborted
    from procrastinate.job_context import AbortReason
    from procrastinate.jobs import Job, Status
    from procrastinate.manager import JobManager as _JobManager
    from procrastinate.sync_psycopg_connector import wrap_exceptions
    from procrastinate.tasks import Task
    from procrastinate.worker import Worker
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[procrastinate]'", name=error.name) from None

from job_progress.queues.lifecycle import ended, enqueued, given_up, hook, revoked
from job_progress.task import QueueTask, held, queue_task
from job_progress.threads import in_thread

logger = logging.getLogger("job_progress")


def install(app: procrastinate.App) -> None:
    """Have the states of the app's tracked tasks follow its jobs. No I/O; doing it twice changes nothing."""
    if isinstance(app.job_manager, JobManager):
        return
    app.job_manager = JobManager(app)
    defaults = app.worker_defaults.copy()
    defaults["worker_middleware"] = [middleware, *defaults.get("worker_middleware", [])]
    app.worker_defaults = defaults


async def middleware(call_next: Callable[[], Awaitable[Any]], context: procrastinate.JobContext, worker: Worker) -> Any:
    """A worker middleware: the tracked function that runs inside knows which job it is. No I/O."""
    delivery = _Delivery(context.job.id, _task_of(context))
    _delivery.set(delivery)  # for what is done next in this context: to store what has become of the job
    with queue_task(delivery.task):
        try:
            return await call_next()
        except BaseException as error:
            delivery.error = error
            raise


class _Delivery:
    """One delivery of a job, and the error that came out of all that is around its function."""

    def __init__(self, job_id: int | None, task: QueueTask) -> None:
        self.job_id = job_id
        self.task = task
        self.error: BaseException | None = None


_is_retried_by_worker: ContextVar[bool] = ContextVar("job_progress_procrastinate_is_retried", default=False)
_delivery: ContextVar[_Delivery | None] = ContextVar("job_progress_procrastinate_delivery", default=None)


def _task_of(context: procrastinate.JobContext) -> QueueTask:
    def will_retry(error: BaseException) -> bool:
        reason = context.abort_reason()
        if reason is AbortReason.USER_REQUEST or (reason is None and isinstance(error, JobAborted)):
            return False
        return context.task.get_retry_exception(exception=error, job=context.job) is not None

    def retry_delay(error: BaseException) -> float | None:
        retry = context.task.get_retry_exception(exception=error, job=context.job)
        when = retry.retry_decision.retry_at if retry else None
        return None if when is None else (when - datetime.now(UTC)).total_seconds()

    def was_cancelled(error: BaseException) -> bool:
        reason = context.abort_reason()
        if reason is AbortReason.USER_REQUEST:
            return isinstance(error, (CancelledError, JobAborted))
        return reason is None and isinstance(error, JobAborted)

    def end_cancelled() -> None:
        aborted = JobAborted("it was cancelled")
        if not will_retry(aborted):  # as a worker that is being shut down would, even then
            raise aborted

    return QueueTask(
        id=str(context.job.id),
        function=context.app.tasks.get(context.job.task_name),
        will_retry=will_retry,
        retry_delay=retry_delay,
        was_cancelled=was_cancelled,
        end_cancelled=end_cancelled,
    )


def _delivery_of(job: Job) -> _Delivery | None:
    """The delivery in which this is said of a job, if its worker says it."""
    delivery = _delivery.get()
    return delivery if delivery is not None and delivery.job_id == job.id else None


def _call(task: Task[Any, Any, Any], job: Job) -> tuple[Any, str, Sequence[None], dict[str, Any]]:
    id = "it has none" if job.id is None else str(job.id)  # as it was not inserted
    return task, id, (None,) if task.pass_context else (), job.task_kwargs


class JobManager(_JobManager):
    """Procrastinate's own, which also tells the states what becomes of jobs outside of their runs.

    To defer costs one round trip to the store for each job. It is made within the transaction of the INSERT, as
    only that makes the id known, and no worker sees the job before the commit; unless the connector is none of
    Procrastinate's two for psycopg 3: then it is made right after.
    """

    patience = 1.0
    """Seconds; if a job of a batch takes longer to tell of, as the store is away, the others go without."""

    def __init__(self, app: procrastinate.App) -> None:
        super().__init__(app.connector)
        self._app = app

    async def batch_defer_jobs_async(self, jobs: list[Job], connection: Any | None = None) -> list[Job]:
        """Defer jobs: each is pending, or has failed if the database does not take it."""
        deferred = jobs
        try:
            async with self._atransaction(connection) as within:
                deferred = await super().batch_defer_jobs_async(jobs, within)
                await in_thread(self._tell, enqueued, deferred, late=within is None)
        except Exception as error:
            await in_thread(self._tell, given_up, deferred, error=error, begun=False)
            raise
        return deferred

    def batch_defer_jobs(self, jobs: list[Job], connection: Any | None = None) -> list[Job]:
        """Defer jobs: each is pending, or has failed if the database does not take it."""
        deferred = jobs
        try:
            with self._transaction(connection) as within:
                deferred = super().batch_defer_jobs(jobs, within)
                self._tell(enqueued, deferred, late=within is None)
        except Exception as error:
            self._tell(given_up, deferred, error=error, begun=False)
            raise
        return deferred

    async def defer_periodic_job(self, job: Job, periodic_id: str, defer_timestamp: int) -> int | None:
        """Defer a job whose time has come, unless another worker has: it is pending."""
        id = await super().defer_periodic_job(job, periodic_id, defer_timestamp)
        if id is not None:
            await in_thread(self._tell, enqueued, [job.evolve(id=id)], late=True)
        return id

    async def cancel_job_by_id_async(self, job_id: int, *args: Any, **kwargs: Any) -> bool:
        """Cancel a job: if it waits, its state is cancelled too; one that runs says so itself."""
        before = await self.list_jobs_async(id=job_id)
        cancelled = await super().cancel_job_by_id_async(job_id, *args, **kwargs)
        if cancelled and not await self.list_jobs_async(id=job_id, status="doing"):
            await in_thread(self._tell, revoked, before)
        return cancelled

    def cancel_job_by_id(self, job_id: int, *args: Any, **kwargs: Any) -> bool:
        """Cancel a job: if it waits, its state is cancelled too; one that runs says so itself."""
        before = self.list_jobs(id=job_id)
        cancelled = super().cancel_job_by_id(job_id, *args, **kwargs)
        if cancelled and not self.list_jobs(id=job_id, status="doing"):
            self._tell(revoked, before)
        return cancelled

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """A worker has ended a job: whatever its function's run has said, that is its end."""
        if (delivery := _delivery_of(job)) is not None:
            await in_thread(self._tell_ended, delivery, job, status)
        await super().finish_job(job, status, delete_job)

    async def retry_job(self, job: Job, retry_at: datetime | None = None, *args: Any, **kwargs: Any) -> None:
        """Have a job run again: a worker does after its error, and a person as with `retry_job_by_id`."""
        if (delivery := _delivery_of(job)) is None:
            await super().retry_job(job, retry_at, *args, **kwargs)
            return
        await in_thread(self._tell_ended, delivery, job, None)
        with held(_is_retried_by_worker, value=True):
            await super().retry_job(job, retry_at, *args, **kwargs)

    @hook
    def _tell_ended(self, delivery: _Delivery, job: Job, status: Status | None) -> None:
        task, error = self._app.tasks.get(job.task_name), delivery.error
        if task is None:
            return
        if (
            status is Status.ABORTED
            and not delivery.task.delivery.has_begun
            and error is not None
            and delivery.task.was_cancelled(error)
        ):
            revoked(*_call(task, job), begun=False)
        else:
            ended(*_call(task, job), delivery=delivery.task.delivery, error=error, will_retry=status is None)

    async def retry_job_by_id_async(self, job_id: int, retry_at: datetime, *args: Any, **kwargs: Any) -> None:
        """Have a job run again: one that had failed for good is pending."""
        by_worker = _is_retried_by_worker.get()
        failed = [] if by_worker else list(await self.list_jobs_async(id=job_id, status="failed"))
        await in_thread(self._tell, enqueued, failed, due=retry_at)
        try:
            await super().retry_job_by_id_async(job_id, retry_at, *args, **kwargs)
        except Exception as error:
            await in_thread(self._tell, given_up, failed, error=error, begun=False)
            raise

    def retry_job_by_id(self, job_id: int, retry_at: datetime, *args: Any, **kwargs: Any) -> None:
        """Have a job run again: one that had failed for good is pending."""
        failed = list(self.list_jobs(id=job_id, status="failed"))
        self._tell(enqueued, failed, due=retry_at)
        try:
            super().retry_job_by_id(job_id, retry_at, *args, **kwargs)
        except Exception as error:
            self._tell(given_up, failed, error=error, begun=False)
            raise

    @hook
    def _tell(self, what: Callable[..., object], jobs: Iterable[Job], **more: Any) -> None:
        for job in jobs:
            task = self._app.tasks.get(job.task_name)
            began = monotonic()
            if task is not None:
                due = {"due": job.scheduled_at} if what is enqueued else {}
                what(*_call(task, job), **{**due, **more})
            if monotonic() - began > self.patience:
                logger.warning("the store is slow: nothing is said of the jobs that were deferred with %s", job.id)
                return

    @asynccontextmanager
    async def _atransaction(self, connection: Any | None) -> AsyncIterator[Any | None]:
        if connection is None and isinstance(self.connector, procrastinate.PsycopgConnector):
            with wrap_exceptions():
                async with self.connector.pool.connection() as own:
                    yield own
        else:
            yield connection

    @contextmanager
    def _transaction(self, connection: Any | None) -> Iterator[Any | None]:
        connector = self.connector.get_sync_connector()
        if connection is None and isinstance(connector, procrastinate.SyncPsycopgConnector):
            with wrap_exceptions(), connector.pool.connection() as own:
                yield own
        else:
            yield connection
