"""Another server takes over, while connections to the one before stay open: each store finds the new one by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from job_progress.stores import Store, open_store
from tests.servers.django_caches import BACKENDS, cache_settings
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.valkey import Sentinel, ValkeyServer
from tests.stores.changes import change, load, put
from tests.waiting import eventually

FailOver = Callable[[], str]
"""Have another server take over, and return the URL that leads to it directly."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    """A primary and its replica."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with (
        ValkeyServer(tmp_path / "first", "--repl-diskless-sync-delay", "0") as first,
        ValkeyServer(tmp_path / "second", "--replicaof", f"127.0.0.1 {first.port}") as second,
    ):
        eventually(lambda: second.ask("INFO", "replication")["master_link_status"] == "up", 30)
        yield first, second


def version(store: Store) -> int | None:
    """Of what lies at "key"."""
    record = load(store)
    return record.version if record else None


@pytest.fixture(params=["redis", "postgresql"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, FailOver]]:
    """The URL of a store behind a proxy, and how to have it lead to another server."""
    if request.param == "redis":
        pair: tuple[ValkeyServer, ValkeyServer] = request.getfixturevalue("servers")
        first, second = pair
        with Proxy(first.port) as proxy:

            def fail_over() -> str:
                second.ask("REPLICAOF", "NO", "ONE")
                first.ask("REPLICAOF", "127.0.0.1", free_port())  # it answers with what it had
                proxy.lead_to(second.port)
                return second.url

            yield f"redis://127.0.0.1:{proxy.port}", fail_over
        return
    with PostgreSQLServer() as former, PostgreSQLServer() as latter, Proxy(former.port) as way:

        def move() -> str:
            with closing(open_store(former.url, "test")) as old, closing(open_store(latter.url, "test")) as new:
                record = load(old)
                assert record
                put(new, change(version=record.version))
            with former.connect() as connection:
                connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                connection.execute("SELECT pg_reload_conf()")
            way.lead_to(latter.port)
            return latter.url

        yield former.url.replace(f":{former.port}", f":{way.port}"), move


def test_who_writes_who_reads_and_who_listens_find_the_new_primary(served: tuple[str, FailOver]) -> None:
    """The change after the failover is made at once, as if nothing had been; readers and pushes follow soon."""
    url, fail_over = served
    writer, reader = open_store(url, "test"), open_store(url, "test")
    put(writer, change())
    told: list[str] = []
    subscription = reader.subscribe(told.append)
    assert subscription
    subscription.follow("key")
    # A reader that has seen the server as primary; of Redis it asks for the role of one whose state is not young.
    assert eventually(lambda: told and (record := load(reader)) and record.age > 1.2)
    direct = open_store(fail_over(), "test")
    told.clear()
    put(writer, change(expected=1, version=2))
    assert version(direct) == 2
    assert eventually(lambda: version(reader) == 2, 30)
    assert eventually(lambda: told, 30)  # all that is followed counts as changed, once it is listened to there
    told.clear()
    put(direct, change(expected=2, version=3))
    assert eventually(lambda: told)
    subscription.close()
    for store in (writer, reader, direct):
        store.close()


def test_a_django_cache_finds_the_new_primary(servers: tuple[ValkeyServer, ValkeyServer]) -> None:
    """At most the call that has hit upon the former one fails."""
    first, second = servers
    with (
        Proxy(first.port) as proxy,
        cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=f"redis://127.0.0.1:{proxy.port}") as url,
        closing(open_store(url, "test")) as store,
    ):
        put(store, change())
        second.ask("REPLICAOF", "NO", "ONE")
        first.ask("REPLICAOF", "127.0.0.1", free_port())
        proxy.lead_to(second.port)
        with pytest.raises(Exception, match="replica"):
            put(store, change(expected=1, version=2))
        put(store, change(expected=1, version=2))
        assert version(store) == 2


# Sentinels.


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis+sentinel://one/states", "service states of the Sentinels at one, database 0"),
        (
            "rediss+sentinel://ada:secret@one:7000,two/states/3?socket_timeout=1&sentinel_password=secret",
            "service states of the Sentinels at one:7000,two, database 3",
        ),
    ],
)
def test_a_description_names_the_service_and_no_secret(url: str, place: str) -> None:
    """Each kind of URL is understood, without asking anybody."""
    assert open_store(url, "test").describe() == f"Valkey or Redis, {place}"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:secret@one",
        "redis+sentinel://:secret@one:port/states?sentinel_password=secret",
        "redis+sentinel://:secret@one/states/two",
        "redis+sentinel:///states",
    ],
)
def test_a_malformed_url_is_an_error_at_once(url: str) -> None:
    """It says how to write one, without the passwords."""
    with pytest.raises(ValueError, match="write redis\\+sentinel://host:26379,host/service/0") as raised:
        open_store(url, "test")
    assert "secret" not in str(raised.value)


def test_sentinels_lead_to_the_primary_and_to_the_next(
    servers: tuple[ValkeyServer, ValkeyServer],
    tmp_path: Path,
) -> None:
    """Also where the first Sentinel of the URL is away; changes and pushes go on, and `doctor` names who it is."""
    first, second = servers
    with Sentinel(tmp_path, first) as sentinel:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
        url = f"redis+sentinel://{hosts}/states/0"
        place = f"service states of the Sentinels at {hosts}, database 0"
        store = open_store(url, "test")
        told: list[str] = []
        subscription = store.subscribe(told.append)
        assert subscription
        subscription.follow("key")
        eventually(lambda: told)
        put(store, change())
        doctor = [sys.executable, "-m", "job_progress.cli", "--store", url, "doctor"]
        said = subprocess.run(doctor, capture_output=True, text=True, check=True).stdout
        assert place in said
        assert f"primary: 127.0.0.1:{first.port}" in said
        eventually(lambda: sentinel.ask("SENTINEL REPLICAS states"), 30)
        first.freeze()  # connections stay, and nobody answers
        told.clear()
        eventually(lambda: second.ask("ROLE")[0] in (b"master", "master"), 60)
        moved = open_store(second.url, "test")
        put(store, change("other"))  # at once, on a connection of the store's to the new one
        assert load(moved, "other")
        eventually(lambda: told, 30)  # it is listened to there
        told.clear()
        put(moved, change("key", expected=1, version=2))
        eventually(lambda: told)
        assert next(finding.text for finding in store.examine()).startswith(f"primary: 127.0.0.1:{second.port}")
        subscription.close()
        moved.close()
        store.close()
        first.thaw()
