"""What follows a Celery task, as its message says: the links of its chain, its callbacks, the body of its chord.

Of `link_error` nothing is told: what runs only if something fails does not wait to be run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn


class Follower(NamedTuple):
    """A task that Celery will send once others have succeeded, under an id that is known already."""

    name: str
    id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class _Unknown:
    """What the task before will return. Nobody can make a text of it, such as an id."""

    def __str__(self) -> NoReturn:
        raise LookupError("this is known only once the task before has returned")

    __repr__ = __format__ = __str__  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]


UNKNOWN = _Unknown()


def followers(message: Mapping[str, Any], index: int | None = None) -> Iterator[Follower]:
    """All that the *message* of a task, less its arguments, or its request, says of what comes after it.

    With the *index* that the task has in its group, the body of a chord is named by the first of its parts only.
    """
    for signature in (*reversed(message.get("chain") or ()), *_listed(message.get("callbacks"))):
        yield from tasks_in(signature, index is not None)
    if not index:
        yield from tasks_in(message.get("chord"), index is not None)


def tasks_in(signature: Any, once: bool = False) -> Iterator[Follower]:
    """The tasks that *signature* is made of, and what follows them; those without an id cannot be told of."""
    if isinstance(signature, (list, tuple)):
        for part in signature:
            yield from tasks_in(part, once)
    elif isinstance(signature, dict):
        options, kwargs = signature.get("options") or {}, signature.get("kwargs") or {}
        if signature.get("subtask_type") in ("chain", "group", "chord"):
            yield from tasks_in([kwargs.get("tasks"), kwargs.get("header"), kwargs.get("body")], once)
        elif options.get("task_id"):
            args = tuple(signature.get("args") or ())
            yield Follower(
                signature["task"],
                options["task_id"],
                args if signature.get("immutable") else (UNKNOWN, *args),
                kwargs,
            )
        yield from tasks_in(options.get("link"), once)
        if not (once and options.get("group_index")):
            yield from tasks_in(options.get("chord"), once)


def _listed(signatures: Any) -> Sequence[Any]:
    return signatures if isinstance(signatures, (list, tuple)) else [signatures]
