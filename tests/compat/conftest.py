"""A run for bars to report into."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from job_progress import Job, Progress, Tracker
from job_progress.stores.memory import MemoryStore
from tests.waiting import eventually


@pytest.fixture
def job() -> Iterator[Job]:
    """A job with a tracker of the test's own."""
    tracker = Tracker(MemoryStore())
    yield Job("compat", cancellable=True, tracker=tracker)
    tracker.close()


@pytest.fixture
def progress(job: Job) -> Iterator[Progress]:
    """The `Progress` of the run that the test is."""
    with job.start("1") as progress:
        yield progress


def seen(progress: Progress) -> tuple[int | None, int | None, float | None]:
    """Items done, items in all, and the progress, as the run has reported them."""
    state = progress.state
    return state.completed, state.total, None if state.progress is None else round(state.progress, 6)


def on_terminal(program: str, folder: Path) -> str:
    """What a terminal shows of *program*, which must end well."""
    file = folder / "program.py"
    file.write_text(program)
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, str(file)], stdin=subprocess.DEVNULL, stdout=there, stderr=there, env=environment
    )
    os.close(there)
    shown = b""
    with suppress(OSError):  # what a terminal says when its other end is closed
        while said := os.read(here, 65536):
            shown += said
    os.close(here)
    text = shown.decode("utf-8", "replace")
    assert process.wait(60) == 0, text
    return text


def is_seen(job: Job, id: str, completed: int) -> None:
    """Wait until the store knows that so many items are done."""
    eventually(lambda: (state := job.get(id)) is not None and state.completed == completed)
