"""The core of the web by itself, in what no framework in front of it shows: rights that end, refusals, and its end."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from time import perf_counter
from typing import Any

import pytest

from job_progress import Job, JobState, Tracker
from job_progress.testing import frozen_clock
from job_progress.web import Links, allow_all, create_app
from job_progress.web.access_log import keep_tokens_out_of_logs
from job_progress.web.asgi import App
from job_progress.web.messages import Request, Response
from job_progress.web.view import fragment
from tests.observed_store import ObservedStore
from tests.waiting import eventually
from tests.web.faces import SECRET


@pytest.fixture
def app(tracker: Tracker) -> App:
    """An application for all, on the store of the test."""
    return create_app(allow_all, tracker=tracker)


def long_poll(app: App, version: int) -> asyncio.Task[Response]:
    """Ask for something newer, and wait half a minute for it."""
    query = f"wait=30&after_version={version}"
    request = Request(method="GET", path="/states/shop.import/7", query=query)
    return asyncio.create_task(app.site.answer(request))


async def watched_by(app: App, amount: int) -> None:
    """Wait until so many watch."""
    async with asyncio.timeout(30):
        while app.site.watchers != amount:
            await asyncio.sleep(0.005)


async def test_what_is_held_back_is_answered_when_all_ends(app: App, job: Job) -> None:
    """With the state as it is; and nothing is held back any more, and no stream goes on."""
    state = job.lock("7")
    assert state is not None
    asked = long_poll(app, state.version)
    await watched_by(app, 1)
    app.close()
    assert (await asyncio.wait_for(asked, 10)).status == 200
    assert (await asyncio.wait_for(long_poll(app, state.version), 10)).status == 200
    streamed = await app.site.answer(Request(method="GET", path="/states/shop.import/7/events"))
    assert streamed.stream is not None
    assert [piece async for piece in streamed.stream] == []
    assert app.site.watchers == 0


@pytest.mark.parametrize(("owner", "status"), [("carol", 200), ("bob", 404)])
async def test_a_long_poll_asks_anew_who_may_see_another_life(owner: str, status: int) -> None:
    """While one waits for news of an execution, its id is taken up for somebody else."""
    asked_of: list[str | None] = []

    def all_but_bobs(request: Any, action: str, state: JobState | None) -> bool:
        asked_of.append(state.owner if state else None)
        return state is not None and state.owner != "bob"

    with frozen_clock():  # so that each change is one version
        tracker = Tracker("memory://")
        job = Job("shop.import", tracker=tracker)
        app = create_app(all_but_bobs, tracker=tracker)
        state = job.lock("7", owner="ada")
        assert state is not None
        asked = long_poll(app, state.version + 1)
        await watched_by(app, 1)
        assert job.cancel("7").version == state.version + 1
        assert job.lock("7", owner=owner) is not None
        answer = await asyncio.wait_for(asked, 10)
        assert (answer.status, owner.encode() in answer.body) == (status, status == 200)
        assert asked_of[1] == owner
        tracker.close()


async def test_a_job_that_is_forgotten_before_it_is_cancelled(tracker: Tracker) -> None:
    """It was there when the rule was asked: 404, as for what was never there."""
    job = Job("shop.import", tracker=tracker, ttl=0.001)
    job.lock("7")

    def end_it_first(request: Any, action: str, state: JobState | None) -> bool:
        with job.start("7"):
            pass
        eventually(lambda: job.get("7") is None)
        return True

    app = create_app(end_it_first, tracker=tracker)
    answer = await app.site.answer(Request(method="POST", path="/states/shop.import/7/cancel"))
    assert answer.status == 404


async def test_why_it_cannot_be_cancelled_is_said_in_the_page(tracker: Tracker) -> None:
    """A form without script gets the piece of HTML with the reason in it, which renews itself by the same link."""
    links = Links(SECRET)
    app = create_app(links, tracker=tracker)
    job = Job("shop.import", tracker=tracker)
    path = links.path(job.name, "7", actions={"view", "cancel"})
    with job.start("7"):
        html = {"accept": "text/html"}
        answer = await app.site.answer(Request(method="POST", path=f"/{path}/cancel", mount="/jobs", headers=html))
    assert answer.status == 409
    assert b'<span class="job-progress-said">' in answer.body
    assert f'hx-get="/jobs/{path}"'.encode() in answer.body


async def test_the_list_of_a_store_that_is_away() -> None:
    """503, whether it is searched or not."""
    store = ObservedStore()
    tracker = Tracker(store)
    store.away = True
    app = create_app(allow_all, tracker=tracker)
    for query in ("", "q=7"):
        assert (await app.site.answer(Request(method="GET", path="/states", query=query))).status == 503
    tracker.close()


async def test_the_dashboard_where_its_mount_leaves_the_slash_out(app: App) -> None:
    """It is sent to, relative to where the browser is, so that its own addresses are right behind any proxy."""
    answer = await app.site.answer(Request(method="GET", path="", mount="/behind/a/proxy/jobs"))
    assert (answer.status, answer.headers["Location"]) == (307, "jobs/")


async def test_names_that_no_job_can_have(app: App) -> None:
    """They are not looked up."""
    for path in ("/states/" + "x" * 201 + "/7", "/states/a/" + "x" * 201, "/states/a%00b/7"):
        answer = await app.site.answer(Request(method="GET", path=path, raw_path=path))
        assert answer.status == 404, path


async def test_a_long_address_holds_nobody_up(app: App) -> None:
    """A path of sixty kilobytes and as many parts as fit is no more work than it is long, whatever it decodes to."""
    for end in ("", "%2F"):
        raw = f"/jobs{end}" + "/%41" * 15_000
        began = perf_counter()
        answer = await app.site.answer(Request(method="GET", path="/other" + "/A" * 15_000, raw_path=raw))
        assert answer.status == 404
        assert perf_counter() - began < 2


@pytest.mark.parametrize("places", [0, -1])
def test_there_must_be_a_place(places: int) -> None:
    """A limit that lets nobody watch is a mistake, which is said at the start."""
    with pytest.raises(ValueError, match=f"max_watchers must be at least 1, not {places}"):
        create_app(allow_all, max_watchers=places)


async def test_a_web_socket_is_refused(app: App) -> None:
    """Before it is accepted, which is 403 to whoever asked."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/events", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_it_ends_with_the_application_that_it_is(app: App, job: Job) -> None:
    """Run by itself it is told when the server stops (lifespan), and ends its streams."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    job.lock("7")
    streamed = await app.site.answer(Request(method="GET", path="/states/shop.import/7/events"))
    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert streamed.stream is not None
    async with asyncio.timeout(10):
        assert [piece async for piece in streamed.stream] == []


def test_tokens_are_hidden_in_arguments_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """As some servers' formats of their logs want them."""
    keep_tokens_out_of_logs()
    token = "eyJqb2IiOiJhIn0.abcdefghijklmnop"
    logging.getLogger("gunicorn.access").warning("%(m)s %(U)s %(s)s", {"m": "GET", "U": f"/jobs/s/{token}", "s": 200})
    assert caplog.messages == ["GET /jobs/s/… 200"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("starlette", "ImportError: starlette is not installed: pip install 'job-progress[web]'"),
        ("job_progress.web.asgi", "ModuleNotFoundError: no job_progress.web.asgi"),
    ],
)
def test_without_what_it_needs(missing: str, said: str) -> None:
    """The error says which extra to install; a defect is no missing extra; Django and Flask need no Starlette."""
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {missing!r}: raise ModuleNotFoundError(f'no {{name}}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import job_progress.web, job_progress.web.flask\n"
        "print(hasattr(job_progress.web, 'create_ap'))\n"
        "try: job_progress.web.create_app\n"
        "except ImportError as error: print(f'{type(error).__name__}: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", said]


def test_what_a_page_without_script_shows(tracker: Tracker) -> None:
    """Items done, of how many; and what a run is about that is no status: stalled, cancelling, retrying."""
    job = Job("shop.import", tracker=tracker, cancellable=True)
    with job.start("7") as progress:
        progress.advance(3)
        assert shown(progress.state, "items") == "3"
        progress.total = 4
        progress.advance()
        assert shown(progress.state, "items") == "4 of 4"
        progress.flush()
        assert shown(job.cancel("7"), "status") == "cancelling"
    with frozen_clock() as clock:
        job.begin("8")
        clock.tick(3600)
        dead = job.get("8")
        assert dead is not None
        assert shown(dead, "status") == "stalled"
    assert shown(JobState(job="a", id="7", error="once more"), "status") == "retrying"


def shown(state: JobState, part: str) -> str:
    """What a part of the fragment says."""
    html = fragment(state, state.error, ["view"], "/jobs/s/x").decode()
    found = re.search(f'<span class="job-progress-{part}">(.*?)</span>', html)
    assert found is not None, html
    return found[1]
