"""What only the store in a cluster does: its nodes, its URL, and channels that live where their keys do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import pytest
import redis
from redis.crc import key_slot

from job_progress import StoreUnavailable
from job_progress.stores import Record, Store, open_store
from job_progress.stores.redis_cluster import SHARDS, RedisClusterStore
from tests.servers.process import free_port
from tests.servers.valkey import ValkeyCluster, ValkeyServer
from tests.stores.changes import change, load, names, put
from tests.waiting import eventually


@pytest.fixture
def store(cluster_url: str) -> Iterator[Store]:
    """An empty store."""
    store = open_store(cluster_url, "test")
    yield store
    store.close()


# URLs.


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis+cluster://one", "one"),
        ("redis+cluster://ada:secret@one:7000,two:7001/0?socket_timeout=1&timeout=2", "one:7000,two:7001"),
        ("rediss+cluster://:secret@one:7000,two/", "one:7000,two"),
    ],
)
def test_a_description_says_where_it_is_and_no_secret(url: str, hosts: str) -> None:
    """Each kind of URL is understood, without asking the cluster."""
    assert open_store(url, "test").describe() == f"Valkey or Redis, the cluster at {hosts}"


@pytest.mark.parametrize(
    "url", ["redis+cluster://", "redis+cluster://a:secret@one:port", "redis+cluster://:secret@one:1,two:2/3"]
)
def test_a_malformed_url_is_an_error_at_once(url: str) -> None:
    """It says how to write one, without the password."""
    with pytest.raises(ValueError, match="write redis\\+cluster://host:port,host:port") as raised:
        open_store(url, "test")
    assert "secret" not in str(raised.value)


def test_one_node_that_answers_is_enough(shared_cluster: ValkeyCluster, cluster_url: str) -> None:
    """The others are learnt from it; those that are away do no harm."""
    store = open_store(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{shared_cluster.nodes[2].port}", "test")
    put(store, *(change(f"{number}") for number in range(50)))
    assert len(names(store)) == 50
    store.close()


def test_no_node_that_answers_is_said() -> None:
    """In words, with where it was looked for; a watcher, too, only waits."""
    place = f"127.0.0.1:{free_port()}"
    store = open_store(f"redis+cluster://{place}", "test")
    with pytest.raises(StoreUnavailable, match=f"cannot use Valkey or Redis, the cluster at {place}: "):
        load(store)
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert subscription
    subscription.follow("key")
    subscription.close()
    assert told == []


# Nodes.


def test_states_are_spread_over_all_nodes(store: Store, shared_cluster: ValkeyCluster) -> None:
    """Evenly, as far as 64 shards of chance can be."""
    put(store, *(change(f"{number}") for number in range(1500)))
    held = []
    for node in shared_cluster.nodes:
        with node.client() as client:
            held.append(sum(1 for _ in client.scan_iter(match="*:state:*", count=1000)))
    assert sum(held) == 1500
    assert min(held) > 250
    assert len(names(store, limit=2000)) == 1500


def test_a_shard_is_one_slot() -> None:
    """Also where the prefix has braces of its own."""
    for prefix in ("job-progress", "{a}", "a}b", "ü:{"):
        store = RedisClusterStore(redis.RedisCluster, prefix)
        for shard in store._shards:
            slots = {key_slot((part + "any").encode()) for part in (shard.states, shard.indexes)}
            assert len(slots) == 1
        assert len({key_slot(shard.states.encode()) for shard in store._shards}) > SHARDS * 0.9


def test_a_page_from_a_single_shard_is_full(store: Store) -> None:
    """Although at first each shard is asked for its usual part of a page only."""
    keys = [key for key in map(str, range(10_000)) if crc32(key.encode()) % SHARDS == 0][:50]
    put(store, *(change(key, value=key.encode(), created=-number) for number, key in enumerate(keys)))
    assert names(store, limit=40) == keys[:40]


def test_an_answer_that_is_an_error_keeps_the_connection(store: Store) -> None:
    """Only a node that does not answer makes the client ask anew which nodes there are."""
    assert isinstance(store, RedisClusterStore)
    put(store, change("other"))
    client = store._client
    client.hset(store.channel_of("key"), "field", "value")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        put(store, change())
    assert store._client is client


def test_a_sweep_reaches_every_shard(store: Store, shared_cluster: ValkeyCluster) -> None:
    """What has expired leaves all indexes, and what lives stays in them."""
    put(store, *(change(f"dead {number}", lifetime=0.05) for number in range(300)))
    put(store, *(change(f"live {number}") for number in range(100)))
    eventually(lambda: load(store, "dead 299") is None)
    eventually(lambda: store.load([f"dead {number}" for number in range(300)]) == [None] * 300)
    store.sweep()
    listed = 0
    for node in shared_cluster.nodes:
        with node.client() as client:
            listed += sum(client.zcard(index) for index in client.scan_iter(match="*:index:pending", count=1000))
    assert listed == 100


def test_a_forked_child_connects_anew(store: Store) -> None:
    """It neither uses nor closes its parent's connections."""
    put(store, change())
    child = os.fork()
    if child == 0:
        os._exit(0 if load(store) == Record(1, b"value") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert load(store) == Record(1, b"value")


def test_an_examination_looks_at_each_node(store: Store) -> None:
    """A finding for each primary."""
    assert len(list(store.examine())) == 3


# Pushes.


def subscriptions(cluster: ValkeyCluster) -> list[int]:
    """How many connections of each node have subscribed to something."""
    counts = []
    for node in cluster.nodes:
        with node.client() as client:
            counts.append(sum(1 for one in client.client_list() if int(one["sub"]) + int(one.get("ssub", 0))))
    return counts


def test_there_is_one_subscription_per_node(store: Store, shared_cluster: ValkeyCluster) -> None:
    """However many keys are followed; each node tells of its own keys, and those that are not needed go."""
    told: set[str] = set()
    subscription = store.subscribe(told.add)
    assert subscription
    followed = {f"{number}" for number in range(60)}
    for key in followed:
        subscription.follow(key)
    assert eventually(lambda: told == followed)
    eventually(lambda: subscriptions(shared_cluster) == [1, 1, 1])  # those of other tests are closed in the background
    told.clear()
    put(store, *(change(key) for key in followed))
    assert eventually(lambda: told == followed)
    for key in followed - {"7"}:
        subscription.unfollow(key)
    assert eventually(lambda: sum(subscriptions(shared_cluster)) == 1)
    subscription.close()
    assert eventually(lambda: sum(subscriptions(shared_cluster)) == 0)


def test_an_idle_subscription_outlives_the_timeout_of_its_socket(store: Store, shared_cluster: ValkeyCluster) -> None:
    """While there is no news it keeps its connection, and then tells of the next."""
    own = open_store(f"{shared_cluster.url}/?socket_timeout=0.5&client_name=idle", "test")
    told: list[str] = []
    subscription = own.subscribe(told.append)
    assert subscription
    subscription.follow("key")

    def connections() -> dict[str, int]:
        """The age of each in seconds."""
        found: dict[str, int] = {}
        for node in shared_cluster.nodes:
            with node.client() as client:
                found |= {
                    one["id"]: int(one["age"]) for one in client.client_list(_type="pubsub") if one["name"] == "idle"
                }
        return found

    [(connection, age)] = eventually(connections).items()
    eventually(lambda: connections().get(connection, age + 2) >= age + 2)
    assert list(connections()) == [connection]
    told.clear()
    put(store, change("key"))
    assert eventually(lambda: "key" in told)
    subscription.close()
    own.close()


def test_a_subscription_moves_with_its_slot(tmp_path: Path) -> None:
    """When another node takes over a slot, its keys are followed there."""
    with ValkeyCluster(tmp_path) as cluster:
        store = open_store(cluster.url, "test")
        assert isinstance(store, RedisClusterStore)
        put(store, change())
        told: list[str] = []
        subscription = store.subscribe(told.append)
        assert subscription
        subscription.follow("key")
        assert eventually(lambda: "key" in told)
        slot = key_slot(store.channel_of("key").encode())
        with cluster.owner_of(slot).client() as source, cluster.nodes[0].client() as first:
            target = next(node for node in cluster.nodes if node is not cluster.owner_of(slot))
            with target.client() as client:
                there, here = (one.execute_command("CLUSTER MYID") for one in (client, source))
                client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", here)
                source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", there)
                for key in cluster.owner_of(slot).ask("CLUSTER GETKEYSINSLOT", slot, 100):
                    source.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
                for node in (client, source, first):
                    node.execute_command("CLUSTER SETSLOT", slot, "NODE", there)
        told.clear()
        assert load(store) == Record(1, b"value")
        assert eventually(lambda: "key" in told)
        told.clear()
        put(store, change(expected=1, version=2))
        assert eventually(lambda: "key" in told)
        subscription.close()
        store.close()


def test_no_state_leaves_the_lists_while_slots_move(tmp_path: Path) -> None:
    """Under load, whichever keys move first, states or indexes; the moves themselves are not disturbed."""
    with ValkeyCluster(tmp_path) as cluster, ThreadPoolExecutor(1) as other:
        store = open_store(cluster.url, "test")
        assert isinstance(store, RedisClusterStore)
        mine = [key for key in map(str, range(100_000)) if crc32(key.encode()) % SHARDS == 0]
        put(store, *(change(key, value=key.encode()) for key in mine[:20]))
        slot = key_slot(store.channel_of(mine[0]).encode())
        source = cluster.owner_of(slot)
        target = next(node for node in cluster.nodes if node is not source)
        made, moved = set(mine[:20]), threading.Event()

        def work() -> None:
            for key in mine[20:]:
                if moved.is_set():
                    return
                with suppress(StoreUnavailable):
                    put(store, change(key, value=key.encode()))
                    made.add(key)
                    put(store, change(key, expected=1, version=2, value=key.encode(), status="processing"))

        working = other.submit(work)
        try:
            for here, there, indexes_first in ((source, target, False), (target, source, True)):
                before = len(made)
                eventually(lambda before=before: len(made) > before, 30)  # type: ignore[misc]
                move(cluster, slot, here, there, indexes_first=indexes_first)
        finally:
            moved.set()
        working.result(60)
        held = {record.value.decode() for record in store.load(mine) if record}
        assert held >= made
        assert set(names(store, limit=10_000)) == held
        store.close()


def move(cluster: ValkeyCluster, slot: int, source: ValkeyServer, target: ValkeyServer, *, indexes_first: bool) -> None:
    """Have *target* serve *slot*, one key after the other."""
    here, there = source.ask("CLUSTER MYID"), target.ask("CLUSTER MYID")
    target.ask("CLUSTER SETSLOT", slot, "IMPORTING", here)
    source.ask("CLUSTER SETSLOT", slot, "MIGRATING", there)
    while keys := source.ask("CLUSTER GETKEYSINSLOT", slot, 10_000):
        for key in sorted(keys, key=lambda key: (":index:" in str(key)) != indexes_first):
            source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    for node in (target, source, *cluster.nodes):
        node.ask("CLUSTER SETSLOT", slot, "NODE", there)


def test_a_node_that_has_left_is_no_place_to_listen(store: Store) -> None:
    """Who was to listen there finds out, and looks again where its keys are."""
    assert isinstance(store, RedisClusterStore)
    with pytest.raises(redis.RedisError, match="nowhere:1 has left"):
        store.listen_to("nowhere:1")


def test_a_cluster_without_sharded_channels_will_do(tmp_path: Path) -> None:
    """As before version 7: what is published then reaches all nodes."""
    with ValkeyCluster(
        tmp_path, 0, "--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", ""
    ) as cluster:
        store = open_store(cluster.url, "test")
        told: set[str] = set()
        subscription = store.subscribe(told.add)
        assert subscription
        followed = {f"{number}" for number in range(10)}
        for key in followed:
            subscription.follow(key)
        assert eventually(lambda: told == followed)
        told.clear()
        put(store, *(change(key) for key in followed))
        assert eventually(lambda: told == followed)
        subscription.close()
        store.close()
