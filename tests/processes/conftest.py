"""What tests with several processes need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from job_progress.job import Job
from tests.processes.jobs import job_at


@pytest.fixture
def job(sqlite_url: str) -> Iterator[Job]:
    """The job "work", on an SQLite file that other processes use as well."""
    job = job_at(sqlite_url)
    yield job
    job.tracker.close()
