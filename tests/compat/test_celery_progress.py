"""celery-progress's recorder, and its endpoint as anybody may ask it; the browser has a module of its own."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import celery_progress.backend
import httpx
import pytest
from celery import Celery
from celery.exceptions import Retry, TaskRevokedError
from celery.result import AsyncResult
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.test.utils import override_settings
from django.urls import reverse
from starlette.applications import Starlette
from starlette.routing import Mount

from job_progress import Job, Progress, Tracker, current_progress, tracked
from job_progress.compat.celery_progress import ProgressRecorder, create_app
from job_progress.compat.celery_progress.site import answer_about
from job_progress.default import set_default_tracker
from job_progress.state import JobState, JobStatus
from job_progress.task import QueueTask, queue_task
from job_progress.testing import isolated_tracker
from tests.compat import celery_tasks
from tests.compat.conftest import seen
from tests.servers import django_caches
from tests.web.faces import by_header, serving_asgi, serving_wsgi

ADMIN = {"X-User": "admin"}


class Bound:
    """What a bound task is to a recorder of celery-progress."""

    name = "shop.import"
    request = None

    def update_state(self, **_: Any) -> None:
        """Where celery-progress stores what it records."""


class TestRecorder:
    @pytest.mark.parametrize(
        "call", [(3, 10), (3, 10, "hoses"), (0, 0), (5, 0), (1, 3), (2.5, 10), (Decimal("1.5"), 4), (10, 10)]
    )
    def test_it_gives_what_celery_progress_gives(self, call: tuple[Any, ...], progress: Progress) -> None:
        """The same tuple, and the same attributes afterwards."""
        recorders = ProgressRecorder(Bound()), celery_progress.backend.ProgressRecorder(Bound())
        ours, theirs = recorders
        assert ours.set_progress(*call) == theirs.set_progress(*call)
        for recorder in recorders:
            assert recorder.increment_progress() is None
            recorder.increment_progress(by=2, description="more")
        assert (ours.current, ours.total, ours.description) == (theirs.current, theirs.total, theirs.description)

    def test_the_run_shows_it(self, progress: Progress) -> None:
        """Items, progress and message; without a description there is no message, as in its bar."""
        recorder = ProgressRecorder(Bound())
        recorder.set_progress(3, 10, description="hoses")
        assert (*seen(progress), progress.state.message) == (3, 10, 0.3, "hoses")
        recorder.increment_progress(by=2)
        assert (*seen(progress), progress.state.message) == (5, 10, 0.5, "")
        recorder.set_progress(2.5, 10.0)
        assert seen(progress) == (2, 10, 0.25)

    def test_of_an_unknown_total_only_the_items_are_known(self, progress: Progress) -> None:
        """`increment_progress` alone counts, and the progress is unknown."""
        recorder = ProgressRecorder(Bound())
        recorder.increment_progress()
        recorder.increment_progress()
        assert seen(progress) == (2, None, None)

    def test_a_threshold_is_not_passed_by_what_was_before(self, job: Job) -> None:
        """What is current and the total change at once."""
        with Job("threshold", cancellable=0.9, tracker=job.tracker).start("1") as progress:
            recorder = ProgressRecorder(Bound())
            recorder.set_progress(50, 100)
            recorder.set_progress(1, 2)
            recorder.set_progress(0.1, 0.4)
            assert progress.state.can_be_cancelled

    def test_odd_things_do_not_break_the_task(self, progress: Progress) -> None:
        """A description that is no string is made one, and what is no number is not known."""
        recorder: Any = ProgressRecorder(Bound())
        recorder.set_progress(1, 2, description=7)
        assert progress.state.message == "7"
        recorder.set_progress(float("nan"), 2)
        assert seen(progress)[2] is None

    def test_it_works_in_any_thread(self, progress: Progress) -> None:
        """Also in those without the context: the run is that in which it was made."""
        from concurrent.futures import ThreadPoolExecutor

        recorder = ProgressRecorder(Bound())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(recorder.set_progress, 3, 4).result()
        assert seen(progress) == (3, 4, 0.75)

    def test_one_that_is_kept_reports_into_the_run_of_the_moment(self, job: Job) -> None:
        """A task may make its recorder once and for all."""
        with job.start("1"):
            recorder = ProgressRecorder(Bound())
        with job.start("2") as progress:
            recorder.set_progress(1, 2)
            assert seen(progress) == (1, 2, 0.5)

    def test_a_task_that_is_not_tracked_says_so_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """Once, as a worker runs it; it goes on, and whoever calls it plainly hears nothing."""
        with caplog.at_level(logging.WARNING, "job_progress"):
            assert celery_tasks.untracked(4) == 4
            assert caplog.messages == []
            for _ in range(2):
                assert celery_tasks.untracked.apply((4,)).get() == 4
        [message] = caplog.messages
        assert "tests.compat.celery_tasks.untracked" in message
        assert "put @tracked below @app.task(bind=True)" in message

    def test_a_task_whose_id_is_not_known_says_so_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where the queue was not told of the library, the endpoint would never find the task."""
        with isolated_tracker(), caplog.at_level(logging.WARNING, "job_progress"):
            app: Any = Celery("other", set_as_current=False)
            decorate: Callable[..., Callable[[Any], Any]] = app.task

            @decorate(bind=True, name="other.work")
            @tracked(name="other.work")
            def work(self: Any) -> None:
                with queue_task(QueueTask()):
                    inner()

            @tracked(name="other.inner")
            def inner() -> None:
                task = Bound()
                task.request = work.request
                task.name = "other.inner"
                ProgressRecorder(task)

            work.apply().get()
        [message] = caplog.messages
        assert "job_progress.queues.celery.install(app)" in message

    def test_a_tracked_task_of_celery_has_its_id(self) -> None:
        """`@app.task(bind=True)` above `@tracked`: the state is found by the task's id."""
        with isolated_tracker() as tracker, pytest.raises(ValueError, match="no hoses here"):
            celery_tasks.fail.apply(("",), task_id="task-7", throw=True)
        state = tracker.get("tests.compat.celery_tasks.fail", "task-7")
        assert state is not None
        assert (state.completed, state.total, state.error) == (1, 4, "ValueError: no hoses here")


