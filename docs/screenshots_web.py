"""Makes the pictures of the web pages in this folder: `python -m docs.screenshots_web [folder]`.

A real browser looks at a real server, on whose store jobs run in other processes beside a past that
is written into it.
"""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from tests.waiting import eventually
from tests.web.browser.chromium import ARGUMENTS, chromium

from job_progress import JobState, JobStatus, Tracker, clock
from job_progress.encoding import change_to
from job_progress.job import Job
from job_progress.names import key_of
from job_progress.state import Settings
from job_progress.web import allow_all, create_app

PORT = 8765
STALLED_AFTER = 1.5
COMPONENT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/looks.css">
<script type="module" src="/progress/static/job-progress.js"></script>
<main class="light">{bars}</main><main class="dark">{bars}</main></html>"""
LOOKS = """
body { display: grid; grid-template-columns: 1fr 1fr; margin: 0; font: 15px/1.45 Inter, system-ui, sans-serif; }
main { display: grid; align-content: start; gap: 1rem; padding: 2rem 2.2rem;
  background: light-dark(#fff, #131417); color: light-dark(#1b1d22, #e8e9ec); }
.light { color-scheme: light; }
.dark { color-scheme: dark; }
"""
BARS = [
    ("shop.import", "globex", "Product import"),
    ("report.monthly", "2030-01", "Monthly report"),
    ("shop.import", "initech", "Price update"),
    ("shop.import", "acme", "Stock update"),
    ("mail.newsletter", "7", "Newsletter"),
    ("billing.charge", "31", "Payment"),
    ("backup.nightly", "db1", "Nightly backup"),
    ("shop.import", "umbrella", "Supplier import"),
]


def tracker_at(url: str) -> Tracker:
    """A tracker that soon notices a worker's death, so that the pictures need not wait for it."""
    return Tracker(url, heartbeat=0.2, stalled_after=STALLED_AFTER, ttl=86400)


# Jobs that run, each in a process of its own.


def import_products(url: str) -> None:
    """Count fast, with a rate and a time left."""
    with Job("shop.import", cancellable=True, tracker=tracker_at(url)).start("globex") as progress:
        progress.set(source="s3://globex/products.csv", rows=20_064, dry_run=False)
        progress.total = 20_064
        progress.advance(9_640)
        progress.update(message="Reading garden/hoses.csv")
        while True:
            progress.advance()
            sleep(0.02)


def collect_invoices(url: str) -> None:
    """Nobody knows how much there is to do."""
    with Job("report.monthly", tracker=tracker_at(url)).start("2030-01") as progress:
        progress.update(None, message="Collecting invoices")
        while True:
            progress.advance()
            sleep(0.03)


def encode_video(url: str) -> None:
    """Slow and steady."""
    with Job("video.encode", cancellable=0.9, tracker=tracker_at(url)).start("42") as progress:
        for step in range(230, 1000):
            progress.update(step / 1000, message="Pass 1 of 2")
            sleep(0.2)


def send_newsletter(url: str) -> None:
    """It was asked to stop, and has not got round to it."""
    job = Job("mail.newsletter", cancellable=True, tracker=tracker_at(url))
    with job.start("7") as progress:
        progress.update_with_steps(4_000, 10_000, message="Waiting for the mail server").flush()
        job.cancel("7")
        threading.Event().wait()


def back_up(url: str) -> None:
    """Killed in the midst of its work."""
    with Job("backup.nightly", cancellable=True, tracker=tracker_at(url)).start("db1") as progress:
        progress.update(0.87, message="Copying table orders").flush()
        threading.Event().wait()


RUNNING = (import_products, collect_invoices, encode_video, send_newsletter, back_up)


# The past.


def past(minutes: float, job: str, id: str, seconds: float, **fields: Any) -> JobState:
    """A state that was created so many *minutes* ago and took *seconds*."""
    created = clock.now() - timedelta(minutes=minutes)
    started = created + timedelta(seconds=min(minutes * 60 * 0.2, 2.4))
    finished = started + timedelta(seconds=seconds)
    known: dict[str, Any] = {
        "status": JobStatus.COMPLETED,
        "progress": 1.0,
        "attempt": 1,
        "created_at": created,
        "started_at": started,
        "updated_at": finished,
        "finished_at": finished,
        "version": 1,
        "settings": Settings(cancellable=True, ttl=86400),
    }
    return JobState(job=job, id=id, **{**known, **fields})


def history() -> Iterator[JobState]:
    """What has happened before the jobs that run now."""
    unfinished: dict[str, Any] = {"finished_at": None, "progress": 0.0}
    waiting = {**unfinished, "status": JobStatus.PENDING, "started_at": None, "attempt": 0}
    yield past(0.4, "shop.import", "initech", 0, **waiting)
    yield past(0.9, "search.reindex", "9", 0, **waiting)
    yield past(
        3,
        "billing.charge",
        "31",
        3.1,
        **{**unfinished, "progress": 0.4},
        status=JobStatus.PENDING,
        attempt=2,
        error="TimeoutError: the bank did not answer within 3 s",
    )
    yield past(
        4,
        "shop.import",
        "acme",
        41,
        completed=1_790,
        total=1_790,
        message="1,790 products are in the shop",
        result={"added": 214, "changed": 1_541, "unchanged": 35},
    )
    yield past(
        6,
        "shop.import",
        "umbrella",
        12,
        status=JobStatus.FAILED,
        progress=0.31,
        completed=155,
        total=500,
        error="ValueError: row 156 of umbrella.csv has no price",
        owner="ada",
        attempt=2,
        meta={"source": "s3://umbrella/umbrella.csv", "rows": 500, "requested_by": "ada@example.com"},
    )
    yield past(9, "search.reindex", "8", 33, status=JobStatus.CANCELLED, progress=0.52, message="Shard 5 of 9")
    yield past(11, "report.weekly", "2030-W03", 65, message="12 pages")
    yield past(
        13,
        "mail.newsletter",
        "6",
        188,
        status=JobStatus.FAILED,
        progress=0.78,
        completed=7_800,
        total=10_000,
        error="SMTPServerDisconnected: connection unexpectedly closed",
    )
    choose = random.Random(7)
    names = [
        ("shop.import", "products"), ("video.encode", "videos"), ("search.reindex", "shards"),
        ("billing.charge", "invoices"), ("mail.newsletter", "letters"), ("images.resize", "images"),
    ]  # fmt: skip
    for number in range(140):
        job, things = choose.choice(names)
        total = choose.choice([120, 480, 1_790, 12_000])
        yield past(
            15 + number * 2.3 + choose.random(), job, f"{choose.randrange(16**6):06x}", choose.uniform(4, 260),
            completed=total, total=total, message=f"{total:,} {things}",
        )  # fmt: skip


@contextmanager
def site(url: str) -> Iterator[None]:
    """A server with the past behind it and the jobs at work."""
    tracker = tracker_at(url)
    for state in history():
        key = key_of(state.job, state.id)
        tracker.store.swap([change_to(state, key, 0)])
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=job, args=(url,)) for job in RUNNING]
    for process in processes:
        process.start()

    async def page(request: Request) -> HTMLResponse:
        bars = "".join(
            f'<job-progress src="/progress/states/{job}/{id}" label="{label}"></job-progress>'
            for job, id, label in BARS
        )
        return HTMLResponse(COMPONENT.format(bars=bars))

    async def looks(request: Request) -> HTMLResponse:
        return HTMLResponse(LOOKS, media_type="text/css")

    routes = [Route("/", page), Route("/looks.css", looks), Mount("/progress", create_app(allow_all, tracker=tracker))]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=PORT, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started and len(tracker.list(status="processing")) == len(RUNNING), 30)
    processes[-1].kill()
    eventually(lambda: any(state.is_stalled for state in tracker.list(status="processing")), 30)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        for process in processes:
            process.kill()
            process.join()
        tracker.close()


