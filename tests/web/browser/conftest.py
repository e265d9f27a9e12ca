"""A real browser, a real server, and real jobs in other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from job_progress import Tracker
from tests.processes.child import Launch
from tests.web.browser.chromium import ARGUMENTS, NoBrowser, chromium
from tests.web.browser.jobs import Worker
from tests.web.browser.server import Server

expect.set_options(timeout=20_000)

Work = Callable[..., Worker]
NewPage = Callable[..., Page]


# Not for the session: as long as Playwright runs, its event loop keeps others from running in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a module."""
    with sync_playwright() as playwright:
        try:
            path = chromium(playwright)
        except NoBrowser as error:
            pytest.fail(str(error), pytrace=False)
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of a module, on a store of its own."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(f"sqlite:///{folder}/states.db", folder / "log")
    yield server
    server.stop()


@pytest.fixture
def tracker(server: Server) -> Iterator[Tracker]:
    """The states that the server serves."""
    tracker = Tracker(server.store)
    yield tracker
    tracker.close()


@dataclass
class Console:
    """What a page complains of."""

    loses_the_network: bool = False
    """Are requests that fail part of the test?"""
    errors: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        """Keep it if it is an error, and not that browsers look for an icon that no page has spoken of."""
        if message.type in ("error", "warning") and not message.location["url"].endswith("/favicon.ico"):
            self.errors.append(message.text)

    def unexpected(self) -> list[str]:
        """All that should not have come."""
        return [text for text in self.errors if not (self.loses_the_network and "Failed to load resource" in text)]


@pytest.fixture
def console() -> Console:
    """What the test's page complains of: the test fails if there is anything."""
    return Console()


@pytest.fixture
def new_page(browser: Browser, server: Server, console: Console) -> Iterator[NewPage]:
    """Opens pages, with options such as those of `Browser.new_context`, whose complaints fail the test."""
    contexts = []

    def start(path: str = "/", url: str = "", **options: Any) -> Page:
        options = {"viewport": {"width": 800, "height": 600}, "locale": "en-GB", **options}
        contexts.append(browser.new_context(base_url=url or server.url, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", console.hear)
        page.on("pageerror", lambda error: console.errors.append(str(error)))
        page.goto(path)
        return page

    yield start
    for context in contexts:
        context.close()
    assert console.unexpected() == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page of the server's own that has the component, and a strict policy."""
    return new_page()


@pytest.fixture
def work(launch: Launch, server: Server) -> Work:
    """Starts runs, each in a process of its own, that do what the test says."""

    def start(id: str, name: str = "shop.import") -> Worker:
        return Worker(launch, server.store, name, id)

    return start


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An id that no other test uses."""
    return str(request.node.name)


def address(id: str, job: str = "shop.import", mount: str = "/progress") -> str:
    """Where the state of an execution is served."""
    return f"{mount}/states/{quote(job, safe='')}/{quote(id, safe='')}"


def add_bar(page: Page, src: str, **attributes: str) -> Locator:
    """Put a bar into the page, and listen to what it tells; `text_done` stands for the attribute `text-done`."""
    named = {key.replace("_", "-"): value for key, value in attributes.items()}
    page.evaluate(
        """(attributes) => {
            window.told ??= [];
            const bar = document.createElement("job-progress");
            for (const event of ["state", "completed", "failed", "cancelled"]) {
                bar.addEventListener(`job-progress:${event}`, ({ type, detail }) => told.push([type, detail]));
            }
            for (const [name, value] of Object.entries(attributes)) bar.setAttribute(name, value);
            document.querySelector("main").append(bar);
        }""",
        {"src": src, **named},
    )
    return page.locator(f'job-progress[src="{src}"]').last


def part(bar: Locator, name: str) -> Locator:
    """A part of a bar, as `::part(name)` finds it."""
    return bar.locator(f'[part~="{name}"]')


def told(page: Page) -> list[Any]:
    """The events that bars have sent: their names and states."""
    events: list[Any] = page.evaluate("told")
    return events


def names_told(page: Page) -> list[str]:
    """The names of these events in their order, each once for however often it came in a row."""
    names = [name.removeprefix("job-progress:") for name, _ in told(page)]
    return [name for name, before in zip(names, ["", *names], strict=False) if name != before]
