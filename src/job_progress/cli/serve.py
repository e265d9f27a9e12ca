"""The dashboard for one's own browser: `job-progress serve`."""

from __future__ import annotations

import secrets
import socket
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from job_progress.cli.bars import say
from job_progress.state import JobState
from job_progress.web import create_app
from job_progress.web.rules import Action

GRACE = 5
"""Seconds that answers under way have to end when the server stops."""


class Key:
    """Lets in whoever has once opened the address with the key in it, which leaves a cookie.

    Args:
        port: Cookies do not tell ports apart, so it is in the cookie's name.
    """

    def __init__(self, port: int) -> None:
        self.value = secrets.token_urlsafe(24)
        self._cookie = f"job-progress-{port}"

    def __call__(self, request: Request, action: Action, state: JobState | None) -> bool:
        """Does the browser have the key?"""
        return self._is_right(request.cookies.get(self._cookie, ""))

    def guarding(self, app: ASGIApp) -> ASGIApp:
        """*app*, with the key in the address exchanged for a cookie, so that it stays out of the history."""

        async def exchange(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] == "/" and scope["query_string"]:
                [given] = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[:1]
                if self._is_right(given):
                    headers = [(b"location", b"./"), (b"set-cookie", self._set().encode()), (b"content-length", b"0")]
                    headers += [(b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
                    await send({"type": "http.response.start", "status": 303, "headers": headers})
                    await send({"type": "http.response.body", "body": b""})
                    return
            await app(scope, receive, send)

        return exchange

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.value.encode())

    def _set(self) -> str:
        return f"{self._cookie}={self.value}; Path=/; HttpOnly; SameSite=Strict"


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections; *port* 0 is a free one.

    Raises:
        OSError: The address is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def address_of(listening: socket.socket, key: Key) -> str:
    """What to open in a browser."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/?key={key.value}"


def server_of(app: ASGIApp) -> uvicorn.Server:
    """A server that says nothing unless something is wrong."""
    config: dict[str, Any] = {"access_log": False, "log_level": "warning", "timeout_graceful_shutdown": GRACE}
    return uvicorn.Server(uvicorn.Config(app, lifespan="off", **config))


def serve(listening: socket.socket) -> None:
    """Serve the dashboard of the default tracker until SIGINT or SIGTERM; prints where it is."""
    key = Key(listening.getsockname()[1])
    server = server_of(key.guarding(create_app(key)))
    say(address_of(listening, key))
    say("Open this address in a browser; whoever has it sees, and may cancel, every job. Ctrl-C ends it.")
    server.run(sockets=[listening])
