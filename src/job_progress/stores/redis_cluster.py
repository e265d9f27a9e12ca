"""States in a cluster of Valkey or Redis: spread over its nodes, while no call needs more than one of them.

The keys are those of `job_progress.stores.redis`, in 64 shards: `{job-progress:7}:state:<key>` and the
indexes that list it begin alike, and so live in one slot, where a script can change them together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Self
from urllib.parse import quote
from zlib import crc32

import redis
from redis.backoff import ConstantBackoff
from redis.client import PubSub
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from job_progress.fork import reset_in_children
from job_progress.stores.contract import Subscription
from job_progress.stores.redis import DEFAULTS, RedisStore, without_password
from job_progress.stores.redis_layout import Shard
from job_progress.stores.redis_push import RedisSubscription, logger

SHARDS = 64
"""Fixed for ever: where a state is depends on it."""
LOOK_EVERY = 1.0
"""Seconds between looks whether slots have moved to other nodes."""


class RedisClusterStore(RedisStore):
    """A cluster, in which a primary may fail and its replica take over.

    Args:
        connect: Makes the client, at the first use, as that asks the cluster for its nodes.
        prefix: Keeps the states of several applications apart.
        place: Where it is, in words.
    """

    publish = "SPUBLISH"

    def __init__(self, connect: Callable[[], redis.RedisCluster], prefix: str, place: str = "a cluster") -> None:
        self._connect = connect
        self._place = place
        self._use([Shard(f"{{{quote(prefix, safe='')}:{number}}}") for number in range(SHARDS)])
        self.reset_after_fork()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Connect anew at the next use."""
        self._connected: redis.RedisCluster | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str, prefix: str) -> Self:
        """The cluster that *url* names: `redis+cluster://user:password@host:port,host:port`.

        One node is enough, and several are better, as one may be away. `rediss+cluster://` is the same
        over TLS. The query may hold whatever the client's connections take.

        Raises:
            ValueError: The URL is malformed.
        """
        scheme, _, rest = url.partition("://")
        address, slash, options = rest.partition("/")
        credentials, at, hosts = address.rpartition("@")
        try:
            settings: dict[str, Any] = {}
            nodes: list[ClusterNode] = []
            for host in hosts.split(","):
                one = parse_url(f"{scheme.removesuffix('+cluster')}://{credentials}{at}{host}{slash}{options}")
                nodes.append(ClusterNode(one.pop("host"), one.pop("port", 6379)))
                settings = DEFAULTS | one
            if settings.pop("db", 0):
                raise ValueError("a cluster has no databases, only number 0")
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"write redis+cluster://host:port,host:port, not {without_password(url)!r}: {error}"
            ) from None
        if settings.pop("connection_class", None):
            settings["ssl"] = True
        settings.pop("timeout", None)  # this client has no such argument
        settings["connection_pool_class"] = redis.BlockingConnectionPool

        def connect() -> redis.RedisCluster:
            retry = Retry(ConstantBackoff(0.1), 3)
            return redis.RedisCluster(startup_nodes=nodes, retry=retry, **settings)

        return cls(connect, prefix, f"the cluster at {hosts}")

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        return ClusterSubscription(self, changed)

    def _nodes(self) -> Iterable[Any]:
        with self._client_errors():
            client = self._client
            return [client.get_redis_connection(node) for node in client.get_primaries()]

    def close(self) -> None:
        with self._lock:
            if self._connected is not None:
                self._connected.close()
                self._connected = None

    def describe(self) -> str:
        return f"Valkey or Redis, {self._place}"

    def _shard_of(self, key: str) -> Shard:
        return self._shards[crc32(key.encode()) % SHARDS]

    def nodes_of(self, keys: Iterable[str]) -> dict[str, str]:
        """The name of the node where each of *keys* lives, by what is known of the cluster."""
        client = self._client
        shards = {key: self._shard_of(key) for key in keys}
        nodes = {shard: client.get_node_from_key(shard.states).name for shard in set(shards.values())}
        return {key: nodes[shard] for key, shard in shards.items()}

    def listen_to(self, node: str) -> PubSub:
        """The handle of a connection to *node*. No I/O.

        Raises:
            RedisError: The cluster has no such node any more.
        """
        client = self._client
        found = client.get_node(node_name=node)
        if found is None:
            raise RedisError(f"node {node} has left the cluster")
        handle: PubSub = client.get_redis_connection(found).pubsub()
        return handle


class ClusterSubscription:
    """A subscription per node that has keys which are followed; keys change over when their slots move."""

    def __init__(self, store: RedisClusterStore, changed: Callable[[str], None]) -> None:
        self._store = store
        self._changed = changed
        self._keys: dict[str, None] = {}  # an ordered set whose operations are atomic
        self._followed_on: dict[str, str] = {}
        self._parts: dict[str, RedisSubscription] = {}
        self._other_keys = threading.Event()
        self._closed = False
        threading.Thread(target=self._work, name="job-progress push", daemon=True).start()

    def follow(self, key: str) -> None:
        self._keys[key] = None
        self._other_keys.set()

    def unfollow(self, key: str) -> None:
        self._keys.pop(key, None)
        self._other_keys.set()

    def close(self) -> None:
        self._closed = True
        self._other_keys.set()

    def _work(self) -> None:
        while not self._closed:
            try:
                self._follow_on(self._store.nodes_of(list(self._keys)))
            except (RedisError, RedisClusterException, OSError) as error:
                logger.debug("the nodes of the cluster are unknown: %s", error)
            self._other_keys.wait(LOOK_EVERY)
            self._other_keys.clear()
        for part in self._parts.values():
            part.close()

    def _follow_on(self, nodes: dict[str, str]) -> None:
        before, self._followed_on = self._followed_on, nodes
        for key, node in before.items():
            if nodes.get(key) != node:
                self._parts[node].unfollow(key)
        for node in set(nodes.values()) - set(self._parts):
            connect = partial(self._store.listen_to, node)
            self._parts[node] = RedisSubscription(connect, self._store.channel_of, self._changed, sharded=True)
        for key, node in nodes.items():
            if before.get(key) != node:
                self._parts[node].follow(key)
        for node in set(self._parts) - set(nodes.values()):
            self._parts.pop(node).close()
