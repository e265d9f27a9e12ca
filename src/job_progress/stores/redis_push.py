"""Changes pushed by Valkey or Redis: one connection, and one thread that uses it, for all that a process follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

from redis.client import PubSub
from redis.exceptions import RedisError

logger = logging.getLogger("job_progress")

LOOK_EVERY = 0.1
"""Seconds between looks at which channels are wanted: a new one is listened to that much later."""
RETRY_AFTER = 0.1
"""Seconds before a lost connection is made anew; after each failure twice as many, up to `RETRY_AT_LEAST_EVERY`."""
RETRY_AT_LEAST_EVERY = 2.0


class RedisSubscription:
    """Listens to a channel per key.

    Args:
        connect: Makes the handle of a connection. No I/O.
        channel_of: The channel of a key.
        changed: Called with each key that has news, or that is listened to from now on.
        renewals: What it gives changes as soon as the connection must be made anew.
        sharded: Are these a cluster's channels, of which each lives where its key does?
    """

    def __init__(
        self,
        connect: Callable[[], PubSub],
        channel_of: Callable[[str], str],
        changed: Callable[[str], None],
        *,
        renewals: Callable[[], object] = lambda: None,
        sharded: bool = False,
    ) -> None:
        self._connect = connect
        self._channel_of = channel_of
        self._changed = changed
        self._renewals = renewals
        self._sharded = sharded
        self._keys: dict[str, str] = {}  # by their channels
        self._other_keys = threading.Event()
        self._closed = threading.Event()
        threading.Thread(target=self._work, name="job-progress push", daemon=True).start()

    def follow(self, key: str) -> None:
        self._keys[self._channel_of(key)] = key
        self._other_keys.set()

    def unfollow(self, key: str) -> None:
        self._keys.pop(self._channel_of(key), None)
        self._other_keys.set()

    def close(self) -> None:
        self._closed.set()

    def _work(self) -> None:
        pause = RETRY_AFTER
        while not self._closed.is_set():
            try:
                with closing(self._connect()) as connection:
                    for channel in self._heard(connection):
                        pause = RETRY_AFTER
                        key = self._keys.get(channel)
                        if key is not None and not self._closed.is_set():
                            self._changed(key)
            except Exception as error:  # noqa: BLE001 - a client whose pool is closed meanwhile raises whatever it is
                if self._sharded and "unknown command" in str(error):  # before version 7
                    self._sharded = False
                logger.debug("changes are not pushed, and will be looked for: %s", error)
                self._closed.wait(pause)
                pause = min(2 * pause, RETRY_AT_LEAST_EVERY)

    def _heard(self, connection: PubSub) -> Iterator[str]:
        """The channels that have news, or are subscribed to by now, until this is closed."""
        subscribe, unsubscribe = (
            (connection.ssubscribe, connection.sunsubscribe)
            if self._sharded
            else (connection.subscribe, connection.unsubscribe)
        )
        subscribed: set[str] = set()
        self._other_keys.set()
        made_for = self._renewals()
        while not self._closed.is_set():
            if self._renewals() != made_for:
                raise RedisError("there is another primary")
            if self._other_keys.is_set():
                self._other_keys.clear()
                wanted = set(self._keys)
                for channel in wanted - subscribed:  # one by one: in a cluster each may be of another slot
                    subscribe(channel)  # type: ignore[no-untyped-call,unused-ignore]
                for channel in subscribed - wanted:
                    unsubscribe(channel)  # type: ignore[no-untyped-call,unused-ignore]
                subscribed = wanted
            if not subscribed:
                self._other_keys.wait(LOOK_EVERY)
                continue
            message = connection.get_message(timeout=LOOK_EVERY)
            if message is None:
                continue
            channel = message["channel"]
            channel = channel if isinstance(channel, str) else channel.decode()
            if message["type"] == "sunsubscribe" and channel in subscribed:
                raise RedisError(f"{channel} has moved to another node")
            if message["type"] in ("message", "smessage", "subscribe", "ssubscribe"):
                yield channel
