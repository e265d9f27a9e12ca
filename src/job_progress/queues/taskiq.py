"""Taskiq: `ProgressMiddleware`, among the broker's middlewares; it puts itself last.

    broker = RedisStreamBroker("redis://localhost").with_middlewares(SimpleRetryMiddleware(), ProgressMiddleware())

    @broker.task(retry_on_error=True)
    @tracked
    async def import_products(path: str): ...

A worker that is started with `--use-process-pool` also needs `--receiver job_progress.queues.taskiq:Receiver`, as
nothing else tells those processes which task they run.

The steps of a pipeline of `taskiq-pipelines` that call a task each are pending from the start; once one has failed,
or was cancelled, those after it are cancelled and say why. A function that is not async cannot be stopped: after its
timeout its state has failed, as Taskiq says, while it goes on until its next checkpoint.

What Taskiq cannot tell: that a worker was killed; the state reads stalled, and is right again once a broker that
waits for acknowledgements has delivered the task again. A result that its backend cannot store is only logged by
Taskiq, so that the state stays completed. A task has no way to end as cancelled, so that to Taskiq it is done, without
a result; nor can one that waits be taken back. What a scheduler is to send is pending only from then on. A retry is
foreseen where it is Taskiq's own middlewares that retry; after those of others, the state has failed until the task
runs again.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from functools import partial, wraps
from inspect import Parameter, iscoroutinefunction, signature
from time import monotonic
from typing import Any, get_type_hints

try:
    from taskiq import SimpleRetryMiddleware, SmartRetryMiddleware, TaskiqMessage, TaskiqMiddleware, TaskiqResult
    from taskiq.abc.broker import AsyncBroker
    from taskiq.exceptions import NoResultError
    from taskiq.message import BrokerMessage
    from taskiq.receiver import Receiver as _Receiver
    from taskiq.receiver.params_parser import parse_params
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[taskiq]'", name=error.name) from None

from job_progress.errors import JobAlreadyProcessing
from job_progress.given_names import NamedFunction
from job_progress.job import Job
from job_progress.queues import taskiq_pipelines as pipelines
from job_progress.queues.lifecycle import ahook, ended, enqueued, given_up, hook, revoked
from job_progress.state import JobState, JobStatus
from job_progress.task import QueueTask, current_task, enter_task, queue_task
from job_progress.threads import in_thread

logger = logging.getLogger("job_progress")

ENQUEUED = "job_progress_enqueued"
"""A label that saves the worker a round trip."""
RETRIES = "_retries"
REQUEUED = "X-Taskiq-requeue"
IN_PROCESSES = "--use-process-pool"
TOLD = "job_progress_told"
"""What the process of a pool has told the state of a task that failed there: an attribute of the error."""

Errors = tuple[type[BaseException], ...]
Retries = list[tuple[Errors, float]]
"""The errors after which a task is sent again, and in how many seconds."""


class ProgressMiddleware(TaskiqMiddleware):
    """Has the states of tracked tasks follow them. To send one costs one round trip to the store.

    It is the last of its broker's, wherever it was added: what it tells of an error is then in the store before one
    that retries sends the task again.
    """

    def set_broker(self, broker: AsyncBroker) -> None:
        """From now on, what *broker* refuses has failed."""
        super().set_broker(broker)
        # No hook tells of what was not sent.
        broker.kick = _telling(self, broker.kick)  # type: ignore[assignment, method-assign] # pyright: ignore[reportAttributeAccessIssue]

    def _be_last(self) -> None:
        if self.broker.middlewares[-1] is not self:  # whoever goes through the list keeps the old one
            self.broker.middlewares = [*(other for other in self.broker.middlewares if other is not self), self]

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """The task is pending, if it is not one that is sent again, and so are those that follow it in a pipeline."""
        self._be_last()
        if RETRIES not in message.labels:
            await in_thread(self._mark_as_pending, message)
        try:
            self.broker.formatter.dumps(message)
        except Exception as error:  # noqa: BLE001 - the caller will get it
            await in_thread(self.refused, message, error)
        _sending.set(message)
        return message

    @hook
    def _mark_as_pending(self, message: TaskiqMessage) -> None:
        task = self.broker.find_task(message.task_name)
        if task is None:
            return
        step = pipelines.step_of(message)
        due = message.labels.get("delay")
        # One that follows another is pending already, or it was cancelled, and stays so.
        version = enqueued(*_call(task, message), due=None if due is None else float(due), late=bool(step))
        if version is not None:
            message.labels[ENQUEUED] = version
        if step == 0:
            for call in pipelines.following(self.broker, message, _as_called):
                enqueued(*call)

    @hook
    def refused(self, message: TaskiqMessage, error: Exception) -> None:
        """It was not sent, so it will not come."""
        task = self.broker.find_task(message.task_name)
        if task is not None:
            given_up(*_call(task, message), error=error, begun=False)
            drop_following(self.broker, message, "could not be sent")

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """The tracked function that is about to run is this task. No I/O."""
        self._be_last()
        _Delivery(message, self.broker).enter()
        return message

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        """It has failed, or is to be retried, whatever its function has said. No I/O if that said so."""
        if delivery := _executing.get():
            await delivery.failed(message, exception)

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """It has not failed. Nothing that runs from here on is the task."""
        if delivery := _executing.get():
            delivery.leave()
            if not result.is_err:
                await delivery.succeeded(message, result)


def _telling(
    middleware: ProgressMiddleware, kick: Callable[[BrokerMessage], Coroutine[Any, Any, None]]
) -> Callable[[BrokerMessage], Coroutine[Any, Any, None]]:
    """*kick*, a broker's, which also tells of what that refuses."""

    @wraps(kick)
    async def send(message: BrokerMessage) -> None:
        sending = _sending.get()
        _sending.set(None)
        try:
            await kick(message)
        except Exception as error:
            if sending is not None and sending.task_id == message.task_id:
                await in_thread(middleware.refused, sending, error)
            raise

    return send