@pytest.fixture
def theirs() -> Callable[..., dict[str, Any]]:
    """What celery-progress answers of a task that Celery has in this state."""
    app = Celery("theirs", backend="cache+memory://", set_as_current=False)

    def answer(state: str, result: Any, traceback: str | None = None) -> dict[str, Any]:
        id = str(uuid4())
        app.backend.store_result(id, result, state, traceback=traceback)
        found: dict[str, Any] = celery_progress.backend.Progress(AsyncResult(id, app=app)).get_info()
        return found

    return answer


class TestAnswers:
    """Each is what celery-progress's own endpoint answers of such a task."""

    def ours(self, **fields: Any) -> dict[str, Any]:
        return answer_about(JobState(job="shop.import", id="7", **fields), fields.get("error"))

    def test_waiting(self, theirs: Any) -> None:
        """One that nobody knows waits, too."""
        assert answer_about(None) == theirs("PENDING", None)
        assert self.ours() == theirs("PENDING", None)

    def test_running(self, theirs: Any) -> None:
        """Counted items, or fractions, or nothing known at all."""
        meta = {"pending": False, "current": 3, "total": 10, "percent": 30.0, "description": "hoses"}
        running = JobStatus.PROCESSING
        assert self.ours(status=running, completed=3, total=10, progress=0.3, message="hoses") == theirs(
            "PROGRESS", meta
        )
        meta = {"pending": False, "current": 2, "total": 0, "percent": 0.0, "description": ""}
        assert self.ours(status=running, completed=2, progress=None) == theirs("PROGRESS", meta)
        meta = {"pending": False, "current": 33.33, "total": 100, "percent": 33.33, "description": ""}
        assert self.ours(status=running, progress=1 / 3) == theirs("PROGRESS", meta)

    def test_just_begun(self, theirs: Any) -> None:
        """To the script it has started, as long as nothing is reported."""
        known = theirs("STARTED", {})["progress"]
        assert self.ours(status=JobStatus.PROCESSING)["progress"] == known | {"description": ""}

    def test_completed(self, theirs: Any) -> None:
        """With its result, which may be nothing."""
        for result in (45, None, {"rows": [1, 2]}):
            assert self.ours(status=JobStatus.COMPLETED, progress=1.0, result=result) == theirs("SUCCESS", result)

    def test_failed(self, theirs: Any) -> None:
        """With its error, whose type ours names as well."""
        ours = self.ours(status=JobStatus.FAILED, error="ValueError: no hoses")
        known = theirs("FAILURE", ValueError("no hoses"))
        assert ours == known | {"result": "ValueError: no hoses"}

    def test_cancelled(self, theirs: Any) -> None:
        """To Celery it is revoked."""
        assert self.ours(status=JobStatus.CANCELLED) == theirs("REVOKED", TaskRevokedError("cancelled"))

    def test_retrying(self, theirs: Any) -> None:
        """With the last error; when it is to come again nobody has said."""
        ours = self.ours(error="TimeoutError: no answer", attempt=1)
        known = theirs("RETRY", Retry("no", TimeoutError("no answer")), "Traceback, in which nothing is said of when")
        assert ours["result"]["message"] == "TimeoutError: no answer..."
        assert ours["result"].keys() == known["result"].keys()
        assert ours["result"]["next_retry_seconds"] == known["result"]["next_retry_seconds"]
        assert ours | {"result": None} == known | {"result": None}


