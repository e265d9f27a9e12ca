"""The examples, each run as its first line says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers.process import free_port
from tests.waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {
    "fastapi_app": ["-m", "uvicorn", "main:app", "--port", "PORT"],
    "flask_app": ["-m", "flask", "--app", "main", "run", "--port", "PORT"],
    "django_app": ["main.py", "runserver", "--noreload", "PORT"],
}


@pytest.fixture(params=list(COMMANDS))
def page(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[httpx.Response]:
    """The page of an example that runs."""
    port = str(free_port())
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    process = subprocess.Popen(
        [sys.executable, *(word.replace("PORT", port) for word in COMMANDS[request.param])],
        cwd=EXAMPLES / request.param,
        env={**environment, "JOB_PROGRESS_STORE": sqlite_url},
        start_new_session=True,
    )

    def answer() -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/", timeout=10)
        except httpx.TransportError:
            return None

    shown = eventually(answer, 30)
    assert shown is not None
    yield shown
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_an_example_has_a_live_bar_that_can_be_cancelled(page: httpx.Response) -> None:
    """The page has the component and its job's address; the job moves, and the button stops it."""
    script = re.search(r'<script type="module" src="([^"]+)"', page.text)
    bar = re.search(r'<job-progress src="([^"]+)"', page.text)
    assert script is not None
    assert bar is not None
    assert httpx.get(page.url.join(script[1])).status_code == 200
    state = page.url.join(bar[1])
    eventually(lambda: httpx.get(state).json()["progress"] > 0)
    assert httpx.get(state).json()["actions"] == ["view", "cancel"]
    assert httpx.post(f"{state}/cancel").status_code == 202
    eventually(lambda: httpx.get(state).json()["status"] == "cancelled")
