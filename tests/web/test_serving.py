"""Many watchers in one process, how it stops, and the dashboard by command."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from job_progress import Job, JobState, Tracker
from job_progress.web import allow_all, create_app, view
from job_progress.web.asgi import App
from job_progress.web.messages import Request
from job_progress.web.shutdown import LOOK_EVERY
from tests.cli.command import Command
from tests.observed_store import ObservedStore
from tests.web.events import streaming


async def events_of(app: App, path: str) -> AsyncIterator[bytes]:
    """What comes from a stream of *app*, asked without a server."""
    response = await app.site.answer(Request(method="GET", path=path))
    assert response.stream is not None
    yield response.body
    async for piece in response.stream:
        yield piece


async def test_many_watchers_are_one_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """One subscription and one event made for each version, however many watch; a slow one skips to the newest."""
    store = ObservedStore()
    tracker = Tracker(store)
    made: list[int] = []
    make = view.state_event

    def counted(state: JobState, *rest: Any) -> bytes:
        made.append(state.version)
        return make(state, *rest)

    monkeypatch.setattr("job_progress.web.live.state_event", counted)
    app = create_app(allow_all, tracker=tracker)
    job = Job("a", tracker=tracker)
    async with job.astart("7") as progress:
        watching = [events_of(app, "/states/a/7/events") for _ in range(200)]
        for stream in watching:
            await anext(stream)
            assert b"event: state" in await anext(stream)
        assert app.site.watchers == 200
        for step in range(1, 6):
            await asyncio.to_thread(progress.update(step / 10).flush)
    slow, *quick = watching
    rest = [[piece async for piece in stream] for stream in quick]
    assert all(b"event: end" in pieces[-1] for pieces in rest)
    assert len([piece async for piece in slow]) <= 2
    assert len(made) == len(set(made))
    assert app.site.watchers == 0
    tracker.close()


class Pump:
    """A part of an application that calls things as servers do."""

    alive = False
    should_exit = True

    async def run(self) -> None:
        """Do what it does, for as long as the application lives."""
        await asyncio.sleep(3600)


async def test_other_parts_of_an_application_end_no_stream(tracker: Tracker) -> None:
    """Whatever their attributes are called: only a server that stops does."""
    Job("a", tracker=tracker).lock("7")
    app = create_app(allow_all, tracker=tracker)
    pump = asyncio.create_task(Pump().run())
    stream = events_of(app, "/states/a/7/events")
    await anext(stream)
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 3 * LOOK_EVERY)
    assert not app.site._live.closing
    pump.cancel()


def test_the_command_serves_the_dashboard_to_whoever_has_the_key(command: Command, sqlite_url: str) -> None:
    """The address that it prints lets a browser in; without the key there is nothing; Ctrl-C ends it."""
    tracker = Tracker(sqlite_url)
    Job("a", tracker=tracker).lock("7")
    started = command.start("serve", "--port", "0")
    printed = started.prints("Ctrl-C")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/\?key=([\w-]+)", printed)
    assert found is not None
    base = f"http://127.0.0.1:{found[1]}"
    with httpx.Client(base_url=base, follow_redirects=True) as browser:
        assert [browser.get(path).status_code for path in ("/", "/states", "/?key=wrong")] == [404, 404, 404]
        assert browser.get("/?" + "a=1&" * 100).status_code == 404
        page = browser.get(found[0])
        assert (page.status_code, page.url.path, page.url.query) == (200, "/", b"")
        assert browser.get("/states").json()["states"][0]["id"] == "7"
        assert browser.post("/states/a/7/cancel").status_code == 202
        with streaming(browser, "/events") as events:
            assert next(events).name == "reset"
            started.signal(signal.SIGINT)
            assert list(events) == []
    assert started.ends() == 130  # as of every command that is interrupted
    assert found[2] not in started.text.replace(found[0], "", 1)
    tracker.close()


def test_an_address_that_is_taken_is_said(command: Command, tmp_path: Path) -> None:
    """In one line, with the address."""
    started = command.start("serve", "--port", "0")
    found = re.search(r":(\d+)/", started.prints("Ctrl-C"))
    assert found is not None
    answer = command("serve", "--port", found[1])
    assert answer.returncode == 2
    assert f"cannot listen on 127.0.0.1, port {found[1]}: Address already in use" in answer.stderr
