"""Bars of rich that report into a run."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from job_progress import Job, Progress
from job_progress.compat.rich import track
from job_progress.compat.tqdm import trange
from tests.compat.conftest import is_seen, on_terminal, seen
from tests.waiting import eventually


def test_a_loop_is_counted(progress: Progress, capfd: pytest.CaptureFixture[str]) -> None:
    """The items are the job's, the description is the message, without its markup, and a log has nothing of it."""
    found = [seen(progress) for _ in track("abcd", "[green]reading[/]")]
    assert found == [(0, 4, 0.0), (1, 4, 0.25), (2, 4, 0.5), (3, 4, 0.75)]
    assert seen(progress) == (4, 4, 1.0)
    assert progress.state.message == "reading"
    assert capfd.readouterr() == ("", "")


def test_the_total_may_be_said(progress: Progress) -> None:
    """Without one, of what has no length, the progress is unknown; what is done already counts."""
    for number, _ in enumerate(track(iter("abc"), total=4, completed=1)):
        assert seen(progress) == (number + 1, 4, (number + 1) / 4)
    for number, _ in enumerate(track(letter for letter in "abc")):
        assert seen(progress) == (number, None, None)
    assert progress.state.message == "Working..."
    assert list(track([])) == []


def test_bars_inside_of_one_another_are_parts(progress: Progress) -> None:
    """Those of tqdm, too."""
    found = []
    for _ in track(range(2), "files"):
        for _ in track(range(2), "lines"):
            assert progress.state.message == "lines"
            for _ in trange(2):
                found.append(seen(progress)[2])
    assert found == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
    assert progress.state.message == "files"


def test_one_that_is_left_early_is_closed(progress: Progress) -> None:
    """What comes after it is not inside of it."""
    for _ in track(range(10)):
        break
    with pytest.raises(ZeroDivisionError):
        for _ in track(range(10)):
            raise ZeroDivisionError
    for number, _ in enumerate(track(range(2))):
        assert seen(progress) == (number, 2, number / 2)


def test_a_disabled_one_does_not_report(progress: Progress) -> None:
    """Whoever disables a bar has nobody see it."""
    assert list(track(range(3), disable=True)) == [0, 1, 2]
    assert seen(progress) == (None, None, 0.0)


def test_a_console_of_ones_own_is_drawn_on(progress: Progress) -> None:
    """What is drawn where somebody wants it is left alone, and counts all the same."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    for number, _ in enumerate(track(range(3), "mine", console=console)):
        assert seen(progress)[0] == number
    assert isinstance(console.file, io.StringIO)
    assert "mine" in console.file.getvalue()


def test_outside_of_a_run_it_is_rich(capfd: pytest.CaptureFixture[str]) -> None:
    """It draws what rich draws where there is no terminal."""
    console = Console()
    assert list(track(range(3), "alone", console=console)) == [0, 1, 2]
    assert "alone" in capfd.readouterr().out


def test_the_store_learns_of_it(job: Job) -> None:
    """While the bar is at an item, however long."""
    with job.start("2") as progress:
        for expected in track(range(3)):
            is_seen(job, "2", expected)
            eventually(lambda: progress.share()[0].quiet)


TERMINAL = """
from job_progress import Job, configure
from job_progress.compat.rich import track

configure(store="memory://")
job = Job("compat")
with job.start("1"):
    for _ in track(range(3), "our"):
        pass
assert job.get("1").completed == 3
"""


def test_a_terminal_shows_it(tmp_path: Path) -> None:
    """There a person sees what rich draws."""
    text = on_terminal(TERMINAL, tmp_path)
    assert "our" in text
    assert "100%" in text


def test_without_rich_it_says_what_to_install() -> None:
    """The extra is named where rich is missing."""
    program = "import sys; sys.modules['rich'] = None; import job_progress.compat.rich"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'job-progress[cli]'" in ran.stderr
