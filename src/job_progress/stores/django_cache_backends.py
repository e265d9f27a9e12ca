"""What has to be known of the backends that Django brings along."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router

FEW_ENTRIES = 10_000
"""With fewer `MAX_ENTRIES` a cache throws away states that are in use; Django's default is 300."""


def settings_of(alias: str) -> dict[str, Any]:
    """What the setting `CACHES` says of *alias*.

    Raises:
        ImproperlyConfigured: It says nothing, or there are no settings.
    """
    all_caches: dict[str, dict[str, Any]] = settings.CACHES
    if alias not in all_caches:
        raise ImproperlyConfigured(f"the setting CACHES knows only {', '.join(map(repr, all_caches))}: add it there")
    return all_caches[alias]


def usable(alias: str) -> BaseCache:
    """The cache *alias* of this thread. No server is asked.

    Raises:
        ImproperlyConfigured: It is not in the settings, or is one that cannot hold states.
    """
    location = settings_of(alias).get("LOCATION", "")
    cache: BaseCache = caches[alias]
    if isinstance(cache, DummyCache):
        raise ImproperlyConfigured("it keeps nothing; give it another BACKEND")
    if isinstance(cache, RedisCache) and len(re.split("[;,]", location) if isinstance(location, str) else location) > 1:
        raise ImproperlyConfigured(
            "it reads from replicas, which lag behind; name only the primary in the LOCATION of a cache for states"
        )
    if isinstance(cache, DatabaseCache) and router.db_for_read(cache.cache_model_class) != router.db_for_write(
        cache.cache_model_class
    ):
        raise ImproperlyConfigured(
            "it reads from another database than it writes to, which may lag behind; "
            "route the reads of django_cache to the same one"
        )
    return cache


def is_private(cache: BaseCache) -> bool:
    """Does no other process see what *cache* holds?"""
    return isinstance(cache, LocMemCache)


def is_in_sqlite(cache: BaseCache) -> bool:
    """Is it a table of an SQLite database, in which all others wait for a transaction that has written?"""
    if not isinstance(cache, DatabaseCache):
        return False
    alias = router.db_for_write(cache.cache_model_class) or DEFAULT_DB_ALIAS
    return connections[alias].vendor == "sqlite"


def locks_in_files(cache: BaseCache) -> bool:
    """Is its `add` no single step, while it has a folder that all who use it share?"""
    return isinstance(cache, FileBasedCache)


def forgets(cache: BaseCache) -> bool:
    """Does it take away what has expired in one step, so that this cannot hit what has replaced it?"""
    return not isinstance(cache, (FileBasedCache, DatabaseCache))


def max_entries(alias: str, cache: BaseCache) -> int | None:
    """Beyond how many entries *cache* throws some away; `None`: that goes by memory, or is not known."""
    if not isinstance(cache, (LocMemCache, FileBasedCache, DatabaseCache)):
        return None
    amount: int = settings_of(alias).get("OPTIONS", {}).get("MAX_ENTRIES", 300)
    return amount
