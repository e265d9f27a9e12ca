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


async def to_the_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`in_thread`, but the call has ended when this does, however often it is cancelled meanwhile; then it is, too."""
    from asyncio import CancelledError, ensure_future, wait

    ending = ensure_future(in_thread(call, *args, **kwargs))
    cancelled: CancelledError | None = None
    while not ending.done():
        try:
            await wait([ending])
        except CancelledError as error:  # time limits of anyio do so again and again
            cancelled = error
    if cancelled is not None:
        raise cancelled from ending.exception()
    return ending.result()
