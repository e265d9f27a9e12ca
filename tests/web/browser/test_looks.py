"""How the component looks and what it says to a screen reader."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.web.browser.conftest import NewPage, Work, add_bar, address, part


def drawn(bar: Locator, name: str, what: str) -> str:
    """A style of a part, as the browser draws it."""
    style: str = part(bar, name).evaluate("(part, what) => getComputedStyle(part)[what]", what)
    return style


def brightness(colour: str) -> float:
    """0 for black and 1 for white, of a colour as browsers write it."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour.removeprefix("color(srgb"))]
    return sum(numbers[:3]) / 3 / (1 if colour.startswith("color(") else 255)


def test_the_tree_of_a_screen_reader(page: Page, work: Work, name: str) -> None:
    """A named progress bar with its value in numbers and words, a button and a polite status."""
    worker = work(name)
    bar = add_bar(page, address(name), label="Product import")
    worker.do("update_with_steps", 1, 4, message="reading hoses.csv")
    progress = page.get_by_role("progressbar", name="Product import")
    expect(progress).to_have_attribute("aria-valuenow", "25")
    expect(progress).to_have_attribute("aria-valuetext", "reading hoses.csv, 25%")
    expect(bar).to_match_aria_snapshot(
        """
        - text: Product import reading hoses.csv 25%
        - progressbar "Product import"
        - text: /1 of 4/
        - button "Cancel"
        - status
        """
    )
    worker.do("update", None)
    expect(progress).not_to_have_attribute("aria-valuenow", re.compile(".*"))


def test_the_live_region_does_not_chatter(page: Page, work: Work, name: str) -> None:
    """Of forty reports within seconds a screen reader hears nothing, of the end it hears once."""
    worker = work(name)
    bar = add_bar(page, address(name), label="Import")
    expect(part(bar, "status")).to_have_text("Running")
    page.evaluate(
        """() => {
            window.heard = [];
            const live = document.querySelector("job-progress").shadowRoot.querySelector("[role=status]");
            const look = () => heard.push(live.textContent);
            new MutationObserver(look).observe(live, { childList: true, subtree: true, characterData: true });
        }"""
    )
    for percent in range(1, 41):
        worker.do("update", percent / 100, message=f"step {percent}")
    expect(part(bar, "percent")).to_have_text("40%")
    assert page.evaluate("heard") == []
    worker.do("complete")
    expect(part(bar, "live")).to_have_text("Import, Done")
    assert page.evaluate("heard") == ["Import, Done"]


def test_a_quarter_is_told_after_a_while(page: Page, work: Work, name: str) -> None:
    """A long job says how far it is, a few times in all."""
    page.clock.install()
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.1)
    expect(part(bar, "percent")).to_have_text("10%")
    page.clock.run_for(11_000)
    worker.do("update", 0.2)
    expect(part(bar, "percent")).to_have_text("20%")
    expect(part(bar, "live")).to_have_text("")
    worker.do("update", 0.3)
    expect(part(bar, "live")).to_have_text("30%")


def test_dark_pages(new_page: NewPage, work: Work, name: str) -> None:
    """On a page for both, the colours follow the system: what is red stays readable on either ground."""
    worker = work(name)
    worker.begin("raise", "no price")
    bars = [add_bar(new_page(color_scheme=scheme), address(name)) for scheme in ("light", "dark")]
    for bar in bars:
        expect(part(bar, "status")).to_have_text("Failed")
    light, dark = [brightness(drawn(bar, "error", "color")) for bar in bars]
    assert light < 0.45 < 0.6 < dark
    light, dark = [brightness(drawn(bar, "base", "color")) for bar in bars]
    assert light < 0.2 < 0.8 < dark


def test_a_light_page_stays_light_on_a_dark_system(new_page: NewPage, work: Work, name: str) -> None:
    """A page that knows no dark mode is white, and so is not given colours for a black one."""
    work(name).begin("raise", "no price")
    page = new_page(color_scheme="dark")
    page.evaluate("document.querySelector('meta[name=color-scheme]').remove()")
    bar = add_bar(page, address(name))
    expect(part(bar, "status")).to_have_text("Failed")
    assert brightness(drawn(bar, "error", "color")) < 0.45


@pytest.mark.parametrize("reduced", [True, False])
def test_reduced_motion(new_page: NewPage, work: Work, name: str, reduced: bool) -> None:
    """Who wants no motion gets none, and still sees that it works."""
    worker = work(name)
    page = new_page(reduced_motion="reduce" if reduced else "no-preference")
    bar = add_bar(page, address(name))
    worker.do("update", None)
    expect(part(bar, "base")).to_have_attribute("part", "base processing moving")
    assert part(bar, "bar").evaluate("bar => bar.getAnimations().length") == (0 if reduced else 1)
    expect(part(bar, "bar")).to_be_visible()


def test_looks_are_the_page_s_own(page: Page, work: Work, name: str) -> None:
    """Variables and parts change the looks; the situation is a part too."""
    worker = work(name)
    bar = add_bar(page, address(name))
    worker.do("update", 0.5)
    page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`
                job-progress { --job-progress-accent: rgb(1, 2, 3); --job-progress-height: 20px; }
                job-progress::part(percent) { color: rgb(4, 5, 6); }
                job-progress::part(base completed) { color: rgb(7, 8, 9); }
            `);
            document.adoptedStyleSheets = [sheet];
        }"""
    )
    expect(part(bar, "bar")).to_have_css("background-color", "rgb(1, 2, 3)")
    expect(part(bar, "track")).to_have_css("height", "20px")
    expect(part(bar, "percent")).to_have_css("color", "rgb(4, 5, 6)")
    worker.do("complete")
    expect(part(bar, "base")).to_have_css("color", "rgb(7, 8, 9)")


def test_it_fits_into_a_narrow_page(new_page: NewPage, work: Work, name: str) -> None:
    """Long texts are cut or wrapped; nothing sticks out on a telephone."""
    worker = work(name)
    page = new_page(viewport={"width": 320, "height": 600})
    bar = add_bar(page, address(name), label="Import")
    worker.do("update", 0.5, message="reading " + "hoses" * 100)
    expect(part(bar, "percent")).to_be_in_viewport()
    worker.begin("raise", "x" * 1000)
    expect(part(bar, "status")).to_have_text("Failed")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
