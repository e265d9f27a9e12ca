"""States in Valkey or Redis: for any number of machines, with changes pushed.

What it holds, for the prefix `job-progress`: `job-progress:state:<key>`, a string of JSON that goes away by
itself, and the sorted sets `job-progress:index:<status>` and `job-progress:index:<status>:<job>`, which list
them. `swap.lua` is the only one that writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, product
from math import inf
from time import monotonic
from typing import Any, Self
from urllib.parse import quote

from msgspec import msgpack

from job_progress.errors import StoreUnavailable
from job_progress.state import JobStatus
from job_progress.stores.contract import Change, Conflict, Finding, Query, Record, Store, Subscription
from job_progress.stores.redis_layout import Shard, arguments_of, held_in, index_of
from job_progress.stores.redis_server import CLOCK, SWAP, SWEEP, TEXTS, ServerClock

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError, ReadOnlyError, RedisClusterException, RedisError, ResponseError
    from redis.retry import Retry
except ImportError as error:
    raise ImportError("states in Valkey or Redis need a client: pip install 'job-progress[redis]'") from error

BATCH = 100
"""Changes in one call of a script, which takes the server about a millisecond."""
SWEPT = 500
"""Members in one call that takes dead ones out of an index."""
TRUSTED = 1000
"""Milliseconds: a state that seems older, or not made yet, calls for a look at the server's clock."""
MOST_PLACES = 10_000
"""How far to look at once for states that have not expired."""
RECONNECT_EVERY = 5.0
"""Seconds between tries of a reader to find the primary again, once its own server is none any more."""
DEFAULTS = {
    "max_connections": 10,
    "timeout": 5,  # for a free connection
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
}
"""Of the client, unless the URL says otherwise."""

Command = tuple[Any, ...]
Answers = list[Any]
Place = tuple[int, str]
Places = list[Place]
Keys = list[str]
Dead = dict[tuple[Shard, tuple[str, ...]], set[str]]
"""Members that seem dead, by the indexes that have them."""


