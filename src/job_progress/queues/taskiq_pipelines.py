"""What follows a step of a pipeline of the package `taskiq-pipelines`: known from the labels of its message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from taskiq import AsyncBroker, TaskiqMessage
from taskiq.decor import AsyncTaskiqDecoratedTask

from job_progress.job import Job
from job_progress.names import check_id, check_name
from job_progress.task import QueueTask, queue_task

STEP, STEPS = "_pipe_current_step", "_pipe_data"
"""The labels in which a message has its place in a pipeline, and all steps of that."""

Call = tuple[object, str, list[Any], dict[str, Any]]
"""A task, its id, and the arguments of its function, as `lifecycle` takes them."""
AsCalled = Callable[..., tuple[list[Any], dict[str, Any]]]


class _NotYet:
    """In place of the argument that the step before will give: an id cannot be made of it."""

    def __getattribute__(self, name: str) -> Any:
        raise AttributeError(f"{name}: it is not known yet")

    def __str__(self) -> str:
        raise LookupError("it is not known yet")

    __repr__ = __str__


def step_of(message: TaskiqMessage) -> int | None:
    """Which step of a pipeline a message is."""
    return int(message.labels[STEP]) if STEP in message.labels and STEPS in message.labels else None


def following(broker: AsyncBroker, message: TaskiqMessage, as_called: AsCalled) -> Iterator[Call]:
    """The tracked tasks that are to run once *message* has: those of which the id can be known before."""
    step = step_of(message)
    for later in () if step is None else _steps(broker, message)[step + 1 :]:
        data = later["step_data"]
        task = broker.find_task(data["task_name"]) if later["step_type"] == "sequential" else None
        job = Job.behind(task)
        if task is None or job is None:
            continue
        with suppress(Exception):  # its id is made of what is not known yet
            call = (task, later["task_id"], *_call(task, data, as_called))
            with queue_task(QueueTask(id=later["task_id"])):
                id, owner = job.called(*call[2], **call[3])
            check_id(id)
            check_name("nobody" if owner is None else owner, "owner")
            yield call


def _call(
    task: AsyncTaskiqDecoratedTask[Any, Any], data: dict[str, Any], as_called: AsCalled
) -> tuple[list[Any], dict[str, Any]]:
    given = TaskiqMessage(task_id="", task_name="", labels={}, args=[], kwargs=data["additional_kwargs"])
    name = data["param_name"]
    if name is None:
        return as_called(task.original_func, given, _NotYet())
    return as_called(task.original_func, given, **({name: _NotYet()} if isinstance(name, str) else {}))


async def stop(broker: AsyncBroker, message: TaskiqMessage, error: Exception) -> None:
    """Have the pipeline end with *error* here, though its step has not failed: whoever waits for its result gets it."""
    last = _steps(broker, message)[-1]["task_id"]
    del message.labels[STEP]
    for middleware in broker.middlewares:
        fail_pipeline = getattr(middleware, "fail_pipeline", None)
        if fail_pipeline is not None and last != message.task_id:
            await fail_pipeline(last, error)


def _steps(broker: AsyncBroker, message: TaskiqMessage) -> list[dict[str, Any]]:
    parsed = message.model_copy(update={"labels": {**message.labels}})
    if isinstance(parsed.labels[STEPS], str):  # it has not been sent yet, or is of a step that another one has sent
        parsed.parse_labels()
    steps: list[dict[str, Any]] = broker.serializer.loadb(parsed.labels[STEPS])
    return steps
