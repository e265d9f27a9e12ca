"""The same live view behind every framework, each on a real server of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import flask
import uvicorn
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.serving import make_server

from job_progress import JobState
from job_progress.web import Links, create_app
from job_progress.web.flask import create_blueprint
from job_progress.web.links import SignedLinks
from tests.servers import django_caches
from tests.waiting import eventually

SECRET = "a secret that is only for tests"
MOUNT = "/jobs"
ORIGIN = "https://shop.example"
"""Where browsers find the site, behind a proxy."""
PLACES = 8
"""So many may watch at a time."""


def by_header(request: Any, action: str, state: JobState | None) -> bool:
    """Whoever is named in a header sees and cancels what is theirs; an admin does all."""
    user = request.headers.get("X-User")
    return user == "admin" or (user is not None and state is not None and state.owner == user)


@dataclass
class Face:
    """A framework's server.

    Attributes:
        name: Which framework.
        base: The address of the mount.
        links: Makes the links that it takes.
        streams: Does it send events?
        watchers: How many watch, where that can be asked.
    """

    name: str
    base: str
    links: SignedLinks
    streams: bool
    watchers: Callable[[], int] | None = None


@contextmanager
def serving_asgi(app: Any) -> Iterator[str]:
    """The address at which a uvicorn of its own serves *app*."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(30)


@contextmanager
def serving_wsgi(app: Any, *, threaded: bool = True) -> Iterator[str]:
    """The address at which a Werkzeug of its own serves *app*."""
    server = make_server("127.0.0.1", 0, app, threaded=threaded)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@contextmanager
def starlette_face() -> Iterator[Face]:
    """An ASGI application, mounted in Starlette."""
    links = Links(SECRET)
    app = create_app(links | by_header, max_watchers=PLACES, origins=[ORIGIN])
    with serving_asgi(Starlette(routes=[Mount(MOUNT, app)])) as base:
        yield Face("starlette", base + MOUNT, links, streams=True, watchers=lambda: app.site.watchers)


@contextmanager
def flask_face() -> Iterator[Face]:
    """A blueprint, on a server with threads."""
    links = Links(SECRET)
    app = flask.Flask(__name__)
    app.register_blueprint(create_blueprint(links | by_header, max_watchers=PLACES, origins=[ORIGIN]), url_prefix=MOUNT)
    with serving_wsgi(app) as base:
        yield Face("flask", base + MOUNT, links, streams=True)


def django_links() -> SignedLinks:
    """The links of a project that is set up."""
    django_caches.set_up_once()
    from job_progress.web.django.links import links

    return links


@contextmanager
def django_asgi_face() -> Iterator[Face]:
    """A Django project under ASGI."""
    links = django_links()
    from job_progress.web.django.conf import loop_site

    with serving_asgi(get_asgi_application()) as base:
        yield Face("django-asgi", base + MOUNT, links, streams=True, watchers=lambda: loop_site().watchers)


@contextmanager
def django_wsgi_face() -> Iterator[Face]:
    """A Django project under WSGI, on a server with threads."""
    links = django_links()
    with serving_wsgi(get_wsgi_application()) as base:
        yield Face("django-wsgi", base + MOUNT, links, streams=False)


FACES: dict[str, Callable[[], Any]] = {
    "starlette": starlette_face,
    "flask": flask_face,
    "django-asgi": django_asgi_face,
    "django-wsgi": django_wsgi_face,
}
