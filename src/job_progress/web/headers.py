"""What the headers of a request say."""

from __future__ import annotations

from job_progress.web.messages import Request
from job_progress.web.origins import Origins

MAX_BODY = 65_536
"""No body is read at all; who announces a larger one is sent away."""


def announced(request: Request) -> int:
    """The length of the body, in bytes; too large a one, if it is no number."""
    length = request.headers.get("content-length") or "0"
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else MAX_BODY + 1


def has(request: Request, tag: str) -> bool:
    """Does the viewer have what *tag* stands for already?"""
    tags = request.headers.get("if-none-match", "")
    return tag.removeprefix("W/") in [one.strip().removeprefix("W/") for one in tags.split(",")[:10]]


def wants_html(request: Request) -> bool:
    """Would HTML be rather had than JSON?"""
    accept = request.headers.get("accept", "")
    html, json = accept.find("text/html"), accept.find("application/json")
    return html >= 0 and (json < 0 or html < json)


def wants_events(request: Request) -> bool:
    """Must it be a stream? `EventSource` can take nothing else; the component takes JSON as well."""
    return "application/json" not in request.headers.get("accept", "")


def is_foreign(request: Request, own: Origins) -> bool:
    """Does the request come from a page of another site? Browsers say so, and what is no browser carries no cookies.

    A page of *own* is of this site. Else `Sec-Fetch-Site` decides, if it is there: no page can set it, and it is right
    behind proxies that change the host.
    """
    origin = request.headers.get("origin")
    if origin is not None and own.has(origin):
        return False
    fetched_from = request.headers.get("sec-fetch-site")
    if fetched_from is not None:
        return fetched_from != "same-origin"
    return origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()
