"""How the async twins of blocking calls are made: the same call, in a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`call(*args, **kwargs)`, in a thread with a copy of this context."""
    from asyncio import to_thread  # of the slowest to import, and most jobs are not async

    return await to_thread(call, *args, **kwargs)
