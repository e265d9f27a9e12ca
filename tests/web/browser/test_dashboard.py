"""The dashboard in a real browser, on a store in which jobs run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from playwright.sync_api import Locator, Page, Route, expect

from job_progress import JobState, JobStatus, Tracker, clock
from job_progress.encoding import change_to
from job_progress.job import Job
from job_progress.names import key_of
from tests.waiting import eventually
from tests.web.browser.conftest import Console, NewPage, Work
from tests.web.browser.server import Server


@pytest.fixture(autouse=True)
def emptied(server: Server, tracker: Tracker) -> Iterator[None]:
    """Each test leaves no states behind."""
    yield
    for state in tracker.list(limit=100_000):
        change = change_to(state, key_of(state.job, state.id), state.version)
        tracker.store.swap([structs.replace(change, version=state.version + 1, lifetime=0.0)])


Open = Callable[..., Page]


@pytest.fixture
def dashboard(new_page: NewPage, server: Server) -> Open:
    """Opens the dashboard, with a query."""

    def start(query: str = "", **options: Any) -> Page:
        options = {"viewport": {"width": 1440, "height": 900}, **options}
        page = new_page(f"/progress/{query}", **options)
        page.wait_for_selector("html.loaded")
        return page

    return start


def row(page: Page, id: str) -> Locator:
    """The row of an execution."""
    return page.get_by_role("row").filter(has=page.locator(".id", has_text=re.compile(f"^{re.escape(id)}$")))


def finished(tracker: Tracker, id: str, job: str = "shop.import", **fields: Any) -> None:
    """Write a state that has ended a minute ago."""
    then = clock.now() - timedelta(seconds=60)
    known: dict[str, Any] = {
        "status": JobStatus.COMPLETED, "progress": 1.0, "attempt": 1, "version": 1,
        "created_at": then, "started_at": then, "updated_at": then, "finished_at": then + timedelta(seconds=12),
    }  # fmt: skip
    state = JobState(job=job, id=id, **{**known, **fields})
    assert tracker.store.swap([change_to(state, key_of(job, id), 0)]) == [None]


def test_what_runs_is_live(dashboard: Open, work: Work, name: str) -> None:
    """A job that starts while one looks appears, gets on and ends, without a reload."""
    page = dashboard()
    expect(page.locator("#live")).to_have_text("Live")
    worker = work(name)
    expect(row(page, name)).to_contain_text("Running")
    worker.do("update_with_steps", 1, 4, message="reading hoses.csv")
    expect(row(page, name)).to_contain_text("25%")
    expect(row(page, name)).to_contain_text("reading hoses.csv")
    worker.begin("raise", "no price")
    expect(row(page, name)).to_contain_text("Failed")
    expect(row(page, name)).to_contain_text("RuntimeError: no price")


def test_tabs_count_and_filter(dashboard: Open, tracker: Tracker, work: Work, name: str) -> None:
    """How many there are of each kind is seen at once; a tab shows these, and stands in the address."""
    finished(tracker, f"done {name}")
    finished(tracker, f"failed {name}", status=JobStatus.FAILED, error="no")
    Job("shop.import", tracker=tracker).lock(f"waits {name}")
    work(f"runs {name}")
    page = dashboard()
    for tab, id in (("Running", "runs"), ("Waiting", "waits"), ("Failed", "failed"), ("Done", "done")):
        page.get_by_role("navigation", name="Filter by status").get_by_role("link", name=re.compile(tab)).click()
        expect(row(page, f"{id} {name}")).to_be_visible()
        expect(page.locator("#rows tr")).to_have_count(1)
        expect(page.locator(".tabs [aria-current]")).to_contain_text(re.compile(rf"{tab} \d"))
    assert "status=completed" in page.url
    page.go_back()
    expect(row(page, f"failed {name}")).to_be_visible()
    page.reload()
    expect(row(page, f"failed {name}")).to_be_visible()
    expect(page.locator("#rows tr")).to_have_count(1)


def test_what_is_stuck(dashboard: Open, work: Work, name: str) -> None:
    """A killed worker's job is found among those that are stuck."""
    page = dashboard("?status=stalled")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    work(name).child.kill()
    expect(row(page, name)).to_contain_text("Stuck")
    expect(row(page, name)).to_contain_text("No sign of life")
    expect(page.locator("[data-tab=stalled] .count")).to_have_text("1")


