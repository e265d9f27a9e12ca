"""The web server of the browser tests, in a process of its own: `python -m tests.web.browser.server`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from job_progress import Tracker
from job_progress.web import allow_all, create_app
from job_progress.web.asgi import App
from job_progress.web.site import Site
from job_progress.web.ways import InLoop
from tests.servers.process import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'; require-trusted-types-for 'script'"
)
PAGE = """<!doctype html>
<html lang="en"><meta name="color-scheme" content="light dark"><title>A page</title>
<link rel="icon" href="data:,">
<script type="module" src="/progress/static/job-progress.js"></script>
<main></main></html>
"""
STALLED_AFTER = 2.0


class Server:
    """A server on a port of its own, which it keeps when it is started anew."""

    def __init__(self, store: str, log: Path) -> None:
        self.store = store
        self._log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "tests.web.browser.server", self.store, str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        eventually(self._answers, 30)

    def stop(self) -> None:
        """Have it end as an operator does."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def kill(self) -> None:
        """End it with no chance to say goodbye."""
        self._process.kill()
        self._process.wait()

    def requests(self) -> list[str]:
        """The requests so far, such as `GET /progress/states/work/1 HTTP/1.1`."""
        lines = self._log.read_text().splitlines()
        return [line.split('"')[1] for line in lines if line.count('"') == 2]

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0


class HoldingUp:
    """Stands before an application as a proxy does that passes a stream on when it has ended, and not before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_stream = scope["type"] == "http" and scope["path"].endswith("/events")
        held: list[Message] = []

        async def hold(message: Message) -> None:
            if is_stream:
                held.append(message)
            else:
                await send(message)

        await self._app(scope, receive, hold)
        for message in held:
            await send(message)


class NoStreams(InLoop):
    """As servers work whose threads are too few for streams."""

    streams = False


async def page(request: Request) -> HTMLResponse:
    """A page with the component and nothing in it, under the strictest policy."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


def serve(store: str, port: int) -> None:
    """Serve the states of *store* until told to end."""
    tracker = Tracker(store, flush_interval=0.02, heartbeat=0.2, stalled_after=STALLED_AFTER)
    progress = create_app(allow_all, tracker=tracker)
    routes = [
        Route("/", page),
        Mount("/progress", progress),
        Mount("/held-up", HoldingUp(progress)),
        Mount("/no-streams", App(Site(allow_all, lambda: tracker, NoStreams(), 100))),
        Mount("/viewers", create_app(lambda request, action, state: action == "view", tracker=tracker)),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="info", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    os.environ.pop("JOB_PROGRESS_STORE", None)
    serve(sys.argv[1], int(sys.argv[2]))
