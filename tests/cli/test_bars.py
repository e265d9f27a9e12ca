"""What is drawn for a state, on terminals of any width."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from job_progress import JobState, JobStatus
from job_progress.cli import words
from job_progress.cli.bars import bars
from job_progress.testing import frozen_clock

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _the_time_stands_still() -> Iterator[None]:
    with frozen_clock(NOW):
        yield


def state(id: str = "7", **fields: Any) -> JobState:
    """A run that began twelve seconds ago."""
    usual: dict[str, Any] = {
        "status": JobStatus.PROCESSING,
        "version": 1,
        "attempt": 1,
        "started_at": NOW - timedelta(seconds=12),
        "updated_at": NOW,
        "heartbeat_at": NOW,
    }
    return JobState(job="shop.import", id=id, **{**usual, **fields})


def drawn(*states: JobState, width: int = 80, room: int | None = None) -> list[str]:
    """The lines, without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(bars(states, width, room))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize(
    "message", ["a message that goes on and on " * 9, "日本語のとても長いメッセージ" * 9, "🎉" * 99]
)
def test_the_message_is_cut_and_the_numbers_are_not(width: int, message: str) -> None:
    """The largest numbers, a long name and a long message: one line of the terminal's width, and no number cut."""
    busy = state(
        "an-id-that-is-long-" * 5,
        progress=0.42,
        completed=42_000,
        total=99_999,
        rate=99_999.0,
        speed=1e-5,
        message=message,
    )
    [line] = drawn(busy, width=width)
    assert cell_len(line) <= width
    for number in ("42%", "42,000/99,999", "99,999/s", "0:12", "16:06:40 left"):
        assert number in line
    assert "…" in line


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"version": 0, "status": JobStatus.PENDING}, "unknown – nobody has locked"),
        ({"status": JobStatus.PENDING, "attempt": 0}, "pending"),
        ({"status": JobStatus.PENDING, "error": "OSError: away"}, "import 7 retrying: OSError: away"),
        ({"message": "row 5"}, "row 5"),
        ({"heartbeat_at": NOW - timedelta(seconds=31)}, "import 7 stalled: no sign of life for 0:31"),
        ({"cancel_requested_at": NOW, "message": "row 5"}, "cancelling – row 5"),
        ({"status": JobStatus.COMPLETED, "progress": 1.0}, "completed"),
        ({"status": JobStatus.FAILED, "error": "OSError: away"}, "import 7 failed: OSError: away"),
        ({"status": JobStatus.CANCELLED}, "cancelled"),
    ],
)
def test_each_situation_is_said_in_words(fields: dict[str, Any], shown: str) -> None:
    """Colour is only an extra."""
    assert shown in "\n".join(drawn(state(**fields), width=100))


def test_finished_states_make_room_for_others() -> None:
    """On a small screen the running ones stay, and the rest is counted."""
    states = [state(str(id), status=JobStatus.COMPLETED) for id in range(5)] + [state("9")]
    lines = drawn(*states, room=3)
    assert [line.split()[:2] for line in lines if line.startswith("import")] == [["import", "4"], ["import", "9"]]
    assert lines[-1] == "and 4 more: 4 completed"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("two\nlines\tand  more", "two lines and more"),
        ("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07", "red link"),
        ("\x1b]0;never ended", ""),
        ("\x9b31mC1 \x00nul", "31mC1 nul"),
        ("right\u202eleft\u2066", "right left"),
        ("日本語 – ok", "日本語 – ok"),
    ],
)
def test_clean_leaves_only_what_prints(text: str, cleaned: str) -> None:
    """One line, no escapes, no control characters, no marks that turn the direction of text."""
    assert words.clean(text) == cleaned


@pytest.mark.parametrize(
    ("completed", "total", "shown"),
    [
        (None, None, ""),
        (5, None, "5"),
        (1_790, 20_064, "1,790/20,064"),
        (99_999, 100_000, "99,999/100k"),
        (999_999, 1_234_567, "1M/1.23M"),
        (10**9, 10**17, "1G/100P"),
    ],
)
def test_counts_stay_narrow(completed: int | None, total: int | None, shown: str) -> None:
    """Exact as long as that fits, then in thousands and more."""
    assert words.items(state(completed=completed, total=total)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.9, "0:07"), (750, "12:30"), (11_100, "3:05:00"), (183_900, "2 d 03:05")]
)
def test_times_read_as_on_a_clock(seconds: float, shown: str) -> None:
    """Minutes and seconds, then hours, then days."""
    assert words.span(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(None, ""), (0.05, "3/min"), (4.66, "4.7/s"), (178.2, "178/s"), (65e6, "65M/s")]
)
def test_rates_read_as_people_say_them(rate: float | None, shown: str) -> None:
    """Per minute, if it is slow."""
    assert words.rate(state(rate=rate)) == shown
