"""What a job is called that says no name itself: what its user calls the task to the queue, or `module.qualname`."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Barrier, Thread
from types import ModuleType
from typing import Any

import pytest

from job_progress import Job, Tracker, tracked
from job_progress.claims import claimed
from job_progress.given_names import NamedFunction
from job_progress.testing import isolated_tracker, run_job
from tests.environments import HERE

pytestmark = [pytest.mark.environment("main", "arq", "saq"), pytest.mark.usefixtures("job_progress_tracker")]

DECORATORS = {
    # Not shared with the application of the other module.
    "celery": (
        """from functools import partial
from celery import Celery
make = partial(Celery("shop", set_as_current=False).task, shared=False)""",
        "name",
    ),
    "dramatiq": (
        """from functools import partial
from dramatiq import actor
from dramatiq.brokers.stub import StubBroker
make = partial(actor, broker=StubBroker())""",
        "actor_name",
    ),
    "huey": (
        """from huey import MemoryHuey
huey = MemoryHuey()
make = huey.task""",
        "name",
    ),
    "taskiq": (
        """from taskiq import InMemoryBroker
make = InMemoryBroker().task""",
        "task_name",
    ),
    "procrastinate": (
        """from procrastinate import App
from procrastinate.testing import InMemoryConnector
make = App(connector=InMemoryConnector()).task""",
        "name",
    ),
}
"""For each queue with a decorator: what makes it, and what it calls the name."""
if HERE == "arq":
    DECORATORS = {
        "arq": (
            """from arq.worker import func
def make(**more):
    return lambda f: func(f, **more)""",
            "name",
        )
    }

MODULE = """
from job_progress import tracked

{make}

jobs = []

def keep(function):
    jobs.append(function.job)
    return function

@make({named})
@keep
@tracked
{is_async}def load():
    pass
"""

Import = Callable[[str, str], tuple[ModuleType, ModuleType]]


@pytest.fixture
def imported_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Import:
    """Makes a module, and gives it as `pkg.tasks` and as `tasks`, as two processes would import it."""

    def make(queue: str, named: str) -> tuple[ModuleType, ModuleType]:
        # No two tests may find each other's in `sys.modules`.
        unique = f"{queue.replace(' ', '_')}_{tmp_path.name}"
        package = tmp_path / f"pkg_{unique}"
        package.mkdir()
        make, word = DECORATORS[queue]
        filled = f"{word}={named!r}" if named else ""
        text = MODULE.format(make=make, named=filled, is_async="async " if queue in ("arq", "taskiq") else "")
        (package / f"tasks_{unique}.py").write_text(text)
        monkeypatch.syspath_prepend(package)
        monkeypatch.syspath_prepend(tmp_path)
        return import_module(f"pkg_{unique}.tasks_{unique}"), import_module(f"tasks_{unique}")

    return make


@pytest.mark.environment("main", "arq")
@pytest.mark.parametrize("way", ["of the queue's object", "of the function"])
@pytest.mark.parametrize("queue", DECORATORS)
def test_the_name_that_the_user_gave_the_queue_is_the_jobs(queue: str, way: str, imported_twice: Import) -> None:
    """However the worker and the web process import it, and whether they ask the queue's object or the function."""
    worker, web = imported_twice(queue, f"import {queue} {way}")
    jobs = [Job.of(worker.load), Job.of(web.load)] if way == "of the queue's object" else [*worker.jobs, *web.jobs]
    assert [job.name for job in jobs] == [f"import {queue} {way}"] * 2
    jobs[1].lock("p")
    assert jobs[0].get("p") is not None


@pytest.mark.environment("main", "arq")
@pytest.mark.parametrize("queue", DECORATORS)
def test_a_name_that_the_queue_made_up_does_not_count(queue: str, imported_twice: Import) -> None:
    """Then it is the module's and the function's."""
    for module in imported_twice(queue, ""):
        assert Job.of(module.load).name == f"{module.__name__}.load"


