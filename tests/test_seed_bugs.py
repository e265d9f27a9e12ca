"""The traps of the seed's own code, by their number in the field report, each as the fact that it is none here.

Those that do not apply: 13 (a state held does not see a cancel: snapshots are snapshots, and the
handle is asked instead), 15 in part (no state carries its configuration as code).
"""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from job_progress import Job, JobAlreadyProcessing, JobCancelled, JobNotCancellable, Tracker, tracked
from job_progress.run import Run
from job_progress.task import QueueTask, queue_task
from job_progress.testing import frozen_clock
from tests.observed_store import ObservedStore
from tests.stores.changes import forget

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


def test_1_one_percent_of_the_steps_is_one_percent_of_the_bar() -> None:
    """Steps and fractions are on one scale; an empty list is done; base and max are limited; nothing is negative."""
    with Job("steps").start("7") as progress:
        assert progress.update_with_steps(1, 100).state.progress == 0.01
        assert progress.update_with_steps(2, 2, base=0.5, max=0.8).state.progress == 1.0
        assert progress.update_with_steps(0, 0, base=0.5).state.progress == 1.0
        assert progress.update_with_steps(9, 3).state.total == 3
        with pytest.raises(ValueError, match="negative"):
            progress.update_with_steps(-1, 3, base=0.5)


def test_2_a_split_is_even_and_its_last_part_does_not_complete_the_job() -> None:
    """Bases advance, weights need no fixed sum, and an empty split is an error, not a division by zero."""
    with Job("split").start("7") as progress:
        parts = progress.split(4)
        assert [part.update(0.5).state.progress for part in parts] == [0.125, 0.375, 0.625, 0.875]
        assert parts[-1].complete().state.is_processing
        for wrong in (0, [], [0.0]):
            with pytest.raises(ValueError, match=r"split\(\)"):
                progress.split(wrong)


