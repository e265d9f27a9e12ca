"""What tests with several processes need."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from job_progress.job import Job
from tests.processes.engines import engine
from tests.processes.jobs import job_at
from tests.stores.conftest import KINDS, SHARED

__all__ = ["engine"]

BETWEEN_PROCESSES = [name for name in SHARED if name != "django-locmem"]
"""The stores that processes share."""
SOAKED = [os.environ["SOAK_STORE"]] if "SOAK_STORE" in os.environ else BETWEEN_PROCESSES
"""Those that `make soak` is about."""
on_each_engine = pytest.mark.parametrize(
    "shared_url", ["postgresql", "redis", "redis-cluster", "sqlite"], indirect=True
)
"""For what takes time, and asks nothing of a store that a Django cache would do by itself."""
on_two_stores = pytest.mark.parametrize("shared_url", ["redis", "sqlite"], indirect=True)
"""For what hardly depends on the store: one that pushes, and one that does not."""


@pytest.fixture(params=BETWEEN_PROCESSES)
def shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, of each kind that processes share in turn."""
    url: str = request.getfixturevalue(KINDS[request.param].url)
    return url


@pytest.fixture
def job(shared_url: str) -> Iterator[Job]:
    """The job "work", on a store that other processes use as well."""
    job = job_at(shared_url)
    yield job
    job.tracker.close()
