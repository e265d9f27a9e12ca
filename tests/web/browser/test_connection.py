"""How the component stays in touch with the server, whatever happens on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from job_progress import Tracker
from job_progress.job import Job
from tests.processes.child import Launch
from tests.waiting import eventually
from tests.web.browser.conftest import Console, NewPage, Work, add_bar, address, names_told, part, told
from tests.web.browser.jobs import obey_for_many
from tests.web.browser.server import Server
from tests.web.browser.wire import Wire


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """A line to the server that the test may spoil."""
    wire = Wire(server.port)
    yield wire
    wire.close()


def comes(page: Page, bar: Locator, percent: str, timeout: float = 30.0) -> None:
    """Wait until a bar of a page whose clock is in the test's hands shows *percent*, second by second."""

    def shown() -> bool:
        page.clock.run_for(1_000)
        return part(bar, "percent").inner_text() == percent

    eventually(shown, timeout)


def asked(server: Server, id: str, ending: str = "") -> list[str]:
    """The requests for an execution, those for its events, say."""
    return [line for line in server.requests() if f"/{id}{ending}" in line]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_is_started_anew(
    page: Page, server: Server, work: Work, console: Console, name: str, end: str
) -> None:
    """The bar says that the connection is lost, and goes on by itself with what has been reported meanwhile."""
    console.loses_the_network = True
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.25)
    expect(part(bar, "percent")).to_have_text("25%")
    server.stop() if end == "stop" else server.kill()
    worker.do("update", 0.5)
    expect(part(bar, "details")).to_have_text("Connection lost, trying again…")
    expect(part(bar, "percent")).to_have_text("25%")
    server.start()
    expect(part(bar, "percent")).to_have_text("50%")
    expect(part(bar, "details")).not_to_contain_text("lost")
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")


def test_a_network_that_is_cut(new_page: NewPage, wire: Wire, work: Work, console: Console, name: str) -> None:
    """Connections that end in the middle are made anew."""
    console.loses_the_network = True
    page = new_page(url=wire.url)
    worker = work(name)
    bar = add_bar(page, address(name))
    for percent in (10, 20, 30):
        worker.do("update", percent / 100)
        expect(part(bar, "percent")).to_have_text(f"{percent}%")
        wire.cut()
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")
    assert names_told(page) == ["state", "completed"]


def test_a_browser_that_is_offline(page: Page, work: Work, console: Console, name: str) -> None:
    """It goes on at once when the browser says that there is a network again."""
    console.loses_the_network = True
    worker = work(name)
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Running")
    page.context.set_offline(True)
    page.evaluate("document.querySelector('job-progress').turn.abort('silent')")  # an open stream outlives that
    expect(part(bar, "details")).to_have_text("Connection lost, trying again…")
    worker.do("update", 0.5)
    page.context.set_offline(False)
    expect(part(bar, "percent")).to_have_text("50%")


def test_a_state_that_may_not_be_seen_any_more(page: Page, work: Work, console: Console, name: str) -> None:
    """As when the link has expired: it is not the connection that is lost, and should it be seen again, it goes on."""
    console.loses_the_network = True  # the answer is 404
    worker = work(name)
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Running")
    page.route("**/states/**", lambda route: route.fulfill(status=404))
    page.evaluate("document.querySelector('job-progress').turn.abort('silent')")
    expect(part(bar, "details")).to_have_text("No longer available")
    worker.do("update", 0.5)
    page.unroute("**/states/**")
    expect(part(bar, "percent")).to_have_text("50%")
    expect(part(bar, "details")).to_have_text("")


def test_a_slow_network(new_page: NewPage, wire: Wire, work: Work, name: str) -> None:
    """Everything comes late, and comes."""
    wire.delay = 0.4
    page = new_page(url=wire.url)
    worker = work(name)
    bar = add_bar(page, address(name))
    for percent in (25, 50, 75):
        worker.do("update", percent / 100)
        expect(part(bar, "percent")).to_have_text(f"{percent}%")
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")


def test_a_network_that_goes_dead_without_a_word(
    new_page: NewPage, wire: Wire, work: Work, console: Console, name: str
) -> None:
    """A stream that has not even a comment for 40 seconds is left for a new one."""
    console.loses_the_network = True
    page = new_page(url=wire.url)
    page.clock.install()
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.25)
    expect(part(bar, "percent")).to_have_text("25%")
    wire.go_dead()
    worker.do("update", 0.5)
    page.clock.fast_forward(41_000)
    comes(page, bar, "50%")


def test_a_quiet_stream_is_left_alone(page: Page, server: Server, work: Work, name: str) -> None:
    """Half a minute without news from a job is no reason to ask again."""
    page.clock.install()
    worker = work(name)
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Running")
    page.clock.run_for(30_000)
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")
    assert len(asked(server, name)) == 1


