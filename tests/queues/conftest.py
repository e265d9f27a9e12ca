"""A queue's driver, its server, and its workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from job_progress import Job, JobState
from tests.environments import HERE
from tests.queues.driver import Driver, Point, Worker
from tests.queues.results import mark
from tests.servers.process import free_port
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

DRIVERS = (
    "apscheduler.APScheduler",
    "arq.Arq",
    "celery.Celery",
    "django_tasks.DjangoTasks",
    "django_tasks.DjangoTasksOfDjango6",
    "dramatiq.Dramatiq",
    "futures.Asyncio",
    "futures.Futures",
    "huey.Huey",
    "procrastinate.Procrastinate",
    "rq.RQ",
    "saq.SAQ",
    "taskiq.Taskiq",
    "taskiq.TaskiqAsync",
)
"""Modules in `drivers`, and the classes in them."""
BUSY = 60.0
"""Seconds that a worker may take to get to a task, on a machine that is busy with others."""


def driver_class(name: str) -> type[Driver]:
    """The class called *name* in `DRIVERS`."""
    module, _, attribute = name.rpartition(".")
    found: type[Driver] = getattr(import_module(f"tests.queues.drivers.{module}"), attribute)
    return found


QUEUES = {found.name: found for found in map(driver_class, DRIVERS) if found.environment == HERE}
"""Those of this environment."""
POOLS = [(name, pool) for name, found in QUEUES.items() for pool in found.pools]


def point(number: Point) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test shows this point of the contract."""
    return pytest.mark.point(number)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of `queue` runs once for each queue, one of `pool` for each kind of worker."""
    if "pool" in signature(metafunc.function).parameters:
        metafunc.parametrize(
            ("queue_name", "pool"), POOLS, ids=[f"{name}-{pool}" for name, pool in POOLS], scope="session"
        )
    elif "queue_name" in metafunc.fixturenames:
        metafunc.parametrize("queue_name", list(QUEUES), scope="session")


@pytest.fixture(autouse=True)
def _only_what_the_queue_can(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("point")
    if marker is not None and "queue_name" in request.fixturenames:
        name: str = request.getfixturevalue("queue_name")
        mark(request, name, marker.args[0])
        cannot = QUEUES[name].cannot
        why = cannot.get(marker.args[0]) or cannot.get(request.function.__name__)
        if why is not None:
            pytest.skip(f"the queue cannot: {why}")


@pytest.fixture(scope="session")
def states(session_folder: Path) -> Iterator[ValkeyServer]:
    """Where the states of all queues live, apart from the queues themselves."""
    with ValkeyServer(session_folder / "states") as server:
        os.environ["QUEUE_TESTS_STORE"] = server.url
        yield server


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder for servers and logs."""
    with TemporaryDirectory(prefix="queues-") as folder:
        (Path(folder) / "states").mkdir()
        yield Path(folder)


