"""A web application in a process of its own, for what only that shows: how it stops."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from job_progress import Tracker
from job_progress.web import Links, create_app
from tests.web.faces import SECRET

if __name__ == "__main__":
    app = create_app(Links(SECRET), tracker=Tracker(sys.argv[1]))
    uvicorn.run(Starlette(routes=[Mount("/jobs", app)]), port=int(sys.argv[2]))