def test_search_by_id_and_job(dashboard: Open, tracker: Tracker) -> None:
    """Both are in the address as one types, and combine."""
    for id in ("acme-1", "acme-2", "globex"):
        finished(tracker, id)
    finished(tracker, "acme-3", job="video.encode")
    page = dashboard()
    page.keyboard.press("/")
    page.keyboard.type("ACME")
    expect(row(page, "globex")).to_be_hidden()
    expect(row(page, "acme-3")).to_be_visible()
    page.get_by_label("Job", exact=True).select_option("shop.import")
    expect(row(page, "acme-3")).to_be_hidden()
    expect(row(page, "acme-1")).to_be_visible()
    assert "q=ACME" in page.url
    assert "job=shop.import" in page.url


def test_one_in_detail(dashboard: Open, tracker: Tracker, name: str) -> None:
    """Times, attempts, owner, metadata, result and error."""
    fields: dict[str, Any] = {
        "owner": "ada",
        "attempt": 2,
        "meta": {"source": "s3://x", "rows": 5},
        "result": {"added": 214},
    }
    finished(tracker, name, status=JobStatus.FAILED, error="ValueError: no price", progress=0.3, **fields)
    page = dashboard()
    row(page, name).get_by_role("link").click()
    detail = page.get_by_role("complementary")
    expect(detail.get_by_role("heading", name=name)).to_be_focused()
    for text in ("Failed", "ValueError: no price", "Attempt 2 began", "after 0:12", "ada", "s3://x", '"added": 214'):
        expect(detail).to_contain_text(text)
    assert "open=" in page.url
    page.reload()
    expect(detail).to_contain_text("ValueError: no price")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    assert "open=" not in page.url


def test_what_nobody_knows_in_detail(dashboard: Open, console: Console) -> None:
    """A link to a job that has been forgotten says so."""
    console.loses_the_network = True  # the answer is 404
    page = dashboard("?open=shop.import%2Fgone")
    expect(page.get_by_role("complementary")).to_contain_text("Nothing is known of this job yet")


def test_a_server_that_does_not_stream(dashboard: Open, tracker: Tracker, console: Console, name: str) -> None:
    """The list is loaded anew every few seconds, and says so."""
    console.loses_the_network = True
    page = dashboard()
    page.route("**/events", lambda route: route.fulfill(status=501))
    page.reload()
    expect(page.locator("#live")).to_have_text("Updated every few seconds")
    finished(tracker, name)
    expect(row(page, name)).to_contain_text("Done")
    expect(page.locator("[data-tab=completed] .count")).to_have_text("1")


def test_odd_names_in_detail(dashboard: Open, tracker: Tracker) -> None:
    """Whatever an id may be, and markup in it or in what its job says is text."""
    attack = "<img src=x onerror='document.title=1'>"
    for id in ("a/b", "100%", "ü✓ ?#&=+", attack):
        finished(tracker, id, message=attack, meta={attack: attack}, result=attack, job="odd/job")
    page = dashboard()
    for id in ("a/b", "100%", "ü✓ ?#&=+", attack):
        row(page, id).get_by_role("link").click()
        expect(page.get_by_role("complementary").get_by_role("heading", level=2)).to_contain_text(id)
        expect(page.get_by_role("complementary")).to_contain_text("after 0:12")
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "Jobs"


def test_a_name_that_is_a_step_in_an_address(dashboard: Open, tracker: Tracker) -> None:
    """Its details are not those of another state, and the panel says why there are none."""
    finished(tracker, ".", job="odd/job")
    page = dashboard()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    row(page, ".").get_by_role("link").click()
    expect(page.get_by_role("complementary")).to_contain_text("a step in an address")
    expect(page.locator("job-progress")).to_have_count(0)
    assert not [url for url in requests if "/odd" in url]


