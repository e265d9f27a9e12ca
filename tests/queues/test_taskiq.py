"""What only Taskiq has: dependencies, putting back, timeouts, brokers that deliver again, pools of processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from taskiq import InMemoryBroker, SimpleRetryMiddleware, SmartRetryMiddleware, TaskiqMessage
from taskiq.brokers.inmemory_broker import InmemoryResultBackend
from taskiq.decor import AsyncTaskiqDecoratedTask
from taskiq.exceptions import SendTaskError
from taskiq.message import BrokerMessage
from taskiq_pipelines import Pipeline, PipelineMiddleware

from job_progress import Job, JobState, Tracker, clock, current_progress, tracked
from job_progress.queues.taskiq import ProgressMiddleware
from tests.queues.conftest import BUSY
from tests.queues.driver import Worker
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

ADDRESS = "TASKIQ_TESTS_ADDRESS"


class App:
    """The tasks of `taskiq_jobs`, and what sends them."""

    def __init__(self, log: Path) -> None:
        from tests.queues import taskiq_jobs

        self.tasks = taskiq_jobs
        self.runner = asyncio.Runner()
        self.log = log
        self.shared: Worker | None = None
        self.runner.run(self.tasks.broker.startup())

    def send(self, task: AsyncTaskiqDecoratedTask[Any, Any], *args: Any, **labels: Any) -> str:
        """Send a task."""
        return self.runner.run(task.kicker().with_labels(**labels).kiq(*args)).task_id

    def send_with_dependency(self, task: AsyncTaskiqDecoratedTask[..., Any], *args: Any) -> str:
        """Send a task whose last argument Taskiq itself supplies."""
        return self.runner.run(task.kiq(*args)).task_id

    def put_back(self, name: str) -> None:
        """Send the task whose first argument Taskiq itself supplies."""
        task: AsyncTaskiqDecoratedTask[..., Any] = self.tasks.put_back
        self.runner.run(task.kiq(name=name))

    def share(self) -> None:
        """Have the worker that tests share."""
        self.shared = self.shared or self.work()

    def work(self, *options: str) -> Worker:
        """Start a worker, and have no other."""
        self.stop_sharing()
        command = ["-m", "taskiq", "worker", "tests.queues.taskiq_jobs:broker", "--workers", "1", *options]
        return Worker([sys.executable, *command], self.log, {})

    def becomes(self, task: object, id: str, condition: Callable[[JobState], object]) -> JobState:
        """Wait until a state is as wanted."""

        def seen() -> JobState | None:
            state = Job.of(task).get(id)
            return state if state is not None and condition(state) else None

        try:
            found = eventually(seen, BUSY)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{Job.of(task).get(id)}\n{self.log.read_text()[-3000:]}") from None
        assert found is not None
        return found

    def ends(self, task: object, id: str) -> JobState:
        """Wait for the end."""
        return self.becomes(task, id, lambda state: state.is_finished)

    def stop_sharing(self) -> None:
        """Have no worker."""
        if self.shared is not None:
            self.shared.kill()
        self.shared = None

    def close(self) -> None:
        """Let go of all."""
        self.stop_sharing()
        self.runner.run(self.tasks.broker.shutdown())
        self.runner.close()


@pytest.fixture(scope="module")
def app(states: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A broker, and no worker."""
    folder = tmp_path_factory.mktemp("taskiq")
    with ValkeyServer(folder) as server:
        os.environ[ADDRESS] = server.url
        app = App(folder / "worker.log")
        yield app
        app.close()


@pytest.fixture
def worker(app: App) -> None:
    """A worker that tests share."""
    app.share()


@pytest.mark.usefixtures("worker")
def test_a_timeout_is_told(app: App, tmp_path: Path) -> None:
    """The state has failed, and says how long it may have taken."""
    id = app.send(app.tasks.run_long, str(tmp_path), timeout=0.2)
    failed = app.ends(app.tasks.run_long, id)
    assert (failed.status, failed.progress) == ("failed", 0.5)
    assert failed.error == "interrupted by TimeoutError: it took more than 0.2 s"


