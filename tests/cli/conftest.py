"""The command, and the store that it looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from job_progress import Tracker
from tests.cli.command import Command


@pytest.fixture
def tracker(sqlite_url: str) -> Iterator[Tracker]:
    """Writes to the store that the command reads."""
    tracker = Tracker(sqlite_url)
    yield tracker
    tracker.close()


@pytest.fixture
def command(sqlite_url: str) -> Iterator[Command]:
    """The command, on a store of the test's own."""
    command = Command(sqlite_url)
    yield command
    command.clean_up()
