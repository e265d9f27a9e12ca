"""Where states live: one contract, one module per store, each imported only when its URL is used."""

from __future__ import annotations

from job_progress.stores.contract import Change, Conflict, Query, Record, Store

__all__ = ["Change", "Conflict", "Query", "Record", "Store", "open_store"]

DEFAULT_URL = "sqlite://"
_TO_COME = ("redis", "rediss", "unix", "valkey", "redis+cluster", "postgresql", "django-cache")


def open_store(url: str, prefix: str) -> Store:
    """The store that *url* names, holding the states below *prefix*.

    `memory://` is this process's own. `sqlite:///relative/path`, `sqlite:////absolute/path`
    and `sqlite://` (a file in the user's cache directory) are shared by the processes of one
    machine. Opens nothing yet: the first use does.

    Raises:
        ValueError: The URL is malformed or its scheme is unknown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"a store is named by a URL such as sqlite:///progress.db, not {url!r}")
    if scheme == "memory":
        if rest:
            raise ValueError(f"memory:// takes nothing after it: {url!r}")
        from job_progress.stores.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite":
        from job_progress.stores.sqlite import SQLiteStore, path_in

        return SQLiteStore(path_in(url), prefix)
    if scheme in _TO_COME:
        raise ValueError(
            f"{scheme}:// is not supported by this version of job-progress; it has memory:// and sqlite://"
        )
    raise ValueError(f"unknown store scheme {scheme!r} in {url!r}; use memory:// or sqlite:///path")
