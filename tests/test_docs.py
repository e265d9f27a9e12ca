"""The pictures are made by the project, and show what it shows."""

from __future__ import annotations

import html
import re
import runpy
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def words_in(svg: str) -> list[str]:
    return re.sub(r"[\xa0\s]+", " ", html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)))).split()


def test_the_picture_in_the_readme_is_up_to_date() -> None:
    """The script makes the same words as the file has, and the file loads nothing from elsewhere."""
    make: Callable[[], str] = runpy.run_path(str(DOCS / "screenshots.py"))["picture_of_bars"]
    kept = (DOCS / "bars.svg").read_text(encoding="utf-8")
    assert words_in(make()) == words_in(kept)
    assert {"completed", "cancelling", "pending", "retrying", "stalled", "failed"} <= set(words_in(kept))
    assert set(re.findall(r"https?://[^\"' )]+", kept)) == {"http://www.w3.org/2000/svg"}
