"""Web applications in processes of their own, for what only that shows: how a server stops."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount

from job_progress import Tracker
from job_progress.web import Links, create_app
from job_progress.web.flask import create_blueprint
from tests.web.faces import SECRET, by_header


@asynccontextmanager
async def _wrapping_the_signal(app: object) -> AsyncIterator[None]:
    """As applications do that want to know when they end."""
    before: Any = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: before(number, frame))
    yield


_tracker = Tracker(os.environ["JOB_PROGRESS_STORE"])
_routes = [Mount("/jobs", create_app(Links(SECRET) | by_header, tracker=_tracker))]
asgi = Starlette(routes=_routes)
"""For servers of ASGI."""
wrapping = Starlette(routes=_routes, lifespan=_wrapping_the_signal)
"""The same, with a handler of its own in front of the server's."""
wsgi = Flask(__name__)
"""For servers of WSGI."""
wsgi.register_blueprint(create_blueprint(Links(SECRET) | by_header, tracker=_tracker), url_prefix="/jobs")


def serve_in_thread(port: int) -> None:
    """A program of its own: uvicorn in a thread, which stops when the program is told by a line."""
    server = uvicorn.Server(uvicorn.Config(asgi, port=port))
    thread = threading.Thread(target=server.run)
    thread.start()
    sys.stdin.readline()
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    serve_in_thread(int(sys.argv[1]))
