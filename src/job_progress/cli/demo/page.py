"""The demo's web page: the bars of its jobs, live, by signed links, as any web application has them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import count
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from job_progress.cli.demo.workers import Names
from job_progress.cli.serve import GRACE, Key, address_of, listen, server_of
from job_progress.web import Links, create_app

PATIENCE = 5.0
"""Seconds that the demo waits at its end for browsers that have not seen all of it yet."""
GONE_AFTER = 3.0
"""Seconds without a question, and a browser has left; pages ask every second."""
MOST_VIEWERS = 100
"""More are shown all, but not waited for."""

_TEMPLATE = Path(__file__).with_name("page.html")
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}


class Page:
    """What is served: the page, the live view below `jobs/`, and `here`, where pages say that they are there.

    Args:
        names: Of the demo's jobs: the scan, the shards, the merge.
        about: What the demo does, for people.
        key: Who has it sees the page.
    """

    def __init__(self, names: Names, about: str, key: Key) -> None:
        self._names = names
        self._about = about
        self._key = key
        self._links = Links(secrets.token_urlsafe())
        self._live = create_app(self._links)
        self._numbers = count(1)
        self._over = False
        self._waiting: dict[str, float] = {}
        routes = [Route("/", self._page), Route("/here", self._here), Mount("/jobs", self._live)]
        self.app = key.guarding(Starlette(routes=routes))

    def say_it_is_over(self) -> None:
        """Have the browsers that have the page open ask for the final states at once."""
        self._over = True

    def is_waited_for(self) -> bool:
        """Is there a browser that has not seen all of the end yet?"""
        return any(monotonic() - asked < GONE_AFTER for asked in list(self._waiting.values()))

    def close(self) -> None:
        """End all streams."""
        self._live.close()

    async def _page(self, request: Request) -> Response:
        if not self._key(request, "list", None):
            return Response(status_code=404)
        viewer, nonce = str(next(self._numbers)), secrets.token_urlsafe()
        self._note(viewer, "all")
        shown = {
            "nonce": nonce,
            "viewer": viewer,
            "about": escape(self._about),
            "bars": self._bars(),
            "label": _label(1),
        }
        text = _TEMPLATE.read_text("utf-8")
        for name, value in shown.items():
            text = text.replace(f"{{{{ {name} }}}}", value)
        return HTMLResponse(text, headers={**_HEADERS, "Content-Security-Policy": _POLICY.format(nonce=nonce)})

    async def _here(self, request: Request) -> Response:
        if not self._key(request, "list", None):
            return Response(status_code=404)
        self._note(request.query_params.get("viewer", ""), request.query_params.get("left", ""))
        return JSONResponse({"over": self._over}, headers=_HEADERS)

    def _note(self, viewer: str, left: str) -> None:
        if left == "0":
            self._waiting.pop(viewer, None)
        elif viewer in self._waiting or len(self._waiting) < MOST_VIEWERS:
            self._waiting[viewer] = monotonic()

    def _bars(self) -> str:
        scan, *shards, merge = [self._bar(number) for number in range(len(self._names))]
        sections = [
            ("", "Find the files", [scan]),
            ("many", "Read and index them", shards),
            ("", "Bring all together", [merge]),
        ]
        return "\n".join(
            f'    <section class="{kind}">\n      <h2>{title}</h2>\n      {"".join(bars)}    </section>'
            for kind, title, bars in sections
        )

    def _bar(self, number: int) -> str:
        job, id = self._names[number]
        src = self._links.path(job, id, actions={"view", "cancel"})
        last = number == len(self._names) - 1
        return f'<job-progress src="jobs/{src}" label="{"Merge" if last else _label(number)}"></job-progress>\n'


def _label(number: int) -> str:
    return f"Shard {number}" if number else "Scan"


@contextmanager
def web_page(names: Names, about: str, stops: Sequence[int]) -> Iterator[str]:
    """Serve the page while inside, from a thread; gives its address, with a new key in it.

    In the end, browsers that have it open get a few seconds to see how all jobs ended; no longer than
    until *stops* grows.

    Raises:
        OSError: It cannot listen.
    """
    with listen("127.0.0.1", 0) as listening:
        key = Key(listening.getsockname()[1])
        page = Page(names, about, key)
        server = server_of(page.app)
        thread = Thread(target=server.run, args=([listening],), name="job-progress page", daemon=True)
        thread.start()
        try:
            yield address_of(listening, key)
            page.say_it_is_over()
            until, before = monotonic() + PATIENCE, len(stops)
            while page.is_waited_for() and monotonic() < until and len(stops) == before:
                sleep(0.05)
        finally:
            page.close()
            server.should_exit = True
            thread.join(GRACE)
