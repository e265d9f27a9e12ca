"""What only SAQ has: aborts, sweeps, keys, time limits, workers that put their jobs back, functions in threads."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import pytest

from job_progress import Job, JobState
from job_progress.queues.saq import ENQUEUED, install
from tests.queues.conftest import BUSY, Brokers, Queue
from tests.queues.driver import Worker
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.queues.drivers.saq import SAQ

pytestmark = pytest.mark.environment("saq")

KINDS = ["{}", "{} in a thread"]
"""Of functions: the names that coroutines have in SAQ, and those of others."""


class Sent:
    """A job of SAQ's, with the state that goes with it."""

    def __init__(self, queue: Both, function: str, key: str) -> None:
        self._queue = queue
        self.job = queue.behind(function)
        self.key = key

    @property
    def state(self) -> JobState:
        state = self.job.get(self.key)
        assert state is not None
        return state

    def becomes(self, condition: Callable[[JobState], object]) -> JobState:
        with self._queue.explained():
            eventually(lambda: condition(self.state), BUSY)
        return self.state

    def ends(self) -> JobState:
        with self._queue.explained():
            return self.job.wait(self.key, BUSY)

    @property
    def outcome(self) -> str:
        return self._queue.outcome(self.key)

    @property
    def saved(self) -> Any:
        """What SAQ has of it."""
        return self._queue.driver.job(self.key)

    def abort(self, why: str = "nobody wants it") -> None:
        self._queue.driver.run(self.saved.abort(why))


class Both(Queue):
    """SAQ in the hands of a test, with functions of both kinds."""

    driver: SAQ

    def behind(self, function: str) -> Job:
        from tests.queues.drivers.saq_app import settings

        named: dict[str, object] = dict(
            each if isinstance(each, tuple) else (each.__qualname__, each) for each in settings["functions"]
        )
        return Job.of(named[function])

    def enqueue(self, function: str, kwargs: dict[str, Any] | None = None, **options: Any) -> Sent:
        return Sent(self, function, self.driver.enqueue(function, kwargs=kwargs or {}, **options))

    def enqueue_here(self, function: str, **options: Any) -> Sent:
        """One that works in the test's folder."""
        return self.enqueue(function, {"folder": str(self.folder)}, **options)


