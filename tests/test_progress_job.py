"""Jobs as classes, in the seed's own shape."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from job_progress import JobNotCancellable, ProgressJob, Tracker

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


@dataclass
class Import(ProgressJob, name="tests.import", cancellable=0.75, store_result=True):
    """Imports so many rows, and does what it is told on the way."""

    product: int
    fail: bool = False
    cancel_at: int | None = None

    def get_progress_id(self) -> int:
        return self.product

    def handle_with_progress(self) -> dict[str, int]:
        for row in self.progress().track(range(4)):
            if row == self.cancel_at:
                self.progress().flush()
                self.cancel(self.product)
                self.progress().flush()
            self.progress().exit_if_cancelled()
            if self.fail:
                raise ValueError("bad row")
        return {"rows": 4}

    def on_job_error(self, error: Exception) -> None:
        self.seen = error


def test_handle_runs_the_job() -> None:
    """Completed, with its result; it returns what the work returns."""
    assert Import(7).handle() == {"rows": 4}
    state = Import.get_progress(7)
    assert state is not None
    assert (state.status, state.progress, state.completed, state.result) == ("completed", 1.0, 4, {"rows": 4})
    assert Import.get_progress(None) is None


def test_an_error_goes_to_the_hook_and_on() -> None:
    """The state is failed by then or soon after, and the hook's own errors hide nothing."""
    job = Import(7, fail=True)
    with pytest.raises(ValueError, match="bad row") as raised:
        job.handle()
    assert job.seen is raised.value
    assert Import.job.wait(7).error == "ValueError: bad row"


def test_a_hook_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What the job raised is what counts."""

    class Clumsy(Import, name="tests.clumsy"):
        def on_job_error(self, error: Exception) -> None:
            raise RuntimeError("hook")

    with pytest.raises(ValueError, match="bad row"):
        Clumsy(7, fail=True).handle()
    assert "Clumsy.on_job_error raised" in caplog.text


def test_locks_cancels_and_checkpoints_work_through_the_class() -> None:
    """As they do through the job."""
    assert Import.lock(7, owner="ada") is not None
    assert Import.lock(7) is None
    assert Import.cancel(7).is_cancelled
    assert Import(7).handle() is None
    assert Import.mark_as_pending(7).is_pending
    assert Import(7, cancel_at=1).handle() is None
    assert Import.job.wait(7).is_cancelled
    blank = Import.get_progress(8, create_if_missing=True)
    assert blank is not None
    assert blank.version == 0


def test_class_arguments_are_the_decorators_options() -> None:
    """Past its threshold it cannot be cancelled."""
    with pytest.raises(JobNotCancellable, match="point of no return"):
        Import(7, cancel_at=3).handle()


def test_a_class_that_forgets_a_method_cannot_be_made() -> None:
    """The seed's mistake is an error before anything runs."""

    class Forgetful(ProgressJob, name="tests.forgetful"):
        def get_progress_id(self) -> str:
            return "7"

    with pytest.raises(TypeError, match="handle_with_progress"):
        Forgetful()  # type: ignore[abstract] # pyright: ignore[reportAbstractUsage]


def test_two_classes_cannot_share_a_name() -> None:
    """As two functions cannot."""

    class First(ProgressJob, name="tests.shared"): ...

    with pytest.raises(ValueError, match=r"Second cannot be the job 'tests.shared': that is .*First"):

        class Second(ProgressJob, name="tests.shared"): ...


def test_a_subclass_is_a_job_of_its_own() -> None:
    """With its own name, by default that of the class, and its own options."""

    class Special(Import): ...

    assert Special.job.name.endswith("test_a_subclass_is_a_job_of_its_own.<locals>.Special")
    Special(7).handle()
    assert Import.get_progress(7) is None


def test_progress_outside_of_a_run_is_detached() -> None:
    """So that the work can be called plainly."""
    assert Import(7).handle_with_progress() == {"rows": 4}
    assert Import.get_progress(7) is None


def test_progress_is_the_objects_own_in_any_thread() -> None:
    """A thread that the job starts reports into its run."""

    class Threaded(Import, name="tests.threaded"):
        def handle_with_progress(self) -> dict[str, int]:
            thread = threading.Thread(target=lambda: self.progress().update(0.5))
            thread.start()
            thread.join()
            return {"percent": self.progress().state.percent or 0}

    assert Threaded(7).handle() == {"percent": 50}


async def test_async_jobs(job_progress_tracker: Tracker) -> None:
    """`ahandle` runs an async work, and the other twins do as their namesakes."""

    class Async(ProgressJob, name="tests.async", store_result=True, cancellable=True):
        def get_progress_id(self) -> str:
            return "7"

        async def handle_with_progress(self) -> int:
            self.progress().update(0.5)
            if await self.acancel("7") and self.stop:
                await self.progress().aflush()
                self.progress().exit_if_cancelled()
            if self.stop is None:
                raise ValueError("boom")
            return 7

        stop: bool | None = False

    job = Async()
    assert await job.ahandle() == 7
    job.stop = True
    assert await job.ahandle() is None
    job.stop = None
    with pytest.raises(ValueError, match="boom"):
        await job.ahandle()
    state = await Async.aget_progress("7")
    assert state is not None
    assert state.is_failed
    assert await Async.alock("7") is not None
    assert (await Async.amark_as_pending("7")).is_pending
    assert (await Async.acancel("7")).is_cancelled
    assert await job.ahandle() is None