MOUNT = "/celery-progress"


@pytest.fixture(scope="module")
def _bases() -> Iterator[dict[str, str]]:
    """The address of the endpoint in each framework."""
    django_caches.set_up_once()
    with ExitStack() as servers:
        app = Starlette(routes=[Mount(MOUNT, create_app(by_header, jobs=["shop.import", "shop.export"]))])
        servers.enter_context(override_settings(ROOT_URLCONF="tests.compat.django_urls"))
        yield {
            "starlette": servers.enter_context(serving_asgi(app)),
            "django-asgi": servers.enter_context(serving_asgi(get_asgi_application())),
            "django-wsgi": servers.enter_context(serving_wsgi(get_wsgi_application())),
        }


@pytest.fixture
def tracker(sqlite_url: str) -> Iterator[Tracker]:
    """The default tracker, of the test's own."""
    tracker = Tracker(sqlite_url)
    before = set_default_tracker(tracker)
    yield tracker
    set_default_tracker(before)
    tracker.close()


@tracked(name="shop.import")
def shop_import() -> None:
    """A job that this process knows."""


@tracked(name="shop.export", id="number")
def shop_export(number: int) -> None:
    """Another one."""


@pytest.fixture(params=["starlette", "django-asgi", "django-wsgi"])
def client(request: pytest.FixtureRequest, _bases: dict[str, str], tracker: Tracker) -> Iterator[httpx.Client]:
    """Whoever has no name, with each framework in turn."""
    with httpx.Client(base_url=f"{_bases[request.param]}{MOUNT}/", timeout=30) as client:
        yield client


