"""Where states live: one contract, one module per store, each imported only when its URL is used."""

from __future__ import annotations

from job_progress.stores.contract import Change, Conflict, Query, Record, Store

__all__ = ["Change", "Conflict", "Query", "Record", "Store", "open_store"]

DEFAULT_URL = "sqlite://"


def open_store(url: str, prefix: str) -> Store:
    """The store that *url* names, holding the states below *prefix*. Opens nothing yet: the first use does.

    `memory://` is this process's own. `sqlite:///relative/path`, `sqlite:////absolute/path` and `sqlite://`
    (a file in the user's cache directory) are shared by the processes of one machine. `redis://`, `rediss://`,
    `valkey://`, `unix://`, `redis+sentinel://`, `redis+cluster://` and `postgresql://` are servers that many machines
    share, and `django-cache://alias` is whatever Django's settings call so.

    Raises:
        ValueError: The URL is malformed or its scheme is unknown.
        ImportError: What the store needs is not installed; the message says which extra brings it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"a store is named by a URL such as sqlite:///progress.db, not {url!r}")
    match scheme:
        case "memory":
            if rest:
                raise ValueError(f"memory:// takes nothing after it: {url!r}")
            from job_progress.stores.memory import MemoryStore

            return MemoryStore()
        case "sqlite":
            from job_progress.stores.sqlite import SQLiteStore, path_in

            return SQLiteStore(path_in(url), prefix)
        case "redis" | "rediss" | "valkey" | "valkeys" | "unix":
            from job_progress.stores.redis import RedisStore

            return RedisStore.from_url(url, prefix)
        case "redis+sentinel" | "rediss+sentinel" | "redis+cluster" | "rediss+cluster":
            from job_progress.stores import redis as _client_is_there  # noqa: F401 - or it says what to install

            if scheme.endswith("+sentinel"):
                from job_progress.stores.redis_sentinel import RedisSentinelStore

                return RedisSentinelStore.from_url(url, prefix)
            from job_progress.stores.redis_cluster import RedisClusterStore

            return RedisClusterStore.from_url(url, prefix)
        case "postgresql" | "postgres":
            from job_progress.stores.postgresql import PostgreSQLStore

            return PostgreSQLStore.from_url(url, prefix)
        case "django-cache":
            from job_progress.stores.django_cache import DjangoCacheStore

            return DjangoCacheStore.from_url(url, prefix)
    raise ValueError(
        f"unknown store scheme {scheme!r}: there are memory://, sqlite://, redis://, rediss://, unix://, valkey://, "
        "redis+sentinel://, redis+cluster://, postgresql:// and django-cache://"
    )
