"""Never run: read by mypy and pyright. Right use passes, and what is ignored here is an error to both."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from datetime import datetime
from typing import Any, assert_type

from job_progress import Job, JobFailed, JobState, Progress, ProgressJob, configure, current_progress, tracked
from job_progress.testing import run_job
from job_progress.web import allow_all, create_app
from job_progress.web.flask import create_blueprint


@tracked
def plain(path: str, *, rows: int = 0) -> int:
    return rows


@tracked(id="path", cancellable=0.5, store_result=True)
def optioned(path: str) -> str:
    return path


@tracked(id=lambda path: path, stuck_after=60)
async def asynchronous(path: str) -> bytes:
    return path.encode()


class Import(ProgressJob, cancellable=0.75, name="import", ttl=60, stuck_after=0.5):
    def get_progress_id(self) -> str:
        return "7"

    def handle_with_progress(self) -> None:
        assert_type(self.progress(), Progress)


class Shop:
    @tracked(id="product")
    def refresh(self, product: int) -> str:
        return str(product)

    @staticmethod
    @tracked
    def audit(day: str) -> bytes:
        return day.encode()


assert_type(Shop().refresh(7), str)
assert_type(Shop.refresh(Shop(), 7), str)
assert_type(Shop.refresh.job, Job)
assert_type(Shop.audit("today"), bytes)
assert_type(plain("a", rows=1), int)
assert_type(optioned("a"), str)
assert_type(plain.job, Job)
assert_type(plain.job.get("7"), JobState | None)
assert_type(Import.job, Job)
assert_type(Import.get_progress("7"), JobState | None)
assert_type(current_progress().update(0.5, message="x"), Progress)
assert_type(list(current_progress().track(["a"])), list[str])
assert_type(current_progress().state.result_omitted, str | None)
assert_type(current_progress().state.last_progress_at, datetime | None)
assert_type(current_progress().state.is_stuck, bool)
assert_type(run_job(plain, "a").returned, int | None)
assert_type(current_progress().update(0.5).flush().state.progress, float | None)
assert_type(current_progress().fail(JobFailed("no hoses")).fail("no hoses"), Progress)
create_app(allow_all, show_error=lambda state: state.error)
create_blueprint(allow_all, show_error=lambda state: f"sorry: {state.job}")


async def twins() -> None:
    assert_type(await asynchronous("a"), bytes)
    assert_type(await plain.job.aget("7"), JobState | None)
    async for state in plain.job.awatch("7"):
        assert_type(state, JobState)
    coroutine: Coroutine[Any, Any, bytes] = asynchronous("a")
    awaitable: Awaitable[bytes] = coroutine
    assert_type(await awaitable, bytes)


# Misuse.
plain(7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Shop().refresh("7")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
plain("a", row=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
tracked(names="x")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
tracked(stuck_after="60")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
tracked(id=7)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
current_progress().update("0.5")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
current_progress().update(0.5, message=7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
plain.job.lock("7", owner=7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
plain.job.get(1.5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
configure(stor="memory://")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
configure(show_error=str)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
create_app(allow_all, show_error="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
configure(ttl="60")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Wrong(ProgressJob, cancelable=True):  # type: ignore[call-arg] # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    ...