class TestEndpoint:
    def test_the_id_alone_finds_the_task(self, client: httpx.Client) -> None:
        """Of whichever job it is."""
        for job, id in ((shop_import.job, "1b0d3c"), (shop_export.job, "77f2a1")):
            with job.start(id) as progress:
                progress.update_with_steps(1, 4).flush()
                answer = client.get(f"{id}/", headers=ADMIN)
                assert answer.json()["progress"]["current"] == 1
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["content-type"] == "application/json"
            assert client.get(f"{id}/", headers=ADMIN).json()["state"] == "SUCCESS"

    def test_of_an_exception_only_who_may_list_sees_the_text(self, client: httpx.Client) -> None:
        """Of a task that has failed, or waits to be tried again; what was said for people everybody sees."""
        secret = "postgres://shop:hunter2@db/shop"
        retried = QueueTask(will_retry=lambda error: True)
        for job, task in ((shop_import.job, QueueTask()), (shop_export.job, retried)):
            job.lock("8", owner="anna")
            with (
                suppress(ValueError),
                queue_task(task),
                job.start("8"),
            ):
                raise ValueError(secret)
            seen, all_of_it = (client.get("8/", headers=headers) for headers in ({"X-User": "anna"}, ADMIN))
            assert "ValueError" in seen.text
            assert "hunter2" not in seen.text
            assert f"ValueError: {secret}" in all_of_it.text
        shop_import.job.lock("9", owner="anna")
        with shop_import.job.start("9") as progress:
            progress.fail("no hoses")
        assert client.get("9/", headers={"X-User": "anna"}).json()["result"] == "no hoses"

    def test_nobody_is_let_in_without_leave(self, client: httpx.Client) -> None:
        """What is not allowed looks like what is not there; an owner sees what is theirs."""
        shop_import.job.lock("8", owner="anna")
        answers = [client.get(path) for path in ("8/", "9/")]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
        assert client.get("8/", headers={"X-User": "berta"}).status_code == 404
        assert client.get("8/", headers={"X-User": "anna"}).json()["state"] == "PENDING"

    def test_what_nobody_knows_waits(self, client: httpx.Client) -> None:
        """For those who may see all: it may have been sent a moment ago."""
        assert client.get("unknown/", headers=ADMIN).json()["state"] == "PENDING"

    def test_of_two_with_one_id_the_newest_is_shown(self, client: httpx.Client) -> None:
        """As ids of one's own choice may be given twice."""
        shop_import.job.lock("5")
        shop_export(5)
        assert client.get("5/", headers=ADMIN).json()["state"] == "SUCCESS"

    @pytest.mark.parametrize("path", ["", "a" * 300 + "/", "%00/"])
    def test_what_is_no_id_is_not_there(self, path: str, client: httpx.Client) -> None:
        """Whatever is asked."""
        assert client.get(path, headers=ADMIN).status_code == 404

    def test_it_only_shows(self, client: httpx.Client) -> None:
        """Nothing can be done through it."""
        shop_import.job.lock("6")
        assert client.post("6/", headers=ADMIN).status_code in (403, 405)  # Django asks for its own token before
        assert client.head("6/", headers=ADMIN).status_code == 200

    def test_a_store_that_is_away_is_said(self, client: httpx.Client, tracker: Tracker, sqlite_file: Path) -> None:
        """As in the live view."""
        tracker.store.close()
        sqlite_file.unlink(missing_ok=True)
        sqlite_file.mkdir()
        assert client.get("6/", headers=ADMIN).status_code == 503


def test_django_finds_it_by_celery_progress_s_own_name() -> None:
    """Templates with `{% url 'celery_progress:task_status' task_id %}` stay as they are."""
    with override_settings(ROOT_URLCONF="tests.compat.django_urls"):
        address = reverse("celery_progress:task_status", args=["1b0d3c9e-0000-4000-8000-000000000000"])
    assert address == f"{MOUNT}/1b0d3c9e-0000-4000-8000-000000000000/"


@pytest.mark.parametrize("jobs", ["shop.import", [7], [print]])
def test_what_is_no_list_of_jobs_is_refused(jobs: Any) -> None:
    """When the application is made, and not when it is asked."""
    with pytest.raises((TypeError, ValueError)):
        create_app(by_header, jobs=jobs)


def test_tasks_and_functions_name_their_jobs() -> None:
    """Celery's own objects will do, and so will tracked functions."""
    app = create_app(by_header, jobs=[celery_tasks.count, shop_import, "shop.export"])
    assert vars(app.site)["_names"] == ["tests.compat.celery_tasks.count", "shop.import", "shop.export"]


def test_a_rule_is_needed() -> None:
    """Nobody is let in by default."""
    with pytest.raises(TypeError, match="authorize"):
        create_app(None)


def test_nothing_is_reported_outside_of_a_run() -> None:
    """A task's function may be called plainly."""
    assert ProgressRecorder(Bound()).set_progress(1, 2)[0] == "PROGRESS"
    assert current_progress().state.completed is None


def test_a_worker_needs_no_web_framework() -> None:
    """The recorder loads neither Celery nor a framework; the endpoint says what it misses."""
    program = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.startswith("starlette"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="starlette")

sys.meta_path.insert(0, Missing())
from job_progress.compat.celery_progress import ProgressRecorder
assert not {"celery", "django", "celery_progress", "itsdangerous"} & set(sys.modules)
from job_progress.compat.celery_progress import create_app
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'job-progress[web]'" in ran.stderr


def test_a_name_that_is_not_there_is_said_to_be_missing() -> None:
    """The module gives what it has, and nothing else."""
    import job_progress.compat.celery_progress as package

    with pytest.raises(AttributeError, match="no attribute 'Progress'"):
        _ = vars(package)["__getattr__"]("Progress")
