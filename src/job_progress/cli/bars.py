"""States as they change: live bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from job_progress.cli import words
from job_progress.state import JobState

Show = Callable[[Sequence[JobState]], None]

QUIET = 5.0
"""Seconds for which a plain line about a job that moves on stays the latest."""

_USUAL = (4, 9, 5, 4, 9)
"""Widths of percent, items, rate, time and time left that most jobs need: the rest stays where it is."""

_STYLES = {
    "unknown": "dim",
    "pending": "dim",
    "retrying": "yellow",
    "processing": "cyan",
    "stalled": "yellow",
    "cancelling": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "bright_black",
}


@contextmanager
def display() -> Iterator[Show]:
    """A function that shows states on the standard output, each time with what has changed since.

    On a terminal the bars are drawn anew in place, and stay when the `with` ends; elsewhere a line
    is printed for each state that changed noticeably.
    """
    if not on_terminal():
        yield Lines().show
        return
    console = Console()
    latest: Sequence[JobState] = ()

    def show(states: Sequence[JobState]) -> None:
        nonlocal latest
        latest = states
        live.update(bars(states, console.width, console.height - 1), refresh=True)

    with Live(console=console, auto_refresh=False) as live:
        try:
            yield show
        finally:
            live.update(bars(latest, console.width), refresh=True)


def on_terminal() -> bool:
    """Is the standard output a terminal that can move its cursor?"""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def say(line: str) -> None:
    """Print a line at once, so that a pipe's reader need not wait for the next."""
    print(line, flush=True)


def bars(states: Sequence[JobState], width: int = 80, room: int | None = None) -> RenderableType:
    """One line with a bar for each state, and below them what went wrong.

    Numbers are never cut; the message has what they, the names and the bars leave of the width.

    Args:
        states: From top to bottom.
        width: Of the terminal, in cells.
        room: Lines there are; those that have ended, the longest known first, make room for the others.
    """
    shown = _fitting(states, room)
    names = min(max((Text(words.short_name(state)).cell_len for state in shown), default=0), max(width // 4, 12))
    numbers = [[words.percent(s), words.items(s), words.rate(s), words.elapsed(s), words.left(s)] for s in shown]
    columns = [[row[at] for row in numbers] for at in range(5)]
    used = [at for at in range(5) if any(columns[at])]
    widths = {at: max(_USUAL[at], *map(len, columns[at])) for at in used}
    gap = 2 if width >= 100 else 1
    rest = width - names - sum(widths.values()) - gap * (len(used) + 2)
    grid = Table.grid(padding=(0, gap, 0, 0), expand=True)
    grid.add_column(width=names, no_wrap=True)
    grid.add_column(width=min(max(width // 8, 6), 40, max(rest - 12, 4)))
    for _ in used:
        grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True)
    for state, row in zip(shown, numbers, strict=True):
        right = [Text(row[at].rjust(widths[at])) for at in used]
        grid.add_row(Text(words.short_name(state), overflow="ellipsis"), _bar(state), *right, _words(state))
    notes = [_note(state) for state in shown if words.situation(state) in ("failed", "retrying", "stalled")]
    if len(shown) < len(states):
        hidden = [state for state in states if state not in shown]
        notes.append(Text(f"and {len(hidden)} more: {words.tally(hidden)}", style="dim"))
    return Group(grid, *([Text(), *notes] if notes else ()))


def _fitting(states: Sequence[JobState], room: int | None) -> list[JobState]:
    if room is None or len(states) <= room:
        return list(states)
    places = sorted(range(len(states)), key=lambda at: (states[at].is_finished, -at if states[at].is_finished else at))
    return [states[at] for at in sorted(places[: max(room - 1, 0)])]


def _bar(state: JobState) -> ProgressBar:
    style = _STYLES[words.situation(state)]
    moving = state.is_processing and not state.is_stalled
    return ProgressBar(
        total=1.0,
        completed=state.progress or 0.0,
        pulse=moving and state.progress is None,
        style="bar.back",
        complete_style=style,
        finished_style=style,
        pulse_style=style,
        animation_time=state.duration.total_seconds(),
    )


def _words(state: JobState) -> Text:
    """The situation, unless a moving bar says it, and the message."""
    situation = words.situation(state)
    text = Text(no_wrap=True, overflow="ellipsis")
    if situation != "processing":
        text.append(situation, _STYLES[situation])
    if situation not in ("failed", "retrying", "stalled") and (detail := words.detail(state)):
        text.append(f"{' – ' if text else ''}{detail}", "" if situation == "processing" else "dim")
    return text


def _note(state: JobState) -> Text:
    situation = words.situation(state)
    return Text.assemble((f"{words.short_name(state)} {situation}: ", _STYLES[situation]), words.detail(state))


def table(states: Sequence[JobState]) -> RenderableType:
    """A listing of states for a terminal. Names and ids wrap, to be copied; only the message is cut."""
    listing = Table("job", "id", box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, header_style="bold")
    listing.add_column("status", no_wrap=True)
    for number in ("%", "items", "time"):
        listing.add_column(number, justify="right", no_wrap=True)
    listing.add_column("message", ratio=1, no_wrap=True, overflow="ellipsis")
    for state in states:
        job, id, situation, *numbers, detail = words.row(state)
        style = _STYLES[situation]
        listing.add_row(
            *(Text(one, overflow="fold") for one in (job, id)), Text(situation, style), *numbers, Text(detail)
        )
    return listing


class Lines:
    """Plain lines about states, for a log or a pipe: not each change, but each that matters."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[JobState, str, float]] = {}

    def show(self, states: Sequence[JobState]) -> None:
        """Print a line for each state that is in another situation, ten percent on, or not told of for a while."""
        now = monotonic()
        for state in states:
            key, situation = (state.job, state.id), words.situation(state)
            if key in self._told:
                before, was, at = self._told[key]
                waited = now - at > QUIET and state.updated_at != before.updated_at
                if situation == was and _tens(state) == _tens(before) and not waited:
                    continue
            self._told[key] = (state, situation, now)
            say(line(state))


def _tens(state: JobState) -> int:
    return (state.percent or 0) // 10


def line(state: JobState) -> str:
    """One state in a line of plain text: name, situation, numbers, and what it does or what went wrong."""
    numbers = (f(state) for f in (words.percent, words.items, words.rate, words.elapsed, words.left))
    return "  ".join(
        part for part in (words.name(state), words.situation(state), *numbers, words.detail(state)) if part
    )
