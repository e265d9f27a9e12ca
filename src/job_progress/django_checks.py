"""Django's system checks (`manage.py check`) of where the default tracker keeps states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name
from django.core.exceptions import ImproperlyConfigured

from job_progress.default import default_tracker
from job_progress.stores.django_cache import DjangoCacheStore
from job_progress.stores.django_cache_backends import FEW_ENTRIES, is_in_sqlite, is_private, max_entries, usable


def register_checks() -> None:
    """Have Django run the checks; doing it twice does no harm."""
    register(check_cache, Tags.caches)


def check_cache(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What is wrong with the store of the default tracker, if that is a cache of Django's. No server is asked.

    - job_progress.E101: `JOB_PROGRESS_STORE` names no store.
    - job_progress.E102: The cache cannot hold states.
    - job_progress.W101: Other processes do not see what the cache holds.
    - job_progress.W102: The cache throws away states that are in use when there are more than a few.
    - job_progress.W103: The cache is in an SQLite database, where a job's own transaction keeps it from being written.
    """
    try:
        store = default_tracker().store
    except (ValueError, ImportError) as error:
        return [Error(f"The store of job states cannot be opened: {error}", id="job_progress.E101")]
    return list(_findings(store)) if isinstance(store, DjangoCacheStore) else []


def _findings(store: DjangoCacheStore) -> Iterator[CheckMessage]:
    what = f"The cache {store.alias!r}, named as the store of job states,"
    try:
        cache = usable(store.alias)
    except ImproperlyConfigured as error:
        yield Error(f"{what} cannot be one: {error}", id="job_progress.E102")
        return
    if is_private(cache):
        yield Warning(
            f"{what} is private to each process: a web process sees nothing of what a worker reports.",
            hint="Name a cache that processes share, such as one with the Redis backend, or sqlite:////path/to/file.",
            id="job_progress.W101",
        )
    if is_in_sqlite(cache):
        yield Warning(
            f"{what} is a table of an SQLite database: a job that has written to that database reads as dead, and its "
            "reports are late, until its transaction ends.",
            hint="Name a file of its own, such as sqlite:////path/to/states.db, or keep transactions short.",
            id="job_progress.W103",
        )
    limit = max_entries(store.alias, cache)
    if limit is not None and limit < FEW_ENTRIES:
        yield Warning(
            f"{what} throws entries away, those of live jobs too, when there are more than {limit}.",
            hint=f'Set "OPTIONS": {{"MAX_ENTRIES": 100_000}} for {store.alias!r} in CACHES.',
            id="job_progress.W102",
        )