def test_3_a_lock_is_atomic() -> None:
    """Of threads that ask at once, one gets it."""
    job, barrier = Job("lock"), threading.Barrier(16)
    wins: list[object] = []

    def ask() -> None:
        barrier.wait()
        wins.append(job.lock("7"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([win for win in wins if win is not None]) == 1


def test_4_a_duplicate_delivery_does_not_fail_the_live_run() -> None:
    """It raises in the duplicate, changes nothing, and frees no lock."""
    job = Job("duplicate")
    with job.start("7") as progress:
        before = job.get("7")
        with pytest.raises(JobAlreadyProcessing), job.start("7"):
            raise AssertionError("not reached")
        assert job.get("7") == before
        assert job.lock("7") is None
        progress.update(0.5).flush()


def test_5_a_killed_worker_does_not_block_its_id() -> None:
    """Without a sign of life the redelivered job may run."""
    job = Job("killed")
    with frozen_clock() as clock:
        assert isinstance(job.begin("7"), Run)  # and is never heard of again
        clock.tick(31)
        with job.start("7") as progress:
            assert progress.state.attempt == 2
    assert job.wait("7").is_completed


def test_6_a_retry_is_locked_cancellable_and_clean() -> None:
    """Between attempts it is pending; then neither error nor start time of the last one is left."""
    job = Job("retry", cancellable=True)
    with frozen_clock() as clock:
        task = QueueTask(will_retry=lambda _: True)
        with queue_task(task), pytest.raises(OSError, match="gone"), job.start("7"):
            raise OSError("gone")
        between = job.get("7")
        assert between is not None
        assert (between.is_pending, between.is_locked, between.can_be_cancelled) == (True, True, True)
        clock.tick(10)
        with job.start("7"):
            again = job.get("7")
            assert again is not None
            assert (again.error, again.started_at, again.attempt) == (None, clock(), 2)
        assert job.wait("7").error is None


def test_7_a_rerun_of_a_completed_id_is_a_run() -> None:
    """It is processing from the start, and ends with its own result or none."""
    job = Job("rerun")
    with job.start("7") as progress:
        progress.complete(result="old")
    with job.start("7") as progress:
        assert (progress.state.status, progress.state.progress, progress.state.result) == ("processing", 0.0, None)
    assert (job.wait("7").status, job.wait("7").result) == ("completed", None)


def test_8_a_cancelled_id_runs_again_without_a_lock() -> None:
    """A run that was cancelled owes nothing: the next one is not swallowed."""
    job = Job("rerun", cancellable=True)
    with job.start("7") as progress:
        progress.cancel_and_exit()
    with job.start("7"):
        assert job.list()[0].is_processing
    assert job.wait("7").is_completed


def test_9_a_cancel_does_not_free_the_lock_before_the_run_has_stopped() -> None:
    """And a run that was superseded cannot flip a newer state."""
    store = ObservedStore()
    job = Job("fenced", cancellable=True, tracker=Tracker(store))
    with job.start("7") as old:
        job.cancel("7")
        assert job.lock("7") is None
        forget(store, job.name + ":7")  # as if it had been declared dead
        locked = job.lock("7")
        old.update(0.9).flush()
        assert job.get("7") == locked
    assert job.get("7") == locked
    job.tracker.close()


def test_10_progress_does_not_erase_a_cancel_nor_a_cancel_a_completion() -> None:
    """Whoever decided on an old state decides again on the new one."""
    job = Job("lost update", cancellable=True)
    with job.start("7") as progress:
        for number in range(10):
            progress.update(number / 10)
            job.cancel("7")
            progress.flush()
            assert job.list()[0].is_cancelling
    assert job.wait("7").is_completed
    with pytest.raises(JobNotCancellable):
        job.cancel("7")
    assert job.wait("7").is_completed


def test_11_what_ended_by_hand_is_not_completed_by_the_return() -> None:
    """A manual fail or cancel stands when the function returns."""
    job = Job("by hand", cancellable=True)
    with job.start("failed") as progress:
        progress.fail("no")
    with job.start("cancelled") as progress:
        progress.cancel()
    assert (job.wait("failed").status, job.wait("cancelled").status) == ("failed", "cancelled")


def test_12_a_cancel_from_outside_ends_the_run_as_cancelled() -> None:
    """Through the path that raised in the seed."""

    @tracked(id="id", cancellable=True)
    def work(id: str) -> None:
        work.job.cancel(id)
        work.job.tracker.get(work.job.name, id)
        from job_progress import current_progress

        current_progress().flush().exit_if_cancelled()
        raise AssertionError("not reached")

    work("7")
    assert work.job.wait("7").is_cancelled


def test_14_time_to_live_is_for_what_has_ended() -> None:
    """A slow step loses neither state nor lock nor cancel, and cancelling what has expired resurrects nothing."""
    job = Job("slow", cancellable=True)
    with frozen_clock() as clock:
        with job.start("7") as progress:
            clock.tick(3600)
            progress.flush()
            job.cancel("7")
            clock.tick(20)
            assert progress.flush().cancel_requested
        clock.tick(901)
        with pytest.raises(JobNotCancellable, match="no such execution"):
            job.cancel("7")
        assert job.get("7") is None


def test_15_settings_are_the_jobs_of_the_day() -> None:
    """A new run has the threshold and TTL of the code that runs it, not of the state before."""
    with Job("settings", cancellable=0.5, ttl=10).start("7"):
        pass
    with Job("settings", cancellable=True, ttl=20).start("7") as progress:
        settings = progress.state.settings
        assert (settings.cancellable, settings.ttl) == (True, 20)


def test_16_averages_are_fed() -> None:
    """By every run that completes."""
    job = Job("average")
    with frozen_clock() as clock:
        for number in range(3):
            with job.start(number):
                clock.tick(number + 1)
        assert job.average_duration() == timedelta(seconds=2)


def test_17_durations_are_exact_results_can_be_cleared_and_a_broken_store_breaks_no_job() -> None:
    """Zero before the start; a late update changes nothing; the message says what is the case."""
    store = ObservedStore()
    job = Job("exact", tracker=Tracker(store))
    with frozen_clock() as clock:
        locked = job.lock("7")
        clock.tick(5)
        assert locked is not None
        assert locked.duration == timedelta()
        with job.start("7") as progress:
            clock.tick(3)
            progress.update(result=[1]).complete(result=None)
            clock.tick(60)
            progress.update(0.5).flush()
        assert (job.wait("7").duration, job.wait("7").result) == (timedelta(seconds=3), None)
        with pytest.raises(JobNotCancellable, match="it is completed"):
            job.cancel("7")
        store.away = True
        with job.start("8") as progress:
            progress.update(0.5)
            store.away = False
    assert job.wait("8", timeout=10).is_completed
    job.tracker.close()


def test_18_the_threshold_holds_and_reading_does_not_lock() -> None:
    """Falling progress does not re-open it; at 100 percent a cancellable job still is; a read creates nothing."""
    job, always = Job("threshold", cancellable=0.75), Job("always", cancellable=True)
    with job.start("7") as progress:
        progress.update(0.8).flush().update(0.1).flush()
        with pytest.raises(JobNotCancellable):
            job.cancel("7")
    with always.start("7") as progress:
        progress.update(1.0).flush()
        assert always.cancel("7").is_cancelling
        with pytest.raises(JobCancelled):
            progress.flush().exit_if_cancelled()
    job.get("8", create_if_missing=True)
    assert job.lock("8") is not None
