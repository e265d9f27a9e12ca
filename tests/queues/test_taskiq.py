"""What only Taskiq has: dependencies, putting back, timeouts, brokers that deliver again, pools of processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from taskiq import InMemoryBroker, SimpleRetryMiddleware, TaskiqMessage
from taskiq.decor import AsyncTaskiqDecoratedTask

from job_progress import Job, JobState, Tracker, tracked
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
def test_a_function_in_a_thread_outlives_its_timeout(app: App, tmp_path: Path) -> None:
    """Taskiq has given it up, and it goes on: so says the state."""
    id = app.send(app.tasks.block_long, str(tmp_path), timeout=0.1)
    assert app.runner.run(taskiq_error(app, id)) == "TimeoutError"
    state = Job.of(app.tasks.block_long).get(id)
    assert state is not None
    assert state.is_processing
    (tmp_path / "go").touch()
    assert app.ends(app.tasks.block_long, id).is_completed


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


def test_a_retry_is_no_new_task(memory: Tracker) -> None:
    """Cancelled while it waits for its retry, it stays so."""

    @tracked(name="retried", tracker=memory)
    async def function() -> None: ...

    broker = InMemoryBroker()
    broker.add_middlewares(ProgressMiddleware(), SimpleRetryMiddleware())
    broker.register_task(function, "function")
    middleware = broker.middlewares[0]
    assert isinstance(middleware, ProgressMiddleware)
    first = TaskiqMessage(task_id="7", task_name="function", labels={}, args=[], kwargs={})
    again = first.model_copy(update={"labels": {"_retries": "1"}})
    asyncio.run(middleware.pre_send(first))
    memory.cancel("retried", "7")
    asyncio.run(middleware.pre_send(again))
    state = memory.get("retried", "7")
    assert state is not None
    assert state.is_cancelled


@pytest.fixture
def memory() -> Tracker:
    """States in this process."""
    return Tracker("memory://")
