"""Taskiq: `ProgressMiddleware`, among the broker's middlewares.

    broker = RedisStreamBroker("redis://localhost").with_middlewares(ProgressMiddleware(), SimpleRetryMiddleware())

    @broker.task(retry_on_error=True)
    @tracked
    async def import_products(path: str): ...

A worker that is started with `--use-process-pool` also needs `--receiver job_progress.queues.taskiq:Receiver`, as
nothing else tells those processes which task they run.

What Taskiq cannot tell: that a worker was killed; the state reads stalled, and is right again once a broker that
waits for acknowledgements has delivered the task again. A task has no way to end as cancelled, so that to Taskiq it
is done, without a result; nor can one that waits be taken back. What a scheduler is to send is pending only from then
on. A retry is foreseen where it is Taskiq's own middlewares that retry; after those of others, the state has failed
until the task runs again. A function that is not async goes on after its timeout, and so does its state.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import Parameter, iscoroutinefunction, signature
from time import monotonic
from typing import Any, get_type_hints

try:
    from taskiq import SimpleRetryMiddleware, SmartRetryMiddleware, TaskiqMessage, TaskiqMiddleware, TaskiqResult
    from taskiq.abc.broker import AsyncBroker
    from taskiq.exceptions import NoResultError
    from taskiq.receiver import Receiver as _Receiver
    from taskiq.receiver.params_parser import parse_params
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[taskiq]'", name=error.name) from None

from job_progress.job import Job
from job_progress.queues.lifecycle import ahook, enqueued, hook
from job_progress.task import NO_TASK, QueueTask, enter_task, queue_task
from job_progress.threads import in_thread

ENQUEUED = "job_progress_enqueued"
"""A label that saves the worker a round trip."""
RETRIES = "_retries"
REQUEUED = "X-Taskiq-requeue"
UNTIL_REQUEUED = 5.0
"""Seconds that a task which has put itself back may take until its run has ended."""

Errors = tuple[type[BaseException], ...]


class ProgressMiddleware(TaskiqMiddleware):
    """Has the states of tracked tasks follow them. To send one costs one round trip to the store."""

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """The task is pending, if it is not one that is sent again."""
        if RETRIES not in message.labels:
            await in_thread(self._mark_as_pending, message)
        return message

    @hook
    def _mark_as_pending(self, message: TaskiqMessage) -> None:
        task = self.broker.find_task(message.task_name)
        if task is not None:
            args, kwargs = _as_called(task.original_func, message)
            version = enqueued(task, message.task_id, args, kwargs)
            if version is not None:
                message.labels[ENQUEUED] = version

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """The tracked function that is about to run is this task. No I/O, unless it has put itself back."""
        if REQUEUED in message.labels:
            await self._let_it_end(message)
        enter_task(_task_of(message, self.broker))
        return message

    @ahook
    async def _let_it_end(self, message: TaskiqMessage) -> None:
        # `Context.requeue` sends the task again before it ends the run, whose place is not free until then.
        task = self.broker.find_task(message.task_name)
        job = Job.behind(task)
        if task is None or job is None:
            return
        args, kwargs = _as_called(task.original_func, message)
        with queue_task(QueueTask(id=message.task_id)):
            id, _ = job.called(*args, **kwargs)
        with suppress(TimeoutError):
            async for state in job.awatch(id, timeout=UNTIL_REQUEUED):
                if not state.is_processing:
                    return

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Nothing that runs from here on is the task: a broker in memory may run it in the context of its sender."""
        enter_task(NO_TASK)


class Receiver(_Receiver):
    """Taskiq's receiver, which also tells the processes of a pool which task they run."""

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, *args: Any, **kwargs: Any
    ) -> TaskiqResult[Any]:
        """Run the task's function."""
        if self.is_process_pool and not iscoroutinefunction(target):
            if message.task_name not in self.known_tasks:
                self._prepare_task(message.task_name, target)
            told = message.task_id, message.labels.get(ENQUEUED), _retried(message, self.broker)
            target = partial(_in_process, *told, target)
        return await super().run_task(target, message, *args, **kwargs)


def _in_process(
    id: str, enqueued: int | None, retried: Errors, target: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    with queue_task(QueueTask(id=id, enqueued=enqueued, will_retry=lambda error: isinstance(error, retried))):
        return target(*args, **kwargs)


def _task_of(message: TaskiqMessage, broker: AsyncBroker) -> QueueTask:
    began = monotonic()
    requeued = message.labels.get(REQUEUED)

    def shown_error(error: BaseException) -> BaseException:
        timeout = message.labels.get("timeout")
        if isinstance(error, CancelledError) and timeout is not None and monotonic() - began >= float(timeout):
            return TimeoutError(f"it took more than {float(timeout):g} s")
        return error

    def will_retry(error: BaseException) -> bool:
        if isinstance(error, NoResultError):
            return bool(message.labels.get(REQUEUED) != requeued)
        return isinstance(shown_error(error), _retried(message, broker))

    return QueueTask(
        id=message.task_id, enqueued=message.labels.get(ENQUEUED), will_retry=will_retry, shown_error=shown_error
    )


def _retried(message: TaskiqMessage, broker: AsyncBroker) -> Errors:
    """The errors after which Taskiq's own middlewares send the task again."""
    labels = message.labels
    task = broker.find_task(message.task_name)
    retried: list[type[BaseException]] = []
    for middleware in broker.middlewares:
        if not isinstance(middleware, (SimpleRetryMiddleware, SmartRetryMiddleware)):
            continue
        wanted = labels.get("retry_on_error", middleware.default_retry_label)
        wanted = wanted.lower() == "true" if isinstance(wanted, str) else wanted
        most = int(labels.get("max_retries", middleware.default_retry_count))
        if wanted and int(labels.get(RETRIES, 0)) + 1 < most:
            of_task = task.labels.get("types_of_exceptions") if task else None
            types = middleware.types_of_exceptions if of_task is None else of_task
            retried += [BaseException] if types is None else types
    return tuple(retried)


def _as_called(function: Callable[..., Any], message: TaskiqMessage) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with which the worker will call *function*: models are such again, dependencies are `None`."""
    parameters = signature(function)
    call = message.model_copy(update={"args": [*message.args], "kwargs": {**message.kwargs}})
    parse_params(parameters, get_type_hints(function), call)
    given = parameters.bind_partial(*call.args, **call.kwargs).arguments
    for name, parameter in parameters.parameters.items():
        variadic = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        if name not in given and parameter.default is Parameter.empty and not variadic:
            call.kwargs[name] = None
    return call.args, call.kwargs