class RedisStore(Store):
    """One server, or whatever else answers as one.

    Args:
        client: Yours. Its pool should be bounded and its sockets should have timeouts, as those of
            `from_url` are and have. `close` leaves it alone.
        prefix: Keeps the states of several applications apart.
    """

    publish = "PUBLISH"

    _client: Any  # a cluster's client has the same methods, and no type in common

    def __init__(self, client: redis.Redis, prefix: str = "job-progress") -> None:
        self._client = client
        self._is_own_client = False
        self._use([Shard(quote(prefix, safe=""))])

    def _use(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._clocks = {shard: ServerClock() for shard in shards}
        self._renewals = 0
        self._was_primary = False
        self._next_reconnect = 0.0

    @classmethod
    def from_url(cls, url: str, prefix: str) -> Self:
        """The server that *url* names: `redis://user:password@host:port/database`.

        `rediss://` and `valkeys://` are the same over TLS, `unix:///path?db=0` is a socket. The query may
        hold whatever the client's connections take, such as `socket_timeout=1&max_connections=5`.

        Raises:
            ValueError: The URL is malformed.
        """
        known = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
        retry = Retry(NoBackoff(), 1)  # for a connection that the server, or a firewall, closed meanwhile
        try:
            pool = redis.BlockingConnectionPool.from_url(known, **DEFAULTS, retry=retry)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{without_password(url)!r} is no URL of a Redis or Valkey server: {error}") from None
        store = cls(redis.Redis.from_pool(pool), prefix)
        store._is_own_client = True
        return store

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        return [held and held[0] for held in self._load(keys)]

    def _load(self, keys: Sequence[str]) -> list[tuple[Record, str] | None]:
        """The records of *keys*, and the names of their indexes."""
        batches = list(self._batches(keys))
        commands = [("MGET", *[shard.states + key for key in some]) for shard, some in batches]
        found: dict[str, tuple[Record, str] | None] = {}
        for (shard, some), values in zip(batches, self._run(commands), strict=True):
            found |= {key: self._held(shard, key, value) for key, value in zip(some, values, strict=True)}
        return [found[key] for key in keys]

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        wishes = {change.key: change for change in changes}
        batches = list(self._batches(wishes))
        commands = [
            SWAP.call(
                self._keys_of(shard, [wishes[key] for key in keys]),
                *(shard.states, shard.indexes, self.publish),
                msgpack.encode([arguments_of(wishes[key]) for key in keys]),
                *(wishes[key].value for key in keys),
            )
            for shard, keys in batches
        ]
        conflicts: dict[str, Conflict] = {}
        dead: Dead = {}
        for (shard, keys), (now, found, suspects) in zip(batches, self._run(commands), strict=True):
            self._clocks[shard].set(int(now))
            for index, member in suspects:
                dead.setdefault((shard, (_text(index),)), set()).add(_text(member))
            for number, current in found:
                held = self._held(shard, keys[number - 1], current)
                conflicts[keys[number - 1]] = Conflict(held and held[0])
        self._forget(dead)
        return [conflicts.get(change.key) for change in changes]

    def _keys_of(self, shard: Shard, changes: Sequence[Change]) -> Keys:
        """What `swap.lua` is told that it may reach: first of all the states."""
        return [shard.states + change.key for change in changes]

    def list(self, query: Query) -> list[Record]:
        # In the order of a life, so that whoever moves on in the meantime is met at least once.
        statuses = [status for status in JobStatus if query.statuses is None or status in query.statuses]
        indexes = [index_of(status, query) for status in statuses]
        found: list[Record] = []
        dead: Dead = {}
        after, amount = query.after, query.limit
        while indexes and len(found) < query.limit:
            places = self._places(indexes, after, amount)
            keys = [key for _, key in places]
            for key, held in zip(keys, self._load(keys), strict=True):
                # It may have expired or changed since its index was read.
                if held is None:
                    shard = self._shard_of(key)
                    dead.setdefault((shard, tuple(shard.indexes + index for index in indexes)), set()).add(key)
                elif any(f"{held[1]}:".startswith(f"{index}:") for index in indexes):
                    found.append(held[0])
            if len(places) < amount:
                break
            after, amount = places[-1], min(2 * amount, MOST_PLACES)
        self._forget(dead)
        return found[: query.limit]

    def _forget(self, dead: Dead) -> None:
        """Take members out of indexes, if they are dead; who may only read leaves them there."""
        commands = [
            _sweeping(shard, indexes, some)
            for (shard, indexes), members in dead.items()
            for some in _portions(sorted(members), SWEPT)
        ]
        if commands:
            with suppress(RedisError, RedisClusterException, OSError):
                self._repeat_unknown(commands, self._answers(commands))

    def subscribe(self, changed: Callable[[str], None]) -> Subscription | None:
        from job_progress.stores.redis_push import RedisSubscription

        return RedisSubscription(self._client.pubsub, self.channel_of, changed, renewals=self._renewed)

    def sweep(self) -> None:
        shards = {shard.indexes: shard for shard in self._shards}
        pattern = re.sub("[0-9]+(?=})", "*", self._shards[0].indexes) + "*"
        with self._client_errors():
            for index in map(_text, self._client.scan_iter(match=pattern, count=1000)):
                shard = shards[re.sub("(?<=:index:).*", "", index, flags=re.DOTALL)]
                members = (member for member, _ in self._client.zscan_iter(index, count=500))
                for some in _portions(map(_text, members), SWEPT):
                    self._run([_sweeping(shard, (index,), some)])

    def examine(self) -> Iterable[Finding]:
        for node in self._nodes():
            with self._client_errors():
                facts = node.info()
            name = "valkey" if "valkey_version" in facts else "redis"
            policy = facts["maxmemory_policy"]
            evicts = facts["maxmemory"] and policy != "noeviction"
            yield Finding(
                f"server: {name} {facts[f'{name}_version']}, using {facts['used_memory_human']}, {policy}",
                "with its memory full it forgets running jobs: set maxmemory-policy to noeviction" if evicts else "",
            )

    def _nodes(self) -> Iterable[Any]:
        """A client for each server."""
        return [self._client]

    def close(self) -> None:
        if self._is_own_client:
            self._client.close()

    def describe(self) -> str:
        settings = self._client.connection_pool.connection_kwargs
        place = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
        return f"Valkey or Redis at {place}, database {settings.get('db', 0)}"

    def _shard_of(self, key: str) -> Shard:
        return self._shards[0]

    def channel_of(self, key: str) -> str:
        """Where changes to *key* are published: under the name of its state."""
        return self._shard_of(key).states + key

    def _batches(self, keys: Iterable[str]) -> Iterator[tuple[Shard, Keys]]:
        shards: dict[Shard, Keys] = {}
        for key in keys:
            shards.setdefault(self._shard_of(key), []).append(key)
        for shard, some in shards.items():
            for start in range(0, len(some), BATCH):
                yield shard, some[start : start + BATCH]

    def _places(self, names: Sequence[str], after: Place | None, amount: int) -> Places:
        """The first *amount* places after *after* in the listing of several indexes, some of which may be empty."""
        indexes = [shard.indexes + name for name, shard in product(names, self._shards)]
        begin = (-after[0], after[1]) if after else (-inf, "")
        places: set[tuple[float, str]] = set()
        if after:  # those created at the same moment; then what comes before it
            ties = self._run([("ZRANGEBYSCORE", index, begin[0], begin[0], "WITHSCORES") for index in indexes])
            places = {place for answer in ties for place in _scored(answer) if place > begin}
        # Of many shards each has only a part of a page; of those that had more, more is asked for.
        share, older = min(amount, 2 * amount // len(self._shards) + 4), f"({begin[0]}"
        while True:
            limit = ("WITHSCORES", "LIMIT", 0, share)
            answers = self._run([("ZRANGEBYSCORE", index, older, "+inf", *limit) for index in indexes])
            pages = [_scored(answer) for answer in answers]
            known_to = min((page[-1] for page in pages if len(page) == share), default=(inf, ""))
            found = sorted(place for place in places.union(*pages) if place <= known_to)
            if len(found) >= amount or known_to[0] == inf:
                return [(-int(score), key) for score, key in found[:amount]]
            share *= 4

    def _held(self, shard: Shard, key: str, answer: bytes | str | None) -> tuple[Record, str] | None:
        if answer is None:
            return None
        try:
            held = held_in(_bytes(answer))
        except ValueError:
            raise StoreUnavailable(
                f"{self.describe()} holds something at {self.channel_of(key)!r} that job-progress did not put there"
            ) from None
        return Record(held.version, held.value, self._age(shard, held.written)), held.listed_in

    def _age(self, shard: Shard, written: int) -> float:
        """Seconds since *written*, by the clock of the shard's server."""
        clock = self._clocks[shard]
        age = clock.now() - written
        if not 0 <= age < TRUSTED and clock.is_old:
            # Nobody gave a sign of life, or the server's clock has been set: only one of the two may count.
            [[now, role]] = self._run([CLOCK.call([shard.states])])
            clock.set(int(now))
            self._learn(_text(role))
            age = clock.now() - written
        return max(age, 0) / 1000

    def _learn(self, role: str) -> None:
        """A reader's server has this *role*: one that has lost its own answers with what is old."""
        if role == "master":
            self._was_primary = True
        elif self._was_primary and role and monotonic() >= self._next_reconnect:
            self._next_reconnect = monotonic() + RECONNECT_EVERY
            self._reconnect()

    def _reconnect(self) -> None:
        """Have each later call make a connection of its own, and who listens, too: there is another primary."""
        self._renewals += 1
        pool = self._client.connection_pool
        try:
            pool.disconnect(inuse_connections=False)
        except TypeError:  # redis-py before 6: it would close those that others are using
            pool.reset()

    def _renewed(self) -> object:
        """Something else, as soon as who listens must connect anew."""
        return self._renewals

    def _run(self, commands: Sequence[Command]) -> Answers:
        """The answers to *commands*, in one round trip.

        One more after the server has forgotten a script, or has become a replica.
        """
        with self._client_errors():
            answers = self._answers(commands)
            refused = [number for number, answer in enumerate(answers) if _is_by_a_replica(answer)]
            if refused:  # nothing was changed
                self._reconnect()
                for number, answer in zip(refused, self._answers([commands[one] for one in refused]), strict=True):
                    answers[number] = answer
            self._repeat_unknown(commands, answers)
            self._outwait(commands, answers)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

    def _outwait(self, commands: Sequence[Command], answers: Answers) -> None:
        """Repeat what can be answered in a moment."""

    def _repeat_unknown(self, commands: Sequence[Command], answers: Answers) -> None:
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = [("EVAL", TEXTS[commands[number][1]], *commands[number][2:]) for number in unknown]
            for number, answer in zip(unknown, self._answers(again), strict=True):
                answers[number] = answer

    def _answers(self, commands: Sequence[Command]) -> Answers:
        if len(commands) == 1:  # as most are; a pipeline of one costs more
            try:
                return [self._client.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers: Answers = pipeline.execute(raise_on_error=False)
            return answers

    @contextmanager
    def _client_errors(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, RedisClusterException, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreUnavailable(f"cannot use {self.describe()}: {reason}") from error


def without_password(url: str) -> str:
    """*url*, fit to be shown."""
    return re.sub(r"(?<=:)[^:@/]*(?=@)", "...", url)


def _sweeping(shard: Shard, indexes: Sequence[str], members: Sequence[str]) -> Command:
    # Each key is declared: a cluster that moves the slot then refuses, where a state only seems to be missing.
    return SWEEP.call([*indexes, *(shard.states + member for member in members)], len(indexes), *members)


def _portions(members: Iterable[str], size: int) -> Iterator[Keys]:
    rest = iter(members)
    while some := list(islice(rest, size)):
        yield some


def _is_by_a_replica(answer: object) -> bool:
    # Redis before 7 says so somewhere in the error of the script.
    return isinstance(answer, ReadOnlyError) or (
        isinstance(answer, ResponseError) and any(word in str(answer) for word in ("READONLY", "MASTERDOWN"))
    )


def _scored(answer: Any) -> list[tuple[float, str]]:
    # A flat list in the older protocol, pairs in the newer one.
    paired = answer and isinstance(answer[0], (list, tuple))
    pairs = answer if paired else zip(answer[::2], answer[1::2], strict=True)
    return [(float(score), _text(key)) for key, score in pairs]


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()  # as the client that was handed in is set


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
