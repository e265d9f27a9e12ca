"""What only Celery has: its retries, revokes, time limits, lost children, and what tasks are made into."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError

from job_progress import Job, JobState, Tracker, tracked
from tests.queues.conftest import BUSY
from tests.queues.driver import Worker
from tests.queues.drivers.celery import QUIET
from tests.queues.seen import Seen
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

pytestmark = pytest.mark.environment("main")

ADDRESS = "QUEUE_TESTS_CELERY_TASKS"
MODULE = "tests.queues.celery_tasks"
DAY = 86400


class Workers:
    """Those of the application, one at a time."""

    def __init__(self, folder: Path, broker: ValkeyServer) -> None:
        self._folder = folder
        self._broker = broker
        self._running: tuple[tuple[str, ...], Worker] | None = None

    def have(self, *options: str, fresh: bool = False, **environment: str) -> Worker:
        """Have a worker with these options: the one that is there, if it has them."""
        if self._running is not None and self._running[0] == options and not fresh:
            return self._running[1]
        self.end()
        command = [sys.executable, "-m", "celery", "--app", MODULE, "worker", *QUIET, *options]
        self._running = options, Worker(command, self._folder / "worker.log", environment)
        return self._running[1]

    def end(self) -> None:
        """Have none."""
        if self._running is not None:
            self._running[1].kill()
            self._running = None
            # As long as the broker takes the dead worker for one that waits, it gives it the next message.
            with self._broker.client() as client:
                eventually(lambda: not any("b" in one["flags"] for one in client.client_list()), BUSY)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Inside, the broker, which is the result backend too, takes nothing, as its memory is full."""
        with self._broker.client() as client:
            client.config_set("maxmemory", 1)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)

    def log(self) -> str:
        """What they have said."""
        log = self._folder / "worker.log"
        return log.read_text(errors="replace") if log.exists() else ""


PREFORK = ("--pool", "prefork", "--concurrency", "2")