@pytest.fixture
def queue(brokers: Brokers, tmp_path: Path) -> Iterator[Both]:
    """SAQ, and no worker yet."""
    queue = Both(brokers.driver("SAQ"), brokers, "default", tmp_path)
    yield queue
    queue.close()


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_both_kinds_run_at_once(queue: Both, kind: str) -> None:
    """Coroutines in the worker's loop, others in its threads: each with its own progress."""
    queue.work()
    folders = [queue.folder / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    sent = [queue.enqueue(kind.format("wait"), {"folder": str(folder)}) for folder in folders]
    for folder in folders:
        eventually((folder / "begun").exists, BUSY)
    assert [one.becomes(lambda state: state.message).percent for one in sent] == [25] * 3
    for folder in folders:
        (folder / "go").touch()
    assert [str(one.ends().status) for one in sent] == ["completed"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_job_is_aborted(queue: Both, kind: str) -> None:
    """Though it has retries; no hook of the user's sees it complete."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here(kind.format("wait"), retries=3, meta={"notes": str(queue.folder)})
    queue.sees("begun")
    sent.job.cancel(sent.key)
    assert sent.ends().is_cancelled
    assert sent.outcome == "cancelled"
    assert sent.saved.error == "cancelled"
    notes = queue.folder / sent.key
    eventually(lambda: notes.read_text().split() == ["active", "aborted"], BUSY)
    worker.stop(BUSY)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_is_aborted_while_it_runs_is_cancelled(queue: Both, kind: str) -> None:
    """SAQ cancels a coroutine; a function in a thread stops at its checkpoint. SAQ keeps the reason."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here(kind.format("wait"), retries=3)
    queue.sees("begun")
    sent.abort()
    done = sent.ends()
    assert (done.status, done.error) == ("cancelled", None)
    assert sent.outcome == "cancelled"
    assert sent.saved.error == "nobody wants it"
    assert not queue.has("ended")
    worker.stop(BUSY)


def test_a_coroutine_without_checkpoints_is_aborted(queue: Both) -> None:
    """It could not be cancelled; the abort is SAQ's own, and the state says what became of it."""
    queue.work()
    sent = queue.enqueue_here("stubborn", retries=3)
    queue.sees("begun")
    sent.abort()
    assert sent.ends().is_cancelled
    assert sent.outcome == "cancelled"


def test_a_thread_that_looks_at_nothing_outlasts_an_abort(queue: Both) -> None:
    """Nobody can stop it, so it is processing, and then completed: that is what happened."""
    queue.work()
    sent = queue.enqueue_here("stubborn in a thread")
    queue.sees("begun")
    sent.abort()
    assert sent.state.is_processing
    queue.go()
    assert sent.ends().is_completed


def test_a_job_that_is_aborted_before_it_is_due_is_cancelled(queue: Both) -> None:
    """SAQ itself says no more of it than that it is being aborted."""
    queue.stop_working()
    sent = queue.enqueue_here("wait", scheduled=int(time()) + 3600)
    assert sent.state.is_pending
    sent.abort()
    assert sent.state.is_cancelled


def test_a_scheduled_job_that_was_cancelled_never_runs(queue: Both) -> None:
    """When it is due it is aborted."""
    queue.work()
    sent = queue.enqueue_here("wait", scheduled=int(time()) + 1)
    sent.job.cancel(sent.key)
    assert sent.outcome == "cancelled"
    assert sent.state.is_cancelled
    assert not queue.has("begun")


def test_an_abort_between_two_attempts_cancels(queue: Both) -> None:
    """It waits for its retry, and does not come any more."""
    queue.work()
    sent = queue.enqueue_here("flaky", retries=3, retry_delay=3600.0)
    sent.becomes(lambda state: state.is_pending and state.error)
    eventually(lambda: sent.saved.status.value == "queued", BUSY)
    sent.abort()
    assert sent.state.is_cancelled


def test_an_abort_after_the_end_changes_nothing(queue: Both) -> None:
    """It has completed, whatever SAQ makes of that."""
    queue.work()
    sent = queue.enqueue("add", {"a": 1, "b": 2})
    sent.ends()
    sent.abort()
    assert sent.state.is_completed


@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_waits_and_begins_anew(queue: Both, kind: str) -> None:
    """With the delay that it has; the second attempt is the last word."""
    queue.work()
    sent = queue.enqueue_here(kind.format("flaky"), retries=2, retry_delay=0.2)
    queue.sees("begun")
    queue.go()
    done = sent.ends()
    assert (done.status, done.attempt) == ("completed", 2)


def test_a_timeout_has_failed(queue: Both) -> None:
    """And says for how long it took; with retries left, it is pending."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here("stubborn", timeout=1)
    done = sent.ends()
    assert (done.status, done.error) == ("failed", "interrupted by TimeoutError: it took more than 1 s")
    assert sent.outcome == "failed"
    again = queue.enqueue_here("stubborn", timeout=1, retries=2, retry_delay=3600.0)
    waiting = again.becomes(lambda state: state.error)
    assert (waiting.status, waiting.error) == ("pending", done.error)
    worker.stop(BUSY)


def test_a_worker_that_is_stopped_puts_its_jobs_back(queue: Both) -> None:
    """They are pending, though they have no retries, and run again."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here("wait")
    queue.sees("begun")
    worker.stop(BUSY)
    assert (sent.state.status, sent.state.attempt) == ("pending", 1)
    assert sent.saved.status.value == "queued"
    queue.go()
    queue.work()
    done = sent.ends()
    assert (done.status, done.attempt) == ("completed", 2)


def dead(queue: Both, **options: Any) -> Sent:
    """A job whose worker was killed, and that has run for as long as SAQ lets it."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here("wait", timeout=1, **options)
    queue.sees("begun")
    worker.kill()
    (queue.folder / "begun").unlink()
    eventually(lambda: sent.saved.stuck, BUSY)
    return sent


def test_a_sweep_gives_up_what_has_no_retries(queue: Both) -> None:
    """Its worker is dead, and nobody else will run it: it has failed, and is no cancel."""
    sent = dead(queue)
    assert queue.driver.sweep()
    done = sent.state
    assert (done.status, done.error) == ("failed", "swept")
    assert sent.outcome == "cancelled"


def test_a_sweep_puts_back_what_has_retries(queue: Both) -> None:
    """It is pending at once, stalled or not yet, and runs again."""
    sent = dead(queue, retries=2)
    assert queue.driver.sweep()
    assert (sent.state.status, sent.state.error) == ("pending", "swept")
    queue.go()
    queue.work()
    done = sent.ends()
    assert (done.status, done.attempt) == ("completed", 2)


def test_a_sweep_of_a_job_that_lives_is_no_cancel(queue: Both) -> None:
    """It forgot SAQ's heartbeat, so SAQ cancels it, and runs it again."""
    queue.work()
    sent = queue.enqueue_here("wait", heartbeat=1, retries=2, retry_delay=3600.0)
    queue.sees("begun")
    eventually(lambda: sent.saved.stuck, BUSY)
    assert queue.driver.sweep(abort=30.0)
    waiting = sent.becomes(lambda state: not state.is_processing)
    assert (waiting.status, waiting.error) == ("pending", "interrupted by CancelledError: swept")


def test_an_abort_of_a_job_whose_worker_is_dead_cancels_it(queue: Both) -> None:
    """SAQ itself waits for that worker for ever."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here("wait")
    queue.sees("begun")
    worker.kill()
    sent.abort()
    assert sent.becomes(lambda state: state.is_cancelled)


def test_a_key_that_waits_is_not_enqueued_twice(queue: Both) -> None:
    """SAQ does not take it, so a cancel holds."""
    queue.stop_working()
    sent = queue.enqueue_here("wait", key=queue.folder.name)
    sent.job.cancel(sent.key)
    kwargs = {"folder": str(queue.folder)}
    assert queue.driver.run(queue.driver.queue.enqueue("wait", key=sent.key, kwargs=kwargs)) is None
    assert sent.state.is_cancelled
    queue.work()
    assert sent.outcome == "cancelled"
    assert not queue.has("begun")


def test_a_key_that_is_free_again_begins_a_new_life(queue: Both) -> None:
    """Pending at once, and its first attempt."""
    queue.work()
    first = queue.enqueue("add", {"a": 1, "b": 2}, key=queue.folder.name)
    ended = first.ends()
    assert first.outcome == "done"
    queue.stop_working()
    second = queue.enqueue("add", {"a": 3, "b": 4}, key=queue.folder.name)
    assert (second.state.status, second.state.result) == ("pending", None)
    queue.work()
    done = second.ends()
    assert (done.result, done.attempt) == (7, 1)
    assert done.version > ended.version


def test_the_workers_first_look_at_a_job_is_its_start(queue: Both, states: ValkeyServer) -> None:
    """As the job carries what is known of its state: one round trip each to enqueue, start and end."""
    queue.work()
    before = queue.enqueue("silent")
    before.ends()
    statistics = scripts(states)
    sent = queue.enqueue("silent")
    assert ENQUEUED in sent.saved.meta
    assert sent.outcome == "done"
    assert scripts(states) - statistics == 3
    assert sent.state.is_completed


def scripts(states: ValkeyServer) -> int:
    """How many changes the store was asked for until now."""
    statistics = states.ask("INFO", "commandstats")
    return sum(int(statistics[name]["calls"]) for name in statistics if "evalsha" in name or "fcall" in name)


def test_an_abort_is_about_its_own_job(queue: Both) -> None:
    """And not about another one that has the same id by its arguments, and was there first."""
    name = queue.folder.name
    first, second = (
        queue.enqueue("named", {"name": name, "by": by}, scheduled=int(time()) + 3600) for by in ("ada", "bob")
    )
    second.abort()
    state = first.job.get(name)
    assert state is not None
    assert (state.status, state.owner) == ("pending", "ada")
    first.abort()
    assert state.refresh().is_cancelled


def test_a_queue_may_have_several_settings(queue: Both) -> None:
    """Each with functions of its own, which are known from then on; what is known already stays so."""
    from tests.queues import saq_jobs

    queue.stop_working()
    driver, job = queue.driver, Job.of(saq_jobs.inner)
    unknown = driver.enqueue("inner")
    assert job.get(unknown) is None
    install({"queue": driver.queue, "functions": [saq_jobs.inner]})
    known = driver.enqueue("inner")
    state = job.get(known)
    assert state is not None
    assert state.is_pending
    assert queue.enqueue("add", {"a": 1, "b": 2}).state.is_pending
    driver.revoke(known)
    assert state.refresh().is_cancelled


def test_what_is_not_tracked_is_left_alone(queue: Both) -> None:
    """It runs, and has no state."""
    queue.work()
    tracker = queue.behind("add").tracker
    before = tracker.list(limit=1)
    id = queue.driver.enqueue("untracked", kwargs={"folder": str(queue.folder)})
    assert queue.outcome(id) == "done"
    assert queue.has("ended")
    assert "meta" not in queue.driver.job(id).to_dict()
    queue.stop_working()
    queue.driver.revoke(queue.driver.enqueue("untracked", kwargs={"folder": str(queue.folder)}))
    assert [state.version for state in tracker.list(limit=1)] == [state.version for state in before]


def test_a_tracked_function_that_another_calls_is_no_job_of_saqs(queue: Both) -> None:
    """It has an id of its own, so that the outer one's state is its own."""
    from tests.queues import saq_jobs

    queue.work()
    sent = queue.enqueue("outer")
    assert sent.ends().is_completed
    assert Job.of(saq_jobs.inner).get(sent.key) is None
    assert Job.of(saq_jobs.inner).list(limit=1)[0].is_completed


def test_a_coroutine_that_cancels_itself_is_swept(queue: Both) -> None:
    """SAQ lets go of it until its time is over, and then tries it again, if it has retries."""
    queue.work()
    sent = queue.enqueue("waits_for_another")
    done = sent.ends()
    assert (done.status, done.error) == ("failed", "interrupted by CancelledError")
    again = queue.enqueue("waits_for_another", retries=2, timeout=1)
    waiting = again.becomes(lambda state: state.error)
    assert (waiting.status, waiting.attempt) == ("pending", 1)
    eventually(lambda: again.saved.stuck, BUSY)
    with queue.explained():
        eventually(queue.driver.sweep, BUSY)
        assert again.ends().attempt == 2


def test_a_result_that_saq_cannot_store_has_failed(queue: Both) -> None:
    """As SAQ says, though the function has returned; and the worker goes on."""
    queue.work()
    sent = queue.enqueue("unstorable")
    failed = sent.becomes(lambda state: state.is_failed)
    assert (failed.error or "")[:10] == "TypeError:"
    assert sent.outcome == "failed"
    assert queue.enqueue("silent").ends().is_completed


def test_a_key_that_no_state_can_have_breaks_no_hook(queue: Both, caplog: pytest.LogCaptureFixture) -> None:
    """SAQ takes it, with a line in the log; the function then fails, and the worker goes on."""
    queue.work()
    with caplog.at_level(logging.ERROR, "job_progress"):
        id = queue.driver.enqueue("silent", key="two\nlines")
    assert "cannot be stored" in caplog.text
    assert queue.outcome(id) == "failed"
    assert queue.enqueue("silent").ends().is_completed


def test_a_job_that_cannot_be_read_breaks_no_hook(queue: Both, caplog: pytest.LogCaptureFixture) -> None:
    """What SAQ has under the key is none of its own; it takes the new job, and so does the state."""
    queue.work()
    driver, key = queue.driver, queue.folder.name
    driver.put(key, "no job")
    with caplog.at_level(logging.ERROR, "job_progress"):
        sent = queue.enqueue("add", {"a": 1, "b": 2}, key=key)
    assert "SAQ does not tell whether it has a job" in caplog.text
    assert sent.ends().result == 3


def test_hundreds_of_jobs_end_well(queue: Both) -> None:
    """None is lost, and none is left behind."""
    queue.work()

    async def enqueue_all() -> list[str]:
        enqueue = queue.driver.queue.enqueue
        jobs = await asyncio.gather(*(enqueue("add", a=number, b=1) for number in range(300)))
        return [job.key for job in jobs if job is not None]

    keys = queue.driver.run(enqueue_all())
    job = queue.behind("add")
    assert [job.wait(key, BUSY).result for key in keys] == [number + 1 for number in range(300)]


def test_cron_jobs_are_pending_and_stay_cancelled(queue: Both) -> None:
    """Though SAQ offers them to its queue once a second; and each time that one runs is a new life."""
    from tests.queues import saq_jobs

    command = [sys.executable, "-m", "saq", "tests.queues.drivers.saq_app.cron_settings"]
    yearly, ticking = Job.of(saq_jobs.yearly), Job.of(saq_jobs.ticking)
    with Worker(command, queue.folder / "worker-cron.log", {}):

        def ticks() -> int:
            state = ticking.get("cron:ticking")
            return state.version if state is not None and state.is_completed else 0

        with queue.explained():
            first = eventually(ticks, BUSY)
            pending = yearly.get("cron:yearly")
            assert pending is not None
            assert pending.is_pending
            assert yearly.cancel("cron:yearly").is_cancelled
            second = eventually(lambda: (ticks() > first) * ticks(), BUSY)
            eventually(lambda: ticks() > second, BUSY)
    state = yearly.get("cron:yearly")
    assert state is not None
    assert state.is_cancelled


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_around_a_function_of_either_kind_has_failed(queue: Both, kind: str) -> None:
    """Before it or after it."""
    queue.work()
    for name, runs in (("fails_before", 0), ("fails_after", 1)):
        sent = queue.enqueue_here(kind.format(name))
        failed = sent.becomes(lambda state: state.is_failed)
        assert "LookupError" in (failed.error or "")
        assert failed.attempt == runs
        assert sent.outcome == "failed"


def test_what_a_hook_of_the_users_refuses_has_failed(queue: Both) -> None:
    """Its `before_process` raises, and the function is never called; with retries left it is pending before."""
    queue.work()
    sent = queue.enqueue("silent", meta={"refused": "today"}, retries=2, retry_delay=0.5)
    waiting = sent.becomes(lambda state: state.error)
    assert (waiting.status, waiting.attempt, waiting.error) == ("pending", 0, "PermissionError: today")
    assert sent.ends().is_failed
    assert sent.outcome == "failed"


def runs(queue: Both) -> int:
    """How often the test's job has begun."""
    return len((queue.folder / "runs").read_text())


def test_a_function_in_a_thread_that_goes_on_after_its_time_has_failed(queue: Both) -> None:
    """As SAQ says; nobody can stop it, but for itself at a checkpoint."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here("wait in a thread", timeout=1)
    assert sent.outcome == "failed"
    failed = sent.becomes(lambda state: state.is_finished)
    assert (failed.status, failed.error) == ("failed", "TimeoutError: it took more than 1 s")
    worker.stop(BUSY)
    assert not queue.has("ended")


def test_a_retry_waits_for_the_function_that_goes_on_in_a_thread(queue: Both) -> None:
    """Longer than its own time, if need be, and is dropped once that has completed: the work is done once."""
    worker = queue.worker_of_its_own()
    sent = queue.enqueue_here("wait in a thread", timeout=1, retries=2)
    with queue.explained():
        eventually(lambda: worker.log().count("Error processing job") >= 3, BUSY)
    assert (sent.state.status, sent.state.attempt) == ("processing", 1)
    queue.go()
    assert sent.outcome == "done"
    done = sent.ends()
    assert (done.status, done.attempt, runs(queue)) == ("completed", 1, 1)
    worker.stop(BUSY)


def test_a_second_delivery_that_waits_is_stopped_with_its_worker(queue: Both) -> None:
    """Which changes nothing for the run of the first."""
    queue.worker_of_its_own()
    sent = queue.enqueue_here("wait")
    queue.sees("begun")
    with queue.driver.worker(queue.folder / "worker-second.log") as second:
        driver = queue.driver
        driver.send_again(sent.key, "wait")
        logs = list(queue.folder.glob("worker-*"))
        with queue.explained():
            eventually(lambda: any("another delivery" in log.read_text() for log in logs), BUSY)
        second.stop(BUSY)
    assert (sent.state.status, sent.state.attempt) == ("processing", 1)
    queue.go()
    assert sent.ends().is_completed
    assert runs(queue) == 1


def test_a_second_delivery_leaves_the_first_ones_result(queue: Both) -> None:
    """Whether it waits for the first, or comes later."""
    queue.work()
    sent = queue.enqueue_here("wait")
    queue.sees("begun")
    queue.driver.send_again(sent.key, "wait")
    queue.go()
    sent.ends()
    for _ in range(2):
        with queue.explained():
            eventually(lambda: sent.saved.status.value == "complete" and not queue.driver.waits(sent.key), BUSY)
        assert sent.saved.result == "went on"
        queue.driver.send_again(sent.key, "wait")
    assert runs(queue) == 1


def test_a_sweep_of_a_job_that_is_about_to_begin_says_nothing(queue: Both) -> None:
    """A worker has taken it from the queue, and begins it while SAQ sweeps it: it runs, and the copy waits for it.

    If the worker looks for aborts while the sweep waits, it interrupts the run, and the copy is another attempt.
    """
    queue.stop_working()
    queue.driver.sweep()  # what other tests have left, for which SAQ would take its time before it gets to this one
    queue.worker_of_its_own(QUEUE_TESTS_SAQ_SLOW="1")
    sent = queue.enqueue_here("wait", retries=2)
    eventually(lambda: queue.driver.is_taken(sent.key), BUSY)
    assert queue.driver.sweep(abort=5.0)
    assert queue.has("begun")
    first = sent.state
    is_interrupted = first.attempt > 1 or "swept" in (first.error or "")
    assert is_interrupted or (first.status, first.attempt, first.error) == ("processing", 1, None)
    queue.go()
    done = sent.ends()
    assert (done.status, done.attempt, runs(queue)) == ("completed", 1 + is_interrupted, 1 + is_interrupted)


def test_a_key_that_saq_does_not_take_is_not_pending(queue: Both) -> None:
    """For five seconds after a sweep."""
    sent = dead(queue, key=queue.folder.name)
    assert queue.driver.sweep()
    kwargs = {"folder": str(queue.folder)}
    assert queue.driver.run(queue.driver.queue.enqueue("wait", key=sent.key, kwargs=kwargs)) is None
    assert (sent.state.status, sent.state.is_locked) == ("failed", False)
    assert "SAQ has not taken it" in (sent.state.error or "")


def test_who_is_cancelled_while_enqueuing_leaves_nothing_pending(queue: Both) -> None:
    """At any moment of it: if SAQ has the job it runs, else it has failed, or nobody has heard of it."""
    keys = [f"{queue.folder.name} at {moment}" for moment in range(20)]

    async def cancel_each() -> None:
        for moment, key in enumerate(keys):
            enqueuing = asyncio.create_task(queue.driver.queue.enqueue("silent", key=key))
            await asyncio.sleep(moment * 0.0002)
            enqueuing.cancel()
            with suppress(asyncio.CancelledError):
                await enqueuing

    queue.driver.run(cancel_each())
    queue.work()
    queue.enqueue("silent").ends()
    job = queue.behind("silent")
    with queue.explained():
        eventually(lambda: not any((state := job.get(key)) and state.is_locked for key in keys), BUSY)


def test_states_are_kept_until_they_are_due(queue: Both) -> None:
    """A week from now, or at the end of a retry's pause."""
    queue.work()
    week = timedelta(days=7)
    now = datetime.now(UTC)
    seconds = week.total_seconds()
    waiting = [
        queue.enqueue("silent", scheduled=int(time() + seconds)),
        queue.enqueue("fail", retries=2, retry_delay=seconds),
        queue.enqueue("fail", retries=2, retry_delay=seconds, retry_backoff=True),
    ]
    for sent in waiting:
        state = sent.becomes(lambda state: state.due)
        assert state.is_pending
        assert state.due is not None
        assert abs(state.due - now - week) < timedelta(minutes=1)
        assert state.lifetime > seconds


def test_settings_without_a_queue_are_refused() -> None:
    """As SAQ would make a queue of its own, which nobody else knows."""
    with pytest.raises(TypeError, match="the settings need a queue"):
        install({"functions": []})