@pytest.mark.usefixtures("worker")
def test_a_timeout_may_be_retried(app: App, tmp_path: Path) -> None:
    """Taskiq's middleware takes it for the error that it is; the state has failed after the last attempt only."""
    id = app.send(app.tasks.run_long, str(tmp_path), timeout=0.2, retry_on_error=True, max_retries=2)
    end = app.ends(app.tasks.run_long, id)
    assert end.attempt == 2, (end.error, app.log.read_text())
    assert (tmp_path / "begun 1").exists()
    assert (tmp_path / "begun 2").exists()


@pytest.mark.usefixtures("worker")
def test_a_function_in_a_thread_that_outlives_its_timeout_has_failed(app: App, tmp_path: Path) -> None:
    """As Taskiq says, which has given it up; that it goes on, and ends, changes nothing any more."""
    id = app.send(app.tasks.block_long, str(tmp_path), timeout=0.1)
    assert app.runner.run(taskiq_error(app, id)) == "TimeoutError"
    failed = app.ends(app.tasks.block_long, id)
    assert (failed.status, failed.error) == ("failed", "TimeoutError: it took more than 0.1 s")
    (tmp_path / "go").touch()
    eventually((tmp_path / "ended").exists, BUSY)
    after = app.send(app.tasks.answer)
    app.ends(app.tasks.answer, after)
    state = Job.of(app.tasks.block_long).get(id)
    assert state is not None
    assert state.is_failed


async def taskiq_error(app: App, id: str) -> str:
    """What Taskiq says has gone wrong."""
    while not await app.tasks.results.is_result_ready(id):
        await asyncio.sleep(0.01)
    return type((await app.tasks.results.get_result(id)).error).__name__


@pytest.mark.usefixtures("worker")
def test_a_task_that_puts_itself_back_runs_again(app: App) -> None:
    """Each of many: the second delivery waits for the end of the run that has sent it."""
    names = [f"shop {number}" for number in range(20)]
    for name in names:
        app.put_back(name)
    for name in names:
        done = app.ends(app.tasks.put_back, name)
        assert (done.status, done.attempt) == ("completed", 2)


@pytest.mark.usefixtures("worker")
def test_a_dependency_that_cannot_be_had_fails_the_task(app: App, tmp_path: Path) -> None:
    """Its function is not called; the state says why."""
    failed = app.ends(app.tasks.depend, app.send_with_dependency(app.tasks.depend, str(tmp_path)))
    assert (failed.status, failed.error, failed.attempt) == ("failed", "LookupError: no session", 0)


def test_a_dependency_that_fails_at_its_end_is_taskiqs_own_failure(app: App, tmp_path: Path) -> None:
    """It does not acknowledge the task, so that the broker delivers it again: that is the second attempt."""
    with app.work():
        id = app.send_with_dependency(app.tasks.commit, str(tmp_path))
        failed = app.becomes(app.tasks.commit, id, lambda state: state.is_failed)
        assert (failed.error, failed.attempt) == ("ConnectionError: no commit", 1)

        def is_delivered_again() -> bool:
            app.send(app.tasks.answer)  # the broker looks for what is idle when a message comes by
            state = Job.of(app.tasks.commit).get(id)
            return state is not None and state.attempt == 2

        eventually(is_delivered_again, BUSY)
        assert app.ends(app.tasks.commit, id).is_completed


@pytest.mark.usefixtures("worker")
def test_a_second_delivery_leaves_the_result_as_it_was(app: App) -> None:
    """It is not called again, and the result is one that only Taskiq has."""
    id = app.send(app.tasks.answer)
    assert app.ends(app.tasks.answer, id).result is None
    assert app.runner.run(result_of(app, id)) == 42
    results = app.runner.run(app.tasks.broker.result_backend.get_result(id))
    message = TaskiqMessage(task_id=id, task_name=app.tasks.answer.task_name, labels={}, args=[], kwargs={})
    app.runner.run(app.tasks.broker.kick(app.tasks.broker.formatter.dumps(message)))
    after = app.send(app.tasks.answer)
    app.ends(app.tasks.answer, after)
    app.runner.run(result_of(app, after))
    assert app.runner.run(result_of(app, id)) == 42
    assert results.return_value == 42
    assert app.ends(app.tasks.answer, id).attempt == 1


async def result_of(app: App, id: str) -> Any:
    """What Taskiq has of a task, once it has."""
    while not await app.tasks.results.is_result_ready(id):
        await asyncio.sleep(0.01)
    return (await app.tasks.results.get_result(id)).return_value


