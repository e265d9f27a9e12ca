"""States in a cache of Django's settings, whichever backend it has: for those who run no other server.

A cache has no compare-and-swap. So the keys are divided into `SHARDS`, and a change is made while holding the
lock of its key's shard, by reading, comparing and writing. A lock lasts until it is let go of. One whose holder
was killed is taken away by others after `LEASE` seconds, and a holder that stood still for a quarter of that gives
up before it writes. What was written is read back, together with the lock. A report of progress takes five calls, a
change of status eight; a batch is made in portions of `PORTION` changes, with one `add` for each shard that they
touch and a dozen other calls for all of them together, as far as the backend can write many values in one call.

All calls are made in two threads of the store's own, one to read and one to change, so that they share no
connection with anybody. Most of all, a transaction that a request has open (`ATOMIC_REQUESTS`) neither takes
changes back with it when it is rolled back, nor keeps others waiting until it ends. Their connections to a
database live as long as `CONN_MAX_AGE` says, as those of a request do: by default each call has a new one.

What to know of the backends:

- **Redis** (also Valkey): all is well. Several servers in `LOCATION`, of which Django would read from the
  replicas, are refused.
- **Memcached**: all is well as long as it has memory to spare; what it evicts is lost, and it keeps no value
  larger than its limit, which is 1 MB.
- **Database**: the table comes from `manage.py createcachetable`. If reads are routed to another database than
  writes, it is refused. PostgreSQL notes each try for a lock that is not free as a duplicate key in its log. On
  SQLite a request that has itself written something, and asks for a change before it commits, waits for itself, and
  gets `StoreUnavailable` after `LOCK_TIMEOUT`: ask before, or in `transaction.on_commit`.
- **Files**: its `add` is no single step, so locks are locks on files in the cache's folder, as good as those of its
  file system; nobody can take them away from a process that is stopped. Django lists the folder at every write: it
  is for some thousand states.
- **Local memory**: for the threads of one process. Others see nothing (the system check job_progress.W101), and
  a child that is forked at the moment of a change may hang, as Django's own lock is copied as it is.
- **Dummy**: keeps nothing, and is refused.
- **Others**: their `add` must be one step, on condition that nothing is there, and what is set must be there for
  the next `get_many` of any process, with its tuples, dictionaries and bytes (so no JSON serializer).

Files, database and local memory throw away entries beyond the `MAX_ENTRIES` of their `OPTIONS`, live or not, and
Django's default is 300: set it to some hundred thousand (the system check job_progress.W102). In files and in a
database, what has expired goes when its page of the listing is tidied.

Ages and the ends of lifetimes go by the steady clock for what was written on the same machine since it was booted,
and else by the wall clocks, which NTP has to keep in time. The first page of a listing costs three calls or a few
more, however many states there are; one that asks for what is rare reads the entries of everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TypeVar

try:
    from django.core.cache import BaseCache, caches
    from django.db import close_old_connections, connections
except ImportError as error:
    raise ImportError("states in a Django cache need Django: pip install 'job-progress[django]'") from error

from job_progress.errors import StoreUnavailable
from job_progress.stores.contract import Change, Conflict, Query, Record, Store
from job_progress.stores.django_cache_backends import locks_in_files, usable
from job_progress.stores.django_cache_index import START, Place, Walk, place, shard_of_page
from job_progress.stores.django_cache_locks import CacheLocks, FileLocks
from job_progress.stores.django_cache_values import KEYS_PER_READ, SHARDS, Names, living, states
from job_progress.stores.django_cache_writer import Writer
from job_progress.stores.own_thread import OwnThread

T = TypeVar("T")

PORTION = 200
"""Changes that are made under the same locks; few enough to be done long before a lease ends."""
CALL_TIMEOUT = 10.0
"""Seconds after which somebody who waits is told that the cache does not answer; most backends would wait for ever."""
TIDY_EVERY = 10.0
"""Seconds between two looks of a process for what has expired, in two pages of the listing."""
MANY_DEAD = 100
"""A listing that meets more entries of what has expired has them taken away."""
_TRIES = 3  # a page that was replaced while a listing was read is not where it was


class DjangoCacheStore(Store):
    """The cache *alias* of Django's settings; see the module for what its backend has to do with it."""

    def __init__(self, alias: str, prefix: str) -> None:
        self.alias = alias
        self._names = Names(prefix)
        self._cache_locks = CacheLocks()
        self._file_locks = FileLocks(alias)
        self._reading = OwnThread(CALL_TIMEOUT, close_old_connections, _let_go)
        self._writing = OwnThread(CALL_TIMEOUT, close_old_connections, _let_go)
        self._next_tidy = 0.0
        self._renewals = 0
        self._renewed_in = {self._reading: 0, self._writing: 0}

    @classmethod
    def from_url(cls, url: str, prefix: str) -> DjangoCacheStore:
        """The store that `django-cache://alias` names; `django-cache://` is the alias "default"."""
        return cls(url.removeprefix("django-cache://") or "default", prefix)

    def load(self, keys: Sequence[str]) -> list[Record | None]:
        def read() -> list[Record | None]:
            found = states(usable(self.alias), self._names, keys)
            return [held.record if (held := living(found.get(key))) else None for key in keys]

        return self._use(self._reading, read)

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        conflicts: list[Conflict | None] = []
        for start in range(0, len(changes), PORTION):
            some = changes[start : start + PORTION]
            conflicts += self._use(self._writing, partial(self._swap, some))
        return conflicts

    def _swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        conflicts = self._writer().swap(changes)
        if monotonic() >= self._next_tidy:
            self._next_tidy = monotonic() + TIDY_EVERY
            self._writer().tidy_somewhere()
        return conflicts

    def _look_through(self, cache: BaseCache, query: Query) -> tuple[list[Record], set[str], set[str]]:
        after: Place = place(*query.after) if query.after else START
        records: dict[str, Record] = {}
        dead: Counter[str] = Counter()
        walk = Walk(cache, self._names, after)
        for batch in walk:
            wanted = [
                (key, entry, page)
                for key, entry, page in batch
                if (query.job is None or entry[1] == query.job)
                and (query.statuses is None or entry[2] in query.statuses)
            ]
            while wanted and len(records) < query.limit:
                size = min(query.limit - len(records), KEYS_PER_READ)
                some, wanted = wanted[:size], wanted[size:]
                found = states(cache, self._names, [key for key, _, _ in some])
                for key, entry, page in some:
                    held = living(found.get(key))
                    if held is None or held.created != entry[0]:
                        dead[page] += 1
                    elif query.statuses is None or held.status in query.statuses:
                        records[key] = held.record
            if len(records) >= query.limit:
                break
        return list(records.values()), set(dead) if dead.total() > MANY_DEAD else set(), walk.missing

    def list(self, query: Query) -> list[Record]:
        def read() -> tuple[list[Record], set[str]]:
            cache = usable(self.alias)
            for _ in range(_TRIES - 1):
                records, dead, missing = self._look_through(cache, query)
                if not missing:
                    return records, dead
            records, dead, missing = self._look_through(cache, query)
            return records, dead | missing

        def tidy() -> None:
            writer = self._writer()
            for shard in range(SHARDS):
                if pages := {page for page in to_tidy if shard_of_page(page) == shard}:
                    writer.tidy(shard, pages)

        records, to_tidy = self._use(self._reading, read)
        if to_tidy:
            with suppress(StoreUnavailable):  # what was asked for is there; the next listing tries again
                self._use(self._writing, tidy)
        return records

    def sweep(self) -> None:
        for shard in range(SHARDS):
            self._use(self._writing, partial(self._sweep, shard))

    def _sweep(self, shard: int) -> None:
        self._writer().tidy_all(shard)

    def close(self) -> None:
        for thread in (self._reading, self._writing):
            self._guard(thread.close)

    def describe(self) -> str:
        return f"Django cache {self.alias!r}"

    def _writer(self) -> Writer:
        cache = usable(self.alias)
        return Writer(cache, self._names, self._file_locks if locks_in_files(cache) else self._cache_locks)

    def _use(self, thread: OwnThread, call: Callable[[], T]) -> T:
        def made() -> T:
            if self._renewed_in[thread] != self._renewals:
                self._renewed_in[thread] = self._renewals
                self._renew()
            try:
                return call()
            except Exception:
                # A server may have become a replica, and its connections would stay with it.
                self._renewals += 1
                raise

        return self._guard(lambda: thread.run(made))

    def _renew(self) -> None:
        """Let go of this thread's connections. The next use makes new ones."""
        _let_go()
        with suppress(AttributeError):  # it has not been used here yet
            del caches[self.alias]  # some keep a pool of their own that outlives their being closed

    def _guard(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreUnavailable(f"cannot use the {self.describe()}: {reason}") from error


def _let_go() -> None:
    caches.close_all()
    connections.close_all()
