"""The component in a real browser: what it shows of real jobs, and what it does."""

from __future__ import annotations

import gzip
import re
from urllib.parse import urlsplit

from msgspec import structs
from playwright.sync_api import Page, Route, expect

from job_progress import Tracker
from job_progress.encoding import change_to
from job_progress.job import Job
from job_progress.names import key_of
from job_progress.task import QueueTask, queue_task
from job_progress.web.files import FOLDER
from tests.waiting import eventually
from tests.web.browser.conftest import Console, Work, add_bar, address, names_told, part, told


def test_it_is_small_enough() -> None:
    """One file, under 6 KB compressed, that loads nothing else."""
    source = (FOLDER / "job-progress.js").read_bytes()
    assert len(gzip.compress(source, 9)) < 6000
    assert re.findall(rb"^import|import\(", source) == []


def test_progress_moves(page: Page, work: Work, name: str) -> None:
    """What a worker reports is in the page, at once and again, until the end."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.25, message="reading hoses.csv")
    expect(part(bar, "percent")).to_have_text("25%")
    expect(part(bar, "message")).to_have_text("reading hoses.csv")
    worker.do("update_with_steps", 3_000, 4_000)
    expect(part(bar, "percent")).to_have_text("75%")
    expect(part(bar, "details")).to_contain_text("3,000 of 4,000")
    share = "bar => bar.offsetWidth / bar.parentElement.offsetWidth"
    eventually(lambda: abs(part(bar, "bar").evaluate(share) - 0.75) < 0.02)
    worker.do("complete", {"rows": 4})
    expect(part(bar, "status")).to_have_text("Done")
    expect(part(bar, "percent")).to_have_text("100%")
    expect(part(bar, "base")).to_have_attribute("part", "base completed")
    assert names_told(page) == ["state", "completed"]
    assert told(page)[-1][1]["result"] == {"rows": 4}


def test_rate_and_time_left_are_shown_and_go_on(page: Page, work: Work, name: str) -> None:
    """Items per second and the time left; the latter counts down though nothing is reported."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("expect", 10_000_000)
    for _ in range(50):
        worker.do("advance", 10)
    expect(part(bar, "details")).to_contain_text("/s · ")
    before = part(bar, "details").inner_text()
    assert before.endswith(" left")
    eventually(lambda: part(bar, "details").inner_text() != before)


def test_the_time_left_is_written_as_clocks_write_it(page: Page) -> None:
    """Minutes and seconds, hours where there are some, and days."""
    state = {"version": 1, "status": "processing", "progress": 0.5, "percent": 50, "actions": ["view"]}
    times = {"0:05": 5, "1:05": 65, "12:00": 720, "1:02:05": 3725, "23:59:59": 86399, "2 d 0:05:00": 2 * 86400 + 300}

    def answer(route: Route) -> None:
        seconds = int(urlsplit(route.request.url).path.split("/")[2])
        route.fulfill(json={**state, "eta": seconds + 0.9})

    page.route("**/time/**", answer)
    for written, seconds in times.items():
        expect(part(add_bar(page, f"/time/{seconds}"), "details")).to_have_text(f"{written} left")


def test_what_nobody_knows_moves_without_a_number(page: Page, work: Work, name: str) -> None:
    """An indeterminate bar moves, and says how much is done, and no percentage."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", None, message="collecting")
    worker.do("advance", 318)
    expect(part(bar, "details")).to_contain_text("318")
    expect(part(bar, "base")).to_have_attribute("part", "base processing moving")
    expect(part(bar, "percent")).to_be_hidden()
    assert part(bar, "bar").evaluate("bar => bar.getAnimations().length") == 1


def test_a_job_that_waits_and_one_that_nobody_knows(page: Page, tracker: Tracker, console: Console, name: str) -> None:
    """An unknown id is asked for again until it is there; a pending one waits, and can be cancelled."""
    console.loses_the_network = True  # the answer is 404 until there is a job
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Nothing is known of this job yet")
    job = Job("shop.import", tracker=tracker)
    job.lock(name)
    expect(part(bar, "status")).to_have_text("Waiting to start")
    bar.get_by_role("button", name="Cancel").click()
    expect(part(bar, "status")).to_have_text("Cancelled")
    state = job.get(name)
    assert state
    assert state.is_cancelled


def test_cancel_works(page: Page, work: Work, name: str) -> None:
    """The button stops the job in its own process, and goes away; the focus stays in the bar."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.4)
    button = bar.get_by_role("button", name="Cancel")
    button.focus()
    button.press("Enter")
    expect(part(bar, "status")).to_have_text("Cancelling…")
    expect(button).to_be_hidden()
    assert page.evaluate("document.activeElement.tagName") == "JOB-PROGRESS"
    worker.begin("stop when asked")
    expect(part(bar, "status")).to_have_text("Cancelled")
    assert names_told(page) == ["state", "cancelled"]