# The pictures.


@contextmanager
def page_of(browser: Browser, path: str, width: int, height: int, scheme: Any = "light") -> Iterator[Page]:
    """The page at *path*, twice as sharp as it is large."""
    page = browser.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=2, color_scheme=scheme,
        base_url=f"http://127.0.0.1:{PORT}", locale="en-GB",
    )  # fmt: skip
    page.goto(path)
    yield page
    page.close()


def pictures_of_the_demo(browser: Browser, folder: Path) -> None:
    """Make those of the demo's page, while it is at work and when it has ended."""
    with TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "job_progress.cli", "--store", f"sqlite:///{temporary}/states.db", "demo"]
        demo = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # noqa: S603
        lines = iter(demo.stdout or ())
        address = next(line.split()[-1] for line in lines if "in a browser" in line)
        threading.Thread(target=list, args=(lines,), daemon=True).start()
        with ExitStack() as stack:
            views = [("", 1280, "light"), ("-dark", 1280, "dark"), ("-phone", 390, "light")]
            pages = {
                name: stack.enter_context(page_of(browser, address, width, 900, scheme))
                for name, width, scheme in views
            }
            pages[""].locator('[label="Shard 4"]').get_by_role("button").click()
            expect(pages[""].locator("#status")).to_contain_text("4 of", timeout=60_000)
            for name, page in pages.items():
                page.screenshot(path=folder / f"demo{name}.png", full_page=True)
            pages[""].wait_for_selector(".ended", timeout=60_000)
            pages[""].screenshot(path=folder / "demo-ended.png", full_page=True)
        demo.wait()


