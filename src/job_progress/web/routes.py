"""What each address stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote

from job_progress.names import check_id, check_name
from job_progress.state import JobStatus

Verb = Literal["", "events", "cancel"]
_VERBS: dict[str, Verb] = {"events": "events", "cancel": "cancel"}

MAX_WAIT = 60.0
MAX_PAGE = 500
MAX_CURSOR = 2000
MAX_FIELDS = 20
MAX_TEXT = 200


@dataclass(frozen=True)
class Page:
    """The dashboard, or where it will be found once a slash is added."""

    has_slash: bool = True


@dataclass(frozen=True)
class File:
    """A file of the component or the dashboard."""

    name: str


@dataclass(frozen=True)
class Listing:
    """The list of states, or what changes in it."""

    live: bool


@dataclass(frozen=True)
class ByLink:
    """A state by a signed link."""

    token: str
    verb: Verb


@dataclass(frozen=True)
class ByName:
    """A state by its job and id.

    Those that are named `.` or `..` have no such address, as browsers take it for a step in the path: a
    signed link opens them.
    """

    job: str
    id: str
    verb: Verb


Target = Page | File | Listing | ByLink | ByName


class BadQuery(ValueError):
    """A value behind the question mark is none that it may be. The text repeats nothing of it."""


def target_of(path: str, raw_path: str | None) -> Target | None:
    """What is below the mount at *path*; `None`: nothing.

    Args:
        path: Decoded, as every server gives it; an encoded slash in an id looks like one that divides.
        raw_path: All of the path as it was sent, from servers that tell: its end that decodes to
            *path* keeps the two apart. Without it, what follows the job's name is the id.
    """
    if path in ("", "/"):
        return Page(has_slash=path == "/")
    path = "/" + path.removeprefix("/")
    parts = _parts(path, raw_path) or path[1:].split("/")
    match parts:
        case ["static", name]:
            return File(name)
        case ["states"]:
            return Listing(live=False)
        case ["events"]:
            return Listing(live=True)
        case ["s", token]:
            return ByLink(token, "")
        case ["s", token, ("events" | "cancel") as verb]:
            return ByLink(token, _VERBS[verb])
        case ["states", job, id]:
            return _by_name(job, id, "")
        case ["states", job, *id, ("events" | "cancel") as verb]:
            return _by_name(job, "/".join(id), _VERBS[verb])
        case ["states", job, *id]:
            return _by_name(job, "/".join(id), "")
    return None


def _parts(path: str, raw_path: str | None) -> list[str] | None:
    """The parts of the end of *raw_path* that decodes to *path*. In one go, as anybody may send a long one."""
    parts: list[str] = []
    length = 0
    for part in reversed((raw_path or "").split("/")[1:]):
        parts.append(unquote(part))
        length += 1 + len(parts[-1])
        if length >= len(path):
            break
    parts.reverse()
    return parts if "/" + "/".join(parts) == path else None


def _by_name(job: str, id: str, verb: Verb) -> ByName | None:
    try:
        return ByName(check_name(job, "job name"), check_id(id), verb)
    except ValueError:
        return None


def address_of(target: ByLink | ByName) -> str:
    """The path of the state that *target* stands for, below the mount and encoded."""
    match target:
        case ByLink(token):
            return f"s/{quote(token, safe='')}"
        case ByName(job, id):
            return f"states/{quote(job, safe='')}/{quote(id, safe='')}"


@dataclass(frozen=True)
class Query:
    """The values behind the question mark, each within its bounds.

    Attributes:
        wait: Seconds to hold the answer back for something newer.
        after_version: Newer than this version.
        job: Only of this job.
        statuses: Only with one of these.
        after: The cursor that the page before ended with.
        q: Only ids that have this in them.
        limit: At most so many.
    """

    wait: float = 0.0
    after_version: int = -1
    job: str | None = None
    statuses: frozenset[JobStatus] | None = None
    after: str | None = None
    q: str | None = None
    limit: int = 50


def query_of(text: str) -> Query:
    """The query that was sent as *text*. What is unknown or empty counts as not given.

    Raises:
        BadQuery: A value is out of its bounds.
    """
    try:
        pairs = parse_qsl(text, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise BadQuery(f"there may be {MAX_FIELDS} values in a query") from None
    given = dict(pairs)
    statuses = [status for name, value in pairs if name == "status" for status in value.split(",") if status]
    return Query(
        wait=_number(given, "wait", "0", MAX_WAIT, digits=r"\d{1,3}(\.\d{1,9})?"),
        after_version=int(_number(given, "after_version", "-1", 2**63, digits=r"-?\d{1,19}")),
        job=_text(given, "job", MAX_TEXT),
        statuses=_statuses(statuses) if statuses else None,
        after=_text(given, "after", MAX_CURSOR),
        q=_text(given, "q", MAX_TEXT),
        limit=int(_number(given, "limit", "50", MAX_PAGE, digits=r"[1-9]\d{0,2}")),
    )


def _text(given: dict[str, str], name: str, most: int) -> str | None:
    value = given.get(name, "")
    if len(value) > most or not value.isprintable():
        raise BadQuery(f"{name} must be at most {most} printable characters")
    return value or None


def _number(given: dict[str, str], name: str, default: str, most: float, digits: str) -> float:
    value = given.get(name, default)
    # Not float() of a version: it would lose the last digits.
    number = (int(value) if "." not in value else float(value)) if re.fullmatch(digits, value, re.ASCII) else None
    if number is None or number > most:
        raise BadQuery(f"{name} must be a number up to {most:g}")
    return number


def _statuses(given: list[str]) -> frozenset[JobStatus]:
    try:
        return frozenset(map(JobStatus, given))
    except ValueError:
        raise BadQuery(f"status must be one of {', '.join(JobStatus)}") from None
