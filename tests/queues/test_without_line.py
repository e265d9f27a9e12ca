"""A queue without the line of its integration: what its states are called, and what is said of that.

Each runs in processes of its own: in this one, other tests have put the lines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from job_progress import JobState, Tracker
from tests.queues.conftest import BUSY
from tests.queues.driver import Worker
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually

MISSING = "The line that is missing: "

CELERY = """
import os
from celery import Celery
from job_progress import tracked

app = Celery("plain", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True

@tracked
def within():
    pass

@app.task(name="load")
@tracked
def load():
    within()

@app.task(name="untracked")
def untracked():
    within()

@app.task(name="again", bind=True, max_retries=1)
@tracked
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0)
"""

RQ = """
from job_progress import tracked

@tracked
def within():
    pass

@tracked(store_result=True)
def load():
    within()
    return "loaded"
"""


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    """Where the states live, for the workers too."""
    return Tracker(f"sqlite:///{tmp_path}/states.db")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a process that finds a test's module, and the tracker."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "JOB_PROGRESS_STORE": f"sqlite:///{folder}/states.db", **more}


def ended(tracker: Tracker, job: str, number: int) -> list[JobState]:
    """The states of a job, oldest first, once so many have ended."""

    def those() -> list[JobState]:
        found = [state for state in tracker.list(job) if state.is_finished]
        return found[::-1] if len(found) >= number else []

    found = eventually(those, BUSY)
    assert found
    return found


@pytest.mark.environment("main")
def test_celerys_id_and_one_warning(states: ValkeyServer, tracker: Tracker, tmp_path: Path) -> None:
    """The id is that of the task, for its own function only; a retry is its next attempt; what to add is said once."""
    from celery import Celery

    from tests.queues.drivers.celery import QUIET

    (tmp_path / "plain.py").write_text(CELERY)
    app = Celery(broker=states.url, backend=states.url, set_as_current=False)
    command = [sys.executable, "-m", "celery", "--app", "plain", "worker", *QUIET, "--pool", "solo"]
    log = tmp_path / "worker.log"
    sent = [app.send_task(name) for name in ("load", "load", "again", "untracked")]
    with Worker(command, log, environment(tmp_path, BROKER=states.url), tmp_path):
        loaded = ended(tracker, "load", 2)
        within = ended(tracker, "plain.within", 3)
        [again] = ended(tracker, "again", 1)
        eventually(lambda: tracker.list("again", "completed"), BUSY)
        retried = tracker.get("again", again.id)
    app.close()
    ids = [one.id for one in sent]
    assert {state.id for state in loaded} == set(ids[:2])
    assert retried is not None
    assert (retried.id, retried.attempt) == (ids[2], 2)
    assert not {state.id for state in within} & set(ids)
    text = log.read_text()
    assert text.count(f"{MISSING}install(app) of job_progress.queues.celery") == 1, text


@pytest.mark.environment("main")
def test_rqs_id_and_one_warning_in_a_process(states: ValkeyServer, tracker: Tracker, tmp_path: Path) -> None:
    """The id is that of the job, for its own function only; the same job, enqueued again, runs again."""
    import rq

    (tmp_path / "plain.py").write_text(RQ)
    with states.client() as client:
        queue = rq.Queue("plain", connection=client)
        job = queue.enqueue("plain.load", job_id="load-1")
        command = [sys.executable, "-m", "rq.cli", "worker", "plain", "--url", states.url]
        command += ["--worker-class", "rq.SimpleWorker", "--burst"]
        log = tmp_path / "worker.log"
        with Worker(command, log, environment(tmp_path), tmp_path) as worker:
            assert worker.process.wait(BUSY) == 0
        [first], within = ended(tracker, "plain.load", 1), ended(tracker, "plain.within", 1)
        assert (first.id, first.result, first.attempt) == (job.id, "loaded", 1)
        assert job.id not in [state.id for state in within]
        for _ in range(2):
            queue.enqueue("plain.load", job_id="load-1")
            with Worker(command, tmp_path / "second.log", environment(tmp_path), tmp_path) as worker:
                assert worker.process.wait(BUSY) == 0
    [last] = tracker.list("plain.load")
    assert (last.attempt, last.is_completed) == (1, True)
    assert len(tracker.list("plain.within")) == 3
    assert log.read_text().count(f"{MISSING}Queue of job_progress.queues.rq, and") == 1, log.read_text()


SCRIPTS = {
    "dramatiq": """
import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import CurrentMessage

broker = StubBroker()
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)

@dramatiq.actor(actor_name="import")
@tracked
def load():
    within()

id = load.send().message_id
worker = dramatiq.Worker(broker, worker_timeout=100)
worker.start()
broker.join("default")
worker.join()
worker.stop()
""",
    "taskiq": """
import asyncio
from taskiq import Context, InMemoryBroker, TaskiqDepends

broker = InMemoryBroker(await_inplace=True)

@broker.task(task_name="import")
@tracked
async def load(context: Context = TaskiqDepends()):
    within()

