"""What tests of several places need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environments import pytest_collection_modifyitems, pytest_ignore_collect
from tests.processes.child import Child, Launch
from tests.queues.results import pytest_terminal_summary
from tests.servers.django_caches import django_database_url, django_file_url, django_locmem_url, django_redis_url
from tests.servers.postgresql import postgresql, postgresql_url, shared_postgresql
from tests.servers.valkey import cluster_url, replicated_cluster, shared_cluster, shared_valkey, valkey, valkey_url

__all__ = ["pytest_collection_modifyitems", "pytest_ignore_collect", "pytest_terminal_summary"]
__all__ += ["postgresql", "postgresql_url", "shared_postgresql"]
__all__ += ["cluster_url", "replicated_cluster", "shared_cluster", "shared_valkey", "valkey", "valkey_url"]
__all__ += ["django_database_url", "django_file_url", "django_locmem_url", "django_redis_url"]


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """Where a store's file may be made; its folder exists."""
    return tmp_path / "states.db"


@pytest.fixture
def sqlite_url(sqlite_file: Path) -> str:
    """The URL of a store that does not exist yet."""
    return f"sqlite:///{sqlite_file}"


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start other processes, each running a function of `tests.processes.bodies`; all end with the test."""
    children: list[Child] = []

    def start(body: Callable[..., None], *arguments: object) -> Child:
        children.append(Child(body, *arguments))
        return children[-1]

    yield start
    for child in children:
        child.clean_up()