def test_it_tries_for_ever_and_less_and_less_often(
    page: Page, server: Server, work: Work, console: Console, name: str
) -> None:
    """Six minutes without a server: soon again at first, then two to five times a minute, and then it goes on."""
    console.loses_the_network = True
    worker = work(name)
    page.clock.install()
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Running")
    server.stop()
    expect(part(bar, "details")).to_have_text("Connection lost, trying again…")
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    counts = []
    for _ in range(6):
        for _ in range(60):
            page.clock.run_for(1_000)
        counts.append(len(failed))
        failed.clear()
    assert 4 <= counts[0] <= 12
    assert all(2 <= count <= 5 for count in counts[3:])
    server.start()
    worker.do("update", 0.5)
    comes(page, bar, "50%", 60)


def test_a_hundred_bars_on_a_page(page: Page, server: Server, launch: Launch, tracker: Tracker) -> None:
    """All get on, to the end, and leave the page connections enough for a click."""
    worker = launch(obey_for_many, server.store, "many", 100)
    assert worker.hear() == "begun"
    bars = [add_bar(page, address(f"{number}", job="many")) for number in range(100)]
    worker.tell(0.5)
    assert worker.hear() == "done"
    for bar in bars:
        expect(part(bar, "percent")).to_have_text("50%")
    bars[99].get_by_role("button", name="Cancel").click()
    expect(part(bars[99], "status")).to_have_text("Cancelling…")
    for job in tracker.list("many", limit=100):
        assert job.is_processing
    worker.tell("end")
    assert worker.hear() == "ended"
    eventually(lambda: sum(not event.endswith(":state") for event, _ in told(page)) == 100, 30)


def test_two_windows_beside_each_other(page: Page, work: Work, name: str) -> None:
    """Both are seen, and so neither lets go of its streams: there is a connection left for a click all the same."""
    windows = [page, page.context.new_page()]
    windows[1].goto("/")
    workers = [work(f"{name} {number}") for number in range(8)]
    bars = [[add_bar(window, address(f"{name} {number}")) for number in range(8)] for window in windows]
    for worker in workers:
        worker.do("update", 0.25)
    for bar in (*bars[0], *bars[1]):
        expect(part(bar, "percent")).to_have_text("25%")
    for window in (0, 1):
        bars[window][window].get_by_role("button", name="Cancel").click()
        expect(part(bars[window][window], "status")).to_have_text("Cancelling…")


@pytest.mark.parametrize("locks", ["undefined", "{ request: async () => { throw new DOMException('denied'); } }"])
def test_a_page_without_locks(page: Page, server: Server, work: Work, name: str, locks: str) -> None:
    """As over plain HTTP, or where nothing may be stored: one bar of the page streams, and clicks get through."""
    page.add_init_script(f"Object.defineProperty(navigator, 'locks', {{ value: {locks} }})")
    page.reload()
    workers = [work(f"{name} {number}") for number in range(5)]
    bars = [add_bar(page, address(f"{name} {number}")) for number in range(5)]
    for worker in workers:
        worker.do("update", 0.25)
    for bar in bars:
        expect(part(bar, "percent")).to_have_text("25%")
    bars[4].get_by_role("button", name="Cancel").click()
    expect(part(bars[4], "status")).to_have_text("Cancelling…")
    assert len([line for line in server.requests() if quote(name) in line and "/events" in line]) == 1


def test_streams_that_are_held_up(page: Page, server: Server, work: Work, name: str) -> None:
    """Behind a proxy that passes no stream on, the bar gets its news by long polls."""
    worker = work(name)
    bar = add_bar(page, address(name, mount="/held-up"))
    worker.do("update", 0.25)
    expect(part(bar, "percent")).to_have_text("25%")
    worker.do("update", 0.5)
    expect(part(bar, "percent")).to_have_text("50%")
    assert any("?wait=25&after_version=" in line for line in asked(server, name))
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")


def test_a_server_that_does_not_stream(page: Page, server: Server, work: Work, name: str) -> None:
    """It answers with the state, the browser has nothing to complain of, and no bar asks for a stream again."""
    worker = work(name)
    bar = add_bar(page, address(name, mount="/no-streams"))
    worker.do("update", 0.25)
    expect(part(bar, "percent")).to_have_text("25%")
    again = add_bar(page, address(name, mount="/no-streams"))
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")
    expect(part(again, "status")).to_have_text("Done")
    assert len(asked(server, name, "/events")) == 1


