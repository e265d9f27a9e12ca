"""The applications among the examples: a queue and a site, started by one command, and driven in the browser.

Each is a folder with a `main.py`: `python main.py PORT` starts a server for the queue, a worker and the site, and
Ctrl-C ends them all. Its page has a bar, or a button "Start" that leads to one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import expect

from tests.queues.driver import ROOT
from tests.servers.process import free_port
from tests.waiting import eventually
from tests.web.browser.conftest import NewPage, browser, console, new_page, part, server

__all__ = ["browser", "console", "new_page", "server"]  # fixtures

APPLICATIONS = ("celery_django", "rq_flask", "taskiq_fastapi")
"""Folders in `examples`."""
BUSY = 60.0


class Application:
    """One that runs, in a session of its own, as from a terminal."""

    def __init__(self, name: str, log: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "main.py", str(self.port)],
                cwd=ROOT / "examples" / name,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self._seen = {self.process.pid}

    def answers(self) -> bool:
        """Is its page there?"""
        assert self.process.poll() is None, self.log()
        with suppress(httpx.TransportError):
            return httpx.get(self.url, timeout=10).is_success
        return False

    def processes(self) -> set[int]:
        """All that it has started and that live, in whichever session."""
        processes = [process.info for process in psutil.process_iter(["pid", "ppid", "status"])]
        parents = {one["pid"]: one["ppid"] for one in processes if one["status"] != psutil.STATUS_ZOMBIE}
        while new := {process for process, parent in parents.items() if parent in self._seen} - self._seen:
            self._seen |= new
        return self._seen & parents.keys()

    def log(self) -> str:
        """What it and all that it started have said."""
        return self._log.read_text(errors="replace")[-5000:]

    def kill(self) -> None:
        """End it and all that it has started."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(params=APPLICATIONS)
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    """One that has been started by its command."""
    unset = ("DJANGO_SETTINGS_MODULE", "JOB_PROGRESS_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    application = Application(request.param, tmp_path / "log", environment | {"PYTHONUNBUFFERED": "1"})
    try:
        eventually(application.answers, BUSY)
        yield application
    finally:
        application.kill()


def test_an_application_is_live_and_ends_with_all_that_it_started(application: Application, new_page: NewPage) -> None:
    """The bar moves, its button stops the task, the browser has nothing to complain of, and Ctrl-C leaves nobody."""
    page = new_page(url=application.url)
    start = page.get_by_role("button", name="Start")
    if start.count():
        start.click()
    bar = page.locator("job-progress")
    expect(part(bar, "percent")).to_be_visible(timeout=BUSY * 1000)
    before = part(bar, "percent").inner_text()
    expect(part(bar, "percent")).not_to_have_text(before, timeout=BUSY * 1000)
    bar.get_by_role("button", name="Cancel").click()
    expect(part(bar, "status")).to_have_text("Cancelled")
    assert len(application.processes()) > 2
    os.killpg(application.process.pid, signal.SIGINT)  # as a terminal does
    eventually(lambda: not application.processes(), BUSY)
    assert application.process.wait() == 0, application.log()
