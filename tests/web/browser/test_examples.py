"""The examples, each run as its first line says, and driven in the browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.servers.process import free_port
from tests.waiting import eventually
from tests.web.browser.conftest import NewPage, part

EXAMPLES = Path(__file__).parents[3] / "examples"
COMMANDS = {
    "fastapi_app": ["-m", "uvicorn", "main:app", "--port", "PORT"],
    "flask_app": ["-m", "flask", "--app", "main", "run", "--port", "PORT"],
    "django_app": ["main.py", "runserver", "--noreload", "PORT"],
}


@pytest.fixture(params=list(COMMANDS))
def example(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[str]:
    """The address of an example that runs."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    process = subprocess.Popen(
        [sys.executable, *(word.replace("PORT", str(port)) for word in COMMANDS[request.param])],
        cwd=EXAMPLES / request.param,
        env={**environment, "JOB_PROGRESS_STORE": sqlite_url},
        start_new_session=True,
    )

    def listens() -> bool:
        assert process.poll() is None
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens, 60)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_an_example_has_a_live_bar_that_can_be_cancelled(example: str, new_page: NewPage) -> None:
    """The page opens, the bar moves, its button stops the job, and the browser has nothing to complain of."""
    page = new_page(url=example)
    bar = page.locator("job-progress")
    expect(part(bar, "message")).to_have_text("Counting")
    before = part(bar, "percent").inner_text()
    expect(part(bar, "percent")).not_to_have_text(before)
    bar.get_by_role("button", name="Cancel").click()
    expect(part(bar, "status")).to_have_text("Cancelled")
