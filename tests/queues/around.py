"""Decorators above `@tracked` that fail, for tests whose jobs live in their own process and store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps


def failing_before(function: Callable[[], object]) -> Callable[[], object]:
    """Fail before the function is called."""

    @wraps(function)
    def run() -> object:
        raise LookupError("before")

    return run


def failing_after(function: Callable[[], object]) -> Callable[[], object]:
    """Fail once the function has returned."""

    @wraps(function)
    def run() -> object:
        function()
        raise LookupError("after")

    return run


def afailing_before(function: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """`failing_before`, for a coroutine."""

    @wraps(function)
    async def run() -> object:
        raise LookupError("before")

    return run


def afailing_after(function: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """`failing_after`, for a coroutine."""

    @wraps(function)
    async def run() -> object:
        await function()
        raise LookupError("after")

    return run
