"""The fixture that comes with the package; pytest finds it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from job_progress.tracker import Tracker


@pytest.fixture
def job_progress_tracker() -> Iterator[Tracker]:
    """A default tracker of the test's own, in memory; see `job_progress.testing.isolated_tracker`."""
    from job_progress.testing import isolated_tracker  # not before a test wants it

    with isolated_tracker() as tracker:
        yield tracker