class Brokers:
    """A Valkey server for each queue that was asked for, and what that queue needs in the test's process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._drivers: dict[str, Driver] = {}
        self._servers: dict[str, ValkeyServer] = {}
        self._workers: dict[tuple[str, str], Worker] = {}

    def driver(self, name: str) -> Driver:
        """The driver of a queue."""
        if name not in self._drivers:
            place = self._folder / name.replace(" ", "-")
            place.mkdir()
            server = self._servers[name] = self._stack.enter_context(ValkeyServer(place))
            driver = self._drivers[name] = QUEUES[name](server.url)
            self._stack.callback(driver.close)
        return self._drivers[name]

    def server(self, name: str) -> ValkeyServer:
        """The server of a queue that was asked for."""
        return self._servers[name]

    def worker(self, name: str, pool: str) -> Worker:
        """The worker of a queue that tests share, as long as none of them kills it. It works alone."""
        if (name, pool) not in self._workers:
            self.end_workers(name)
            worker = self.driver(name).worker(self._folder / f"{name}-{pool}.log", pool)
            self._workers[name, pool] = self._stack.enter_context(worker)
        return self._workers[name, pool]

    def end_workers(self, name: str) -> None:
        """Leave a queue without any."""
        for key in [key for key in self._workers if key[0] == name]:
            self._workers.pop(key).kill()

    def workers(self, name: str) -> list[Worker]:
        """The shared ones of a queue."""
        return [worker for key, worker in self._workers.items() if key[0] == name]

    def close(self) -> None:
        """End all."""
        self._stack.close()


@pytest.fixture(scope="session")
def brokers(session_folder: Path, states: ValkeyServer) -> Iterator[Brokers]:
    """The servers of all queues."""
    brokers = Brokers(session_folder)
    yield brokers
    brokers.close()


class Queue:
    """A queue in the hands of a test."""

    def __init__(self, driver: Driver, brokers: Brokers, pool: str, folder: Path) -> None:
        self.driver = driver
        self.pool = pool
        self.folder = folder
        self._brokers = brokers
        self._stack = ExitStack()

    def job(self, name: str) -> Job:
        """The job behind one of the driver's functions."""
        return Job.of(getattr(self.driver.jobs, name))

    def work(self) -> Worker:
        """Have a worker, the one that tests share."""
        return self._brokers.worker(self.driver.name, self.pool)

    def stop_working(self) -> None:
        """Have no worker."""
        self._brokers.end_workers(self.driver.name)

    def worker_of_its_own(self, **environment: str) -> Worker:
        """Have a worker that the test may kill, and no other."""
        self.stop_working()
        log = self.folder / f"worker-{len(list(self.folder.glob('worker-*')))}.log"
        return self._stack.enter_context(self.driver.worker(log, self.pool, **environment))

    def send(self, job: str, *args: Any, retries: int = 0) -> str:
        """Enqueue a job; `...` among the arguments stands for the test's folder."""
        return self.driver.send(job, *(str(self.folder) if arg is ... else arg for arg in args), retries=retries)

    def state(self, job: str, id: str) -> JobState | None:
        """The state of an execution, if there is one."""
        return self.job(job).get(id)

    def becomes(self, job: str, id: str, condition: Callable[[JobState], object]) -> JobState:
        """Wait until a state is as wanted; a worker that is not to its liking tells why."""

        def seen() -> JobState | None:
            state = self.state(job, id)
            return state if state is not None and condition(state) else None

        with self.explained():
            found = eventually(seen, BUSY)
        assert found is not None
        return found

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What is waited for in vain inside is told with what the workers said."""
        try:
            yield
        except AssertionError as error:
            logs = [worker.log()[-3000:] for worker in self._brokers.workers(self.driver.name)]
            logs += [log.read_text(errors="replace")[-3000:] for log in self.folder.glob("worker-*")]
            states = [repr(state) for state in self.job("wait").tracker.list(limit=5)]
            raise AssertionError("\n".join([str(error), *states, *logs])) from None

    def has(self, name: str) -> bool:
        """Has a job left this file in the test's folder?"""
        return (self.folder / name).exists()

    def sees(self, name: str) -> None:
        """Wait until a job has left this file."""
        with self.explained():
            eventually(lambda: self.has(name), BUSY)

    def outcome(self, id: str) -> str:
        """Wait for what the queue makes of a task."""
        with self.explained():
            outcome = eventually(lambda: self.driver.outcome(id), BUSY)
        assert outcome is not None
        return outcome

    def go(self) -> None:
        """Let the jobs go on that wait for it."""
        (self.folder / "go").touch()

    def close(self) -> None:
        """End what is the test's own."""
        self.go()
        self._stack.close()


@pytest.fixture
def pool(queue_name: str) -> str:
    """The usual kind of worker, unless the test asks for each."""
    return QUEUES[queue_name].pools[0]


@pytest.fixture
def unreachable() -> str:
    """The URL of a store where nobody answers."""
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
def queue(queue_name: str, pool: str, brokers: Brokers, tmp_path: Path) -> Iterator[Queue]:
    """A queue, and no worker yet."""
    queue = Queue(brokers.driver(queue_name), brokers, pool, tmp_path)
    yield queue
    queue.close()