@pytest.mark.environment("main")
def test_a_name_of_its_own_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    """`@tracked(name=…)` keeps the name that a job had before; nobody is warned."""
    from huey import MemoryHuey

    task = MemoryHuey().task(name="short")(tracked(name="as ever")(lambda: None))
    assert Job.of(task).name == "as ever"
    assert not caplog.records


@pytest.mark.environment("main")
def test_celerys_classes_and_shared_tasks_have_names() -> None:
    """A class's own `name` counts, and one that Celery made up does not; of a shared task, too."""
    from celery import Celery, Task, shared_task

    base: Any = Task

    class Import(base):  # type: ignore[misc]
        @tracked
        def run(self) -> None: ...

    class Named(base):  # type: ignore[misc]
        name = "a class's"

        @tracked
        def run(self) -> None: ...

    @tracked
    def shared() -> None: ...

    app = Celery(set_as_current=False)
    assert Job.of(app.register_task(Import())).name.endswith("<locals>.Import.run")
    assert Job.of(app.register_task(Named())).name == "a class's"
    assert Job.of(shared_task(name="a shared one")(shared)).name == "a shared one"


@pytest.mark.environment("main")
def test_the_prefix_of_a_blueprint_is_no_name() -> None:
    """Procrastinate puts it in front of a name that it has made up; in front of a given one it is a part of that."""
    from procrastinate import Blueprint

    blueprint, other = Blueprint(), Blueprint()

    @tracked
    def plain() -> None: ...

    @tracked
    def named() -> None: ...

    tasks = blueprint.task(plain), blueprint.task(name="load")(named)
    other.add_tasks_from(blueprint, namespace="shop")
    assert Job.of(tasks[0]).name.endswith("<locals>.plain")
    assert Job.of(tasks[1]).name == "shop:load"


@pytest.mark.environment("main")
def test_a_function_with_several_names_is_called_by_none(caplog: pytest.LogCaptureFixture) -> None:
    """As processes may meet them in any order: with and without retries, say. Nobody is warned."""
    from functools import partial

    from celery import Celery
    from dramatiq import actor
    from dramatiq.brokers.stub import StubBroker
    from procrastinate import App
    from procrastinate.testing import InMemoryConnector
    from taskiq import InMemoryBroker

    makers: list[tuple[Any, str]] = [
        (partial(Celery(set_as_current=False).task, shared=False, lazy=False), "name"),
        (partial(actor, broker=StubBroker()), "actor_name"),
        (App(connector=InMemoryConnector()).task, "name"),
        (InMemoryBroker().task, "task_name"),
    ]
    for make, word in makers:

        @tracked
        def load() -> None: ...

        objects = [make(**{word: name})(load) for name in ("once", "again")]
        assert {Job.of(one).name for one in objects} == {
            f"{__name__}.{load.__qualname__.replace('__taskiq_original', '')}"
        }
    assert not caplog.records


def test_an_integration_can_say_how_its_queue_calls_a_function() -> None:
    """Where the queue's own object does not tell; a queue's word for the function itself is none."""

    @tracked
    def first() -> None: ...

    @tracked
    def second() -> None: ...

    assert Job.of(NamedFunction("first", first)).name.endswith("<locals>.first")
    assert Job.of(NamedFunction("the second", second)).name == "the second"


def test_a_second_name_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    """A name that was used stays, and so does the first of two that were given: one warning each, not one a call."""

    @tracked
    def used() -> None: ...

    @tracked
    def twice() -> None: ...

    name = used.job.name
    for _ in range(2):
        assert Job.of(NamedFunction("later", used)).name == name
    assert Job.of(NamedFunction("one", twice)) is Job.of(NamedFunction("two", twice))
    assert twice.job.name == "one"
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "is not called 'later', as its queue calls it" in caplog.records[0].getMessage()


