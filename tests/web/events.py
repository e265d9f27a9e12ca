"""Reads server-sent events as a browser does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Event:
    """One event of a stream."""

    name: str
    id: str
    data: Any


@contextmanager
def streaming(client: httpx.Client, path: str, **headers: str) -> Iterator[Iterator[Event]]:
    """The events that come from *path*; the stream is cut at the end of the block."""
    with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield events_in(response.iter_lines())


def events_in(lines: Iterator[str]) -> Iterator[Event]:
    """The events that *lines* say, comments and the time of reconnecting left out."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line and "event" in fields:
            yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
