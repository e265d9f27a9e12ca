"""What only the store in Valkey or Redis does: URLs, clients, scripts, indexes, pushes."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from job_progress import StoreUnavailable
from job_progress.stores import Query, Record, Store, open_store, redis_push
from job_progress.stores import redis as redis_store
from job_progress.stores.redis import RedisStore
from job_progress.stores.redis_server import ServerClock
from tests.servers.tls import tls_in_front_of
from tests.servers.valkey import ValkeyServer
from tests.stores.changes import change, load, names, put, swap
from tests.waiting import eventually


@pytest.fixture
def client(valkey_url: str, shared_valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """A look behind the store's back."""
    with shared_valkey.client() as client:
        yield client


@pytest.fixture
def store(valkey_url: str) -> Iterator[Store]:
    """An empty store."""
    store = open_store(valkey_url, "test")
    yield store
    store.close()


def keys(client: redis.Redis) -> set[str]:
    """All that the server holds."""
    return {str(key, "utf-8") for key in client.scan_iter()}


# URLs and clients.


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost", "localhost:6379, database 0"),
        ("redis://:secret@db.example:7000/3", "db.example:7000, database 3"),
        ("rediss://ada:secret@db.example:7000/3?ssl_cert_reqs=none", "db.example:7000, database 3"),
        ("valkey://db.example", "db.example:6379, database 0"),
        ("valkeys://db.example", "db.example:6379, database 0"),
        ("unix:///run/valkey.sock?db=2", "/run/valkey.sock, database 2"),
    ],
)
def test_a_description_says_where_it_is_and_no_secret(url: str, place: str) -> None:
    """Each kind of URL is understood, without asking the server."""
    assert open_store(url, "test").describe() == f"Valkey or Redis at {place}"


@pytest.mark.parametrize(
    "url", ["redis://:secret@host:port", "redis://host/0?socket_timeout=soon", "unix://:secret@/x?db=no"]
)
def test_a_malformed_url_is_an_error_at_once(url: str) -> None:
    """It shows the URL, without the password."""
    with pytest.raises(ValueError, match="is no URL of a Redis or Valkey server") as raised:
        open_store(url, "test")
    assert "secret" not in str(raised.value)


def test_the_socket_of_a_server_will_do(shared_valkey: ValkeyServer, client: redis.Redis) -> None:
    """`unix://` reaches the same states as the port."""
    by_socket = open_store(f"unix://{shared_valkey.socket}", "test")
    put(by_socket, change())
    assert load(open_store(shared_valkey.url, "test")) == Record(1, b"value")
    by_socket.close()


def test_databases_are_apart(valkey_url: str, client: redis.Redis) -> None:
    """The URL's number counts."""
    put(open_store(valkey_url, "test"), change())
    assert load(open_store(valkey_url.replace("/0", "/1"), "test")) is None


def test_a_password_is_needed_and_used(tmp_path: Path) -> None:
    """Without it, or with a wrong one, the error says so, and does not show it."""
    with ValkeyServer(tmp_path) as server, server.client() as client:
        client.config_set("requirepass", "right")
        for wrong in ("", ":wrong@"):
            with pytest.raises(StoreUnavailable, match=r"(?i)auth|password") as raised:
                load(open_store(server.url.replace("//", f"//{wrong}"), "test"))
            assert "wrong" not in str(raised.value).replace("WRONGPASS", "")
        assert load(open_store(server.url.replace("//", "//:right@"), "test")) is None


