"""Locks for a cache that has no compare-and-swap.

Two kinds: by the cache's own `add`, and by the file system where `add` is no one step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import uniform
from secrets import token_hex
from time import monotonic, sleep
from typing import IO, NamedTuple

from django.core.cache import BaseCache
from django.core.files import locks

from job_progress.fork import reset_in_children
from job_progress.stores.django_cache_backends import settings_of

LEASE = 7.0
"""Seconds after which others may take a lock away, as its holder must have died."""
LOCK_TIMEOUT = 9.0
"""Seconds after which waiting for a lock is given up; long enough to take one from the dead."""
PAUSE = 0.005
"""Seconds before another try, on average; later ones wait longer."""
LONGEST_PAUSE = 0.05
LONGEST_TAKEOVER = 60
"""Seconds for which nobody else tries to take away the same lock; far longer than it takes."""


class Busy(TimeoutError):
    """Nothing was changed, as others were at work; it may be tried again."""


class Lease(NamedTuple):
    """Locks that are held.

    Attributes:
        token: What stands in the cache below each of *names* while it is so.
        names: In the cache; none, if they are not held there.
        began: On the monotonic clock, before the first was taken; `None`: they are held until let go.
    """

    token: str = ""
    names: Sequence[str] = ()
    began: float | None = None

    @property
    def is_late(self) -> bool:
        """Asked right before a write: could somebody take the locks away before that is done?

        A quarter of the lease may have gone by, so that a write may take the rest of it: more than the 5 s for which
        SQLite waits for others by default.
        """
        return self.began is not None and monotonic() - self.began > LEASE / 4


class Locks(ABC):
    """Locks by name, which exclude all threads and processes that share the cache."""

    @contextmanager
    def held(self, cache: BaseCache, names: Sequence[str], timeout: float) -> Iterator[Lease]:
        """Hold the locks of *names*.

        Args:
            cache: Of this thread.
            names: Which; in the same order for all.
            timeout: Seconds to wait for others.

        Raises:
            Busy: Others hold some of them for longer than that.
        """
        end = monotonic() + timeout
        with ExitStack() as stack:
            while (lease := self._take_all(cache, names, min(end, monotonic() + LEASE / 8), stack)) is None:
                if monotonic() >= end:
                    raise Busy("another process, thread or open transaction is at work on it, and does not end")
            yield lease

    @abstractmethod
    def _take_all(self, cache: BaseCache, names: Sequence[str], end: float, stack: ExitStack) -> Lease | None:
        """Take all, or none if some are not free until *end*; *stack* lets go of them."""


def _tries(end: float) -> Iterator[int]:
    """Counts tries, with pauses between them, until *end*; one at least."""
    yield 0
    number, pause = 0, PAUSE
    while monotonic() < end:
        sleep(uniform(0, 2 * pause))
        number, pause = number + 1, min(pause * 1.5, LONGEST_PAUSE)
        yield number


class CacheLocks(Locks):
    """A lock is a value that is added to the cache, on condition that none is there, and deleted again.

    No clock of the backend's is trusted with its end, as some take away a value that has expired, or
    replace it, in two steps. Who waits sees a lock that stays the same for `LEASE` seconds; its holder
    has died or will find out, as it looks at its own clock before it writes. If the server did not
    answer this object, and added the lock later all the same, nobody holds it, and others need not wait. To take a
    lock away, somebody has to add a value that is named for that very lock, which again only one can.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}  # the holder of a lock, and since when
        self._in_doubt: deque[str] = deque(maxlen=1000)  # tokens of locks that this object asked for, and got no answer

    def _take_all(self, cache: BaseCache, names: Sequence[str], end: float, stack: ExitStack) -> Lease | None:
        token = token_hex(8)
        taken: list[str] = []
        began = monotonic()
        try:
            for name in names:
                for number in _tries(end):
                    began = began if taken else monotonic()
                    if self._take_when_free(cache, name, names, token) if number else cache.add(name, token, None):
                        break
                else:
                    return None
                taken.append(name)
            stack.callback(_release, cache, Lease(token, names, began))
            taken = []
            return Lease(token, names, began)
        except BaseException:  # a server that is silent now may add the value yet, when it goes on
            self._in_doubt.append(token)
            raise
        finally:
            _release(cache, Lease(token, taken, began))

    def _take_when_free(self, cache: BaseCache, name: str, names: Sequence[str], token: str) -> bool:
        holders: dict[str, str] = cache.get_many(names)  # all of them, so that no wait comes after another
        for other, holder in holders.items():
            if self._seen.get(other, ("", 0.0))[0] != holder:
                self._seen[other] = (holder, monotonic())
        if name not in holders:
            return bool(cache.add(name, token, None))
        holder, since = self._seen[name]
        if holder not in self._in_doubt and monotonic() - since < LEASE:
            return False
        if not cache.add(f"{name}-{holder}", token, LONGEST_TAKEOVER):
            return False
        cache.set(name, token, None)
        return bool(cache.get(name) == token)


def _release(cache: BaseCache, lease: Lease) -> None:
    # Later it may be another's already: then, too, it is for others to take it away.
    if lease.names and lease.began is not None and monotonic() - lease.began < LEASE * 0.75:
        cache.delete_many(lease.names)


class FileLocks(Locks):
    """A lock is a lock on a file in the cache's folder; the system lets go of it when its holder dies."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._open: set[IO[bytes]] = set()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Close what was inherited, or a lock would last until both processes have ended."""
        for file in self._open:
            file.close()
        self._open = set()

    def _take_all(self, cache: BaseCache, names: Sequence[str], end: float, stack: ExitStack) -> Lease | None:
        folder = Path(settings_of(self._alias)["LOCATION"])
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may be deleted at any time
        with ExitStack() as taken:
            for name in names:
                file = (folder / f"{name}.lock").open("ab")
                self._open.add(file)
                taken.callback(self._let_go, file)
                if not any(locks.lock(file, locks.LOCK_EX | locks.LOCK_NB) for _ in _tries(end)):
                    return None
            stack.push(taken.pop_all())
        return Lease()

    def _let_go(self, file: IO[bytes]) -> None:
        self._open.discard(file)
        locks.unlock(file)
        file.close()
