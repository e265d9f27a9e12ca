"""Watching one state live: whoever watches the same one shares a subscription, and what is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from job_progress.reentrant import LateLock
from job_progress.state import JobState
from job_progress.tracker import Tracker
from job_progress.watch import Watcher
from job_progress.web.shutdown import ShutdownGuard
from job_progress.web.view import Errors, state_event
from job_progress.web.ways import Bell, Way

_Key = tuple[object, Tracker, str, str]


class Full(Exception):
    """There are as many watchers as there may be."""


class Topic:
    """One state that is watched: its newest snapshot, and the event that tells of it, made once for all."""

    def __init__(self, tracker: Tracker, state: JobState, bell: Bell, errors: Errors) -> None:
        self.bell = bell
        self.watchers = 0
        self._errors = errors
        self._subscription = ExitStack()
        watching = tracker.watching(state.job, state.id, bell.ring)
        self._watcher: Watcher = self._subscription.enter_context(watching)
        self._of: JobState | None = None
        self._events: dict[tuple[bool, bool], bytes] = {}

    def offer(self, state: JobState) -> None:
        """Take *state*, which has just been read, if it is newer than what there is."""
        self._watcher.offer(state)

    @property
    def newest(self) -> JobState:
        """The newest snapshot; there is one as soon as one was offered."""
        newest = self._watcher.newest
        assert newest is not None  # noqa: S101 - see above
        return newest

    def event(self, state: JobState, actions: Collection[str], *, sees_all: bool) -> bytes:
        """The event that tells of *state* those who may do *actions*, and see all of an error or not."""
        viewer = "cancel" in actions, sees_all
        if state is not self._of:
            self._of, self._events = state, {}
        made = self._events.get(viewer)
        if made is None:
            error = self._errors.shown(state, sees_all=sees_all)
            made = self._events[viewer] = state_event(state, error, actions)
        return made

    def close(self) -> None:
        """Watch no more."""
        self._subscription.close()


class Live:
    """All that is watched through one web application, by *limit* watchers at most."""

    def __init__(self, way: Way, limit: int, errors: Errors) -> None:
        self.closing = False
        self.watchers = 0
        self._way = way
        self._limit = limit
        self._errors = errors
        self._lock = LateLock()
        self._bells: Counter[Bell] = Counter()
        self._topics: dict[_Key, Topic] = {}
        self._guard = ShutdownGuard(lambda: self.watchers > 0, self.close)

    @contextmanager
    def place(self, bell: Bell) -> Iterator[None]:
        """A place for a watcher that *bell* wakes, also when all is to end.

        Raises:
            Full: There is none left.
        """
        with self._lock:
            if self.watchers >= self._limit:
                raise Full
            self.watchers += 1
            self._bells[bell] += 1
        try:
            self._guard.look()
            yield
        finally:
            self._lock.do(partial(self._leave, bell))

    def _leave(self, bell: Bell) -> None:
        self.watchers -= 1
        self._bells[bell] -= 1
        if not self._bells[bell]:
            del self._bells[bell]

    @contextmanager
    def watching(self, tracker: Tracker, state: JobState) -> Iterator[Topic]:
        """The topic of *state*, which has just been read. No I/O.

        Raises:
            Full: There are too many watchers.
        """
        key = self._way.here(), tracker, state.job, state.id  # the default tracker may be another by now
        with self._lock:
            topic = self._topics.get(key)
            if topic is None:
                topic = self._topics[key] = Topic(tracker, state, self._way.bell(), self._errors)
            topic.watchers += 1
        try:
            with self.place(topic.bell):
                topic.offer(state)
                yield topic
        finally:
            self._lock.do(partial(self._unwatch, key, topic))

    def _unwatch(self, key: _Key, topic: Topic) -> None:
        topic.watchers -= 1
        if not topic.watchers:
            del self._topics[key]
            topic.close()

    def close(self) -> None:
        """Have every watcher end."""
        self.closing = True
        with self._lock:
            bells = list(self._bells)
        for bell in bells:
            bell.ring()
