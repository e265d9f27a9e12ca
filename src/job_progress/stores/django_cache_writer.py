"""How a Django cache is changed: under a lock, in an order in which a kill does no harm, and looked at afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import groupby
from random import randrange, sample
from time import monotonic, sleep

from django.core.cache import BaseCache

from job_progress.stores.contract import Change, Conflict
from job_progress.stores.django_cache_backends import forgets
from job_progress.stores.django_cache_index import Directory, Page, Shard
from job_progress.stores.django_cache_locks import LOCK_TIMEOUT, Busy, Lease, Locks
from job_progress.stores.django_cache_values import SHARDS, Entry, Held, Names, Plain, living, shard_of, states

PATIENCE = 0.5
"""Seconds to wait for locks, at most, before looking again who has lost anyway."""
PAGES_AT_ONCE = 4
"""To be tidied under one lock by a sweep."""
WRITES = 50
"""In one call, between two looks at the clock."""
OTHERS = 2
"""Pages to be tidied whenever one is full: as many go as come, if all is dead in half of them."""
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # after each try to write, of which each may take its time


class Writer:
    """Changes what is in *cache*, of this thread, below *names*."""

    def __init__(self, cache: BaseCache, names: Names, locks: Locks) -> None:
        self._cache = cache
        self._names = names
        self._locks = locks
        self._forgets = forgets(cache)
        self._at_once = 1 if type(cache).set_many is BaseCache.set_many else WRITES  # it makes a loop of them

    def _locked(self, shards: Collection[int], timeout: float) -> AbstractContextManager[Lease]:
        return self._locks.held(self._cache, [self._names.lock(shard) for shard in sorted(shards)], timeout)

    # Changes.

    def swap(self, changes: Sequence[Change]) -> list[Conflict | None]:
        """As the contract says."""
        end, patience = monotonic() + LOCK_TIMEOUT, 0.0
        answers: dict[str, Conflict | None] = {}
        while waiting := [change for change in changes if change.key not in answers]:
            try:
                answers |= self._swap(waiting, patience)
            except Busy:
                if monotonic() >= end:
                    raise
                answers |= self._lost(waiting, self._current(waiting))  # these need no lock
                patience = min(0.05 + 2 * patience, PATIENCE)
        return [answers[change.key] for change in changes]

    def _current(self, changes: Sequence[Change]) -> dict[str, Plain]:
        return states(self._cache, self._names, [change.key for change in changes])

    @staticmethod
    def _lost(changes: Sequence[Change], found: Mapping[str, Plain]) -> dict[str, Conflict | None]:
        lost: dict[str, Conflict | None] = {}
        for change in changes:
            held = living(found.get(change.key))
            if (held.version if held else 0) != change.expected:
                lost[change.key] = Conflict(held.record if held else None)
        return lost

    def _swap(self, changes: Sequence[Change], patience: float) -> dict[str, Conflict | None]:
        with self._locked({shard_of(change.key) for change in changes}, patience) as lease:
            found = self._current(changes)
            answers = self._lost(changes, found)
            made = [change for change in changes if change.key not in answers]
            full = self._make(lease, made, found) if made else {}
        for shard, pages in full.items():
            self._tidy_if_free(shard, pages)
        return answers | {change.key: None for change in made}

    def _make(self, lease: Lease, made: Sequence[Change], found: Mapping[str, Plain]) -> dict[int, set[str]]:
        shards = self._listed_anew(made, found)
        kept = {change.key: Held.of(change) for change in made if change.lifetime > 0}
        # Of a change that is cut off in the middle an entry may be left without a record, but no record without one.
        # What stays in its place is written before its entry: a run whose worker dies here is listed as what it is.
        if lease.is_late:
            raise Busy("it took too long to read from it, so that nothing was changed")
        self._delete([self._names.state(change.key) for change in made if change.key not in kept])
        stays = [key for key in kept if key in found and Held(*found[key]).created == kept[key].created]
        written: dict[str, tuple[object, int | None]] = self._records(kept, stays)
        written |= {name: (value, None) for shard in shards for name, value in shard.writes().items()}
        written |= self._records(kept, kept)
        if written:
            self._write(lease, written)
        return {shard.number: shard.full for shard in shards if shard.full}

    def _records(self, kept: Mapping[str, Held], keys: Iterable[str]) -> dict[str, tuple[object, int | None]]:
        return {self._names.state(key): (kept[key].plain, kept[key].timeout if self._forgets else None) for key in keys}

    def _listed_anew(self, made: Sequence[Change], found: Mapping[str, Plain]) -> list[Shard]:
        moves: dict[int, list[tuple[str, Entry | None, Entry | None]]] = defaultdict(list)
        for change in made:
            plain = found.get(change.key)
            before = Held(*plain).entry if plain else None
            after = (change.created, change.job, change.status) if change.lifetime > 0 else None
            if before != after:
                moves[shard_of(change.key)].append((change.key, before, after))
        if not moves:
            return []
        directories: dict[str, Directory] = self._cache.get_many([self._names.directory(number) for number in moves])
        shards = [Shard(self._names, number, directories.get(self._names.directory(number))) for number in moves]
        self._read_pages(
            {
                shard.page_of(key, entry): shard
                for shard in shards
                for key, *entries in moves[shard.number]
                for entry in entries
                if entry
            }
        )
        for shard in shards:
            for key, before, after in moves[shard.number]:
                shard.enter(key, before, after)
        return shards

    def _read_pages(self, wanted: Mapping[str, Shard]) -> None:
        pages: dict[str, Page] = self._cache.get_many([self._names.page(page) for page in wanted])
        for page, shard in wanted.items():
            shard.read(page, pages.get(self._names.page(page), {}))

    # Writing.

    def _delete(self, names: Collection[str]) -> None:
        if names:
            self._cache.delete_many(names)

    def _write(self, lease: Lease, values: Mapping[str, tuple[object, int | None]]) -> None:
        left = dict(values)
        for pause in _PAUSES:
            for timeout, those in groupby(left.items(), key=lambda item: item[1][1]):  # in their order
                some = [(name, value) for name, (value, _) in those]
                for start in range(0, len(some), self._at_once):
                    if lease.is_late:
                        raise TimeoutError("it took too long to write to it, which was given up on the way")
                    self._cache.set_many(dict(some[start : start + self._at_once]), timeout)
            # Some backends keep it to themselves that a write has failed.
            standing = self._cache.get_many([*values, *lease.names])
            if any(standing.get(name) != lease.token for name in lease.names):
                raise RuntimeError("it has lost a lock of a moment ago: has it too little space, or was it emptied?")
            left = {name: kept for name, kept in values.items() if standing.get(name) != kept[0]}
            if not left:
                return
            sleep(pause)
        raise RuntimeError("it does not keep what is written: is a value too large, or is there too little space?")

    # Tidying.

    def tidy(self, shard: int, pages: Collection[str], others: int = 0, timeout: float = LOCK_TIMEOUT) -> None:
        """Take away what has expired, and its entries; replace pages that are too large.

        Args:
            shard: Whose pages.
            pages: Which; those that are there no more are left out.
            others: Any so many besides.
            timeout: Seconds to wait for the lock.

        Raises:
            Busy: The lock was not free for so long.
        """
        with self._locked([shard], timeout) as lease:
            directory: Directory = self._cache.get(self._names.directory(shard)) or []
            there = [name for _, name in directory]
            chosen = sorted({*pages, *sample(there, min(others, len(there)))}.intersection(there))
            if not chosen:
                return
            index = Shard(self._names, shard, directory)
            self._read_pages(dict.fromkeys(chosen, index))
            entries = index.entries(chosen)
            found = states(self._cache, self._names, [key for key, _ in entries])
            alive = {key: held for key, plain in found.items() if (held := living(plain))}
            dead = {(key, entry) for key, entry in entries if key not in alive or alive[key].created != entry[0]}
            for key, entry in entries:
                if (key, entry) not in dead and alive[key].entry != entry:  # its change was cut off
                    index.enter(key, entry, alive[key].entry)
            gone = index.clean(chosen, dead)
            if writes := index.writes():
                self._write(lease, {name: (value, None) for name, value in writes.items()})
            self._delete([*map(self._names.page, gone), *(self._names.state(key) for key in found if key not in alive)])

    def _tidy_if_free(self, shard: int, pages: Collection[str]) -> None:
        with suppress(Busy):  # it can wait
            self.tidy(shard, pages, OTHERS, 0.0)

    def tidy_somewhere(self) -> None:
        """Tidy a few pages; who does it now and then comes round to all."""
        self._tidy_if_free(randrange(SHARDS), ())

    def tidy_all(self, shard: int) -> None:
        """Tidy all pages of *shard*."""
        directory: Directory = self._cache.get(self._names.directory(shard)) or []
        for start in range(0, len(directory), PAGES_AT_ONCE):
            self.tidy(shard, [name for _, name in directory[start : start + PAGES_AT_ONCE]])
