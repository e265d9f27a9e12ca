"""A web application for servers that are started by their own commands: `app` under ASGI, `wsgi` under WSGI."""

from __future__ import annotations

import flask
from starlette.applications import Starlette
from starlette.routing import Mount

from job_progress import Tracker
from job_progress.web import Links, create_app
from job_progress.web.flask import create_blueprint
from tests.web.faces import MOUNT, SECRET

links = Links(SECRET)
tracker = Tracker("memory://")
app = Starlette(routes=[Mount(MOUNT, create_app(links, tracker=tracker))])
wsgi = flask.Flask(__name__)
wsgi.register_blueprint(create_blueprint(links, tracker=tracker), url_prefix=MOUNT)
