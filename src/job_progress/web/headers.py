"""What the headers of a request say."""

from __future__ import annotations

import re

from job_progress.web.messages import Request
from job_progress.web.origins import Origins

MAX_BODY = 65_536
"""No body is read at all; who announces a larger one is sent away."""

MAX_RANGES = 50
"""So many ranges of `Accept` are looked at."""
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


def announced(request: Request) -> int:
    """The length of the body, in bytes; too large a one, if it is no number."""
    length = request.headers.get("content-length") or "0"
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else MAX_BODY + 1


def has(request: Request, tag: str) -> bool:
    """Does the viewer have what *tag* stands for already?"""
    tags = request.headers.get("if-none-match", "")
    return tag.removeprefix("W/") in [one.strip().removeprefix("W/") for one in tags.split(",")[:10]]


def wants_html(request: Request) -> bool:
    """Does the client prefer HTML to JSON? If both have the same quality, it prefers what it names first."""
    accepted = _accepted(request)
    html, json = (_quality(accepted, kind) for kind in ("text/html", "application/json"))
    if html != json or not html:
        return html > json
    return next((kind == "text/html" for kind in accepted if kind in ("text/html", "application/json")), False)


def wants_events(request: Request) -> bool:
    """Must it be a stream? `EventSource` can take nothing else; the component takes JSON as well."""
    return not _accepted(request).get("application/json")


def _accepted(request: Request) -> dict[str, float]:
    """The quality of each range of types in `Accept`, from 0 to 1, in their order. A malformed quality is ignored."""
    accepted: dict[str, float] = {}
    for one in request.headers.get("accept", "").lower().split(",")[:MAX_RANGES]:
        kind, *parameters = (part.strip() for part in one.split(";"))
        qualities = [_QUALITY.fullmatch(parameter) for parameter in parameters]
        accepted[kind] = next((float(quality[1]) for quality in qualities if quality), 1.0)
    return accepted


def _quality(accepted: dict[str, float], kind: str) -> float:
    """The quality of *kind*: that of the most specific range which includes it."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((accepted[one] for one in ranges if one in accepted), 0.0)


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
