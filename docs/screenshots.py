"""Draws the pictures in this folder: `make screenshots`. The same on every machine and at any time."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from job_progress import JobState, JobStatus, clock
from job_progress.cli.bars import bars
from job_progress.state import Settings
from job_progress.testing import frozen_clock

WIDTH = 112
COLOURS = [
    (240, 113, 120),  # red, and so on, in the order of ANSI
    (126, 211, 143),
    (235, 203, 112),
    (110, 168, 254),
    (198, 146, 233),
    (98, 205, 214),
]
THEME = TerminalTheme(
    background=(24, 26, 33),
    foreground=(208, 212, 222),
    normal=[(58, 62, 76), *COLOURS, (208, 212, 222)],
    bright=[(126, 133, 152), *COLOURS, (255, 255, 255)],
)


def at_work(job: str, id: str, seconds: float, **fields: Any) -> JobState:
    """A state whose run began *seconds* ago."""
    now = clock.now()
    known: dict[str, Any] = {
        "status": JobStatus.PROCESSING,
        "version": 1,
        "attempt": 1,
        "started_at": now - timedelta(seconds=seconds),
        "updated_at": now,
        "heartbeat_at": now,
        "settings": Settings(cancellable=True),
    }
    return JobState(job=job, id=id, **{**known, **fields})


def states() -> list[JobState]:
    """One state of each kind."""
    now = clock.now()
    return [
        at_work(
            "shop.import", "acme", 41, status=JobStatus.COMPLETED, progress=1.0, completed=1790, total=1790,
            finished_at=now, message="1,790 products",
        ),
        at_work(
            "shop.import", "globex", 72, progress=0.64, completed=12_841, total=20_064, rate=178.0,
            speed=0.64 / 72, message="reading products/garden/hoses.csv",
        ),
        at_work("video.encode", "42", 4 * 60 + 8, progress=0.23, speed=0.23 / 248, message="pass 1 of 2"),
        at_work("report.monthly", "2030-01", 9, progress=None, completed=318, rate=35.2, message="collecting invoices"),
        at_work(
            "mail.newsletter", "7", 95, progress=0.4, completed=4_000, total=10_000, message="waiting for the server",
            cancel_requested_at=now,
        ),
        JobState(job="shop.import", id="initech", version=1, created_at=now),
        at_work("search.reindex", "9", 33, status=JobStatus.CANCELLED, progress=0.52, finished_at=now),
        at_work(
            "billing.charge", "31", 3, status=JobStatus.PENDING, attempt=2, error="TimeoutError: no answer"
        ),
        at_work("backup.nightly", "db1", 610, progress=0.87, heartbeat_at=now - timedelta(seconds=48)),
        at_work(
            "shop.import", "umbrella", 12, status=JobStatus.FAILED, progress=0.31, completed=155, total=500,
            finished_at=now, error="ValueError: row 156 of umbrella.csv has no price",
        ),
    ]  # fmt: skip


def picture_of_bars() -> str:
    """The bars of all kinds of states, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with frozen_clock():
        console.print(Text.assemble(("$ ", "bright_black"), ("job-progress watch\n", "bold")))
        console.print(bars(states(), WIDTH))
    svg = console.export_svg(title="job-progress watch", theme=THEME, unique_id="job-progress")
    # A picture must not load a font from somewhere: whatever monospace there is will do.
    return re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    (Path(__file__).parent / "bars.svg").write_text(picture_of_bars(), encoding="utf-8")
