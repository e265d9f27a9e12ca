"""The listing of a store in a Django cache, which cannot list: an index of pages, kept in the cache as well.

Each shard has a directory, which names its pages and where each begins, and pages with the entries of some
dozen records each. They change only while the shard is locked, and only when a record comes, goes or is to be
listed elsewhere; a report of progress does not touch them. A page that has grown too large is replaced by two
*new* ones, so that who reads without a lock either finds a page as the directory says, or finds none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from math import inf
from secrets import token_hex

from django.core.cache import BaseCache

from job_progress.stores.django_cache_values import SHARDS, Entry, Names

PAGE_ENTRIES = 128
"""A page with more entries is replaced by several."""

Place = tuple[float, str]
"""Of a record in the order of listings: `created`, negated, and key."""
Page = dict[str, Entry]
"""The entries by key."""
Directory = list[tuple[Place, str]]
"""Where each page begins, and its name; in order."""
START: Place = (-inf, "")
END: Place = (inf, "")


def place(created: int, key: str) -> Place:
    """Where a record is listed."""
    return -created, key


def new_page(shard: int) -> str:
    """A name that no page of *shard* has had."""
    return f"{shard}-{token_hex(8)}"


def shard_of_page(page: str) -> int:
    """Whose page that is."""
    return int(page.partition("-")[0])


def page_at(directory: Directory, where: Place) -> int:
    """The position of the page that *where* belongs to."""
    return max(bisect_right(directory, where, key=lambda one: one[0]) - 1, 0)


class Shard:
    """The index of one shard, read and changed while its lock is held, and then written."""

    def __init__(self, names: Names, number: int, directory: Directory | None) -> None:
        self.number = number
        self._names = names
        self._directory: Directory = directory or [(START, new_page(number))]
        self._directory_changed = not directory
        self._pages: dict[str, Page] = {}
        self._changed: set[str] = set()

    @property
    def full(self) -> set[str]:
        """The changed pages that have grown too large."""
        return {name for name in self._changed if len(self._pages[name]) > PAGE_ENTRIES}

    def page_of(self, key: str, entry: Entry) -> str:
        """The page on which *key* is entered, or is to be."""
        return self._directory[page_at(self._directory, place(entry[0], key))][1]

    def read(self, name: str, page: Page) -> None:
        """Take note of what stands on a page; only what was read can be changed."""
        self._pages[name] = page

    def entries(self, names: Iterable[str]) -> list[tuple[str, Entry]]:
        """Keys and entries on pages that were read."""
        return [one for name in names for one in self._pages[name].items()]

    def enter(self, key: str, before: Entry | None, after: Entry | None) -> None:
        """List *key* as *after* says, and no more as it did *before*; `None`: not at all."""
        if before is not None:
            name = self.page_of(key, before)
            self._pages[name].pop(key, None)
            self._changed.add(name)
        if after is not None:
            name = self.page_of(key, after)
            self._pages[name][key] = after
            self._changed.add(name)

    def clean(self, names: Iterable[str], dead: Collection[tuple[str, Entry]]) -> list[str]:
        """Drop *dead* entries from pages, drop empty pages, and replace large ones.

        Args:
            names: Of pages in the directory, all of which were read, if they are there.
            dead: Keys and entries.

        Returns:
            The names of pages that are no more.
        """
        gone: list[str] = []
        for name in names:
            page = self._pages[name]
            left = {key: entry for key, entry in page.items() if (key, entry) not in dead}
            if not left or len(left) > PAGE_ENTRIES * 3 // 4:
                self._replace(name, left)
                gone.append(name)
            elif len(left) < len(page):
                self._pages[name] = left
                self._changed.add(name)
        return gone

    def _replace(self, name: str, entries: Page) -> None:
        position = [other for _, other in self._directory].index(name)
        begin = self._directory[position][0]
        ordered = sorted((place(entry[0], key), key) for key, entry in entries.items())
        new: Directory = []
        for first in range(0, len(ordered), PAGE_ENTRIES // 2):
            part = ordered[first : first + PAGE_ENTRIES // 2]
            new.append((part[0][0] if first else begin, new_page(self.number)))
            self._pages[new[-1][1]] = {key: entries[key] for _, key in part}
            self._changed.add(new[-1][1])
        self._directory[position : position + 1] = new
        self._directory_changed = True

    def writes(self) -> dict[str, object]:
        """What is to be written, below which keys of the cache, and in which order."""
        written: dict[str, object] = {self._names.page(name): self._pages[name] for name in sorted(self._changed)}
        if self._directory_changed:
            written[self._names.directory(self.number)] = self._directory
        return written


class Walk:
    """Goes through entries in the order of listings, across all shards, without a lock.

    Attributes:
        missing: Pages that were not there: either they were replaced meanwhile, or the cache has lost them.
    """

    def __init__(self, cache: BaseCache, names: Names, after: Place) -> None:
        self._cache = cache
        self._names = names
        self._after = after
        self.missing: set[str] = set()

    def __iter__(self) -> Iterator[list[tuple[str, Entry, str]]]:
        """Batches of key, entry and the name of the page where it is. Each is one call."""
        directories = self._cache.get_many([self._names.directory(number) for number in range(SHARDS)])
        ahead = [directory[page_at(directory, self._after) :] for directory in directories.values()]
        found: dict[Place, tuple[str, Entry, str]] = {}
        amount = 1
        while any(ahead):
            names = [name for pages in ahead for _, name in pages[:amount]]
            ahead = [pages[amount:] for pages in ahead]
            amount = min(amount * 2, 16)
            read: dict[str, Page] = self._cache.get_many([self._names.page(name) for name in names])
            for name in names:
                page = read.get(self._names.page(name))
                if page is None:
                    self.missing.add(name)
                    continue
                for key, entry in page.items():
                    where = place(entry[0], key)
                    if where > self._after:
                        found[where] = (key, entry, name)
            until = min((pages[0][0] for pages in ahead if pages), default=END)
            yield [found.pop(where) for where in sorted(found) if where < until]