async def main():
    return (await load.kiq()).task_id

id = asyncio.run(main())
""",
    "procrastinate": """
import asyncio
from procrastinate import App
from procrastinate.testing import InMemoryConnector

app = App(connector=InMemoryConnector())

@app.task(name="import", pass_context=True)
@tracked
async def load(context):
    within()

async def main():
    async with app.open_async():
        id = await load.defer_async()
        await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
        return str(id)

id = asyncio.run(main())
""",
    "huey": """
from huey import MemoryHuey

huey = MemoryHuey(immediate=True)

@huey.task(name="import", context=True)
@tracked
def load(task=None):
    within()

id = load().id
""",
    "django": """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django_tasks"], TASKS={"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}
)
django.setup()
from django_tasks import task

@tracked(name="import")
def load(context):
    within()

import sys
this = sys.modules["__main__"]
this.load = task(takes_context=True)(load)
id = this.load.enqueue().id
""",
    "arq": """
import asyncio, os
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

@tracked(name="import")  # what it is called to arq is not known without the integration
async def load(ctx):
    within()

@tracked
async def inner(ctx):
    pass

async def untracked(ctx):
    await inner(ctx)

async def main():
    redis = await create_pool(RedisSettings.from_dsn(os.environ["BROKER"]))
    await redis.flushdb()
    job = await redis.enqueue_job("load")
    await redis.enqueue_job("untracked")
    await Worker([load, untracked], redis_pool=redis, burst=True, poll_delay=0.01, handle_signals=False).main()
    await redis.aclose()
    return job.job_id

id = asyncio.run(main())
""",
    "saq": """
import asyncio, os
from saq import Queue, Worker

@tracked
async def load(ctx):
    within()

@tracked
def inner(ctx):
    pass

async def untracked(ctx):
    inner(ctx)

async def main():
    queue = Queue.from_url(os.environ["BROKER"])
    await queue.connect()
    await queue.redis.flushdb()
    job = await queue.enqueue("import")
    other = await queue.enqueue("untracked")
    worker = Worker(queue, [("import", load), untracked], dequeue_timeout=0.2)
    running = asyncio.create_task(worker.start())
    for each in (other, job):
        await each.refresh(until_complete=30)
    await worker.stop()
    await asyncio.wait([running], timeout=10)
    await queue.disconnect()
    return job.key

id = asyncio.run(main())
""",
}
"""For each queue that can be asked: a program that runs a task `import`, and has its id."""
BEGINNING = """
from job_progress import tracked

@tracked
def within():
    pass
"""
END = """
import json
from job_progress.default import default_tracker

states = [(state.job, state.id) for state in default_tracker().list()]
print(json.dumps([id, states]))
"""
LINES = {
    "dramatiq": "ProgressMiddleware() of job_progress.queues.dramatiq",
    "taskiq": "ProgressMiddleware() of job_progress.queues.taskiq",
    "procrastinate": "install(app) of job_progress.queues.procrastinate",
    "huey": "install(huey) of job_progress.queues.huey",
    "django": '"job_progress.queues.django_tasks" in INSTALLED_APPS',
    "arq": "on_startup of job_progress.queues.arq",
    "saq": "install(settings) of job_progress.queues.saq",
}


@pytest.mark.parametrize(
    "queue",
    [
        pytest.param(queue, marks=pytest.mark.environment(queue if queue in ("arq", "saq") else "main"))
        for queue in SCRIPTS
    ],
)
def test_a_queue_that_can_be_asked_tells_the_id(queue: str, states: ValkeyServer, tmp_path: Path) -> None:
    """Where the function is handed what tells it, or a middleware of the queue's own does; what to add is said once."""
    id, found, said = run(BEGINNING + SCRIPTS[queue] + END, tmp_path, BROKER=states.url.replace("/0", "/9"))
    assert [job_id for job, job_id in found if job == "import"] == [id]
    assert [job for job, job_id in found if job_id == id] == ["import"]
    assert said.count(MISSING + LINES[queue]) == 1, said


@pytest.mark.environment("main")
def test_nobody_is_asked_without_a_queue(tmp_path: Path) -> None:
    """No queue is imported for it, and nothing is said."""
    text = BEGINNING + "import sys\nwithin()\nid = [name for name in sys.modules if name in sys.argv[1:]]\n" + END
    queues = ["celery", "rq", "dramatiq", "arq", "saq", "taskiq", "procrastinate", "huey", "django"]
    id, found, said = run(text, tmp_path, *queues)
    assert (id, len(found), said) == ([], 1, "")


def run(text: str, folder: Path, *arguments: str, **more: str) -> tuple[Any, list[list[str]], str]:
    """What a program says at last: an id, and the states; and what it has said to the terminal."""
    (folder / "program.py").write_text(text)
    command = [sys.executable, str(folder / "program.py"), *arguments]
    variables = {**os.environ, **environment(folder, **more)}
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=BUSY)
    assert result.returncode == 0, result.stderr
    id, states = json.loads(result.stdout.splitlines()[-1])
    return id, states, result.stderr
