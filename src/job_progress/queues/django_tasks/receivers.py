"""What the signals mean to the states. None of these raises, as that would reach who enqueues, or end the worker."""

from __future__ import annotations

from typing import Any

from job_progress.queues.lifecycle import enqueued, hook
from job_progress.task import NO_TASK, QueueTask, enter_task


@hook
def task_enqueued(task_result: Any, **kwargs: Any) -> None:
    """The task is pending, unless a worker was faster. At most two round trips."""
    task = task_result.task
    context = [None] if task.takes_context else []
    enqueued(task, task_result.id, [*context, *task_result.args], task_result.kwargs, late=True)


@hook
def task_started(task_result: Any, **kwargs: Any) -> None:
    """The tracked function that is called next here is this task."""
    enter_task(QueueTask(id=task_result.id))


@hook
def task_finished(task_result: Any, **kwargs: Any) -> None:
    """It was that task."""
    enter_task(NO_TASK)