@pytest.fixture(scope="session")
def workers(states: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """A broker, the one that the application gets to know, and no worker yet."""
    with ExitStack() as stack:
        broker = stack.enter_context(ValkeyServer(tmp_path_factory.mktemp("broker")))
        os.environ[ADDRESS] = broker.url
        workers = Workers(tmp_path_factory.mktemp("workers"), broker)
        stack.callback(workers.end)
        yield workers
        tasks().app.close()


def tasks() -> Any:
    """The module of the tasks, which needs the broker's address."""
    return import_module(MODULE)


class Folder:
    """What the tasks of a test leave, and look for."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __str__(self) -> str:
        return str(self.place)

    def sees(self, name: str) -> None:
        """Wait for a file."""
        eventually((self.place / name).exists, BUSY)

    def has(self, name: str) -> bool:
        """Is there such a file?"""
        return (self.place / name).exists()

    def go(self) -> None:
        """Let the tasks go on that wait for it."""
        (self.place / "go").touch()

    def kill(self, how: signal.Signals) -> None:
        """Send a signal to the process of the task that has begun."""
        self.sees("begun")
        os.kill(int((self.place / "process").read_text()), how)
        (self.place / "begun").unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """For one test."""
    folder = Folder(tmp_path)
    yield folder
    folder.go()


Becomes = Callable[..., JobState]


@pytest.fixture
def becomes(workers: Workers) -> Becomes:
    """Waits until the state of a task's execution is as wanted."""

    def wait(task: Any, id: str, status: str, condition: Callable[[JobState], object] = lambda state: True) -> JobState:
        def seen() -> JobState | None:
            state = Job.of(task).get(id)
            return state if state is not None and state.status == status and condition(state) else None

        try:
            found = eventually(seen, BUSY)
        except AssertionError:
            raise AssertionError(f"{Job.of(task).get(id)!r}\n{workers.log()[-4000:]}") from None
        assert found is not None
        return found

    return wait


# Retries, and other ends.


@pytest.mark.parametrize("with_error", [True, False])
def test_retry_called_by_the_task(workers: Workers, becomes: Becomes, with_error: bool) -> None:
    """It waits with the error that the retry is about, counts its attempts, and fails when there are no more."""
    workers.have(*PREFORK)
    task = tasks().ask_again
    with Seen() as seen:
        id = task.delay(with_error).id
        seen.follow(Job.of(task), id)
        waiting = becomes(task, id, "pending", lambda state: state.error)
        assert (waiting.attempt, waiting.error) == (1, "ConnectionError: no answer")
        failed = becomes(task, id, "failed")
    assert failed.attempt == 2
    assert str(failed.error).startswith("ConnectionError" if with_error else "MaxRetriesExceededError")
    assert seen.statuses.count("failed") == 1


def test_automatic_retries_end(workers: Workers, becomes: Becomes) -> None:
    """With a growing delay between them, the last one fails; what is exempt fails at once."""
    workers.have(*PREFORK)
    task = tasks().back_off
    with Seen() as seen:
        id = task.delay(True).id
        seen.follow(Job.of(task), id)
        failed = becomes(task, id, "failed")
        assert (failed.attempt, failed.error) == (3, "TimeoutError: too slow")
    assert seen.statuses.count("failed") == 1
    id = task.delay(False).id
    assert becomes(task, id, "failed").attempt == 1


def test_a_task_that_has_itself_ignored(workers: Workers, becomes: Becomes) -> None:
    """It has left on purpose, and so is done, unless it says otherwise: to us, or to Celery."""
    workers.have(*PREFORK)
    task, say_failed = tasks().ignore, tasks().say_failed
    assert becomes(task, task.delay(False).id, "completed").result is None
    assert becomes(task, task.delay(True).id, "completed").result == 7
    assert becomes(say_failed, say_failed.delay().id, "failed").error == "ValueError: by hand"


def test_what_fails_before_it_begins_has_failed(workers: Workers, becomes: Becomes) -> None:
    """Something else raised between Celery and the tracked function."""
    workers.have(*PREFORK)
    task = tasks().forbidden
    failed = becomes(task, task.delay().id, "failed")
    assert (failed.attempt, failed.error) == (0, "PermissionError: not today")


def test_a_task_that_the_worker_does_not_know_has_failed(
    workers: Workers, becomes: Becomes, states: ValkeyServer
) -> None:
    """As the worker's code is older, say: its state, in the default tracker, does not wait in vain."""
    tracker = Tracker(states.url)

    def only_here() -> None:
        pass

    task = tasks().task(name="only here")(tracked(name="only here", tracker=tracker)(only_here))
    workers.have(*PREFORK, fresh=True, JOB_PROGRESS_STORE=states.url)
    failed = becomes(task, task.delay().id, "failed")
    assert failed.error == "only here is not known to the worker that got it"
    workers.end()


def test_a_message_that_is_rejected(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """Thrown away it has failed; put back it waits, and comes again."""
    workers.have(*PREFORK)
    reject, put_back = tasks().reject, tasks().put_back
    assert becomes(reject, reject.delay().id, "failed").error == "ValueError: nonsense"
    assert becomes(put_back, put_back.delay(str(folder)).id, "completed").attempt == 2


def test_a_retry_that_cannot_be_sent_has_failed(workers: Workers, becomes: Becomes) -> None:
    """The run ends as one that is retried; that nothing came of it is the parent's word."""
    workers.have(*PREFORK)
    task = tasks().retry_in_vain
    failed = becomes(task, task.delay().id, "failed")
    assert (failed.attempt, failed.error) == (1, "SerializerNotInstalled: No encoder installed for nonsense")


# Cancelled, revoked, expired.


@pytest.mark.parametrize(
    ("kind", "how"), [("prefork", "SIGTERM"), ("prefork", "SIGUSR1"), ("prefork", "SIGKILL"), ("gevent", "SIGTERM")]
)
def test_a_task_is_revoked_while_it_runs(
    workers: Workers, becomes: Becomes, folder: Folder, kind: str, how: str
) -> None:
    """It is cancelled, and never failed in between; the next task runs."""
    workers.have("--pool", kind, "--concurrency", "2")
    task = tasks().wait
    with Seen() as seen:
        result = task.delay(str(folder))
        seen.follow(Job.of(task), result.id)
        folder.sees("begun")
        terminate(result.id, how)
        becomes(task, result.id, "cancelled")
    assert "failed" not in seen.statuses
    assert not folder.has("ended")
    add = tasks().add
    becomes(add, add.delay(1, 2).id, "completed")
    assert becomes(task, result.id, "cancelled").error is None
    workers.end()  # whatever ends that child later, Celery takes for the revoke that it has survived


def terminate(id: str, how: str = "SIGTERM") -> None:
    """Have a task stopped by Celery's own means; a worker that has just begun may not listen yet."""
    control = tasks().app.control
    eventually(lambda: control.revoke(id, terminate=True, signal=how, reply=True, limit=1, timeout=2.0), BUSY)


def test_a_task_that_has_expired_has_failed(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """And does not run."""
    workers.end()
    task = tasks().wait
    id = task.apply_async((str(folder),), expires=0.1).id
    becomes(task, id, "pending")
    workers.have(*PREFORK)
    assert becomes(task, id, "failed").error == "it expired"
    assert not folder.has("begun")


def test_a_delivery_that_has_expired_leaves_the_live_run_alone(
    workers: Workers, becomes: Becomes, folder: Folder
) -> None:
    """The broker has lost sight of it, and delivers it again when it is too late."""
    workers.have(*PREFORK)
    task = tasks().wait_late
    id = task.delay(str(folder)).id
    folder.sees("begun")
    restore(id, expires="2000-01-01T00:00:00+00:00")
    eventually(lambda: f"Discarding revoked task: wait_late[{id}]" in workers.log(), BUSY)
    assert becomes(task, id, "processing").attempt == 1
    folder.go()
    becomes(task, id, "completed")


def restore(id: str, expires: str | None = None) -> None:
    """Have the broker deliver a task again that was not acknowledged, when it has expired by now."""
    with tasks().app.connection_for_write() as connection, connection.channel() as channel:
        for tag, text in channel.client.hgetall(channel.unacked_key).items():
            if id.encode() in text:
                message, *route = json.loads(text)
                message["headers"]["expires"] = expires
                channel.client.hset(channel.unacked_key, tag, json.dumps([message, *route]))
                channel.qos.restore_by_tag(tag.decode())


def test_a_task_is_cancelled_before_it_is_due(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """The worker that has it already drops it when its time has come, and says so to whoever waits for the result."""
    workers.have(*PREFORK)
    task = tasks().wait
    result = task.apply_async((str(folder),), countdown=1.0)
    Job.of(task).cancel(result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=BUSY)
    assert not folder.has("begun")
    becomes(task, result.id, "cancelled")


def test_a_chord_hears_of_a_part_that_was_cancelled(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """It ends with an error, instead of waiting for what will not come."""
    workers.have(*PREFORK)
    wait, add = tasks().wait, tasks().add
    part = wait.s(str(folder)).set(task_id=f"part of {folder.place.name}")
    result: Any = chord([part, add.s(1, 2)], tasks().add_up.s())()
    folder.sees("begun")
    Job.of(wait).cancel(part.id)
    eventually(lambda: result.state == "FAILURE", BUSY)
    assert isinstance(result.result, ChordError)


def test_cancelled_where_results_are_ignored(workers: Workers, becomes: Becomes) -> None:
    """Nothing is stored that nobody asked for."""
    workers.have(*PREFORK)
    task = tasks().cancel_itself
    result = task.delay()
    becomes(task, result.id, "cancelled")
    assert result.state == "PENDING"


# Time limits, and children that are lost.


def test_a_soft_time_limit(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """It is the task's error, or what the task makes of it."""
    workers.have(*PREFORK)
    sleeping, tidy_up = tasks().sleeping, tasks().tidy_up
    id = sleeping.apply_async((str(folder),), soft_time_limit=1).id
    assert str(becomes(sleeping, id, "failed").error).startswith("SoftTimeLimitExceeded")
    id = tidy_up.apply_async((str(folder),), soft_time_limit=1).id
    assert becomes(tidy_up, id, "completed").message == "in time"


def test_a_hard_time_limit(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """The child is killed, and its parent tells why."""
    workers.have(*PREFORK)
    task = tasks().sleeping
    id = task.apply_async((str(folder),), time_limit=1).id
    assert becomes(task, id, "failed").error == "TimeLimitExceeded: it ran for longer than 1 s"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_is_lost(workers: Workers, becomes: Becomes, folder: Folder, how: signal.Signals) -> None:
    """Its task has failed, by its parent's word."""
    workers.have(*PREFORK)
    task = tasks().wait
    id = task.delay(str(folder)).id
    folder.kill(how)
    assert str(becomes(task, id, "failed").error).startswith("WorkerLostError")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_is_lost_and_its_task_is_not(
    workers: Workers, becomes: Becomes, folder: Folder, how: signal.Signals
) -> None:
    """It is delivered again at once, and is not taken for one that is still alive."""
    workers.have(*PREFORK)
    task = tasks().wait_late
    with Seen() as seen:
        id = task.delay(str(folder)).id
        seen.follow(Job.of(task), id)
        folder.kill(how)
        folder.sees("begun")
        assert becomes(task, id, "processing", lambda state: state.attempt == 2).error is None
        folder.go()
        becomes(task, id, "completed")
    assert seen.statuses.count("completed") == 1
    assert "failed" not in seen.statuses


def test_a_worker_is_lost_and_its_task_comes_again_by_itself(
    workers: Workers, becomes: Becomes, folder: Folder
) -> None:
    """After the broker's visibility timeout, which is longer than it takes to read stalled."""
    workers.have(*PREFORK, fresh=True)
    task = tasks().wait_late
    id = task.delay(str(folder)).id
    folder.sees("begun")
    workers.end()
    becomes(task, id, "processing", lambda state: state.is_stalled)
    (folder.place / "begun").unlink()
    workers.have(*PREFORK, "--hostname", "second@here", QUEUE_TESTS_VISIBILITY="1")
    folder.sees("begun")
    folder.go()
    assert becomes(task, id, "completed").attempt == 2


@pytest.mark.parametrize("name", ["leave_late", "leave_retried"])
def test_a_task_that_ends_its_process_and_runs_again_has_not_failed(
    workers: Workers, becomes: Becomes, folder: Folder, name: str
) -> None:
    """It waits in between, so that nobody takes it for finished."""
    workers.have(*PREFORK)
    task = getattr(tasks(), name)
    with Seen() as seen:
        id = task.delay(str(folder)).id
        seen.follow(Job.of(task), id)
        assert becomes(task, id, "completed").attempt == 2
    assert "failed" not in seen.statuses


def test_a_task_that_ends_its_process_for_good_has_failed(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """And is not said to wait in between."""
    workers.have(*PREFORK)
    task = tasks().leave_for_good
    with Seen() as seen:
        result = task.delay(str(folder))
        seen.follow(Job.of(task), result.id)
        eventually(lambda: result.state == "FAILURE", BUSY)
        failed = becomes(task, result.id, "failed")
    assert "SystemExit" in (failed.error or "")
    assert seen.statuses.count("pending") <= 1


def test_a_task_that_runs_again_after_its_time_limit_has_not_failed(
    workers: Workers, becomes: Becomes, folder: Folder
) -> None:
    """`acks_on_timeout=False`: the message goes back to the broker."""
    workers.have(*PREFORK)
    task = tasks().hang_once
    with Seen() as seen:
        id = task.delay(str(folder)).id
        seen.follow(Job.of(task), id)
        assert becomes(task, id, "completed").attempt == 2
    assert "failed" not in seen.statuses


# Delivered twice.


def test_a_second_delivery_has_no_effect_of_its_own(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """Callbacks and chain go on once, and the result is that of the first."""
    worker = workers.have(*PREFORK)
    wait, note = tasks().wait_late, tasks().note
    result: Any = chain(wait.si(str(folder)).set(link=note.si(str(folder))), note.si(str(folder))).delay()
    folder.sees("begun")
    restore(result.parent.id)
    eventually(lambda: "another delivery of the same task" in workers.log(), BUSY)
    folder.go()
    assert becomes(wait, result.parent.id, "completed").attempt == 1
    eventually(lambda: f"Task wait_late[{result.parent.id}] ignored" in workers.log(), BUSY)
    assert result.parent.get(timeout=BUSY) == "went on"
    result.get(timeout=BUSY)
    worker.stop(BUSY)
    workers.end()
    assert (folder.place / "notes").read_text() == "xx"


def test_a_result_that_was_lost_with_its_worker_is_made_again(
    workers: Workers, becomes: Becomes, folder: Folder
) -> None:
    """Who waits for it would wait for ever, and what follows would never come, so the task is not taken for done."""
    workers.have(*PREFORK)
    task, add = tasks().killed_before_its_result, tasks().add
    result: Any = chain(task.si(str(folder)), add.si(1, 2)).delay()
    assert becomes(add, result.id, "completed").result == 3
    assert result.parent.get(timeout=BUSY) == "done"
    assert becomes(task, result.parent.id, "completed").attempt == 2


# What goes on as another task.


@pytest.mark.parametrize("throw", [True, False])
def test_a_retry_that_is_there_before_the_first_has_left(
    workers: Workers, becomes: Becomes, folder: Folder, throw: bool
) -> None:
    """It waits until then, and is the second attempt; even if the first returns."""
    workers.have(*PREFORK)
    task = tasks().again_at_once
    with Seen() as seen:
        id = task.delay(str(folder), throw).id
        seen.follow(Job.of(task), id)
        done = becomes(task, id, "completed")
    assert (done.attempt, done.error) == (2, None)
    assert seen.statuses.count("completed") == 1
    assert not {"failed", "cancelled"} & set(seen.statuses)


def test_a_task_that_replaces_itself_goes_on(workers: Workers, becomes: Becomes) -> None:
    """As one life, which waits without an error between its pages; where each page has an id, it is done by itself."""
    workers.have(*PREFORK)
    task, named = tasks().next_page, tasks().named_page
    with Seen() as seen:
        id = task.delay(1).id
        seen.follow(Job.of(task), id)
        done = becomes(task, id, "completed")
    assert (done.attempt, done.result) == (3, 3)
    assert seen.statuses.count("completed") == 1
    assert seen.errors == {None}
    assert not {"failed", "cancelled"} & set(seen.statuses)
    named.delay(1)
    assert becomes(named, "1", "completed").attempt == 1
    assert becomes(named, "2", "completed").result == 2


@pytest.mark.parametrize("to", ["one", "chain", "group"])
def test_a_task_that_is_replaced_is_done(workers: Workers, becomes: Becomes, to: str) -> None:
    """Its own part is; what takes its place has states of its own, and what follows comes."""
    workers.have(*PREFORK)
    task, add, add_up = tasks().hand_over, tasks().add, tasks().add_up
    result: Any = chain(task.s(to), (add_up if to == "group" else add).s(*(() if to == "group" else (10,)))).delay()
    assert result.get(timeout=BUSY) == {"one": 13, "chain": 17, "group": 13}[to]
    becomes(task, result.parent.id, "completed")
    becomes(add_up if to == "group" else add, result.id, "completed")
    if to != "group":
        assert becomes(add, result.parent.id, "completed").result == result.get() - 10


# After the function.


@pytest.mark.parametrize(("name", "error"), [("no_json", "EncodeError"), ("fails_in_its_class", "LookupError")])
def test_what_fails_once_the_function_has_returned_has_failed(
    workers: Workers, becomes: Becomes, name: str, error: str
) -> None:
    """A result that the serializer does not take, or the class of the task."""
    workers.have(*PREFORK)
    task = getattr(tasks(), name)
    result = task.delay()
    eventually(lambda: result.state == "FAILURE", BUSY)
    assert str(becomes(task, result.id, "failed").error).startswith(error)


def test_a_result_that_the_backend_refuses(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """As its memory is full: to Celery the task has not succeeded, and so it has not here."""
    workers.have("--pool", "solo")
    task = tasks().wait
    id = task.delay(str(folder)).id
    folder.sees("begun")
    with workers.refusing():
        folder.go()
        becomes(task, id, "failed")


# What follows.


def waits(task: Any, id: str) -> bool:
    """Is it pending?"""
    state = Job.of(task).get(id)
    return state is not None and state.is_pending


def test_what_follows_in_a_chord_or_by_a_link_ends_with_the_reason(
    workers: Workers, becomes: Becomes, folder: Folder
) -> None:
    """They are pending from the start, and so is what follows them."""
    workers.end()
    forbidden, add, add_up = tasks().forbidden, tasks().add, tasks().add_up
    linked, body = (
        add.si(1, 2).set(task_id=f"linked {folder.place.name}"),
        add_up.s().set(task_id=f"body {folder.place.name}"),
    )
    last: Any = chord([add.si(1, 2), forbidden.si().set(link=linked)], chain(body, add.si(3, 4))).delay()
    waiting = [(add_up, body.id), (add, last.id), (add, linked.id)]
    assert all(waits(task, id) for task, id in waiting)
    workers.have(*PREFORK)
    for task, id in waiting:
        ended = becomes(task, id, "cancelled")
        assert ended.error == f"not run: {forbidden.name}, before it, has failed"


@pytest.mark.parametrize("how", ["revoked", "expired", "lost"])
def test_what_follows_a_task_that_the_worker_has_dropped(
    workers: Workers, becomes: Becomes, folder: Folder, how: str
) -> None:
    """Whoever says so, its followers are told of."""
    workers.have(*PREFORK)
    wait, add = tasks().wait, tasks().add
    past = datetime.now(UTC) - timedelta(hours=1)
    options: dict[str, dict[str, Any]] = {"revoked": {"countdown": 3.0}, "expired": {"expires": past}}
    eventually(lambda: tasks().app.control.ping(limit=1, timeout=2.0), BUSY)
    last: Any = chain(wait.si(str(folder)).set(**options.get(how, {})), add.si(1, 2)).delay()
    if how == "revoked":
        tasks().app.control.revoke(last.parent.id, reply=True, limit=1, timeout=BUSY)
    elif how == "lost":
        folder.kill(signal.SIGKILL)
    assert str(becomes(add, last.id, "cancelled").error).startswith("not run: wait, before it, ")


def test_what_follows_and_was_cancelled_is_not_wanted_anew(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """That it is sent when its time has come changes nothing."""
    workers.have(*PREFORK)
    wait, add = tasks().wait, tasks().add
    last: Any = chain(wait.si(str(folder)), add.si(1, 2)).delay()
    folder.sees("begun")
    Job.of(add).cancel(last.id)
    folder.go()
    with pytest.raises(TaskRevokedError):
        last.get(timeout=BUSY)
    becomes(add, last.id, "cancelled")


def test_what_was_sent_already_comes_though_the_task_has_failed(workers: Workers, becomes: Becomes) -> None:
    """The result is stored after the next link was sent."""
    workers.have(*PREFORK)
    no_json, add = tasks().no_json, tasks().add
    last: Any = chain(no_json.si(), add.si(1, 2)).delay()
    becomes(no_json, last.parent.id, "failed")
    assert becomes(add, last.id, "completed").result == 3


def test_a_chain_that_the_broker_refuses_is_taken_back(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """All of it; and what a worker cannot send either."""
    workers.end()
    wait, add = tasks().wait, tasks().add
    links = [
        link.set(task_id=f"{number} {folder.place.name}") for number, link in enumerate([wait.si(""), add.si(1, 2)])
    ]
    with workers.refusing(), pytest.raises(Exception, match="maxmemory"):
        chain(*links).apply_async()
    assert str(becomes(wait, links[0].id, "failed").error).startswith("OperationalError")
    becomes(add, links[1].id, "cancelled")


def test_each_call_of_map_and_chunks_is_an_execution(workers: Workers, becomes: Becomes) -> None:
    """With an id of its own, as the task that does them is another."""
    workers.have(*PREFORK)
    add = tasks().add
    before = {state.id for state in Job.of(add).list(limit=100)}
    results = [add.starmap([(100, 1), (100, 2)]).delay(), *add.chunks([(100, 3), (100, 4)], 2).apply_async()]
    assert [result.get(timeout=BUSY) for result in results] == [[101, 102], [103, 104]]
    new = [state for state in Job.of(add).list(limit=100) if state.id not in before]
    assert sorted(state.result for state in new if state.is_completed) == [101, 102, 103, 104]
    assert not {state.id for state in new} & {result.id for result in results}


def test_how_long_a_state_is_kept(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """Until the task is due, by an eta, and so is what follows it; and until a retry is."""
    workers.end()
    wait, add, ask_again = tasks().wait, tasks().add, tasks().ask_again
    now = datetime.now(UTC)
    last: Any = chain(wait.si(str(folder)), add.si(1, 2)).apply_async(countdown=3 * DAY)
    later: Any = wait.apply_async((str(folder),), eta=(now + timedelta(days=5)).replace(tzinfo=None))
    for task, id, days in ((wait, last.parent.id, 3), (add, last.id, 3), (wait, later.id, 5)):
        due = becomes(task, id, "pending").due
        assert due is not None
        assert abs(due - now - timedelta(days=days)) < timedelta(minutes=1)
    workers.have(*PREFORK)
    retried = ask_again.apply_async((True,), kwargs={"countdown": 2 * DAY})
    due = becomes(ask_again, retried.id, "pending", lambda state: state.error).due
    assert due is not None
    assert due - now > timedelta(days=1.9)
    tasks().app.control.purge()
    workers.end()


def test_a_cold_shutdown_keeps_what_comes_again_and_ends_what_does_not(
    workers: Workers, becomes: Becomes, folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A task whose message is there still is pending; one that is gone has failed."""
    worker = workers.have(*PREFORK, fresh=True)
    wait, wait_late = tasks().wait, tasks().wait_late
    other = Folder(tmp_path_factory.mktemp("other"))
    lost, kept = wait.delay(str(folder)).id, wait_late.delay(str(other)).id
    folder.sees("begun")
    other.sees("begun")
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(BUSY)
    workers.end()
    assert becomes(wait, lost, "failed").error == "stopped by its worker"
    assert becomes(wait_late, kept, "pending").attempt == 1
    other.go()
    workers.have(*PREFORK)
    assert becomes(wait_late, kept, "completed").attempt == 2


def test_children_that_leave_after_each_task_lose_no_end(workers: Workers, becomes: Becomes) -> None:
    """They go by `os._exit`, with no chance to tidy up."""
    workers.have(*PREFORK, "--max-tasks-per-child", "1")
    add = tasks().add
    ids = [add.delay(number, 1).id for number in range(10)]
    assert [becomes(add, id, "completed").result for id in ids] == list(range(1, 11))


# What tasks are made into, and of.


@pytest.mark.parametrize("name", ["wait", "bound", "counting", "shared", "typed"])
def test_the_job_behind_a_task(workers: Workers, name: str) -> None:
    """Whichever way the task was made; so it is on each application that shares it."""
    assert Job.of(getattr(tasks(), name)).name.rpartition(".")[2] == name
    assert Job.behind(tasks().app.tasks["celery.backend_cleanup"]) is None


def test_groups_chains_and_chords(workers: Workers, becomes: Becomes) -> None:
    """Each task has a state of its own, from when it is sent."""
    workers.have(*PREFORK)
    add, add_up = tasks().add, tasks().add_up
    several: Any = group(add.s(number, number) for number in range(3)).delay()
    assert [becomes(add, one.id, "completed").result for one in several.children] == [0, 2, 4]
    last: Any = chain(add.s(1, 2), add.s(3)).delay()
    assert becomes(add, last.id, "completed").result == 6
    assert becomes(add, last.parent.id, "completed").result == 3
    whole: Any = chord([add.s(1, 1), add.s(2, 2)], add_up.s()).delay()
    becomes(add_up, whole.id, "completed")
    assert whole.get(timeout=BUSY) == 6


def test_a_bound_task_names_its_id(workers: Workers, becomes: Becomes) -> None:
    """The task in front of its arguments is there when it is sent, too; of functions, and of classes."""
    workers.end()
    bound, counting = tasks().bound, tasks().counting
    bound.delay(name="a bound one", by="ada")
    counting.delay("a class")
    pending = Job.of(bound).get("a bound one")
    assert pending is not None
    assert (pending.status, pending.owner) == ("pending", "ada")
    becomes(counting, "a class", "pending")
    workers.have(*PREFORK)
    becomes(bound, "a bound one", "completed")
    becomes(counting, "a class", "completed")


def test_a_producer_that_knows_only_the_name(workers: Workers, becomes: Becomes) -> None:
    """It says nothing of the task, whose state begins with its run."""
    workers.have(*PREFORK)
    script = "import celery, sys; print(celery.Celery(broker=sys.argv[1]).send_task(sys.argv[2], (1, 2)).id)"
    command = [sys.executable, "-c", script, os.environ[ADDRESS], tasks().add.name]
    id = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert becomes(tasks().add, id, "completed").attempt == 1


def test_untracked_tasks_are_left_alone(workers: Workers, becomes: Becomes) -> None:
    """They have no state; a tracked function that one calls is a run with an id of its own."""
    workers.have(*PREFORK)
    untracked, add = tasks().untracked, Job.of(tasks().add)
    before = {state.id for state in add.list(limit=100)}
    result = untracked.delay()
    assert result.get(timeout=BUSY) == "done"
    [inner] = [state for state in add.list(limit=100) if state.id not in before]
    assert (inner.status, inner.result) == ("completed", 3)
    assert inner.id != result.id


def test_what_fails_where_it_is_applied_has_a_state(workers: Workers, becomes: Becomes) -> None:
    """Also if it fails before its function, and if the error is raised here."""
    workers.end()
    forbidden = tasks().forbidden
    for throw in (False, True):
        id = f"applied {throw}"
        with suppress(PermissionError):
            forbidden.apply(task_id=id, throw=throw)
        failed = becomes(forbidden, id, "failed")
        assert (failed.attempt, failed.error) == (0, "PermissionError: not today")


def test_a_task_that_replaces_itself_where_it_is_applied(workers: Workers, becomes: Becomes) -> None:
    """It is called within itself, and so does not wait for itself."""
    workers.end()
    next_page = tasks().next_page
    result = next_page.apply((1,))
    becomes(next_page, result.id, "completed")


def test_tasks_that_are_applied_here(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """With no worker, Celery runs them in place: with their ids, retries and cancelling."""
    workers.end()
    add, ask_again, wait = tasks().add, tasks().ask_again, tasks().wait
    result = add.apply((1, 2))
    assert result.get() == 3
    assert becomes(add, result.id, "completed").result == 3
    failed = ask_again.apply((True,))
    assert becomes(ask_again, failed.id, "failed").attempt == 2
    id = f"cancelled {folder}"[-50:]
    Job.of(wait).lock(id)
    Job.of(wait).cancel(id)
    assert wait.apply((str(folder),), task_id=id).state == "IGNORED"
    assert not folder.has("begun")


def test_a_thread_cannot_be_stopped(workers: Workers, becomes: Becomes, folder: Folder) -> None:
    """Celery has no means to, says so in its log, and the task completes; a cancel at a checkpoint would do."""
    workers.have("--pool", "threads", "--concurrency", "2")
    task = tasks().wait
    result = task.delay(str(folder))
    folder.sees("begun")
    terminate(result.id)
    eventually(lambda: "does not implement kill_job" in workers.log(), BUSY)
    folder.go()
    becomes(task, result.id, "completed")
