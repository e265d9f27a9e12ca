"""What the faces of WSGI frameworks have in common."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from job_progress.web import live
from job_progress.web.messages import Response, Stream
from job_progress.web.ways import run

_PLACES = 16
"""Where a server starts a thread for each request."""
_FEW_PLACES = 2
"""Where nobody tells how many threads there are: waitress has four."""


def places_of(environ: Mapping[str, Any]) -> int:
    """How many may watch at a time by default: each takes a thread of the server, and half of them are left free.

    0 where no answer can be held back: there is one thread, or none but that of the request.
    """
    if not environ.get("wsgi.multithread"):
        return 0
    software = str(environ.get("SERVER_SOFTWARE", ""))
    if software.startswith(("Werkzeug", "WSGIServer")):
        return _PLACES
    settings = getattr(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), "cfg", None)
    if not software.startswith("gunicorn") or settings is None:
        return _FEW_PLACES
    has_threads = settings.worker_class_str == "gthread"  # the others that do several things at a time have greenlets
    at_a_time: int = settings.threads if has_threads else settings.worker_connections
    return at_a_time // 2


def raw_path_of(environ: Mapping[str, Any]) -> str | None:
    """The path as it was sent, from servers that tell: gunicorn, uWSGI, mod_wsgi, Werkzeug."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return raw.partition("?")[0] if isinstance(raw, str) else None


def body_of(response: Response, environ: Mapping[str, Any]) -> bytes | Iterator[bytes]:
    """The body: whole, or as it comes; then a viewer that takes no more of it in time has gone."""
    if response.stream is None:
        return response.body
    for server in ("werkzeug", "gunicorn"):  # others do not tell
        connection = environ.get(f"{server}.socket")
        if connection is not None:
            connection.settimeout(live.SENT_WITHIN)
    return _Pieces(response.body, response.stream)


class _Pieces(Iterator[bytes]):
    """The pieces of a stream that works in this thread, *first* before all others."""

    def __init__(self, first: bytes, stream: Stream) -> None:
        self._first = first
        self._stream = stream

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        try:
            return first or run(_next(self._stream))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """The viewer has gone, or all was said. The server calls it."""
        run(_close(self._stream))


async def _next(stream: Stream) -> bytes:
    return await anext(stream)


async def _close(stream: Stream) -> None:
    await stream.aclose()
