"""Live subscriptions: however many watchers a process has, the store sees one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from time import monotonic

from job_progress.errors import StoreUnavailable
from job_progress.fork import reset_in_children
from job_progress.outage import Outage
from job_progress.reentrant import Wake
from job_progress.state import JobState
from job_progress.stores.contract import Store, Subscription
from job_progress.threads import in_thread

MAX_TIMEOUT = 1e6
"""Seconds that stand for ever: more is too much for some systems."""
RESYNC_EVERY = 1.0
"""Seconds between loads of everything that is watched, where the store pushes as well."""
IDLE = 5
"""The pause until the next look at the store is so many times as long as the look took, up to `RESYNC_EVERY`."""


class Watcher:
    """Holds the newest snapshot of one state, and tells its owner when that changes."""

    def __init__(self, notify: Callable[[], object]) -> None:
        self.newest: JobState | None = None
        self._stalled = False
        self._notify = notify
        self._lock = threading.Lock()

    def offer(self, state: JobState) -> None:
        """Keep *state* if it is newer, or the same and by now stalled. From any thread."""
        stalled = state.is_stalled
        with self._lock:
            newest = self.newest
            if newest is not None and (newest.version, self._stalled) >= (state.version, stalled):
                return
            self.newest, self._stalled = state, stalled
        self._notify()

    @property
    def is_stalled(self) -> bool:
        """Is what is newest stalled by now?"""
        newest = self.newest
        return newest is not None and newest.is_stalled

    def look_again(self) -> None:
        """Judge what is newest anew, as the store has nothing: a run that nobody hears of is stalled some time."""
        newest = self.newest
        if newest is not None and newest.is_stalled:
            again = copy(newest)  # another snapshot, for those who tell snapshots apart
            vars(again).update(vars(newest))
            self.offer(again)


class Hub:
    """Feeds all watchers of a tracker in this process from one thread.

    It sleeps until the store pushes a key or, where the store cannot, until the next poll, and
    then loads what is watched in one round trip. Each watcher holds only the newest snapshot:
    a slow one skips, and nothing queues up. The thread lives while there are watchers.
    """

    def __init__(
        self,
        store: Store,
        load: Callable[[Sequence[str]], list[JobState | None]],
        listed: Callable[[Sequence[str]], list[JobState | None]],
        interval: float,
        outage: Outage,
    ) -> None:
        self._store = store
        self._outage = outage
        self._load = load
        self._listed = listed
        self._interval = interval
        self.reset_after_fork()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """The watchers stay with the parent."""
        self._watchers: dict[str, list[Watcher]] = {}
        self._pushed: dict[str, None] = {}  # an ordered set whose operations are atomic
        self._left: deque[tuple[str, Watcher]] = deque()  # by whom nothing may be waited for
        self._wake = Wake()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._subscription: Subscription | None = None
        self._seen: Hashable = None  # the stamp of when all was looked at last
        self._next_judged = 0.0

    @contextmanager
    def watching(self, key: str, notify: Callable[[], object]) -> Iterator[Watcher]:
        """A watcher of *key*; *notify* is called, from any thread, whenever it has something newer."""
        watcher = Watcher(notify)
        with self._lock:
            if self._thread is None:
                self._forget_who_left()
                self._start()
            if key not in self._watchers and self._subscription:
                self._subscription.follow(key)
            self._watchers.setdefault(key, []).append(watcher)
        try:
            yield watcher
        finally:  # which may be the garbage collector's, in a thread that holds the lock
            self._left.append((key, watcher))
            self._wake.set()

    def _start(self) -> None:
        try:
            self._subscription = self._store.subscribe(self._push)
            thread = threading.Thread(target=self._work, name="job-progress watch", daemon=True)
            thread.start()
        except RuntimeError:  # the process ends, or may have no more threads: watchers look themselves
            if self._subscription:
                self._subscription.close()
            self._subscription = None
        else:
            self._thread = thread

    def _forget_who_left(self) -> None:
        while self._left:
            key, watcher = self._left.popleft()
            watchers = self._watchers.get(key, [])
            if watcher in watchers:
                watchers.remove(watcher)
                if not watchers:
                    del self._watchers[key]
                    if self._subscription:
                        self._subscription.unfollow(key)

    def states(self, key: str, name: str, timeout: float | None) -> Generator[JobState, None, None]:
        """The state below *key* now, then newer ones up to the final one; see `Tracker.watch`."""
        deadline = monotonic() + (MAX_TIMEOUT if timeout is None else min(timeout, MAX_TIMEOUT))
        changed = threading.Event()
        with self.watching(key, changed.set) as watcher:
            self._begin(watcher, key)
            seen: JobState | None = None
            while seen is None or not seen.is_finished:
                changed.clear()  # before looking, so that what comes while looking is not lost
                newest, left = watcher.newest, deadline - monotonic()
                if newest is not None and newest is not seen and (left > 0 or newest.is_finished or seen is None):
                    seen = newest
                    yield seen
                elif left <= 0:
                    raise _not_in_time(name, timeout, seen)
                elif not changed.wait(min(left, self._patience)):
                    self._look(watcher, key)

    async def astates(self, key: str, name: str, timeout: float | None) -> AsyncGenerator[JobState, None]:
        """`states`, without blocking the event loop."""
        import asyncio

        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        deadline = loop.time() + (MAX_TIMEOUT if timeout is None else min(timeout, MAX_TIMEOUT))

        def notify() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(changed.set)

        with self.watching(key, notify) as watcher:
            await in_thread(self._begin, watcher, key)
            seen: JobState | None = None
            while seen is None or not seen.is_finished:
                changed.clear()
                newest, late = watcher.newest, loop.time() >= deadline
                if newest is not None and newest is not seen and (not late or newest.is_finished or seen is None):
                    seen = newest
                    yield seen
                    continue
                if late:
                    raise _not_in_time(name, timeout, seen)
                try:
                    async with asyncio.timeout_at(min(deadline, loop.time() + self._patience)):
                        await changed.wait()
                except TimeoutError:
                    await in_thread(self._look, watcher, key)

    @property
    def _patience(self) -> float:
        return MAX_TIMEOUT if self._thread else RESYNC_EVERY

    def _look(self, watcher: Watcher, key: str) -> None:
        """Look at the store, if there is no thread that does."""
        if self._thread is None:
            with suppress(StoreUnavailable):
                self._begin(watcher, key)

    def _begin(self, watcher: Watcher, key: str) -> None:
        state = self._load([key])[0]
        if state is not None:
            watcher.offer(state)

    def _push(self, key: str) -> None:
        self._pushed[key] = None
        self._wake.set()

    def _stamp(self) -> Hashable:
        try:
            return self._store.stamp()
        except Exception:  # noqa: BLE001 - the load that follows says why
            return None

    def _changed(self, keys: Sequence[str], stamp: Hashable) -> list[str]:
        """Of which *keys* there may be something new, if the store is as *stamp* says: one round trip, or none."""
        changed: set[str] = set()
        if stamp != self._seen:
            changed.update(self._store.changed({key: self._known(key) for key in keys}))
            self._seen = stamp
        if monotonic() >= self._next_judged:
            changed.update(key for key in keys if any(one.is_stalled for one in list(self._watchers.get(key, ()))))
            self._next_judged = monotonic() + RESYNC_EVERY
        return list(changed)

    def _known(self, key: str) -> int:
        """The version that all watchers of *key* have seen."""
        newest = [watcher.newest for watcher in list(self._watchers.get(key, ()))]
        return min((state.version if state else 0 for state in newest), default=0)

    def _work(self) -> None:
        subscription = self._subscription
        interval = RESYNC_EVERY if subscription else self._interval
        next_load = 0.0
        while True:
            self._wake.wait(next_load - monotonic())
            asked_at = monotonic()
            is_due = asked_at >= next_load
            # Before it is clear who watches: whoever comes later has read the state later.
            stamp = self._stamp() if is_due else None
            with self._lock:
                self._forget_who_left()
                if not self._watchers:
                    self._thread = self._subscription = None
                    break
                pushed = [self._pushed.popitem()[0] for _ in range(len(self._pushed))]
                keys = list(self._watchers) if is_due else [key for key in pushed if key in self._watchers]
            try:
                if stamp is not None:
                    keys = self._changed(keys, stamp)
                states = self._listed(keys) if keys else []
            except Exception as error:  # noqa: BLE001 - it is said by whom it is told to
                self._outage.begins("watch", error, asked_at)
                next_load = monotonic() + max(interval, RESYNC_EVERY)
                states, self._seen = [None] * len(keys), None
            else:
                if keys or stamp is not None:
                    self._outage.ends("watch")
                if is_due:
                    took = monotonic() - asked_at
                    next_load = monotonic() + max(interval, min(IDLE * took, RESYNC_EVERY))
            for key, state in zip(keys, states, strict=True):
                for watcher in list(self._watchers.get(key, ())):
                    if state is None:
                        watcher.look_again()
                    else:
                        watcher.offer(state)
        if subscription:
            subscription.close()


def _not_in_time(name: str, timeout: float | None, seen: JobState | None) -> TimeoutError:
    return TimeoutError(f"{name} did not end within {timeout:g} s: it is {seen.status if seen else 'unknown'}")
