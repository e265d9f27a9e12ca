"""Never run: read by mypy and pyright. Right use passes, and what is ignored here is an error to both."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import assert_type

from job_progress import tracked
from job_progress.queues.futures import create_task, id_of, submit


@tracked(id="path")
def plain(path: str, *, rows: int = 0) -> int:
    return rows


@tracked
async def asynchronous(path: str) -> bytes:
    return path.encode()


assert_type(submit(ThreadPoolExecutor(), plain, "a", rows=1), Future[int])
assert_type(submit(ProcessPoolExecutor(), plain, path="a").result(), int)
assert_type(id_of(submit(ThreadPoolExecutor(), plain, "a")), str)


async def tasks() -> None:
    assert_type(create_task(asynchronous, "a"), asyncio.Task[bytes])
    assert_type(await create_task(asynchronous, path="a"), bytes)
    assert_type(id_of(create_task(asynchronous, "a")), str)


# Misuse.
submit(plain, "a")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType, reportCallIssue]
submit(ThreadPoolExecutor(), plain, 7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
submit(ThreadPoolExecutor(), plain, "a", row=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
create_task(asynchronous, 7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
create_task(plain, "a")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