def test_what_cannot_be_put_into_a_message_has_failed(app: App) -> None:
    """The caller has Taskiq's own error."""
    app.stop_sharing()
    with pytest.raises(SendTaskError):
        app.send(app.tasks.fail, object())
    state = Job.of(app.tasks.fail).list(limit=1)[0]
    assert state.is_failed
    assert "serialize" in (state.error or "")


@pytest.mark.parametrize("kind", ["lock", "die"])
def test_what_a_process_of_a_pool_cannot_say_has_failed(app: App, kind: str, tmp_path: Path) -> None:
    """A result that cannot be sent, and the death of the process: the state of what completed there has failed too."""
    with app.work("--use-process-pool", "--receiver", "job_progress.queues.taskiq:Receiver"):
        id = app.send(app.tasks.locked, *([str(tmp_path / "died")] if kind == "die" else []))
        failed = app.becomes(app.tasks.locked, id, lambda state: state.is_failed)
        app.runner.run(taskiq_error(app, id))
    assert (failed.error or "").startswith("TypeError: cannot pickle" if kind == "lock" else "BrokenProcessPool: ")
    assert failed.attempt == 1


def test_a_function_in_a_process_that_outlives_its_timeout_has_failed(app: App, tmp_path: Path) -> None:
    """As one in a thread."""
    with app.work("--use-process-pool", "--receiver", "job_progress.queues.taskiq:Receiver"):
        warm = app.send(app.tasks.locked)
        app.runner.run(taskiq_error(app, warm))
        id = app.send(app.tasks.block_long, str(tmp_path), timeout=1.0)
        failed = app.ends(app.tasks.block_long, id)
        assert (failed.status, failed.error) == ("failed", "TimeoutError: it took more than 1 s")
        (tmp_path / "go").touch()
        eventually((tmp_path / "ended").exists, BUSY)
    state = Job.of(app.tasks.block_long).get(id)
    assert state is not None
    assert state.is_failed


def test_dependencies_and_models_are_what_the_worker_will_see(app: App) -> None:
    """A task is pending under the id that it will have, whatever its function takes besides."""
    app.stop_sharing()
    app.put_back("pending")
    app.runner.run(app.tasks.import_products.kiq(app.tasks.Shop(name="pending")))
    waiting = [Job.of(app.tasks.put_back).get("pending"), Job.of(app.tasks.import_products).get("products of pending")]
    assert [state and state.attempt for state in waiting] == [0, 0]
    with app.work():
        assert app.ends(app.tasks.put_back, "pending").is_completed
        assert app.ends(app.tasks.import_products, "products of pending").is_completed


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("kind", "attempts"), [("network", 2), ("value", 1), ("quiet", 1)])
def test_only_what_the_middleware_retries_is_pending_again(app: App, kind: str, attempts: int) -> None:
    """Errors of its types, as often as it will; a wish for no result ends the task, and it has not completed."""
    id = app.send(app.tasks.fail, kind, retry_on_error=True, max_retries=2)
    failed = app.becomes(app.tasks.fail, id, lambda state: state.is_failed)
    assert failed.attempt == attempts


@pytest.mark.usefixtures("worker")
def test_what_a_task_calls_is_a_job_of_its_own(app: App) -> None:
    """It has its own id, and ends by itself."""
    id = app.send(app.tasks.call_inner, 7)
    assert app.ends(app.tasks.call_inner, id).is_completed
    assert app.ends(app.tasks.inner, "7").is_completed


@pytest.mark.usefixtures("worker")
def test_many_run_at_once(app: App, tmp_path: Path) -> None:
    """Each in its own context."""
    ids = [app.send(app.tasks.run_long, str(tmp_path)) for _ in range(10)]
    for id in ids:
        app.becomes(app.tasks.run_long, id, lambda state: state.progress == 0.5)
    (tmp_path / "go").touch()
    assert {app.ends(app.tasks.run_long, id).status for id in ids} == {"completed"}


@pytest.mark.usefixtures("worker")
def test_untracked_tasks_are_left_alone(app: App) -> None:
    """They run, with no state."""
    task = app.runner.run(app.tasks.untracked.kiq("here"))
    assert app.runner.run(task.wait_result(check_interval=0.05, timeout=BUSY)).return_value == "here"


