"""The Flask face: a blueprint."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any
from urllib.parse import quote

from flask import Blueprint, request
from flask import Response as FlaskResponse

from job_progress.default import default_tracker
from job_progress.tracker import Tracker
from job_progress.web.messages import Request
from job_progress.web.site import Site
from job_progress.web.view import ShowError
from job_progress.web.ways import InThread, run
from job_progress.web.wsgi import body_of, places_of, raw_path_of


def create_blueprint(
    authorize: Any,
    *,
    tracker: Tracker | None = None,
    max_watchers: int | None = None,
    show_error: ShowError | None = None,
    origins: Collection[str] = (),
    name: str = "job_progress",
) -> Blueprint:
    """The live view as a blueprint, to be registered with a `url_prefix`.

    On a server with threads it streams; on one without, each request is answered at once, and pages poll.

    Args:
        authorize: Who may see and cancel what; as for `create_app`, with Flask's request.
        tracker: Whose states to serve; by default the default tracker, whichever that is by then.
        max_watchers: So many streams and held-back answers at a time; each takes a thread of the server. By default
            as many as leave half of them free: with threads of gunicorn half of its `--threads`, where each request
            gets a thread of its own 16, and elsewhere 2. Who finds no place is told to ask now and then.
        show_error: Makes the text that is shown of a state's error; as for `create_app`.
        origins: Where browsers find this site, if a proxy asks for another host; as for `create_app`.
        name: The blueprint's, as in `url_for("job_progress.live_view", path=links.path(…))`.

    Raises:
        TypeError: *authorize* is missing, or no rule; or *show_error* is no function.
        ValueError: One of *origins* is none.
    """

    @cache
    def site_of(threaded: bool, places: int) -> Site:
        way = InThread(streams=threaded, waits=threaded)
        return Site(authorize, lambda: tracker or default_tracker(), way, places, show_error, origins)

    site_of(False, 1 if max_watchers is None else max_watchers)  # what is wrong with them is said here
    blueprint = Blueprint(name, __name__)

    def live_view(path: str = "") -> FlaskResponse:
        environ = request.environ
        places = places_of(environ) if max_watchers is None else max_watchers
        site = site_of(bool(places and environ.get("wsgi.multithread")), max(places, 1))
        response = run(site.answer(_request_of(path)))
        return FlaskResponse(body_of(response, environ), response.status, dict(response.headers))

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    rules: dict[str, Any] = {"methods": methods, "provide_automatic_options": False, "merge_slashes": False}
    blueprint.add_url_rule("/", view_func=live_view, **rules)
    blueprint.add_url_rule("/<path:path>", view_func=live_view, **rules)
    return blueprint


def _request_of(path: str) -> Request:
    environ = request.environ
    whole = request.root_path + request.path  # the first is what the server mounts all of Flask at
    return Request(
        method=request.method,
        path="/" + path,
        raw_path=raw_path_of(environ),
        mount=quote(whole.removesuffix(path).rstrip("/")),
        query=environ.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        address=request.remote_addr or "",
        native=request,
    )