def pictures(browser: Browser, folder: Path, *, all: bool) -> None:
    """Make those of the documentation or, with *all*, those of every width and view too."""
    failed = "open=shop.import%2Fumbrella"
    running = "open=shop.import%2Fglobex"
    views: list[tuple[str, str, int, int, str]] = [("dashboard", f"?{running}", 1440, 860, "light")]
    if all:
        views += [
            ("wide", "", 1440, 860, "light"),
            ("wide-dark", "", 1440, 860, "dark"),
            ("failed-dark", f"?{failed}", 1440, 860, "dark"),
            ("failed", f"?status=failed&{failed}", 1280, 860, "light"),
            ("stalled", "?status=stalled", 1280, 700, "light"),
            ("nothing", "?q=nothing-like-it", 1280, 700, "light"),
            ("search", "?q=a1&status=completed", 1280, 700, "light"),
            ("older", "?job=shop.import", 1100, 700, "light"),
            ("done", "?open=shop.import%2Facme", 1280, 860, "light"),
            ("retrying", "?open=billing.charge%2F31", 1280, 860, "light"),
            ("tablet", "", 820, 1000, "light"),
            ("tablet-open", f"?{failed}", 820, 1000, "dark"),
            ("phone", "", 390, 844, "light"),
            ("phone-dark", "", 390, 844, "dark"),
            ("phone-open", f"?{running}", 390, 844, "light"),
        ]
    with page_of(browser, "/", 1000, 400) as page:
        sleep(4.0)  # until the rates are known
        page.locator("body").screenshot(path=folder / "component.png")
    for name, query, width, height, scheme in views:
        with page_of(browser, f"/progress/{query}", width, height, scheme) as page:
            page.wait_for_selector("html.loaded")
            sleep(2.2)
            page.screenshot(path=folder / f"{name}.png")


def main(folder: Path, *, all: bool) -> None:
    """Make the pictures in *folder*."""
    with ExitStack() as stack:
        store = Path(stack.enter_context(TemporaryDirectory())) / "states.db"
        stack.enter_context(site(f"sqlite:///{store}"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=ARGUMENTS)
        pictures(browser, folder, all=all)
        if all:
            pictures_of_the_demo(browser, folder)
        browser.close()


if __name__ == "__main__":
    wanted = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if wanted:
        wanted.mkdir(exist_ok=True)
    main(wanted or Path(__file__).parent, all=wanted is not None)