class _Delivery:
    """A delivery of a task, from before its function to after it."""

    def __init__(self, message: TaskiqMessage, broker: AsyncBroker) -> None:
        self._message = message
        self._broker = broker
        self._began = monotonic()
        self._requeued = message.labels.get(REQUEUED)
        self._was_done = False
        self.is_blind = IN_PROCESSES in sys.argv
        """Its function runs where nobody sees it; our receiver does."""
        self._around: tuple[_Delivery | None, QueueTask] = (None, current_task())
        self._executes: asyncio.Task[Any] | None = None
        self.task = QueueTask(
            id=message.task_id,
            function=broker.find_task(message.task_name),
            enqueued=message.labels.get(ENQUEUED),
            will_retry=self._will_retry,
            retry_delay=self._retry_delay,
            shown_error=self._shown_error,
            end_done=self.end_done,
        )

    def enter(self) -> None:
        """From here on, until it is left, what runs in this context is the task."""
        self._around = (_executing.get(), current_task())  # a broker in memory may run it within another one
        _executing.set(self)
        enter_task(self.task)
        self._executes = asyncio.current_task()
        if self._executes is not None:
            self._executes.add_done_callback(self._broken_off)

    def leave(self) -> None:
        """It is over."""
        self._heard()
        outer, task = self._around
        _executing.set(outer)
        enter_task(task)

    def _heard(self) -> None:
        if self._executes is not None:
            self._executes.remove_done_callback(self._broken_off)

    def _broken_off(self, executes: asyncio.Future[Any]) -> None:
        """Something that Taskiq does not catch has failed: a dependency at its end, say. Nothing was acknowledged."""
        if not executes.cancelled() and (error := executes.exception()):
            executes.get_loop().run_in_executor(None, self._tell_failed, self._message, error)

    @ahook
    async def failed(self, message: TaskiqMessage, error: BaseException) -> None:
        """What Taskiq says has gone wrong."""
        self._heard()
        await in_thread(self._tell_failed, message, error)

    @hook
    def _tell_failed(self, message: TaskiqMessage, error: BaseException) -> None:
        task = self._broker.find_task(message.task_name)
        if task is None:
            return
        will_retry = self._will_retry(error)
        shown = self._shown_error(error)
        ended(*_call(task, message), delivery=self.task.delivery, error=shown, will_retry=will_retry)
        if not will_retry and not isinstance(error, JobAlreadyProcessing):
            drop_following(self._broker, message, "has failed")

    @ahook
    async def succeeded(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """As Taskiq says. What an earlier delivery has stored stays, and after what was cancelled nothing runs."""
        said = self.task.delivery.said
        task = self._broker.find_task(message.task_name)
        if said is None and self.is_blind and task is not None and not iscoroutinefunction(task.original_func):
            logger.warning(
                "of %r in its process nothing is known: add --receiver job_progress.queues.taskiq:Receiver",
                message.task_name,
            )
        elif said in (None, JobStatus.PENDING) and task is not None:
            await in_thread(ended, *_call(task, message), delivery=self.task.delivery)
        elif said is JobStatus.CANCELLED and pipelines.step_of(message) is not None:
            await in_thread(drop_following, self._broker, message, "was cancelled")
            await pipelines.stop(self._broker, message, RuntimeError("a step before it was cancelled"))
        elif self._was_done and await self._broker.result_backend.is_result_ready(message.task_id):
            stored = await self._broker.result_backend.get_result(message.task_id, with_logs=True)
            for name in ("is_err", "log", "return_value", "execution_time", "labels", "error"):
                setattr(result, name, getattr(stored, name))

    def end_done(self, state: JobState) -> object:
        """An earlier delivery has completed it."""
        self._was_done = True
        return state.result

    def _shown_error(self, error: BaseException) -> BaseException:
        timeout = self._message.labels.get("timeout")
        if timeout is None or not isinstance(error, asyncio.CancelledError | TimeoutError):
            return error
        is_over = monotonic() - self._began >= float(timeout)
        return TimeoutError(f"it took more than {float(timeout):g} s") if is_over else error

    def _will_retry(self, error: BaseException) -> bool:
        if isinstance(error, NoResultError):
            return bool(self._message.labels.get(REQUEUED) != self._requeued)
        return self._retry_delay(error) is not None

    def _retry_delay(self, error: BaseException) -> float | None:
        return delay_of(self.retries(), self._shown_error(error))

    def retries(self) -> Retries:
        """When Taskiq's own middlewares send it again."""
        return _retries(self._message, self._broker)


_executing: ContextVar[_Delivery | None] = ContextVar("job_progress_taskiq_executing", default=None)
_sending: ContextVar[TaskiqMessage | None] = ContextVar("job_progress_taskiq_sending", default=None)


class Receiver(_Receiver):
    """Taskiq's receiver, which also tells the processes of a pool which task they run, and hears what they told."""

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, *args: Any, **kwargs: Any
    ) -> TaskiqResult[Any]:
        """Run the task's function."""
        delivery = _executing.get()
        if delivery is not None:
            delivery.is_blind = False
        if delivery is not None and self.is_process_pool and not iscoroutinefunction(target):
            if message.task_name not in self.known_tasks:
                self._prepare_task(message.task_name, target)
            target = partial(self._in_process, delivery, target)
        return await super().run_task(target, message, *args, **kwargs)

    async def _in_process(self, delivery: _Delivery, target: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        task = delivery.task
        job = Job.behind(task.function)
        named = target if job is None else NamedFunction(job.name, target)  # that process does not know the broker's
        call = partial(_in_this_process, task.id, task.enqueued, delivery.retries(), named, target, *args, **kwargs)
        task.delivery.has_begun = True  # or it may have: if its process dies, nobody tells
        try:
            told, returned = await asyncio.get_running_loop().run_in_executor(self.executor, call)
        except BaseException as error:
            task.delivery.has_begun, task.delivery.said = getattr(error, TOLD, (True, None))
            raise
        task.delivery.has_begun, task.delivery.said = told
        return delivery.end_done(returned.state) if isinstance(returned, _Done) else returned


_Told = tuple[bool, JobStatus | None]
"""Has the task begun a run, and what has that told the state at its end?"""


class _Done:
    """In place of a result: an earlier delivery has completed the task."""

    def __init__(self, state: JobState) -> None:
        self.state = state


def _in_this_process(
    id: str | None,
    enqueued: int | None,
    retries: Retries,
    named: object,
    target: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> tuple[_Told, Any]:
    """Call *target*, in a process of the pool. Returns what its run has told the state as well."""
    task = QueueTask(
        id=id,
        function=named,
        enqueued=enqueued,
        will_retry=lambda error: delay_of(retries, error) is not None,
        retry_delay=partial(delay_of, retries),
        end_done=_Done,
    )
    try:
        with queue_task(task):
            returned = target(*args, **kwargs)
        pickle.dumps(returned)  # what cannot be sent back is an error, and this one says what the run has told
    except BaseException as error:
        with suppress(AttributeError):
            setattr(error, TOLD, (task.delivery.has_begun, task.delivery.said))
        raise
    return (task.delivery.has_begun, task.delivery.said), returned


def delay_of(retries: Retries, error: BaseException) -> float | None:
    """In how many seconds a task is sent again after *error*; `None`: it is not."""
    return next((delay for errors, delay in retries if isinstance(error, errors)), None)


def _retries(message: TaskiqMessage, broker: AsyncBroker) -> Retries:
    labels = message.labels
    task = broker.find_task(message.task_name)
    retries: Retries = []
    for middleware in broker.middlewares:
        if not isinstance(middleware, (SimpleRetryMiddleware, SmartRetryMiddleware)):
            continue
        wanted = labels.get("retry_on_error", middleware.default_retry_label)
        wanted = wanted.lower() == "true" if isinstance(wanted, str) else wanted
        most = int(labels.get("max_retries", middleware.default_retry_count))
        number = int(labels.get(RETRIES, 0)) + 1
        if wanted and number < most:
            of_task = task.labels.get("types_of_exceptions") if task else None
            types = middleware.types_of_exceptions if of_task is None else of_task
            delay = float(labels.get("delay", 0))
            if isinstance(middleware, SmartRetryMiddleware):
                delay = middleware.make_delay(message, number)
            retries.append(((BaseException,) if types is None else tuple(types), delay))
    return retries


def drop_following(broker: AsyncBroker, message: TaskiqMessage, what: str) -> None:
    """What was to follow *message* in its pipeline will not run."""
    task = broker.find_task(message.task_name)
    job = Job.behind(task)
    name = message.task_name if job is None else job.name
    for call in pipelines.following(broker, message, _as_called):
        revoked(*call, begun=False, reason=f"not run: {name}, before it, {what}")


def _call(task: Any, message: TaskiqMessage) -> pipelines.Call:
    return (task, message.task_id, *_as_called(task.original_func, message))


def _as_called(
    function: Callable[..., Any], message: TaskiqMessage, *front: Any, **more: Any
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with which the worker will call *function*: models are such again, dependencies are `None`.

    *front* and *more* are those that are not in the message.
    """
    parameters = signature(function)
    call = message.model_copy(update={"args": [*message.args], "kwargs": {**message.kwargs}})
    parse_params(parameters, get_type_hints(function), call)
    args, kwargs = [*front, *call.args], call.kwargs | more
    given = parameters.bind_partial(*args, **kwargs).arguments
    for name, parameter in parameters.parameters.items():
        variadic = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        if name not in given and parameter.default is Parameter.empty and not variadic:
            kwargs[name] = None
    return args, kwargs
