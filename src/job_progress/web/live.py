"""Watching one state live: whoever watches the same one shares a subscription, and what is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_address, ip_network
from time import monotonic

from job_progress.reentrant import LateLock
from job_progress.state import JobState
from job_progress.tracker import Tracker
from job_progress.watch import Watcher
from job_progress.web.shutdown import ShutdownGuard
from job_progress.web.view import Errors, state_event
from job_progress.web.ways import Bell, Way

SENT_WITHIN = 30.0
"""Seconds in which a viewer must have taken what is sent, or the stream ends, and the place is another's."""

_Key = tuple[object, Tracker, str, str]
Share = tuple[str, str, str | None]
"""Whose share of the places: the viewers of a state by links, or those of them at one address."""
NOBODYS: Mapping[Share, int] = {}


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


class Place:
    """The place of one watcher, which *bell* wakes."""

    def __init__(self, bell: Bell, shares: Collection[Share]) -> None:
        self.bell = bell
        self.shares = shares
        self._is_lost = False
        self._sent_at: float | None = None

    def sends(self, piece: bytes) -> bytes:
        """Note that *piece* is sent now, and return it."""
        self._sent_at = monotonic()
        return piece

    def is_kept(self) -> bool:
        """Note that the watcher has taken what was sent. Is the place still the watcher's?"""
        self._sent_at = None
        return not self._is_lost

    def is_stuck_at(self, now: float) -> bool:
        """Has the watcher left for too long what was sent to it?"""
        sent_at = self._sent_at
        return sent_at is not None and now - sent_at > SENT_WITHIN

    def lose(self) -> None:
        """Give it to another watcher."""
        self._is_lost = True


class Live:
    """All that is watched through one web application, by *limit* watchers at most."""

    def __init__(self, way: Way, limit: int, errors: Errors) -> None:
        self.closing = False
        self._way = way
        self._limit = limit
        self._errors = errors
        self._lock = LateLock()
        self._places: set[Place] = set()
        self._shares: Counter[Share] = Counter()
        self._topics: dict[_Key, Topic] = {}
        self._guard = ShutdownGuard(lambda: self.watchers > 0, self.close)

    @property
    def watchers(self) -> int:
        """How many places are taken."""
        return len(self._places)

    def shares_of(self, job: str, id: str, address: str) -> Mapping[Share, int]:
        """How many places those at most may have who watch a state by links, in all and at *address*."""
        return {
            (job, id, None): max(self._limit // 2, 1),
            (job, id, _network_of(address)): max(self._limit // 4, 1),
        }

    @contextmanager
    def place(self, bell: Bell, shares: Mapping[Share, int] = NOBODYS) -> Iterator[Place]:
        """A place for a watcher that *bell* wakes, also when all is to end; it counts in these *shares*.

        Raises:
            Full: There is none left.
        """
        place = Place(bell, shares.keys())
        with self._lock:
            if not self._has_room(shares):
                self._take_from_the_stuck()
                if not self._has_room(shares):
                    raise Full
            self._places.add(place)
            self._shares.update(place.shares)
        try:
            self._guard.look()
            yield place
        finally:
            self._lock.do(partial(self._leave, place))

    def _has_room(self, shares: Mapping[Share, int]) -> bool:
        return self.watchers < self._limit and all(self._shares[share] < most for share, most in shares.items())

    def _take_from_the_stuck(self) -> None:
        now = monotonic()
        for place in [place for place in self._places if place.is_stuck_at(now)]:
            place.lose()
            self._leave(place)

    def _leave(self, place: Place) -> None:
        if place not in self._places:
            return  # it was taken before
        self._places.remove(place)
        self._shares.subtract(place.shares)
        for share in place.shares:
            if not self._shares[share]:
                del self._shares[share]

    @contextmanager
    def watching(
        self, tracker: Tracker, state: JobState, shares: Mapping[Share, int] = NOBODYS
    ) -> Iterator[tuple[Topic, Place]]:
        """The topic of *state*, which has just been read, and a place that counts in these *shares*. No I/O.

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
            with self.place(topic.bell, shares) as place:
                topic.offer(state)
                yield topic, place
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
            bells = {place.bell for place in self._places}
        for bell in bells:
            bell.ring()


def _network_of(address: str) -> str:
    """The addresses of one client: one address of IPv4; with IPv6, a network of the usual size."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return address if ip.version == 4 else str(ip_network((ip, 64), strict=False))
