"""States in Valkey or Redis behind Sentinels, which tell who the primary is and have a replica take over for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import quote, unquote

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from job_progress.stores.contract import Finding
from job_progress.stores.redis import DEFAULTS, RedisStore, without_password

SENTINEL_PORT = 26379
SENTINEL_DEFAULTS: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2}
"""Of the connections to the Sentinels, which are asked one after the other."""


class RedisSentinelStore(RedisStore):
    """The primary of a service, whichever server that is.

    Args:
        client: Asks Sentinels for the primary, as that of `from_url` does.
        prefix: Keeps the states of several applications apart.
        place: Where it is, in words.
    """

    def __init__(self, client: redis.Redis, prefix: str, place: str) -> None:
        super().__init__(client, prefix)
        self._place = place

    @classmethod
    def from_url(cls, url: str, prefix: str) -> Self:
        """The service that *url* names: `redis+sentinel://user:password@host:26379,host2/service/0`.

        The hosts are Sentinels; the user, the password and the database are the servers'. `rediss+sentinel://` is
        the same over TLS, for both. The query may hold whatever the client's connections take, and
        `sentinel_username` and `sentinel_password`, should the Sentinels want any.

        Raises:
            ValueError: The URL is malformed.
        """
        scheme, _, rest = url.partition("://")
        rest, _, query = rest.partition("?")
        address, _, path = rest.partition("/")
        service, _, database = path.partition("/")
        credentials, at, hosts = address.rpartition("@")
        plain = scheme.removesuffix("+sentinel")
        try:
            if not service:
                raise ValueError("it has no service")
            settings: dict[str, Any] = {
                **DEFAULTS,
                **parse_url(f"{plain}://{credentials}{at}{hosts.split(',')[0]}/{int(database or 0)}?{query}"),
            }
            sentinels = [parse_url(f"{plain}://{host}") for host in hosts.split(",")]
            addresses = [(one["host"], one.get("port", SENTINEL_PORT)) for one in sentinels]
        except (ValueError, KeyError) as error:
            shown = without_password(url.partition("?")[0])
            raise ValueError(f"write redis+sentinel://host:26379,host/service/0, not {shown!r}: {error}") from None
        for name in ("host", "port"):
            settings.pop(name, None)
        theirs = {
            name.removeprefix("sentinel_"): settings.pop(name)
            for name in ("sentinel_username", "sentinel_password")
            if name in settings
        }
        secured = issubclass(settings.get("connection_class", SentinelManagedConnection), SSLConnection)
        tls = {name: value for name, value in settings.items() if name.startswith("ssl_")} | {"ssl": secured}
        settings["connection_class"] = SentinelManagedSSLConnection if secured else SentinelManagedConnection
        settings["retry"] = Retry(NoBackoff(), 1)  # for a connection to the primary of before
        finder = Sentinel(addresses, sentinel_kwargs={**SENTINEL_DEFAULTS, **tls, **theirs})
        pool = _BlockingSentinelPool(unquote(service), finder, **settings)  # type: ignore[no-untyped-call,unused-ignore]
        store = cls(
            redis.Redis.from_pool(pool),
            prefix,
            f"service {quote(unquote(service))} of the Sentinels at {hosts}, database {int(database or 0)}",
        )
        store._is_own_client = True
        return store

    def examine(self) -> Iterable[Finding]:
        with self._client_errors():
            host, port = self._client.connection_pool.get_master_address()
        yield Finding(f"primary: {host}:{port}, by what the Sentinels say")
        yield from super().examine()

    def describe(self) -> str:
        return f"Valkey or Redis, {self._place}"

    def _renewed(self) -> object:
        # Who listens to a primary that has fallen silent hears nothing, while those who ask have found the next.
        return self._renewals, self._client.connection_pool.master_address


class _BlockingSentinelPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Threads wait for one another's connections, as with a server that is named by its own URL."""