def test_tls_is_spoken_and_the_certificate_checked(
    shared_valkey: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    """`rediss://` reads, and is pushed to, from a server whose certificate is trusted, and from no other."""
    authority, certificates = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(certificates)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_in_front_of(shared_valkey.port, certificates) as port:
        store = open_store(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem", "test")
        put(store, change())
        assert load(store) == Record(1, b"value")
        told: list[str] = []
        subscription = store.subscribe(told.append)
        assert subscription
        subscription.follow("key")
        assert eventually(lambda: told == ["key"])
        put(store, change(expected=1, version=2))
        assert eventually(lambda: told == ["key", "key"])
        subscription.close()
        assert eventually(lambda: not client.pubsub_channels())
        store.close()
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            load(open_store(f"rediss://127.0.0.1:{port}/0", "test"))


@pytest.mark.parametrize("settings", [{}, {"decode_responses": True}, {"protocol": 2}, {"protocol": 3}], ids=str)
def test_a_client_of_ones_own_will_do(
    shared_valkey: ValkeyServer, client: redis.Redis, settings: dict[str, Any]
) -> None:
    """However it decodes and whichever protocol it speaks; `close` leaves it open."""
    own = redis.Redis(port=shared_valkey.port, **settings)
    store = RedisStore(own)
    put(store, change("ü", value="✓".encode(), created=1), change("b", created=2))
    assert load(store, "ü") == Record(1, "✓".encode())
    assert names(store) == ["value", "✓"]
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert subscription
    subscription.follow("ü")
    assert eventually(lambda: told == ["ü"])
    put(store, change("ü", expected=1, version=2))
    assert eventually(lambda: told == ["ü", "ü"])
    subscription.close()
    store.sweep()
    connections = own.connection_pool
    store.close()
    assert own.connection_pool is connections
    assert own.ping()
    own.close()


def test_the_use_of_connections_is_bounded(valkey_url: str, client: redis.Redis) -> None:
    """However many threads there are; they wait for one another."""
    store = open_store(valkey_url + "?max_connections=3", "test")
    before = len(client.client_list())
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(lambda number: swap(store, change(f"{number}")), range(300))) == [None] * 300
    assert len(client.client_list()) - before <= 3
    store.close()
    assert eventually(lambda: len(client.client_list()) == before)


def test_what_a_url_asks_of_its_sockets_is_done(valkey: ValkeyServer) -> None:
    """A server that stands still is given up after the URL's timeout."""
    store = open_store(valkey.url + "?socket_timeout=0.2", "test")
    put(store, change())
    valkey.freeze()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"(?i)timeout"):
        load(store)
    assert time.monotonic() - began < 3
    valkey.thaw()
    assert load(store) == Record(1, b"value")
    store.close()


# What it holds.


def test_a_state_is_json_in_the_servers_own_tools(store: Store, client: redis.Redis) -> None:
    """With what the listing goes by in front, below a key that names it."""
    put(store, change("shop.import:7", version=5, value=b'{"progress":0.5}', job='a,"b":%', created=9))
    held = client.get("test:state:shop.import:7")
    assert isinstance(held, bytes)
    version, written, *rest = json.loads(held)
    assert version == 5
    assert abs(written / 1000 - time.time()) < 60
    assert rest == [9, "pending", "a%2C%22b%22%3A%25", {"progress": 0.5}]
    assert keys(client) == {
        "test:state:shop.import:7", "test:index:pending", "test:index:pending:a%2C%22b%22%3A%25",
    }  # fmt: skip


def test_a_state_that_is_forgotten_leaves_nothing(store: Store, client: redis.Redis) -> None:
    """Neither the state nor its places in the indexes."""
    put(store, change())
    put(store, change(expected=1, version=2, lifetime=0))
    assert keys(client) == set()


def test_everything_goes_away_by_itself(store: Store, client: redis.Redis) -> None:
    """Each key has a time to live: a state's own, an index's that of its longest state and some hours."""
    put(store, change("long", lifetime=1000), change("short", lifetime=100))
    assert 990 < client.ttl("test:state:long") <= 1000
    assert 90 < client.ttl("test:state:short") <= 100
    for index in ("test:index:pending", "test:index:pending:job"):
        assert 1000 + 3600 < client.ttl(index) <= 1000 + 2 * 3600


def test_an_index_is_kept_for_those_that_live_on(store: Store, client: redis.Redis) -> None:
    """A state that is written again after ten seconds lists itself anew, should the index have been evicted."""
    put(store, change())
    held = client.get("test:state:key")
    assert isinstance(held, bytes)
    version, written, rest = held.split(b",", 2)
    client.flushall()
    client.set("test:state:key", b",".join((version, b"%d" % (int(written) - 10_000), rest)))
    assert names(store) == []
    put(store, change(expected=1, version=2))
    assert names(store) == ["value"]


def test_the_indexes_stay_small_while_states_expire(store: Store, client: redis.Redis) -> None:
    """Of those that came and went only a small part is left in them, and a sweep takes the rest."""
    for number in range(40):
        put(store, *(change(f"{number}/{each}", lifetime=0.05) for each in range(50)))
    put(store, change("live", value=b"live", created=-1))
    eventually(lambda: not client.exists("test:state:39/49"))
    for _ in range(20):  # whoever comes later looks at some of those
        put(store, *(change(f"later {each}", lifetime=0.02) for each in range(50)))
        eventually(lambda: not client.exists("test:state:later 49"))
    assert client.zcard("test:index:pending") < 1000
    assert names(store) == ["live"]
    store.sweep()
    assert client.zrange("test:index:pending", 0, -1) == client.zrange("test:index:pending:job", 0, -1) == [b"live"]


