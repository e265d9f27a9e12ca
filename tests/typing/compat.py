"""Never run: read by mypy and pyright. Right use passes, and what is ignored here is an error to both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, assert_type

from job_progress import current_progress
from job_progress.compat.celery_progress import ProgressRecorder, create_app
from job_progress.compat.rich import track
from job_progress.compat.tqdm import capture_tqdm, tqdm, trange
from job_progress.web import allow_all

assert_type(list(tqdm(["a"])), list[str])
assert_type(list(tqdm(["a"], "reading", 7, leave=False)), list[str])
assert_type(list(trange(3)), list[int])
assert_type(list(track({"a": 1}, "reading", total=7, transient=True)), list[str])

with tqdm(total=7, unit="B") as bar:
    bar.update(0.5)
    bar.set_postfix(loss=0.5)
tqdm.write("a word")

with capture_tqdm(), capture_tqdm(current_progress().part(0.5)):
    pass


async def letters() -> AsyncIterator[bytes]:
    yield b"a"


async def asynchronous() -> None:
    async for letter in tqdm(letters(), total=1):
        assert_type(letter, bytes)


def task(self: Any) -> None:
    recorder = ProgressRecorder(self)
    assert_type(recorder.set_progress(1, Decimal(4), description="hoses"), tuple[str, dict[str, Any]])
    assert_type(recorder.increment_progress(by=2.5), None)


create_app(allow_all, jobs=["shop.import", task])

# Misuse.
tqdm(7)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
tqdm(total=7).update("1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
capture_tqdm("download")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
track(7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
track("ab", total="2")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
ProgressRecorder()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
ProgressRecorder(task).set_progress(1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
ProgressRecorder(task).set_progress("1", 4)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
create_app()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
create_app(allow_all, jobs=7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
