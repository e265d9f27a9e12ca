"""The other process of `web_latency` and `web_watchers`: a server with the live view, or with a bare stream.

The live view is mounted in a Starlette application, as a user's would be. The bare one is what Starlette does
for an event stream and nothing else: one state, no store, no rule, no end. Whoever posts a body to it has all
its watchers be sent that body, as it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from job_progress import Tracker
from job_progress.web import Links, create_app

LINKS = Links(secret="a secret of the benchmarks")
MOUNT = "/jobs"
START = 60.0
"""Seconds that a server may take to start."""


def address(job: str, id: str) -> str:
    """The path of a state on a server of ours, as a signed link."""
    return f"{MOUNT}/{LINKS.path(job, id)}"


@dataclass(frozen=True)
class Server:
    """One that runs.

    Attributes:
        port: On this machine.
        pid: Of its process.
    """

    port: int
    pid: int


@contextmanager
def serving(kind: str, url: str = "") -> Iterator[Server]:
    """A server of *kind* in a process of its own, for as long as inside.

    Args:
        kind: `"ours"` or `"bare"`.
        url: The store of ours.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        command = [sys.executable, "-m", "benchmarks.web_server", kind, str(listening.fileno()), url]
        process = subprocess.Popen(command, pass_fds=[listening.fileno()])
        try:
            yield Server(listening.getsockname()[1], process.pid)
        finally:
            process.kill()
            process.wait()


def allow_many_files() -> None:
    """As many open files as this process may have."""
    if os.name == "posix":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _ours(url: str) -> ASGIApp:
    return Starlette(routes=[Mount(MOUNT, create_app(LINKS, tracker=Tracker(url)))])


def _bare() -> ASGIApp:
    body, changed = b"data: nothing yet\n\n", asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            newer = changed
            yield body
            await newer.wait()

    async def watch(request: Request) -> Response:
        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def change(request: Request) -> Response:
        nonlocal body, changed
        body = await request.body()
        before, changed = changed, asyncio.Event()
        before.set()
        return Response(status_code=204)

    return Starlette(routes=[Route("/", watch), Route("/", change, methods=["POST"])])


def main(kind: str, listening: int, url: str) -> None:
    """Serve on the socket that was inherited."""
    allow_many_files()
    app = _ours(url) if kind == "ours" else _bare()
    uvicorn.run(app, fd=listening, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
