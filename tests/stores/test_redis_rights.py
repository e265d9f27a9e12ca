"""The rights that docs/stores.md names: a user who has them, and no others, can do all there is to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from job_progress.stores import Record, open_store
from tests.servers.valkey import ValkeyCluster, ValkeyServer
from tests.stores.changes import change, load, names, put
from tests.waiting import eventually

DOCS = (Path(__file__).parents[2] / "docs/stores.md").read_text()


def rights() -> tuple[list[str], list[str]]:
    """Those for workers and viewers, and those besides for `prune` and `doctor`: the last line."""
    found = re.search(r"^ACL SETUSER job-progress (.*?)\n```", DOCS, re.MULTILINE | re.DOTALL)
    assert found
    *usual, last = found[1].split("\n")
    return " ".join(usual).split(), last.split()


def rights_of_a_cluster() -> tuple[list[str], list[str]]:
    """The same, for keys that begin with a brace, and what a cluster needs besides."""
    usual, last = rights()
    more = re.search(r"`(\+ssubscribe [^`]*)`", DOCS)
    assert more
    return [*(one.replace("~job", "~{job").replace("&job", "&{job") for one in usual), *more[1].split()], last


@pytest.fixture(params=["one server", "a cluster"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of servers with the users "operator" and "worker"; "user" stands for them."""
    servers: Sequence[ValkeyServer]
    if request.param == "one server":
        servers, (usual, last) = [request.getfixturevalue("valkey")], rights()
        address = f"redis://user:password@127.0.0.1:{servers[0].port}"
    else:
        cluster: ValkeyCluster = request.getfixturevalue("shared_cluster")
        servers, (usual, last) = cluster.nodes, rights_of_a_cluster()
        empty: str = request.getfixturevalue("cluster_url")
        address = empty.replace("://", "://user:password@")
    for server in servers:
        server.ask("ACL", "SETUSER", "operator", *usual, *last)
        server.ask("ACL", "SETUSER", "worker", *usual)
    yield address
    for server in servers:
        server.ask("ACL", "DELUSER", "operator", "worker")


@pytest.mark.parametrize("user", ["operator", "worker"])
def test_the_rights_are_enough(url: str, user: str) -> None:
    """For changes, reads, lists and pushes; for `prune` and `doctor` with those of the last line."""
    heard: list[str] = []
    with closing(open_store(url.replace("user:", f"{user}:"), "job-progress")) as store:
        subscription = store.subscribe(heard.append)
        assert subscription
        subscription.follow("key")

        def is_pushed() -> bool:
            put(store, change())
            put(store, change(expected=1, version=2, lifetime=0))
            return "key" in heard

        eventually(is_pushed)
        subscription.close()
        put(store, change())
        assert (load(store), names(store)) == (Record(1, b"value"), ["value"])
        if user == "operator":
            store.sweep()
            assert {finding.advice for finding in store.examine()} == {""}
        put(store, change(expected=1, version=2, lifetime=0))
