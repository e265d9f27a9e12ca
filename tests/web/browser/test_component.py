"""The component in a real browser: what it shows of real jobs, and what it does."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.web.browser.conftest import Work, add_bar, address, part


def test_progress_moves(page: Page, work: Work, name: str) -> None:
    """What a worker reports is in the page, at once and again."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.25, message="reading hoses.csv")
    expect(part(bar, "percent")).to_have_text("25%")
    expect(part(bar, "message")).to_have_text("reading hoses.csv")
    worker.do("update_with_steps", 3, 4)
    expect(part(bar, "percent")).to_have_text("75%")
    expect(part(bar, "details")).to_contain_text("3 of 4")
    worker.do("complete")
    expect(part(bar, "status")).to_have_text("Done")
    expect(part(bar, "percent")).to_have_text("100%")
