"""celery-progress's own script, unchanged, in a real browser, with a real worker of Celery behind it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery_progress
import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Mount, Route

from job_progress import Tracker
from job_progress.compat.celery_progress import create_app
from job_progress.web import allow_all
from tests.compat import celery_tasks
from tests.queues.driver import Worker
from tests.servers.valkey import ValkeyServer
from tests.web.browser.conftest import NewPage, browser, console, new_page
from tests.web.faces import serving_asgi

__all__ = ["browser", "console", "new_page"]

SCRIPT = Path(celery_progress.__file__).parent / "static/celery_progress/celery_progress.js"
PAGE = """<!doctype html>
<html lang="en"><title>A page of somebody who uses celery-progress</title><link rel="icon" href="data:,">
<div class='progress-wrapper'>
  <div id='progress-bar' class='progress-bar' style="background-color: #68a9ef; width: 0%;">&nbsp;</div>
</div>
<div id="progress-bar-message">Waiting for progress to start...</div>
{result}
<script src="/static/celery_progress.js"></script>
<script>
document.addEventListener("DOMContentLoaded", function () {{
  CeleryProgressBar.initProgressBar("/celery-progress/{id}/", {{pollInterval: 50}});
}});
</script></html>
"""
RED, GREEN, BLUE = "rgb(220, 79, 99)", "rgb(118, 206, 96)", "rgb(104, 169, 239)"
JOBS = [celery_tasks.count, celery_tasks.fail, celery_tasks.again]


async def script(request: Request) -> FileResponse:
    """The script as the package has it."""
    return FileResponse(SCRIPT, media_type="text/javascript")


async def page(request: Request) -> HTMLResponse:
    """The page of a task, after celery-progress's own example; with `?result`, it has a place for the result."""
    result = '<div id="celery-result"></div>' if "result" in request.query_params else ""
    return HTMLResponse(PAGE.format(id=request.path_params["id"], result=result))


@dataclass
class Server:
    """What the browser asks.

    Attributes:
        url: Its address.
        store: Where the states are that it serves.
        tracker: What reads them.
    """

    url: str
    store: str
    tracker: Tracker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that shows all to anybody, as celery-progress does."""
    store = f"sqlite:///{tmp_path_factory.mktemp('compat')}/states.db"
    tracker = Tracker(store)
    routes = [
        Route("/static/celery_progress.js", script),
        Mount("/celery-progress", create_app(allow_all, jobs=JOBS, tracker=tracker)),
        Route("/{id}", page),
    ]
    with serving_asgi(Starlette(routes=routes)) as url:
        yield Server(url, store, tracker)
    tracker.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server of its own, as others empty the one that they share."""
    with ValkeyServer(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.url


@pytest.fixture(scope="module")
def _worker(server: Server, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker of Celery's with four processes, as the tasks wait for the tests."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency", "4"]
    command = [sys.executable, "-m", "celery", "--app", "tests.compat.celery_tasks", "worker", *quiet]
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(command, log, {"COMPAT_BROKER": broker, "COMPAT_STORE": server.store}) as worker:
        yield worker


class Task:
    """A task in the hands of a test, and the page that shows it."""

    def __init__(self, task: Any, broker: str, folder: Path, new_page: NewPage, query: str) -> None:
        self._folder = folder
        with task.app.connection_for_write(broker) as connection:
            self.id: str = task.apply_async((str(folder),), connection=connection).id
        self.page: Page = new_page(f"/{self.id}{query}")
        self.bar = self.page.locator("#progress-bar")
        self.message = self.page.locator("#progress-bar-message")
        self.result = self.page.locator("#celery-result")

    def goes_on(self, name: str) -> None:
        """Have it go on to its next step."""
        (self._folder / name).touch()

    def looks(self, colour: str, width: str) -> None:
        """Wait until the bar looks so."""
        expect(self.bar).to_have_css("background-color", colour)
        expect(self.bar).to_have_attribute("style", re.compile(f"; width: {width};$"))


@pytest.fixture
def send(_worker: Worker, broker: str, tmp_path: Path, new_page: NewPage) -> Any:
    """Sends a task, and opens its page."""

    def send(task: Any, query: str = "") -> Task:
        return Task(task, broker, tmp_path, new_page, query)

    return send


def test_a_task_that_runs_and_succeeds(send: Any) -> None:
    """It waits, starts, moves with its items and description, and ends with its result."""
    task = send(celery_tasks.count)
    expect(task.message).to_have_text("Task started...")
    task.looks(BLUE, "0%")
    task.goes_on("begin")
    expect(task.message).to_have_text("3 of 10 processed. hoses")
    task.looks(BLUE, "30%")
    task.goes_on("go on")
    expect(task.message).to_have_text("7 of 10 processed. ")
    task.looks(BLUE, "70%")
    task.goes_on("end")
    expect(task.message).to_have_text("Success! 45")
    task.looks(GREEN, "100%")


def test_a_place_for_the_result(send: Any) -> None:
    """It is filled, and the message does without."""
    task = send(celery_tasks.count, "?result")
    for name in ("begin", "go on", "end"):
        task.goes_on(name)
    expect(task.result).to_have_text("45")
    expect(task.message).to_have_text("Success! ")


def test_a_task_that_waits(new_page: NewPage) -> None:
    """Of what nobody knows the script says that it waits, and it goes on asking."""
    page = new_page("/unknown")
    expect(page.locator("#progress-bar-message")).to_have_text("Waiting for task to start...")
    with page.expect_response("**/celery-progress/unknown/"):
        pass


def test_a_task_that_fails(send: Any) -> None:
    """The bar is red, and the error is said."""
    task = send(celery_tasks.fail)
    expect(task.message).to_have_text("Uh-Oh, something went wrong! ValueError: no hoses here")
    task.looks(RED, "100%")


def test_a_task_that_is_retried(send: Any) -> None:
    """The last error is shown until it comes again, and the script goes on to its end."""
    task = send(celery_tasks.again)
    expect(task.message).to_have_text("Retrying after Unknowns: TimeoutError: the supplier does not answer...")
    task.looks(RED, "100%")
    task.goes_on("again")
    expect(task.message).to_have_text("Task started...")
    task.looks(BLUE, "0%")
    task.goes_on("answer")
    expect(task.message).to_have_text("Success! answered")
    task.looks(GREEN, "100%")


def test_a_task_that_is_cancelled(send: Any, server: Server) -> None:
    """It stops, and the script says so, and asks no more."""
    task = send(celery_tasks.count)
    task.goes_on("begin")
    expect(task.message).to_have_text("3 of 10 processed. hoses")
    server.tracker.cancel("tests.compat.celery_tasks.count", task.id)
    expect(task.message).to_have_text("Uh-Oh, something went wrong! Task cancelled")
    task.looks(RED, "100%")
