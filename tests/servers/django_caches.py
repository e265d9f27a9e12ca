"""Django, set up once for all tests of a process, and caches for them on real files, databases and servers."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import uuid4

import django
import pytest
from django.conf import settings
from django.core.cache import BaseCache, caches
from django.core.management import call_command
from django.db import connections
from django.test.utils import override_settings

from tests.web import django_settings

BACKENDS = "django.core.cache.backends"
URL = "django-cache://states"
SPACE = {"MAX_ENTRIES": 1_000_000}

_database = Path(gettempdir()) / f"job-progress-{os.getpid()}.db"


def set_up(database: Path | str) -> None:
    """Configure Django for this process, with an SQLite database that several processes may share."""
    shared = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(database),
        "OPTIONS": {"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF"},
    }
    project = {name: value for name, value in vars(django_settings).items() if name.isupper()}
    settings.configure(**project | {"DATABASES": {"default": shared}})
    django.setup()


def _clean_up() -> None:
    for file in _database.parent.glob(f"{_database.name}*"):
        file.unlink()


def set_up_once() -> None:
    """Configure Django for the tests of this process, if nobody has."""
    if not settings.configured:
        set_up(_database)
        atexit.register(_clean_up)


set_up_once()


def set_up_as(told: str) -> None:
    """Configure Django, in another process, as it is in the one that told `setting`."""
    setting = json.loads(told)
    settings.DATABASES["default"]["NAME"] = setting["database"]
    settings.CACHES = setting["caches"]


def setting() -> str:
    """The settings of this process, for `set_up_as`."""
    return json.dumps({"database": str(settings.DATABASES["default"]["NAME"]), "caches": settings.CACHES})


@contextmanager
def cache_settings(**of_states: Any) -> Iterator[str]:
    """Have a cache "states" with these settings, and a URL that names it."""
    default = {"BACKEND": f"{BACKENDS}.dummy.DummyCache"}
    with override_settings(CACHES={"default": default, "states": of_states}):
        yield URL


@contextmanager
def database_cache(**more: Any) -> Iterator[str]:
    """Have a cache "states" in a new table of the database, and a URL that names it."""
    table = f"states_{uuid4().hex}"
    with cache_settings(BACKEND=f"{BACKENDS}.db.DatabaseCache", LOCATION=table, OPTIONS=SPACE, **more):
        call_command("createcachetable")
        yield URL
    with connections["default"].cursor() as cursor:
        cursor.execute(f"DROP TABLE {table}")
    connections.close_all()


def states_cache() -> BaseCache:
    """The cache "states", for looking behind the library's back."""
    return caches["states"]


@pytest.fixture
def django_locmem_url() -> Iterator[str]:
    """A store in this process's memory."""
    with cache_settings(BACKEND=f"{BACKENDS}.locmem.LocMemCache", LOCATION=uuid4().hex, OPTIONS=SPACE) as url:
        yield url


@pytest.fixture
def django_file_url(tmp_path: Path) -> Iterator[str]:
    """A store in a new folder."""
    folder = str(tmp_path / "cache")
    with cache_settings(BACKEND=f"{BACKENDS}.filebased.FileBasedCache", LOCATION=folder, OPTIONS=SPACE) as url:
        yield url


@pytest.fixture
def django_database_url() -> Iterator[str]:
    """A store in a new table of an SQLite database."""
    with database_cache() as url:
        yield url


@pytest.fixture
def django_redis_url(valkey_url: str) -> Iterator[str]:
    """A store on a Valkey server."""
    with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=valkey_url) as url:
        yield url
