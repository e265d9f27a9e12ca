"""The demo's page in the browser, on a server that the demo's processes share."""

from __future__ import annotations

import re
import signal
import sysconfig
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.cli.command import Command, Started
from tests.web.browser.conftest import Console, NewPage, part

SLOW = str(Path(sysconfig.get_path("stdlib")) / "test")


@pytest.fixture
def demo(command: Command, new_page: NewPage, valkey_url: str) -> tuple[Started, Page]:
    """A demo that runs, and its page."""
    started = command.start("--store", valkey_url, "demo", SLOW)
    [address] = re.findall(r"^or in a browser: (\S+)$", started.prints("demo.scan"), re.MULTILINE)
    page = new_page(address)
    expect(page.locator("#status")).to_have_text(re.compile(r"^\d+ of \d+ jobs done$"))
    return started, page


def test_its_bars_are_live_and_can_be_cancelled(demo: tuple[Started, Page]) -> None:
    """Bars move, a click cancels, and after Ctrl-C each shows how it ended: then the page says that all is over."""
    started, page = demo
    bars = page.locator("job-progress")
    for label in ("Scan", "Shard 1", "Merge"):
        expect(bars.and_(page.locator(f'[label="{label}"]'))).to_have_count(1)
    expect(part(page.locator('[label="Shard 1"]'), "percent")).to_have_text(re.compile(r"^\d\d+%$"))
    merge = page.locator('[label="Merge"]')
    merge.get_by_role("button", name="Cancel").click()
    expect(part(merge, "status")).to_have_text("Cancelled")
    started.signal(signal.SIGINT)
    expect(page.locator("#status")).to_have_text(re.compile(r"^Ended: \d+ completed, \d+ cancelled$"))
    for bar in bars.all():
        expect(part(bar, "status")).to_have_text(re.compile("^(Done|Cancelled)$"))
    assert started.ends(20) == 130


def test_a_demo_that_is_killed(demo: tuple[Started, Page], console: Console) -> None:
    """The page says that it has ended, what it showed last stays, and there is nothing left to click."""
    console.loses_the_network = True
    started, page = demo
    bar = page.locator('[label="Shard 1"]')
    expect(bar.get_by_role("button", name="Cancel")).to_be_visible()
    started.process.kill()
    expect(page.locator("#status")).to_have_text(re.compile("^Ended: "))
    expect(page.locator("#about")).to_contain_text("The demo has ended.")
    expect(part(bar, "details")).to_have_text("The demo ended first")
    expect(bar.get_by_role("button", name="Cancel")).to_be_hidden()


def test_every_width(demo: tuple[Started, Page]) -> None:
    """Nothing stands out of the page, on a telephone as on a wide screen."""
    for width in (320, 390, 820, 1920):
        demo[1].set_viewport_size({"width": width, "height": 800})
        assert demo[1].evaluate("document.documentElement.scrollWidth") <= width