def test_a_broker_that_waits_for_acknowledgements_delivers_again(app: App, tmp_path: Path) -> None:
    """Its worker was killed; as soon as another message comes by, it is the second attempt."""
    with app.work() as first:
        id = app.send(app.tasks.run_long, str(tmp_path))
        eventually((tmp_path / "begun 1").exists, BUSY)
        first.kill()
    app.becomes(app.tasks.run_long, id, lambda state: state.is_stalled)
    with app.work():
        app.send(app.tasks.untracked, "any")
        eventually((tmp_path / "begun 2").exists, BUSY)
        (tmp_path / "go").touch()
        assert app.ends(app.tasks.run_long, id).is_completed


def test_a_process_of_a_pool_is_never_taken_for_another_task(app: App, tmp_path: Path) -> None:
    """Without our receiver, no process knows its task; each run then has an id of its own, and none the first one's."""
    (tmp_path / "go").touch()
    with app.work("--use-process-pool", "--max-process-pool-processes", "1"):
        ids = {app.send(app.tasks.block_long, str(tmp_path)) for _ in range(3)}
        job = Job.of(app.tasks.block_long)
        eventually(lambda: len([1 for state in job.list("completed") if state.id not in ids]) >= 3, BUSY)
    assert {state.status for id in ids if (state := job.get(id))} == {"pending"}
    assert "add --receiver job_progress.queues.taskiq:Receiver" in app.log.read_text()


def test_a_task_in_memory_is_no_longer_one_once_it_has_run(memory: Tracker) -> None:
    """A broker that runs tasks in their sender's context leaves that as it was."""
    broker = InMemoryBroker(await_inplace=True)
    broker.add_middlewares(ProgressMiddleware())

    @tracked(name="of a task", tracker=memory)
    async def function() -> None: ...

    @tracked(name="called plainly", tracker=memory)
    async def plain() -> None: ...

    async def main() -> str:
        task = await broker.register_task(function, "function").kiq()
        await plain()
        return task.task_id

    id = asyncio.run(main())
    assert [(state.job, state.id == id) for state in memory.list()] == [("called plainly", False), ("of a task", True)]


class Holding(InMemoryBroker):
    """A broker that runs the first message, and keeps, or refuses, what comes after it."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(await_inplace=True)
        self.kept: list[BrokerMessage] = []
        self.refuses = refuses
        self.is_first = True

    async def kick(self, message: BrokerMessage) -> None:
        if self.is_first:
            self.is_first = False
            await super().kick(message)
        elif self.refuses:
            raise OSError("disk full")
        else:
            self.kept.append(message)


@pytest.mark.parametrize("middlewares", ["before", "after"])
def test_a_retry_waits_until_it_is_due_and_is_no_new_task(memory: Tracker, middlewares: str) -> None:
    """Wherever our middleware stands; cancelled while it waits for its retry, it stays so."""

    @tracked(name="retried", tracker=memory)
    async def function() -> None:
        raise ConnectionError("no answer")

    broker = Holding()
    both = [ProgressMiddleware(), SmartRetryMiddleware(default_retry_label=True, default_delay=3600)]
    broker.add_middlewares(*(both if middlewares == "before" else both[::-1]))
    task = broker.register_task(function, "function")
    id = asyncio.run(task.kiq()).task_id
    state = memory.get("retried", id)
    assert state is not None
    assert (state.status, state.attempt, state.error) == ("pending", 1, "ConnectionError: no answer")
    assert state.due is not None
    assert 3500 < (state.due - clock.now()).total_seconds() < 3700
    memory.cancel("retried", id)
    [again] = broker.kept
    asyncio.run(InMemoryBroker.kick(broker, again))
    assert memory.get("retried", id).is_cancelled  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]


def test_a_retry_that_the_broker_refuses_has_failed(memory: Tracker) -> None:
    """It will not come, though it was foreseen."""

    @tracked(name="retried", tracker=memory)
    async def function() -> None:
        raise ConnectionError("no answer")

    broker = Holding(refuses=True)
    broker.add_middlewares(ProgressMiddleware(), SimpleRetryMiddleware(default_retry_label=True))
    with pytest.raises(SendTaskError):
        asyncio.run(broker.register_task(function, "function").kiq())
    [state] = memory.list()
    assert (state.status, state.error, state.attempt) == ("failed", "OSError: disk full", 1)


def test_a_task_that_fails_after_its_function_waits_before_it_is_sent_again(memory: Tracker) -> None:
    """However soon the retry comes, it is not taken for a second delivery of what is done."""
    calls = []

    @tracked(name="around", tracker=memory)
    async def function() -> None:
        calls.append(1)

    async def around() -> None:
        await function()
        if len(calls) < 3:
            raise ConnectionError("no commit")

    around.__wrapped__ = function  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    broker = InMemoryBroker(await_inplace=True)
    broker.add_middlewares(ProgressMiddleware(), SimpleRetryMiddleware(default_retry_label=True, default_retry_count=5))
    task = broker.register_task(around, "around")
    id = asyncio.run(task.kiq()).task_id
    state = memory.get("around", id)
    assert state is not None
    assert (state.status, state.attempt, len(calls)) == ("completed", 3, 3)


def test_a_result_that_cannot_be_stored_is_only_logged_by_taskiq(
    memory: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Which says nothing of the task then: the state is what the function made of it."""

    @tracked(name="unstorable", tracker=memory)
    async def function() -> None: ...

    class Full(InmemoryResultBackend[Any]):
        async def set_result(self, task_id: str, result: Any) -> None:
            raise OSError("disk full")

    broker = InMemoryBroker(await_inplace=True).with_result_backend(Full())
    broker.add_middlewares(ProgressMiddleware())
    asyncio.run(broker.register_task(function, "function").kiq())
    assert "Can't set result" in caplog.text
    assert [state.status for state in memory.list()] == ["completed"]


