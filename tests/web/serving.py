"""Web applications in processes of their own, for what only that shows: how a server stops."""

from __future__ import annotations

import os
import sys
import threading

import uvicorn
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount

from job_progress import Tracker
from job_progress.web import Links, create_app
from job_progress.web.flask import create_blueprint
from tests.web.faces import SECRET

_tracker = Tracker(os.environ["JOB_PROGRESS_STORE"])
asgi = Starlette(routes=[Mount("/jobs", create_app(Links(SECRET), tracker=_tracker))])
"""For servers of ASGI."""
wsgi = Flask(__name__)
"""For servers of WSGI."""
wsgi.register_blueprint(create_blueprint(Links(SECRET), tracker=_tracker), url_prefix="/jobs")
wsgi.add_url_rule("/", view_func=lambda: "the site")


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
