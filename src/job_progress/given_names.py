"""What a user has called a task to its queue; names that the queue has made up itself do not count.

Nothing here imports a queue: an object of one is known by the package that its class, or a base of that, comes from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any, TypeVar

from msgspec import Struct

T = TypeVar("T")

_WRAPPED = ("__wrapped__", "func", "fn", "original_func", "run", "coroutine", "perform")
"""Where wrappers, and the task objects of queues, keep the function that they are about."""
_LAYERS = 20


class NamedFunction(Struct, frozen=True):
    """A function under the name that a queue knows it by. For integrations of queues whose own object tells no name.

    Attributes:
        name: The queue's name of it.
        func: The tracked function, or what wraps it.
    """

    name: str
    func: Callable[..., Any]


def layers(obj: Any) -> Iterator[Any]:
    """*obj*, and what it wraps, from the outside in."""
    wrapping: list[Any] = [obj]
    for layer in wrapping:
        yield layer
        inner = (getattr(layer, name, None) for name in _WRAPPED if len(wrapping) < _LAYERS)
        wrapping += [one for one in inner if callable(one)]


def bound_to(definition: Any) -> Any:
    """What the module has under the name of *definition*: that, or what decorators have made of it; or `None`."""
    found: Any = sys.modules.get(definition.__module__)
    for part in definition.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def given_name(objects: Iterable[Any]) -> str | None:
    """The first name that a user has given to one of *objects*, of any queue. Raises nothing."""
    return next((str(name) for name in _told(objects, _GIVEN) if name), None)


def is_named_twice(objects: Iterable[Any]) -> bool:
    """Does a queue have the function of one of its *objects* under several names? Raises nothing."""
    objects = list(objects)
    function = objects and _innermost(objects[0])
    return any(sum(_innermost(task) is function for task in tasks) > 1 for tasks in _told(objects, _REGISTERED))


def _told(objects: Iterable[Any], table: dict[str, Callable[[Any], T]]) -> Iterator[T]:
    """What *table* has to say of *objects*, each by the packages that it comes from."""
    for one in objects:
        if isinstance(one, (FunctionType, MethodType)):
            continue
        packages = dict.fromkeys(base.__module__.partition(".")[0] for base in type(one).__mro__)
        for package in packages:
            if package in table:
                with suppress(Exception):  # another kind of object of that package, which does not have it
                    yield table[package](one)


def _of_celery(task: Any) -> str | None:
    kind = task.__class__  # the task's own, even if this is one of Celery's proxies
    return None if task.name == task.app.gen_task_name(kind.__name__, kind.__module__) else task.name


def _of_dramatiq(actor: Any) -> str | None:
    return None if actor.actor_name == actor.fn.__name__ else actor.actor_name


def _of_huey(wrapper: Any) -> str | None:
    name: str | None = wrapper.name
    return name


def _of_taskiq(task: Any) -> str | None:
    module, _, name = task.task_name.rpartition(":")
    made_up = name.startswith("lambda_") or name == _innermost(task).__name__
    return None if made_up and module in (task.__module__, _module_of_script()) else task.task_name


def _module_of_script() -> str:
    """What Taskiq makes of `__main__`."""
    return os.path.normpath(sys.argv[0]).removesuffix(".py").replace(os.path.sep, ".")


def _of_procrastinate(task: Any) -> str | None:
    return None if task.name.rpartition(":")[2] == task.full_path else task.name  # before the colon: a blueprint's


def _of_arq(function: Any) -> str | None:
    name, coroutine = function.name, function.coroutine
    if not hasattr(function, "max_tries") or hasattr(function, "next_run"):
        return None  # a schedule
    module, _, attribute = name.rpartition(".")
    imported = getattr(sys.modules.get(module), attribute, None)  # by arq, from its name
    return None if name == coroutine.__qualname__ or imported is coroutine else name


def _of_ours(named: NamedFunction) -> str | None:
    return None if named.name in (named.func.__name__, named.func.__qualname__) else named.name


def _innermost(obj: Any) -> Any:
    *_, innermost = layers(obj)
    return innermost


_GIVEN: dict[str, Callable[[Any], str | None]] = {
    "celery": _of_celery,
    "dramatiq": _of_dramatiq,
    "huey": _of_huey,
    "taskiq": _of_taskiq,
    "procrastinate": _of_procrastinate,
    "arq": _of_arq,
    "job_progress": _of_ours,
}
"""For each queue's package: the name that one of its objects has from the user. RQ, and Django's tasks, have none."""

_REGISTERED: dict[str, Callable[[Any], list[Any]]] = {
    "celery": lambda task: list(task.app._tasks.values()),
    "dramatiq": lambda actor: list(actor.broker.actors.values()),
    "taskiq": lambda task: list(task.broker.get_all_tasks().values()),
    "procrastinate": lambda task: list(set(task.blueprint.tasks.values())),
}
"""For each queue's package that tells: all the objects beside one of its objects."""
