"""A live view behind each framework, and clients that ask it over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import httpx
import pytest

from job_progress import Job, Tracker
from job_progress.default import set_default_tracker
from job_progress.web.links import SignedLinks
from tests.cli.conftest import command
from tests.web.faces import FACES, Face, django_links

__all__ = ["command"]

ADMIN = {"X-User": "admin"}
MAIN = pytest.mark.environment("main")
BOTH = pytest.mark.environment("main", "django6")
"""Where there is a Python for it, Django 6 serves its faces as well."""


@pytest.fixture(scope="session")
def _faces() -> Iterator[dict[str, Face]]:
    with ExitStack() as servers:
        yield {name: servers.enter_context(start()) for name, start in FACES.items()}


@pytest.fixture(params=[pytest.param(name, marks=BOTH if name.startswith("django") else MAIN) for name in FACES])
def face(request: pytest.FixtureRequest, _faces: dict[str, Face], tracker: Tracker) -> Face:
    """Each framework in turn, serving the states of *tracker*."""
    return _faces[request.param]


@pytest.fixture
def tracker(sqlite_url: str) -> Iterator[Tracker]:
    """The default tracker, of the test's own."""
    tracker = Tracker(sqlite_url)
    before = set_default_tracker(tracker)
    yield tracker
    set_default_tracker(before)
    tracker.close()


@pytest.fixture
def job(tracker: Tracker) -> Job:
    """A job that can be cancelled."""
    return Job("shop.import", cancellable=True)


@pytest.fixture
def links() -> SignedLinks:
    """Links without a server, in every environment."""
    return django_links()


@pytest.fixture
def client(face: Face) -> Iterator[httpx.Client]:
    """Whoever has no name."""
    with httpx.Client(base_url=face.base + "/", timeout=30) as client:
        yield client


@pytest.fixture
def admin(face: Face) -> Iterator[httpx.Client]:
    """Whoever may do all."""
    with httpx.Client(base_url=face.base + "/", timeout=30, headers=ADMIN) as client:
        yield client


def named(job: str, id: str) -> str:
    """The address of a state by its name, as a browser's code makes it."""
    return f"states/{quote(job, safe='')}/{quote(id, safe='')}"
