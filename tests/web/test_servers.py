"""The servers that people have, each in a process of its own: it is live, it cancels, and it stops while watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import httpx
import pytest

from job_progress import Tracker
from job_progress.job import Job
from job_progress.web import Links
from job_progress.web.links import SignedLinks
from tests.servers.process import free_port
from tests.waiting import eventually
from tests.web.faces import SECRET, django_links

ASGI, WSGI = "tests.web.serving:asgi", "tests.web.serving:wsgi"
DJANGO_ASGI, DJANGO_WSGI = "tests.web.serving_django:asgi", "tests.web.serving_django:wsgi"
GUNICORN = "gunicorn -b 127.0.0.1:{port}"
COMMANDS = {
    "uvicorn": f"uvicorn --port {{port}} {ASGI}",
    "uvicorn, signal wrapped": "uvicorn --port {port} tests.web.serving:wrapping",
    "uvicorn, Django": f"uvicorn --port {{port}} {DJANGO_ASGI}",
    "gunicorn sync": f"{GUNICORN} {WSGI}",
    "gunicorn gthread": f"{GUNICORN} --threads 20 {WSGI}",
    "gunicorn gthread, Django": f"{GUNICORN} --threads 20 {DJANGO_WSGI}",
    "gunicorn gevent": f"{GUNICORN} -k gevent {WSGI}",
    "gunicorn asgi": f"{GUNICORN} -k asgi {ASGI}",
    "gunicorn uvicorn": f"{GUNICORN} -k uvicorn_worker.UvicornWorker {ASGI}",
    "gunicorn uvicorn, Django": f"{GUNICORN} -k uvicorn_worker.UvicornWorker {DJANGO_ASGI}",
    "hypercorn": f"hypercorn -b 127.0.0.1:{{port}} {ASGI}",
    "granian": f"granian --interface asgi --port {{port}} --workers-kill-timeout 3 {ASGI}",
    "daphne": f"daphne -p {{port}} {ASGI}",
    "waitress": f"waitress --listen=127.0.0.1:{{port}} {WSGI}",
    "flask run": f"flask --app {WSGI} run --port {{port}}",
    "runserver": "django runserver 127.0.0.1:{port} --noreload",
}
OTHER_ENDS = {
    "uvicorn --limit-max-requests": (f"uvicorn --port {{port}} --limit-max-requests 20 {ASGI}", "requests"),
    "uvicorn in a thread": ("tests.web.serving {port}", "line"),
    "gunicorn --max-requests": (f"{GUNICORN} --threads 20 --max-requests 20 {WSGI}", "requests"),
}
WATCHERS = 10


class Server(NamedTuple):
    """A server that answers."""

    process: subprocess.Popen[bytes]
    base: str
    links: SignedLinks


Serve = Callable[[str], Server]


@pytest.fixture
def serve(sqlite_url: str, tmp_path: Path) -> Iterator[Serve]:
    """Starts servers by their commands, with the ids "7" and "8" of the job "a" in their store."""
    tracker = Tracker(sqlite_url)
    for id in ("7", "8"):
        Job("a", tracker=tracker).lock(id)
    with ExitStack() as stack:
        stack.callback(tracker.close)
        yield lambda command: stack.enter_context(_serving(command, sqlite_url, tmp_path / "log"))


@contextmanager
def _serving(command: str, url: str, log: Path) -> Iterator[Server]:
    port = free_port()
    is_django = "django" in command
    environment = os.environ | {"JOB_PROGRESS_STORE": url, "DJANGO_SETTINGS_MODULE": "tests.web.serving_settings"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.format(port=port).split()],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    base = f"http://127.0.0.1:{port}/jobs/"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{base}static/job-progress.js").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(answers, 30)
        yield Server(process, base, django_links() if is_django else Links(SECRET))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Inside, ten viewers, whom no share limits, hold what this server lets them: streams, and answers held back."""
    path, asked = f"{server.base}states/a/7", {"X-User": "admin", "Accept": "application/json"}
    started: list[int] = []

    def stream() -> None:
        with suppress(httpx.TransportError), httpx.stream("GET", f"{path}/events", headers=asked, timeout=60) as stream:
            pieces = stream.iter_bytes()
            next(pieces)
            started.append(stream.status_code)
            deque(pieces, maxlen=0)

    def poll() -> None:
        with suppress(httpx.TransportError), httpx.Client(headers=asked, timeout=60) as client:
            version = client.get(path).json()["version"]
            started.append(version)
            client.get(f"{path}?wait=30&after_version={version}")

    threads = [Thread(target=(stream, poll)[number % 2], daemon=True) for number in range(WATCHERS)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(started) >= WATCHERS, 30)
    yield
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def cancels_live(server: Server) -> None:
    """Whoever watches by a link sees at once that somebody cancels by it."""
    path = server.base + server.links.path("a", "8", actions={"view", "cancel"})
    with httpx.stream("GET", f"{path}/events", timeout=30) as stream:
        if stream.status_code == 200:
            lines = stream.iter_lines()
            assert any('"status":"pending"' in line for line in lines)
            assert httpx.post(f"{path}/cancel", timeout=30).status_code == 202
            assert any('"status":"cancelled"' in line for line in lines)
            assert any(line == "event: end" for line in lines)
            return
    assert httpx.post(f"{path}/cancel", timeout=30).status_code == 202
    assert httpx.get(path, headers={"Accept": "application/json"}, timeout=30).json()["status"] == "cancelled"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_watched_server_stops(serve: Serve, name: str) -> None:
    """It is live, and cancels; after SIGTERM it is gone within seconds, and so is everything that was held open."""
    server = serve(COMMANDS[name])
    cancels_live(server)
    with watched(server):
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)


def test_a_watched_server_stops_at_ctrl_c(serve: Serve) -> None:
    """As at SIGTERM."""
    server = serve(COMMANDS["uvicorn"])
    with watched(server):
        server.process.send_signal(signal.SIGINT)
        server.process.wait(10)


@pytest.mark.parametrize("name", OTHER_ENDS)
def test_a_watched_server_stops_for_another_reason(serve: Serve, name: str) -> None:
    """It had its number of requests, or its program told it: nobody who watches keeps it."""
    command, reason = OTHER_ENDS[name]
    server = serve(command)
    with watched(server):
        if reason == "line":
            assert server.process.stdin
            server.process.stdin.write(b"stop\n")
            server.process.stdin.flush()
        else:
            for _ in range(20):
                with suppress(httpx.TransportError):
                    httpx.get(f"{server.base}static/job-progress.js", timeout=5)
    if not name.startswith("gunicorn"):  # which starts another worker
        server.process.wait(10)


@pytest.mark.parametrize(
    "command",
    [COMMANDS["waitress"], f"{GUNICORN} --threads 4 {WSGI}", f"{GUNICORN} --threads 4 {DJANGO_WSGI}"],
    ids=["waitress", "gunicorn --threads 4", "gunicorn --threads 4, Django"],
)
def test_viewers_leave_threads_to_the_site(serve: Serve, command: str) -> None:
    """On a server with four threads, ten viewers do not keep anybody else from being served."""
    server = serve(command)
    with watched(server):
        for _ in range(4):
            assert httpx.get(f"{server.base}static/job-progress.js", timeout=5).status_code == 200
        os.killpg(server.process.pid, signal.SIGKILL)