def test_a_server_that_has_no_place(page: Page, work: Work, console: Console, name: str) -> None:
    """Where all places to wait are taken, the bar asks now and then instead, and no connection counts as lost."""
    console.loses_the_network = True  # the answer is 503
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, json={"error": "too many are watching"}, headers={"Retry-After": "5"})

    page.route(re.compile(r"/events$|[?]wait="), refuse)
    worker = work(name)
    page.clock.install()
    bar = add_bar(page, address(name))
    for percent in (25, 50):
        worker.do("update", percent / 100)
        comes(page, bar, f"{percent}%")
        expect(part(bar, "details")).not_to_contain_text("lost")
    worker.do("complete")
    page.clock.run_for(6_000)
    expect(part(bar, "status")).to_have_text("Done")
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", "{}"),
        ("application/json", "[]"),
        ("application/json", "null"),
        ("application/json", '{"version": 9, "status": "odd"}'),
        ("application/json", ""),
        ("text/html", "<h1>Log in</h1>"),
        ("text/event-stream", 'event: state\ndata: {"version": 9}\n\n'),
        ("text/event-stream", "event: state\ndata: {oops\n\n"),
    ],
)
def test_an_answer_that_is_no_state(page: Page, work: Work, name: str, kind: str, body: str) -> None:
    """It counts as a connection that is lost: the bar asks for its stream again, less and less often."""
    answered: list[str] = []

    def answer(route: Route) -> None:
        answered.append(route.request.url)
        route.fulfill(content_type=kind, body=body)

    worker = work(name)
    page.route("**/events", answer)
    page.clock.install()
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Connection lost, trying again…")
    for _ in range(20):
        page.clock.run_for(1_000)
    assert len(answered) <= 12

    def asks_again() -> bool:  # answers do not come by the page's clock
        page.clock.run_for(1_000)
        return len(answered) >= 2

    eventually(asks_again)
    page.unroute("**/events")
    worker.do("update", 0.25)
    comes(page, bar, "25%")
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")


def test_nothing_is_asked_after_the_end(page: Page, server: Server, work: Work, name: str) -> None:
    """Ten minutes after the end there was no further request, while a bar that runs goes on."""
    page.clock.install()
    worker, other = work(name), work(f"other {name}")
    ended, runs = add_bar(page, address(name)), add_bar(page, address(f"other {name}"))
    worker.do("complete")
    expect(part(ended, "status")).to_have_text("Done")
    before = asked(server, name)
    page.clock.run_for(600_000)
    other.do("update", 0.5)
    comes(page, runs, "50%")
    assert asked(server, name) == before


def test_a_state_that_has_ended_before_is_asked_for_once(
    page: Page, server: Server, tracker: Tracker, name: str
) -> None:
    """It is shown, its end is told, and there was one request."""
    with Job("shop.import", tracker=tracker).start(name):
        pass
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Done")
    assert names_told(page) == ["state", "completed"]
    eventually(lambda: len(asked(server, name)) == 1)


def test_a_hidden_tab_holds_no_connection(page: Page, server: Server, work: Work, name: str) -> None:
    """Where nobody looks the stream ends, and the bar asks now and then; seen again, it is live again."""
    worker = work(name)
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Running")
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); "
    hide += "document.dispatchEvent(new Event('visibilitychange')); }"
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        page.evaluate(hide, True)
    eventually(lambda: any(line.split()[1].endswith(name) for line in asked(server, name)))
    worker.do("update", 0.5)
    streams = len(asked(server, name, "/events"))
    page.evaluate(hide, False)
    expect(part(bar, "percent")).to_have_text("50%")
    eventually(lambda: len(asked(server, name, "/events")) > streams)


def test_a_bar_that_is_moved_keeps_its_connection(page: Page, server: Server, work: Work, name: str) -> None:
    """As React and Vue move elements, and set their attributes again: one stream, and no flicker."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.25)
    expect(part(bar, "percent")).to_have_text("25%")
    page.evaluate(
        """() => {
            const bar = document.querySelector("job-progress");
            const list = document.createElement("section");
            document.querySelector("main").append(list);
            for (let turn = 0; turn < 10; turn++) {
                (turn % 2 ? document.querySelector("main") : list).append(bar);
                bar.src = bar.getAttribute("src");
                bar.setAttribute("label", `turn ${turn}`);
            }
        }"""
    )
    assert part(bar, "percent").inner_text() == "25%"
    worker.do("update", 0.5)
    expect(part(bar, "percent")).to_have_text("50%")
    assert len(asked(server, name, "/events")) == 1


def test_a_bar_that_is_swapped_by_markup(page: Page, server: Server, work: Work, name: str) -> None:
    """As htmx swaps: the new element is live, and the old one lets go of its stream."""
    worker = work(name)
    add_bar(page, address(name))
    expect(part(page.locator("job-progress"), "status")).to_have_text("Running")
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        page.evaluate(
            """(markup) => {
                const policy = trustedTypes.createPolicy("test", { createHTML: (text) => text });
                document.querySelector("main").innerHTML = policy.createHTML(markup);
            }""",
            f'<p>swapped</p><job-progress src="{address(name)}"></job-progress>',
        )
    worker.do("update", 0.5)
    expect(part(page.locator("job-progress"), "percent")).to_have_text("50%")


def test_a_new_address_shows_the_other_job(page: Page, work: Work, name: str) -> None:
    """Frameworks reuse elements: nothing of the job before is left."""
    worker, other = work(name), work(f"other {name}")
    worker.do("complete")
    other.do("update", 0.25)
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Done")
    page.evaluate("src => { document.querySelector('job-progress').src = src; }", address(f"other {name}"))
    bar = page.locator("job-progress")
    expect(part(bar, "percent")).to_have_text("25%")
    assert told(page)[-1][1]["id"] == f"other {name}"