def test_a_listing_finds_the_living_behind_many_dead(store: Store) -> None:
    """However many states of before have expired, a page is full."""
    put(store, *(change(f"dead {number}", lifetime=0.1, created=1000 + number) for number in range(500)))
    put(store, *(change(f"live {number}", value=b"%d" % number, created=-number) for number in range(5)))
    time.sleep(0.11)
    assert names(store, limit=3) == ["0", "1", "2"]


def test_a_listing_takes_away_the_dead_that_it_meets(store: Store, client: redis.Redis) -> None:
    """So that the next one does not meet them again; the living stay."""
    put(store, *(change(f"dead {number}", lifetime=0.05, created=1000 + number) for number in range(300)))
    put(store, change("live", value=b"live", created=-1))
    eventually(lambda: not client.exists("test:state:dead 299"))
    for index, query in (
        ("test:index:pending", Query(limit=9)),
        ("test:index:pending:job", Query(job="job", limit=9)),
    ):
        assert client.zcard(index) > 100
        assert [record.value for record in store.list(query)] == [b"live"]
        assert client.zrange(index, 0, -1) == [b"live"]


def test_a_state_that_moved_on_is_not_listed_as_it_was(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an index says is checked with the state itself."""
    put(store, change("a", status="pending"), change("b", status="pending", job="other"))
    client.zadd("test:index:failed", {"a": 0})
    client.zadd("test:index:pending:job", {"b": 0})
    assert store.list(Query(statuses={"failed"}, limit=9)) == []
    assert len(store.list(Query(job="job", limit=9))) == 1


def test_what_others_put_there_is_named(store: Store, client: redis.Redis) -> None:
    """A value or a type that is not ours is an error that says where, and is left as it is."""
    for foreign in (b"hello", b"[1,2]", b"{}"):
        client.set("test:state:key", foreign)
        for use in (lambda: load(store), lambda: swap(store, change())):
            with pytest.raises(StoreUnavailable, match="'test:state:key' that job-progress did not put there"):
                use()
        assert client.get("test:state:key") == foreign
    client.delete("test:state:key")
    client.hset("test:state:key", "field", "value")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        swap(store, change())


# Scripts.


def test_a_server_that_forgot_the_script_is_told_again(store: Store, client: redis.Redis) -> None:
    """One change, or many in one call: those that were not made the first time are made then."""
    put(store, change())
    client.script_flush()
    put(store, change(expected=1, version=2))
    client.script_flush()
    put(store, *(change(f"{number}") for number in range(3 * redis_store.BATCH)))
    assert len(names(store)) == 3 * redis_store.BATCH + 1


def test_a_server_without_memory_says_so(tmp_path: Path) -> None:
    """Reading goes on; a change is refused with the server's reason."""
    with ValkeyServer(tmp_path, "--maxmemory-policy", "noeviction") as server, server.client() as client:
        store = open_store(server.url, "test")
        put(store, change())
        client.config_set("maxmemory", "1")
        for changes in ([change("a")], [change(f"{number}") for number in range(200)]):
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                store.swap(changes)
        assert load(store) == Record(1, b"value")
        client.config_set("maxmemory", "0")
        put(store, change("a"))
        store.close()


def test_an_examination_knows_the_server(tmp_path: Path) -> None:
    """Which it is, and whether it would throw away what runs; one that is away says so."""
    with ValkeyServer(tmp_path, "--maxmemory", "100mb") as server, server.client() as client:
        store = open_store(server.url, "test")
        [fine] = store.examine()
        assert re.fullmatch(r"server: valkey [0-9.]+, using \S+, noeviction", fine.text)
        assert not fine.advice
        client.config_set("maxmemory-policy", "allkeys-lru")
        [bad] = store.examine()
        assert bad.text.endswith("allkeys-lru")
        assert "set maxmemory-policy to noeviction" in bad.advice
    with pytest.raises(StoreUnavailable):
        list(store.examine())


# The server's clock.


def test_the_servers_clock_is_looked_at_when_an_age_matters(store: Store, client: redis.Redis) -> None:
    """Young states need no more than the load; of old ones the server's time is asked, once a second at most."""
    put(store, change())
    before = client.info("commandstats")["cmdstat_time"]["calls"]
    for _ in range(20):
        load(store)
    assert client.info("commandstats")["cmdstat_time"]["calls"] == before
    old = change("old")
    put(store, old)
    held = client.get("test:state:old")
    assert isinstance(held, bytes)
    version, written, rest = held.split(b",", 2)
    client.set("test:state:old", b",".join((version, b"%d" % (int(written) - 60_000), rest)))
    assert isinstance(store, RedisStore)
    [clock] = store._clocks.values()
    clock._set_at = float("-inf")
    for _ in range(20):
        record = load(store, "old")
        assert record
        assert 60 <= record.age < 90
    assert client.info("commandstats")["cmdstat_time"]["calls"] <= before + 2


def test_a_server_whose_clock_was_set_makes_nobody_old() -> None:
    """An age that would be negative, or large, by what was known is taken from the clock as it is now."""
    clock = ServerClock()
    assert clock.is_old
    clock.set(5_000_000)
    assert not clock.is_old
    assert 0 <= clock.now() - 5_000_000 < 1000
    clock.set(1_000_000)
    assert 0 <= clock.now() - 1_000_000 < 1000


# Pushes.


def test_a_subscription_is_one_connection_that_goes_with_it(store: Store, client: redis.Redis) -> None:
    """However many keys are followed."""
    told: set[str] = set()
    subscription = store.subscribe(told.add)
    assert subscription
    for number in range(50):
        subscription.follow(f"{number}")
    assert eventually(lambda: len(told) == 50)
    assert len([one for one in client.client_list() if int(one["sub"])]) == 1
    for number in range(50):
        subscription.unfollow(f"{number}")
    assert eventually(lambda: not any(int(one["sub"]) for one in client.client_list()))
    subscription.follow("again")
    assert eventually(lambda: "again" in told)
    subscription.close()
    assert eventually(lambda: not client.pubsub_channels())


def test_an_idle_subscription_outlives_the_timeout_of_its_socket(
    shared_valkey: ValkeyServer, store: Store, client: redis.Redis
) -> None:
    """While there is no news it keeps its connection, and then tells of the next; redis 8 has a timeout by default."""
    own = redis.Redis(port=shared_valkey.port, socket_timeout=0.2, client_name="idle")
    told: list[str] = []
    subscription = RedisStore(own, "test").subscribe(told.append)
    assert subscription
    subscription.follow("key")

    def connections() -> dict[str, int]:
        """The age of each in seconds."""
        return {one["id"]: int(one["age"]) for one in client.client_list(_type="pubsub") if one["name"] == "idle"}

    [(connection, age)] = eventually(connections).items()
    eventually(lambda: connections().get(connection, age + 2) >= age + 2)
    assert list(connections()) == [connection]
    told.clear()
    put(store, change("key"))
    assert eventually(lambda: told == ["key"])
    subscription.close()
    own.close()


def test_a_subscription_outlives_the_closing_of_its_connections(
    shared_valkey: ValkeyServer, store: Store, client: redis.Redis
) -> None:
    """Whatever the client raises whose connection is closed while it reads: a new one is made, and pushes come."""
    own = redis.Redis(port=shared_valkey.port)
    own_store = RedisStore(own, "test")
    told: list[str] = []
    subscription = own_store.subscribe(told.append)
    assert subscription
    subscription.follow("key")
    eventually(lambda: told)
    until = time.monotonic() + 2
    with ThreadPoolExecutor(1) as other:
        publishing = other.submit(lambda: _publish(client, own_store.channel_of("key"), until))
        while not publishing.done():
            own.connection_pool.disconnect()
        publishing.result()
    told.clear()
    put(store, change("key"))
    assert eventually(lambda: told)
    subscription.close()
    own.close()


def _publish(client: redis.Redis, channel: str, until: float) -> None:
    while time.monotonic() < until:
        client.publish(channel, "")


def test_a_subscription_outlives_the_server(valkey: ValkeyServer) -> None:
    """When the server is there again, all that is followed counts as changed, and further changes are pushed."""
    store = open_store(valkey.url, "test")
    put(store, change("a"), change("b"))
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert subscription
    subscription.follow("a")
    subscription.follow("b")
    assert eventually(lambda: sorted(told) == ["a", "b"])
    valkey.kill()
    told.clear()
    time.sleep(3 * redis_push.RETRY_AFTER)  # in which it tries in vain
    assert told == []
    valkey.start()
    assert eventually(lambda: set(told) == {"a", "b"})
    told.clear()
    put(store, change("a", expected=1, version=2))
    assert eventually(lambda: told == ["a"])
    subscription.close()
    store.close()
