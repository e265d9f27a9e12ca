"""What a call of a job's function says of the execution that it is: its id, and whom it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from job_progress.task import current_task


def task_id(*args: Any, **kwargs: Any) -> Any:
    """The id of a call that says none: the running queue's task id, or else a fresh UUID."""
    return current_task().id or uuid4()


def nobody(*args: Any, **kwargs: Any) -> None:
    """The owner of a call that says none."""
    return


def chooser(function: Callable[..., Any], option: str, wanted: str | Callable[..., object]) -> Callable[..., Any]:
    """What makes the value of *option* from the arguments of a call of *function*.

    Args:
        function: Whose call.
        option: `id` or `owner`, for messages.
        wanted: The name of the argument that is the value; or a function of the call's arguments.

    Raises:
        TypeError: *wanted* is neither.
    """
    if not isinstance(wanted, str):
        if not callable(wanted):
            raise TypeError(f"{option}= takes the name of an argument or a function of the arguments, not {wanted!r}")
        return wanted
    from inspect import Parameter, signature

    parameters = signature(function).parameters
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    if wanted not in parameters or parameters[wanted].kind in variadic:
        raise TypeError(f"{option}={wanted!r} names no argument of {function.__qualname__}({', '.join(parameters)})")

    def argument(*args: Any, **kwargs: Any) -> Any:
        call = signature(function).bind(*args, **kwargs)
        call.apply_defaults()
        return call.arguments[wanted]

    return argument
