"""The ASGI face: for Starlette, FastAPI, and whatever else speaks ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from job_progress.default import default_tracker
from job_progress.tracker import Tracker
from job_progress.web import live
from job_progress.web.messages import Request, Response, Stream
from job_progress.web.site import Site
from job_progress.web.view import ShowError
from job_progress.web.ways import InLoop


class App:
    """An ASGI application: run it, or mount it. Made by `create_app`."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            request = StarletteRequest(scope, receive)
            response = await self.site.answer(_request_of(request))
            await self._face_of(response)(scope, receive, send)

    def close(self) -> None:
        """End all streams; a server that is stopping does so by itself."""
        self.site.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _face_of(self, response: Response) -> StarletteResponse:
        headers = dict(response.headers)
        if response.stream is None:
            return StarletteResponse(response.body, response.status, headers)
        return _Stream(response, headers)


class _Stream(StreamingResponse):
    def __init__(self, response: Response, headers: dict[str, str]) -> None:
        self._response = response
        super().__init__(response.stream or (), response.status, headers)

    async def stream_response(self, send: Send) -> None:
        stream = self._response.stream
        assert stream is not None  # noqa: S101 - for type checkers
        with suppress(ClientDisconnect):
            await self._send_all(stream, send)

    async def _send_all(self, stream: Stream, send: Send) -> None:
        async with aclosing(stream):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send(send, self._response.body)
            async for piece in stream:
                await self._send(send, piece)
        await self._send(send, b"", goes_on=False)

    async def _send(self, send: Send, piece: bytes, *, goes_on: bool = True) -> None:
        """Send *piece*. A viewer who does not take it in time counts as disconnected.

        Raises:
            ClientDisconnect: It does not.
        """
        try:
            async with asyncio.timeout(live.SENT_WITHIN):
                await send({"type": "http.response.body", "body": piece, "more_body": goes_on})
        except TimeoutError:
            raise ClientDisconnect from None


def _request_of(request: StarletteRequest) -> Request:
    scope: Scope = request.scope
    path, root = scope["path"], scope.get("root_path", "")
    below = path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path
    raw_path = scope.get("raw_path")
    return Request(
        method=scope["method"],
        path=below,
        raw_path=None if raw_path is None else raw_path.decode("latin-1").partition("?")[0],
        mount=quote(root.rstrip("/")),
        query=scope["query_string"].decode("latin-1"),
        headers=request.headers,
        address=request.client.host if request.client else "",
        native=request,
    )


def create_app(
    authorize: Any,
    *,
    tracker: Tracker | None = None,
    max_watchers: int = 10_000,
    show_error: ShowError | None = None,
    origins: Collection[str] = (),
) -> App:
    """The live view as an ASGI application: run it by itself, or mount it in Starlette or FastAPI.

    Args:
        authorize: Who may see and cancel what: `Links`; or a function of the request (Starlette's), the
            action (`"view"`, `"cancel"` or `"list"`) and the state (`None` for the list, and for what is
            unknown), sync or async; or several of these combined with `|`; or `allow_all`.
        tracker: Whose states to serve; by default the default tracker, whichever that is by then.
        max_watchers: So many streams and held-back answers at a time; more are sent away with 503.
        show_error: A function of a state that makes the text which everybody here is shown of its error. By default
            those who may `"list"` see all of it; others what `fail("…")` or a `JobFailed` says, and of other
            exceptions the type only.
        origins: Where browsers find this site, such as `"https://shop.example"`, if a proxy asks for another host than
            they do. Only pages of this site may cancel by a cookie. Links need no cookie: they cancel from everywhere.

    Raises:
        TypeError: *authorize* is missing, or no rule; or *show_error* is no function.
        ValueError: One of *origins* is none.
    """
    return App(Site(authorize, lambda: tracker or default_tracker(), InLoop(), max_watchers, show_error, origins))