def test_what_is_delayed_is_kept_until_it_is_due(memory: Tracker) -> None:
    """By the label that brokers with delays know."""

    @tracked(name="delayed", tracker=memory)
    async def function() -> None: ...

    broker = Holding()
    broker.is_first = False
    broker.add_middlewares(ProgressMiddleware())
    task = broker.register_task(function, "function")
    asyncio.run(task.kicker().with_labels(delay=86400 * 3).kiq())
    [state] = memory.list()
    assert state.due is not None
    assert (state.due - clock.now()).total_seconds() > 86400 * 2


def pipelines(memory: Tracker) -> tuple[InMemoryBroker, Any, Any]:
    """A broker that runs pipelines at once, with two tasks."""

    @tracked(name="first", tracker=memory, cancellable=True)
    async def first(cancels: bool) -> str:
        if cancels:
            current_progress().cancel_and_exit()
        return "shop"

    @tracked(name="second", tracker=memory, id="name")
    async def second(name: str) -> str:
        return f"{name}, twice"

    broker = InMemoryBroker(await_inplace=True)
    broker.add_middlewares(ProgressMiddleware(), PipelineMiddleware())
    return broker, broker.register_task(first, "first"), broker.register_task(second, "second")


def test_a_step_whose_id_is_the_result_of_the_one_before_is_known_once_that_is(memory: Tracker) -> None:
    """Until then nothing is said of it."""
    broker, first, second = pipelines(memory)

    async def main() -> Any:
        pipeline: Any = Pipeline(broker, first).call_next(second)
        return await (await pipeline.kiq(False)).wait_result(timeout=BUSY)

    assert asyncio.run(main()).return_value == "shop, twice"
    assert [(state.job, state.status) for state in memory.list()] == [("second", "completed"), ("first", "completed")]
    assert memory.get("second", "shop") is not None


def test_who_waits_for_a_pipeline_learns_that_a_step_was_cancelled(memory: Tracker) -> None:
    """The next one is not called, with `None` for what the cancelled one would have given."""
    broker, first, second = pipelines(memory)

    async def main() -> Any:
        pipeline: Any = Pipeline(broker, first).call_next(second)
        result = await (await pipeline.kiq(True)).wait_result(timeout=BUSY)
        return result, await broker.result_backend.get_result(pipeline.steps[0].task_id)

    last, step = asyncio.run(main())
    assert (last.is_err, step.is_err) == (True, False)
    assert "cancelled" in str(last.error)
    assert [(state.job, state.status) for state in memory.list()] == [("first", "cancelled")]


@pytest.fixture
def memory() -> Tracker:
    """States in this process."""
    return Tracker("memory://")