@pytest.mark.parametrize(
    "query",
    [
        "open=%25",
        "open=../../fake/x",
        "open=shop.import",
        "status=nonsense",
        "after=nonsense",
        f"q={'x' * 201}",
        f"job={'x' * 201}",
    ],
)
def test_nonsense_in_the_address(dashboard: Open, tracker: Tracker, console: Console, name: str, query: str) -> None:
    """It is dropped, and all jobs are shown."""
    console.loses_the_network = True  # the answer may be 400
    finished(tracker, "acme")
    page = dashboard(f"?{query}")
    expect(page.locator("#live")).to_have_text("Live")
    expect(row(page, "acme")).to_be_visible()
    expect(page.locator(".tabs [aria-current]")).to_contain_text("All")
    expect(page.get_by_role("complementary")).to_be_hidden()
    assert page.url.endswith("/?")


def test_cancel_asks_first(dashboard: Open, work: Work, tracker: Tracker, name: str) -> None:
    """Who thinks better of it has changed nothing; who confirms has asked the job to stop."""
    worker = work(name)
    page = dashboard()
    row(page, name).get_by_role("link").click()
    page.get_by_role("button", name="Cancel job").click()
    dialog = page.get_by_role("dialog", name="Cancel this job?")
    expect(dialog).to_contain_text(name)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    state = tracker.get("shop.import", name)
    assert state
    assert not state.is_cancelling
    page.get_by_role("button", name="Cancel job").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("complementary")).to_contain_text("Cancelling")
    worker.begin("stop when asked")
    expect(page.get_by_role("complementary")).to_contain_text("Cancelled")
    expect(row(page, name)).to_contain_text("Cancelled")


def heading(page: Page) -> Locator:
    """The name of what is open in detail."""
    return page.get_by_role("complementary").get_by_role("heading", level=2)


def test_a_question_about_another_job_is_taken_back(dashboard: Open, tracker: Tracker, name: str) -> None:
    """Who goes back to another job while asked whether to cancel this one, cancels neither."""
    job = Job("shop.import", tracker=tracker)
    for id in ("one", "two"):
        job.lock(f"{name} {id}")
    page = dashboard()
    for id in ("one", "two"):
        row(page, f"{name} {id}").get_by_role("link").click()
    page.get_by_role("button", name="Cancel job").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{name} two")
    page.go_back()
    expect(heading(page)).to_contain_text(f"{name} one")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Cancel job").click()
    expect(dialog).to_contain_text(f"{name} one")
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("complementary")).to_contain_text("Cancelled")
    assert {state.id for state in tracker.list(status="pending")} == {f"{name} two"}


def test_a_late_answer_is_not_taken_for_another_job(dashboard: Open, tracker: Tracker, name: str) -> None:
    """Who opens another job before the first is cancelled sees the state of the other."""
    job = Job("shop.import", tracker=tracker)
    for id in ("one", "two"):
        job.lock(f"{name} {id}")
    page = dashboard()
    held: list[Route] = []
    page.route("**/cancel", lambda route: held.append(route))
    row(page, f"{name} one").get_by_role("link").click()
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("button", name="Cancel the job").click()
    eventually(lambda: page.evaluate("1") and held)  # which lets Playwright hear of it
    row(page, f"{name} two").get_by_role("link").click()
    facts = page.get_by_role("complementary").locator(".facts")
    expect(facts).to_contain_text(f"{name} two")
    with page.expect_response("**/cancel"):
        held[0].continue_()
    expect(row(page, f"{name} one")).to_contain_text("Cancelled")
    expect(heading(page)).to_contain_text(f"{name} two")
    expect(facts).to_contain_text(f"{name} two")
    expect(page.locator(".detail .badge")).to_contain_text("Waiting")


