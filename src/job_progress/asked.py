"""The id of the running queue's task where no integration says it: the queue's library is asked, if it can be.

Nothing here imports a queue: one that is not imported runs no task. Without an integration nobody tells when a task is
sent again under the same id, or retried, so that a warning, one for each queue, names the line that is missing.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import ref

from msgspec import Struct, structs

from job_progress.given_names import NamedFunction
from job_progress.task import Delivery, QueueTask

logger = logging.getLogger("job_progress")


class Found(Struct, frozen=True):
    """What a queue says of the task that it is running.

    Attributes:
        id: The queue's id of it.
        function: Its own function, or the queue's object around that.
        delivery: An object of the queue that it makes anew for each delivery.
    """

    id: str
    function: object
    delivery: object


class Call(Struct, frozen=True):
    """A call of a job's function.

    Attributes:
        function: Which, undecorated; `None`, if it is none of a function.
        args: Its arguments by place.
        kwargs: Its arguments by name.
    """

    function: Callable[..., Any] | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = {}

    def argument_of(self, kind: type) -> Any:
        """What a queue has handed to the call of itself: the first argument, or one by name; or `None`."""
        return next((one for one in (*self.args[:1], *self.kwargs.values()) if isinstance(one, kind)), None)


NO_CALL = Call()


class Queue(Struct, frozen=True):
    """How to ask a queue's library.

    Attributes:
        name: The queue's.
        module: That of its modules that knows.
        ask: Asks it, as that, for the task that makes a call.
        line: What to add, so that it need not be asked.
    """

    name: str
    module: str
    ask: Callable[[Any, Call], Found | None]
    line: str


def _celery(state: Any, call: Call) -> Found | None:
    task = state.get_current_task()
    if task is None or task.request.called_directly:
        return None
    return Found(task.request.id, task, task.request)


def _rq(module: Any, call: Call) -> Found | None:
    job = module.get_current_job()
    return None if job is None else Found(job.id, job.func, job)


def _dramatiq(module: Any, call: Call) -> Found | None:
    message = module.CurrentMessage.get_current_message()  # where this middleware is used
    if message is None:
        return None
    broker = sys.modules["dramatiq.broker"].global_broker
    return Found(message.message_id, broker.actors[message.actor_name], message)


def _arq(worker: Any, call: Call) -> Found | None:
    context = call.argument_of(dict)
    if context is None or not {"job_id", "job_try", "redis"} <= context.keys():
        return None
    from asyncio import current_task

    # The context does not name the function; arq makes a task of asyncio for it, and for nothing else.
    task = current_task()
    coroutine: Any = None if task is None else task.get_coro()
    if call.function is None or coroutine is None or coroutine.__qualname__ != call.function.__qualname__:
        return None
    return Found(context["job_id"], None, context)


def _saq(module: Any, call: Call) -> Found | None:
    context = call.argument_of(dict)
    if context is None or not isinstance(job := context.get("job"), module.Job):
        return None
    function = context["worker"].functions[job.function]
    return Found(job.key, NamedFunction(job.function, function), context)


def _taskiq(module: Any, call: Call) -> Found | None:
    context = call.argument_of(module.Context)
    if context is None:
        return None
    return Found(context.message.task_id, context.broker.find_task(context.message.task_name), context.message)


def _procrastinate(module: Any, call: Call) -> Found | None:
    context = call.argument_of(module.JobContext)
    return None if context is None else Found(str(context.job.id), context.task, context)


def _huey(module: Any, call: Call) -> Found | None:
    task = call.argument_of(module.Task)
    if task is None:
        return None
    cells = [cell.cell_contents for cell in type(task).execute.__closure__ or ()]
    [function] = filter(callable, cells)
    return Found(task.id, NamedFunction(type(task).__name__, function), task)


def _django(module: Any, call: Call) -> Found | None:
    context = call.argument_of(module.TaskContext)
    return None if context is None else Found(context.task_result.id, context.task_result.task, context)


_MIDDLEWARE = "ProgressMiddleware() of job_progress.queues.{} among the broker's middlewares"
_INSTALL = "install({}) of job_progress.queues.{}"
_APP = '"job_progress.queues.django_tasks" in INSTALLED_APPS'

QUEUES = (
    Queue("Celery", "celery._state", _celery, _INSTALL.format("app", "celery")),
    Queue("RQ", "rq.job", _rq, "Queue of job_progress.queues.rq, and rq worker --job-class job_progress.queues.rq.Job"),
    Queue("Dramatiq", "dramatiq.middleware.current_message", _dramatiq, _MIDDLEWARE.format("dramatiq")),
    Queue("arq", "arq.worker", _arq, "on_startup of job_progress.queues.arq in the worker's settings"),
    Queue("SAQ", "saq.job", _saq, _INSTALL.format("settings", "saq")),
    Queue("Taskiq", "taskiq.context", _taskiq, _MIDDLEWARE.format("taskiq")),
    Queue("Procrastinate", "procrastinate.job_context", _procrastinate, _INSTALL.format("app", "procrastinate")),
    Queue("Huey", "huey.api", _huey, _INSTALL.format("huey", "huey")),
    Queue("Django", "django.tasks.base", _django, _APP),
    Queue("Django", "django_tasks.base", _django, _APP),
)
"""The last five know of the task only if they hand it to the function, as `context=True` and the like ask for."""

_latest: ContextVar[tuple[Callable[[], object], QueueTask] | None] = ContextVar("job_progress_asked", default=None)
_warned: set[str] = set()


def ask(task: QueueTask, call: Call, is_own: Callable[[object], bool]) -> QueueTask:
    """*task*, which has no id, with that of the queue's task that makes *call*, if one does. No I/O; raises nothing.

    Args:
        task: What is known of it.
        call: Which call of a job's function it is about.
        is_own: Is it a call of the own function of a task with this object?
    """
    for queue in QUEUES:
        module = sys.modules.get(queue.module)
        if module is None:
            continue
        try:
            found = queue.ask(module, call)
            if found is None:
                continue
            if found.function is not None and not is_own(found.function):
                return task
            return _as_task(task, found, queue)
        except Exception:  # another version, say, or one that a test has put in its place
            logger.debug("%s does not tell which task it runs", queue.name, exc_info=True)
    return task


def _as_task(task: QueueTask, found: Found, queue: Queue) -> QueueTask:
    latest = _latest.get()
    if latest is not None and latest[0]() is found.delivery:
        return latest[1]  # the function is called once more within the same delivery
    asked = structs.replace(task, id=str(found.id), function=found.function, asked=True, delivery=Delivery())
    _latest.set((_reference(found.delivery), asked))
    if queue.name not in _warned:
        _warned.add(queue.name)
        logger.warning(
            "%s runs tracked functions without its integration, so that nobody learns what only the queue knows: "
            "that a task waits, will be tried again, was revoked, or is lost. The line that is missing: %s",
            queue.name,
            queue.line,
        )
    return asked


def _reference(obj: object) -> Callable[[], object]:
    try:
        return ref(obj)
    except TypeError:  # of a dictionary there is none
        return lambda: obj