def test_a_refused_cancel_says_why(page: Page, work: Work, console: Console, name: str) -> None:
    """Where the job was quicker than the click, the reason is shown, and the new state."""
    console.loses_the_network = True  # the answer is 409
    worker = work(name)

    def complete_first(route: Route) -> None:
        worker.do("complete")
        route.continue_()

    page.route("**/cancel", complete_first)
    bar = add_bar(page, address(name))
    bar.get_by_role("button", name="Cancel").click()
    expect(part(bar, "error")).to_contain_text("it is completed")
    expect(part(bar, "status")).to_have_text("Done")


def test_a_cancel_that_does_not_get_through_can_be_tried_again(
    page: Page, work: Work, console: Console, name: str
) -> None:
    """Without an answer it says so, and leaves the button."""
    console.loses_the_network = True
    work(name)
    page.route("**/cancel", lambda route: route.abort())
    bar = add_bar(page, address(name))
    button = bar.get_by_role("button", name="Cancel")
    button.click()
    expect(part(bar, "error")).to_have_text("It could not be cancelled")
    page.unroute("**/cancel")
    button.click()
    expect(part(bar, "status")).to_have_text("Cancelling…")
    expect(part(bar, "error")).to_be_hidden()


def test_a_cancel_that_failed_is_forgotten_when_the_job_gets_on(
    page: Page, work: Work, console: Console, name: str
) -> None:
    """What went wrong with the job matters more, and a job that is done has no trouble."""
    console.loses_the_network = True
    page.route("**/cancel", lambda route: route.abort())
    for end, arguments, error in (("raise", ["no price"], "RuntimeError: no price"), ("complete", [], "")):
        worker = work(f"{name} {end}")
        bar = add_bar(page, address(f"{name} {end}"))
        bar.get_by_role("button", name="Cancel").click()
        expect(part(bar, "error")).to_have_text("It could not be cancelled")
        worker.begin(end, *arguments)
        expect(part(bar, "status")).to_have_text("Failed" if error else "Done")
        expect(part(bar, "error")).to_have_text(error)


def test_a_late_answer_is_not_taken_for_another_job(page: Page, tracker: Tracker, name: str) -> None:
    """Where a bar gets a new address before the job it showed is cancelled, it shows the other one as it is."""
    job = Job("shop.import", tracker=tracker)
    job.lock(name)
    job.lock(f"other {name}")
    held: list[Route] = []
    page.route("**/cancel", lambda route: held.append(route))
    add_bar(page, address(name)).get_by_role("button", name="Cancel").click()
    eventually(lambda: page.evaluate("1") and held)  # which lets Playwright hear of it
    page.evaluate("src => { document.querySelector('job-progress').src = src; }", address(f"other {name}"))
    bar = page.locator("job-progress")
    expect(part(bar, "status")).to_have_text("Waiting to start")
    with page.expect_response("**/cancel") as answer:
        held[0].continue_()
    assert answer.value.json()["status"] == "cancelled"
    with job.start(f"other {name}"):
        expect(part(bar, "status")).to_have_text("Running")
    expect(part(bar, "status")).to_have_text("Done")
    assert names_told(page) == ["state", "completed"]


def test_who_may_not_cancel_sees_no_button(page: Page, work: Work, name: str) -> None:
    """Who may only look sees no button, though the job can be cancelled."""
    worker = work(name)
    bar = add_bar(page, address(name, mount="/viewers"))
    worker.do("update", 0.4)
    expect(part(bar, "percent")).to_have_text("40%")
    assert told(page)[-1][1]["can_be_cancelled"]
    expect(bar.get_by_role("button")).to_be_hidden()