def test_the_keyboard_is_enough(dashboard: Open, tracker: Tracker) -> None:
    """Arrows move along the list, Enter opens, Escape closes and comes back to the row."""
    for id in ("one", "two", "three"):
        finished(tracker, id)
    page = dashboard()
    links = page.locator("#rows a")
    page.keyboard.press("ArrowDown")
    expect(links.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(links.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary").get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(links.nth(2)).to_be_focused()
    expect(page.locator("#rows tr.selected a")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary")).to_be_hidden()
    expect(links.nth(2)).to_be_focused()


def test_ten_thousand_states(dashboard: Open, tracker: Tracker) -> None:
    """A page shows fifty, and leads to the older ones and back."""
    now = clock.now()
    changes = []
    for number in range(10_000):
        created = now - timedelta(seconds=number)
        state = JobState(
            job="many", id=f"{number:05}", status=JobStatus.COMPLETED, progress=1.0, version=1, created_at=created,
            started_at=created, finished_at=created, updated_at=created,
        )  # fmt: skip
        changes.append(change_to(state, key_of("many", state.id), 0))
    tracker.store.swap(changes)
    page = dashboard()
    expect(page.locator("#rows tr")).to_have_count(50)
    expect(page.locator("[data-tab=completed] .count")).to_have_text("100+")
    page.get_by_role("link", name="Older").click()
    expect(row(page, "00050")).to_be_visible()
    expect(row(page, "00000")).to_be_hidden()
    expect(page.locator("#rows tr")).to_have_count(50)
    page.get_by_role("link", name="Newest").click()
    expect(row(page, "00000")).to_be_visible()
    page.get_by_role("searchbox").fill("0997")
    expect(row(page, "09975")).to_be_visible()


def test_a_server_that_goes_and_comes(
    dashboard: Open, server: Server, tracker: Tracker, console: Console, name: str
) -> None:
    """It says that the connection is lost, keeps what it knows, and is live again by itself."""
    console.loses_the_network = True
    finished(tracker, name)
    page = dashboard()
    expect(page.locator("#live")).to_have_text("Live")
    server.stop()
    expect(page.locator("#live")).to_contain_text("Connection lost")
    expect(row(page, name)).to_be_visible()
    server.start()
    expect(page.locator("#live")).to_have_text("Live")
    finished(tracker, f"new {name}")
    expect(row(page, f"new {name}")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 820, 1100, 1440, 2200])
def test_it_fits_every_width(dashboard: Open, tracker: Tracker, work: Work, name: str, width: int) -> None:
    """Nothing sticks out, and what matters of a job is in view, from telephones to large screens."""
    finished(tracker, "long " + "x" * 190, message="y" * 500, status=JobStatus.FAILED, error="z" * 500)
    finished(tracker, "acme")
    worker = work(name)
    worker.do("update", 0.5, message="m" * 500)
    page = dashboard(viewport={"width": width, "height": 800})
    expect(row(page, name).locator(".percent")).to_be_in_viewport()
    is_whole = "id => id.getBoundingClientRect().right <= id.closest('th').getBoundingClientRect().right"
    assert row(page, "acme").locator(".id").evaluate(is_whole)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    row(page, name).get_by_role("link").click()
    expect(page.get_by_role("button", name="Cancel job")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_tree_of_a_screen_reader(dashboard: Open, tracker: Tracker) -> None:
    """Landmarks, a table with headers, and a list of tabs of which one is current."""
    finished(tracker, "acme", message="1,790 products")
    page = dashboard()
    expect(page.locator("body")).to_match_aria_snapshot(
        """
        - banner:
          - heading "Jobs" [level=1]
          - status: Live
          - search:
            - combobox "Job"
            - searchbox "Search by id"
        - navigation "Filter by status":
          - link "All"
        - main:
          - table "Jobs, newest first":
            - rowgroup:
              - row:
                - columnheader "Status"
                - columnheader "Job"
            - rowgroup:
              - row:
                - cell "Done"
                - rowheader /import acme/
        """
    )
