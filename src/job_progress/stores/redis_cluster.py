"""States in a cluster of Valkey or Redis: spread over its nodes, while no call needs more than one of them.

The keys are those of `job_progress.stores.redis`, in 64 shards: `{job-progress:7}:state:<key>` and the
indexes that list it begin alike, and so live in one slot, where a script can change them together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from time import monotonic, sleep
from typing import Any, Self
from urllib.parse import quote
from zlib import crc32

import redis
from redis.backoff import ConstantBackoff
from redis.client import PubSub
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from job_progress.errors import StoreUnavailable
from job_progress.fork import reset_in_children
from job_progress.state import JobStatus
from job_progress.stores.contract import Change, Query, Subscription
from job_progress.stores.redis import Answers, Command, Keys, RedisStore, without_password
from job_progress.stores.redis_layout import Shard, index_of
from job_progress.stores.redis_push import RedisSubscription, logger

SHARDS = 64
"""Fixed for ever: where a state is depends on it."""
CLUSTER_DEFAULTS: dict[str, Any] = {"max_connections": 10, "socket_timeout": 2, "socket_connect_timeout": 2}
"""Of the client, unless the URL says otherwise; for each node, some of which are asked in turn when one is away."""
MOVES_WITHIN = 3.0
"""Seconds to wait until a slot has moved, in which only what names a single key is answered."""
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
        urls = [
            f"{scheme.removesuffix('+cluster')}://{credentials}{at}{host}{slash}{options}" for host in hosts.split(",")
        ]
        try:
            settings = [parse_url(one) for one in urls]
            others = [ClusterNode(one["host"], one.get("port", 6379)) for one in settings][1:]
            if settings[0].get("db"):
                raise ValueError("a cluster has no databases, only number 0")
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"write redis+cluster://host:port,host:port, not {without_password(url)!r}: {error}"
            ) from None

        def connect() -> redis.RedisCluster:
            return redis.RedisCluster(
                url=urls[0],
                startup_nodes=list(others),  # the client adds to it
                retry=Retry(ConstantBackoff(0.1), 1),
                connection_pool_class=redis.BlockingConnectionPool,
                **CLUSTER_DEFAULTS,
            )

        return cls(connect, prefix, f"the cluster at {hosts}")

    @property
    def _client(self) -> Any:
        # Not under a lock: while the cluster is away, each who asks would wait for all who asked before.
        connected = self._connected
        if connected is None:
            connected = self._connected = self._connect()
        return connected

    @contextmanager
    def _client_errors(self) -> Iterator[None]:
        try:
            with super()._client_errors():
                yield
        except StoreUnavailable as unavailable:
            # The client goes on asking a node that is gone, and learns of no other, if it asks for much at once.
            if not isinstance(unavailable.__cause__, ResponseError) or isinstance(
                unavailable.__cause__, ClusterDownError
            ):
                self._connected = None
            raise

    def _keys_of(self, shard: Shard, changes: Sequence[Change]) -> Keys:
        names: dict[str, None] = {}
        for change, job in product(changes, (True, False)):
            # Which status it has had is not known here.
            statuses = [str(change.status), *JobStatus] if change.expected else [str(change.status)]
            query = Query(limit=1, job=change.job if job else None)
            names |= dict.fromkeys(shard.indexes + index_of(status, query) for status in statuses)
        return [*super()._keys_of(shard, changes), *names]

    def _outwait(self, commands: Sequence[Command], answers: Answers) -> None:
        until = monotonic() + MOVES_WITHIN
        while moving := [number for number, answer in enumerate(answers) if _is_moving(answer)]:
            for number in moving:
                command = commands[number]
                if command[0] == "MGET":
                    single = self._answers([("GET", key) for key in command[1:]])
                    answers[number] = next((answer for answer in single if isinstance(answer, Exception)), single)
                else:
                    [answers[number]] = self._answers([command])
            self._repeat_unknown(commands, answers)
            if monotonic() > until:
                return
            sleep(0.02)

    def _answers(self, commands: Sequence[Command]) -> Answers:
        try:
            return super()._answers(commands)
        except ClusterError as error:  # it has tried often enough
            if len(commands) > 1:
                raise
            return [error]

    def _reconnect(self) -> None:
        self._connected = None

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        return ClusterSubscription(self, changed)

    def _nodes(self) -> Iterable[Any]:
        with self._client_errors():
            client = self._client
            return [client.get_redis_connection(node) for node in client.get_primaries()]

    def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

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


def _is_moving(answer: object) -> bool:
    return isinstance(answer, (TryAgainError, AskError, MovedError)) or (
        isinstance(answer, ClusterError) and "TTL" in str(answer)
    )


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

    def _tell(self, key: str) -> None:
        if key in self._keys and not self._closed:  # the part that still listens learns so later
            self._changed(key)

    def _work(self) -> None:
        while not self._closed:
            try:
                self._follow_on(self._store.nodes_of(list(self._keys)))
            except Exception as error:  # noqa: BLE001 - as in the subscription to one of them
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
            self._parts[node] = RedisSubscription(connect, self._store.channel_of, self._tell, sharded=True)
        for key, node in nodes.items():
            if before.get(key) != node:
                self._parts[node].follow(key)
        for node in set(self._parts) - set(nodes.values()):
            self._parts.pop(node).close()
