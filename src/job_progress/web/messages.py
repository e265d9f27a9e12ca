"""HTTP as the core sees it: what a framework's request comes down to, and what it gets back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

JSON = "application/json"
HTML = "text/html; charset=utf-8"
STREAM = "text/event-stream"

_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a link's token is in its address
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""On every answer, unless it says otherwise."""


Stream = AsyncGenerator[bytes, None]
"""Pieces of a body as they come. It has begun already: whoever has it must close it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked.

    Attributes:
        method: In capitals.
        path: Below the mount, decoded, with the slash it begins with if there is one.
        raw_path: The whole path as it was sent, if the server tells; it alone tells an encoded slash
            from one that divides.
        mount: The path of the mount as the browser sees it, encoded, without a slash at the end.
        query: As it was sent, without the question mark.
        headers: By their names in lower case.
        address: The client's, as far as the server knows.
        native: The framework's own request, for rules.
    """

    method: str
    path: str
    raw_path: str | None = None
    mount: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    native: Any = None


@dataclass(frozen=True)
class Response:
    """What is answered: a body and, if it goes on, the rest of it as a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    stream: Stream | None = None


def answer(status: int, body: bytes, kind: str, **headers: str) -> Response:
    """A whole answer; the names of *headers* have underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {**SAFE, "Content-Type": kind, **named}, body)


def json_answer(status: int, value: Any, **headers: str) -> Response:
    """*value* as JSON."""
    return answer(status, msgspec.json.encode(value), JSON, **headers)


def refusal(status: int, reason: str, **headers: str) -> Response:
    """An error, said in a sentence that repeats nothing of what was asked."""
    return json_answer(status, {"error": reason}, **headers)


NOT_FOUND = refusal(404, "there is nothing here, or not for you")
"""The same for what is unknown and what is not allowed."""
