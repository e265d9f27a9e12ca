"""The one view behind all URLs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any
from urllib.parse import quote
from weakref import ReferenceType, ref

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from job_progress.web import live
from job_progress.web.django.conf import loop_site, thread_site
from job_progress.web.messages import Request, Response, Stream
from job_progress.web.site import Site
from job_progress.web.ways import run
from job_progress.web.wsgi import places_of, raw_path_of


@csrf_exempt  # the core refuses requests from other sites, and needs no cookie for that
async def live_view(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """Answer *request*; *path* is what follows the mount."""
    return await answered(request, path, loop_site, thread_site)


async def answered(
    request: HttpRequest, path: str, in_loop: Callable[[], Site], in_thread: Callable[..., Site]
) -> HttpResponseBase:
    """The answer of one of these sites, whichever the server asks for.

    Args:
        request: What is asked.
        path: What follows the mount.
        in_loop: The site for ASGI.
        in_thread: That for WSGI; it is told how many *places* the server has.
    """
    if isinstance(request, ASGIRequest):
        raw_path = request.scope.get("raw_path")
        sent = None if raw_path is None else raw_path.decode("latin-1").partition("?")[0]
        return _response_of(await in_loop().answer(_request_of(request, path, sent)))
    # Django has put this into a loop, and in this thread the rules may touch no database.
    return await sync_to_async(_answer_in_thread, thread_sensitive=True)(request, path, in_thread)


def _answer_in_thread(request: HttpRequest, path: str, in_thread: Callable[..., Site]) -> HttpResponseBase:
    environ = request.environ if isinstance(request, WSGIRequest) else {}
    site = in_thread(places=places_of(environ))
    return _response_of(run(site.answer(_request_of(request, path, raw_path_of(environ)))))


def _request_of(request: HttpRequest, path: str, raw_path: str | None) -> Request:
    return Request(
        method=request.method or "",
        path="/" + path,
        raw_path=raw_path,
        mount=quote(request.path.removesuffix(path).rstrip("/")),
        query=request.META.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        address=request.META.get("REMOTE_ADDR") or "",
        native=request,
    )


def _response_of(response: Response) -> HttpResponseBase:
    headers = dict(response.headers)
    if response.stream is None:
        return HttpResponse(response.body, status=response.status, headers=headers)
    # Django's compression would keep events back until enough have come; it leaves alone what has an encoding.
    headers["Content-Encoding"] = "identity"
    return StreamingHttpResponse(_pieces(response), status=response.status, headers=headers)


async def _pieces(response: Response) -> AsyncIterator[bytes]:
    stream = response.stream
    assert stream is not None  # noqa: S101 - for type checkers
    async with aclosing(stream):
        with _sending(stream):
            yield response.body
        async for piece in stream:
            with _sending(stream):
                yield piece


@contextmanager
def _sending(stream: Stream) -> Iterator[None]:
    """Cancel the task if the viewer does not take in time what is sent; Django treats that as a disconnect."""
    # A weak reference, or the task and what it sends would hold each other, and only the collector would close them.
    alarm = asyncio.get_running_loop().call_later(live.SENT_WITHIN, _cancel, ref(asyncio.current_task()), stream)
    try:
        yield
    finally:
        alarm.cancel()


_closing: set[asyncio.Future[None]] = set()  # as a loop does not hold its tasks


def _cancel(task: ReferenceType[asyncio.Task[Any] | None], stream: Stream) -> None:
    sends = task()
    if sends is not None:
        sends.cancel()
    # Django 6 does not close the stream then: the traceback of the error keeps it until the collector comes.
    closing = asyncio.ensure_future(stream.aclose())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