def test_threads_that_begin_at_once_use_one_name() -> None:
    """None of them finds the job while another is about to learn its name."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        _use_at_once()
    finally:
        sys.setswitchinterval(before)


def _use_at_once() -> None:
    for number in range(50):
        barrier = Barrier(8)
        names: list[str] = []

        @tracked
        def load() -> None: ...

        named = NamedFunction(f"import {number}", load)

        def use(named: NamedFunction = named, barrier: Barrier = barrier, names: list[str] = names) -> None:
            barrier.wait()
            names.append(Job.of(named).name)

        threads = [Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert names == [f"import {number}"] * 8


def test_a_name_that_cannot_be_a_jobs_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """It is left alone, and a warning says why."""

    @tracked
    def long() -> None: ...

    assert Job.of(NamedFunction("n" * 201, long)).name.endswith("<locals>.long")
    assert "must be 1 to 200 printable characters" in caplog.text


def test_two_functions_of_one_name_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """It is found out when the second is used, in the midst of work, so it is a warning; and the names go free."""

    @tracked
    def first() -> None: ...

    @tracked
    def second() -> None: ...

    for function in (first, second):
        assert Job.of(NamedFunction("shared", function)).name == "shared"
    [record] = caplog.records
    assert "second cannot be the job 'shared': that is" in record.getMessage()

    @tracked(name=f"{__name__}.{first.__qualname__}")
    def third() -> None: ...

    assert third.job.name.endswith("<locals>.first")


def test_all_names_are_known_before_their_first_use(job_progress_tracker: Tracker) -> None:
    """Who looks for an id among all jobs of the process looks under the names that they will have."""
    elsewhere = Tracker("memory://")

    @tracked
    def here() -> None: ...

    @tracked(tracker=elsewhere)
    def there() -> None: ...

    for name, function in (("mine", here), ("its", there)):
        Job.of(NamedFunction(name, function))
    assert claimed(job_progress_tracker) == ["mine"]
    assert claimed(elsewhere) == ["mine", "its"]
    with isolated_tracker() as inner:
        assert claimed(inner) == []


def test_a_job_under_test_has_its_queues_name() -> None:
    """`run_job` takes the queue's object, too."""

    @tracked
    def load() -> str:
        return "ran"

    named = NamedFunction("import", load)
    assert Job.of(named).name == "import"
    assert run_job(load).state.job == "import"


MAIN = """
from multiprocessing import get_context
from job_progress import ProgressJob, tracked

@tracked
def load():
    return load.job.name

class Import(ProgressJob):
    def get_progress_id(self): ...
    def handle_with_progress(self): ...

if __name__ == "__main__":
    print(load(), Import.job.name)
    with get_context("spawn").Pool(1) as pool:
        print(pool.apply(load))
"""
ALONE = MAIN.partition("    with")[0]


@pytest.mark.environment("main")
@pytest.mark.parametrize(
    ("command", "module"),
    [
        (["my-script.py"], "my-script"),
        (["-m", "shop.tasks"], "shop.tasks"),
        (["-m", "shop"], "shop.__main__"),
        (["-c", ALONE], "__main__"),
    ],
)
def test_the_module_that_python_was_started_with_has_its_own_name(
    command: list[str], module: str, tmp_path: Path
) -> None:
    """That under which others import it, in the processes that multiprocessing spawns too; where there is one."""
    (tmp_path / "shop").mkdir()
    for file in ("my-script.py", "shop/tasks.py"):
        (tmp_path / file).write_text(MAIN)
    (tmp_path / "shop" / "__main__.py").write_text(ALONE)  # multiprocessing does not import that once more
    environment = {**os.environ, "JOB_PROGRESS_STORE": f"sqlite:///{tmp_path}/states.db"}
    result = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    words = result.stdout.split()
    assert words[:2] == [f"{module}.load", f"{module}.Import"], result.stderr
    assert words[2:] in ([f"{module}.load"], []), result.stderr
    assert (len(words) == 3) == (command[0] != "-c" and module != "shop.__main__"), result.stderr