def test_a_failure_shows_its_error(page: Page, work: Work, name: str) -> None:
    """The error stands below the bar, which keeps its place."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.31)
    worker.begin("raise", "row 156 has no price")
    expect(part(bar, "status")).to_have_text("Failed")
    expect(part(bar, "error")).to_have_text("RuntimeError: row 156 has no price")
    expect(part(bar, "percent")).to_have_text("31%")
    assert names_told(page) == ["state", "failed"]


def test_a_retry_shows_the_last_error_and_the_attempt(page: Page, tracker: Tracker, name: str) -> None:
    """Between two attempts it waits, and says what went wrong with the last one."""
    try:
        with queue_task(QueueTask(will_retry=lambda error: True)), Job("shop.import", tracker=tracker).start(name):
            raise TimeoutError("no answer")
    except TimeoutError:
        bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Waiting to try again")
    expect(part(bar, "error")).to_have_text("TimeoutError: no answer")
    expect(part(bar, "details")).to_have_text("attempt 1")


def test_a_dead_worker_is_noticed(page: Page, work: Work, name: str) -> None:
    """A killed process gives no sign of life, and the page says so without being asked."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.87)
    expect(part(bar, "percent")).to_have_text("87%")
    worker.child.kill()
    expect(part(bar, "status")).to_have_text("No sign of life")
    expect(part(bar, "base")).to_have_attribute("part", "base stalled")


def test_a_dead_worker_that_the_store_has_forgotten(page: Page, work: Work, tracker: Tracker, name: str) -> None:
    """The store was emptied just after the process was killed: nobody hears of the job, and the page says so."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.87)
    expect(part(bar, "percent")).to_have_text("87%")
    worker.child.kill()
    state = tracker.get("shop.import", name)
    assert state
    change = change_to(state, key_of(state.job, state.id), state.version)
    tracker.store.swap([structs.replace(change, version=state.version + 1, lifetime=0.0)])
    assert tracker.get("shop.import", name) is None
    expect(part(bar, "status")).to_have_text("No sign of life")


def test_texts_and_numbers_in_another_language(page: Page, work: Work, name: str) -> None:
    """Attributes give the texts, and the page's language the form of numbers; also when they change later."""
    worker = work(name)
    texts = {"text_items": "{completed} von {total}", "text_cancel": "Abbrechen", "text_completed": "Fertig"}
    bar = add_bar(page, address(name), lang="de", label="Import", **texts)
    worker.do("update_with_steps", 1_500, 3_000)
    expect(part(bar, "details")).to_contain_text("1.500 von 3.000")
    expect(part(bar, "percent")).to_have_text("50\u00a0%")
    expect(bar.get_by_role("button")).to_have_text("Abbrechen")
    bar.evaluate("bar => bar.setAttribute('text-cancel', 'Stop')")
    expect(bar.get_by_role("button")).to_have_text("Stop")
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Fertig")


def test_a_language_that_is_none_does_no_harm(page: Page, work: Work, name: str) -> None:
    """Frameworks write en_US where browsers want en-US."""
    worker = work(name)
    bar = add_bar(page, address(name), lang="en_US")
    worker.do("update", 0.5)
    expect(part(bar, "percent")).to_have_text("50%")


def test_what_a_job_says_is_text(page: Page, work: Work, name: str) -> None:
    """Markup in a message, an error or a label is shown, and never becomes part of the page."""
    attack = '<img src=x onerror="document.title = 1">'
    worker = work(name)
    bar = add_bar(page, address(name), label=attack)
    worker.do("update", 0.5, message=f"{attack}\u2028data: {{}}")
    expect(part(bar, "message")).to_contain_text(attack)
    expect(part(bar, "label")).to_have_text(attack)
    worker.begin("raise", attack)
    expect(part(bar, "error")).to_contain_text(attack)
    assert bar.locator("img").count() == 0
    assert page.title() == "A page"


def test_odd_ids_are_shown(page: Page, work: Work) -> None:
    """Slashes, percents, other alphabets and two hundred characters."""
    for id in ("a/b", "100%", "ü✓ ?#&", "x" * 200):
        work(id).do("complete")
        expect(part(add_bar(page, address(id)), "status")).to_have_text("Done")
