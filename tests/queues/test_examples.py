"""Each queue's page and its example are one, and what the page says is run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.queues.conftest import QUEUES
from tests.queues.driver import ROOT, Worker
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.valkey import ValkeyServer

pytestmark = pytest.mark.environment("main", "arq", "django6", "saq")

SLUGS = {name: driver.__module__.rpartition(".")[2] for name, driver in QUEUES.items()}
FILE = "tasks.py"
"""What the pages call the example: under the name that it has here, it would hide the queue's own package."""
SCREEN = 60
"""Lines of a page."""


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of code in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(queue_name: str) -> str:
    """What is said of the queue."""
    return (ROOT / "docs" / "queues" / f"{SLUGS[queue_name]}.md").read_text()


@pytest.fixture
def example(queue_name: str) -> str:
    """The file that goes with it."""
    return (ROOT / "examples" / "queues" / f"{SLUGS[queue_name]}.py").read_text()


@pytest.fixture
def folder(
    queue_name: str, example: str, tmp_path: Path, shared_valkey: ValkeyServer, request: pytest.FixtureRequest
) -> Path:
    """A folder with the example in it, for servers that are a test's."""
    with shared_valkey.client() as client:
        client.flushall()
    (tmp_path / FILE).write_text(at_home(example, shared_valkey, request))
    return tmp_path


def at_home(text: str, valkey: ValkeyServer, request: pytest.FixtureRequest) -> str:
    """*text*, with the ports that servers have in a test."""
    if "localhost:5432" in text:
        server: PostgreSQLServer = request.getfixturevalue("shared_postgresql")
        text = text.replace("localhost:5432", f"127.0.0.1:{server.port}")
    return text.replace("localhost:6379", f"127.0.0.1:{valkey.port}")


def test_the_page_shows_the_example_and_fits_on_a_screen(page: str, example: str) -> None:
    """To the letter."""
    assert blocks(page, "python") == [example]
    assert len(page.splitlines()) <= SCREEN


def test_the_page_works_as_pasted(
    page: str, folder: Path, queue_name: str, shared_valkey: ValkeyServer, request: pytest.FixtureRequest
) -> None:
    """What is installed is an extra that exists; the worker starts, and the example's job completes."""
    commands = [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    install, *others, run = [at_home(command, shared_valkey, request) for command in commands]
    for extra in re.findall(r"job-progress\[([\w-]+)[],]", install):
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JOB_PROGRESS_STORE": f"sqlite:///{folder}/states.db",
        "PYTHONPATH": str(folder),
    }
    *preparations, worker = others or [""]
    for command in preparations:
        subprocess.run(shlex.split(command), cwd=folder, env=environment, check=True, timeout=60)
    with ExitStack() as stack:
        if worker:
            log = folder / "worker.log"
            stack.enter_context(Worker(shlex.split(worker), log, environment, folder))
        ran = subprocess.run(
            shlex.split(run), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=90
        )
        said = (folder / "worker.log").read_text(errors="replace")[-3000:] if worker else ""
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{said}"
    assert ran.stdout.splitlines()[-1].startswith("completed: "), f"{ran.stdout}\n{said}"
