"""The one background thread of a worker process that publishes what its runs have reported."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic, sleep
from types import FrameType
from weakref import ref

from msgspec import MsgspecError

from job_progress import clock
from job_progress.encoding import change_to, state_in
from job_progress.errors import NewerFormat, StoreUnavailable
from job_progress.events import RunEvent
from job_progress.fork import reset_in_children
from job_progress.once import warn_once
from job_progress.outage import WRITING, Outage
from job_progress.reentrant import Wake
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.stores.contract import Change, Store
from job_progress.threads import RUNS

logger = logging.getLogger("job_progress")

ROUNDS = 10
"""How often a batch is decided again after conflicts before it waits for the next tick."""
AT_ONCE = 1000
"""Runs in one round trip: more would take a store long."""
SETTLE_WITHIN = 5.0
"""Seconds for which the first end, or flush, of an outage waits for the store; and so does the end of a process."""
RETRY_EVERY = 1.0
"""Seconds between attempts to reach a store that is away, or a heartbeat, if that is shorter."""
UNSTORABLE = (TypeError, ValueError, ArithmeticError, RecursionError, MsgspecError)
"""What is raised for values that have no JSON form after all."""
GIVE_UP_AFTER = 900.0
"""Seconds after which an end that no store would take is given up."""
CHECKPOINT_CONTACT = 1.0
"""Seconds after which a run that can be cancelled, or asks whether it was, asks for news, if it has none of its own."""
BATCHES = 5
"""The heartbeats of all silent runs of a process take at most so many round trips per interval."""


Pair = tuple[Run, RunEvent | None]
"""A run, and its end, if it has one that is to be published."""


class Reporter:
    """Publishes the runs of one tracker in this process.

    It sleeps while nothing changes. A report after a quiet time wakes it and is written at
    once; while reports keep coming it wakes at each tick, `flush_interval` apart, and writes
    the newest values of all runs in one round trip; and it shows that silent runs are alive.
    The thread starts with the first run of a process, and not before.
    """

    def __init__(self, store: Store, flush_interval: float, heartbeat: float, outage: Outage) -> None:
        self._store = store
        self._outage = outage
        self._flush_interval = flush_interval
        self._heartbeat = heartbeat
        self._retry_every = min(RETRY_EVERY, heartbeat)  # or it would look as if the process had slept
        self._reset()
        reset_in_children(self)

    def _reset(self) -> None:
        self._runs: set[Run] = set()
        self._finishing: deque[tuple[Run, BaseException]] = deque()
        self._wake = Wake()
        self._start_lock = threading.RLock()  # as a signal handler may begin a run
        self._thread: threading.Thread | None = None
        self._away_until = 0.0
        self._closed = False

    def reset_after_fork(self) -> None:
        """The runs go on in the parent, which reports them."""
        for run in self._runs:
            run.detach()
        _owing.discard(self)
        self._reset()

    def add(self, run: Run) -> None:
        """Publish what *run* reports from now on. Starts the thread; no I/O."""
        self._runs.add(run)
        self._closed = False
        with self._start_lock:
            if not self._has_thread:
                self._start()
        self._wake.set()  # so that its sleep is measured by this run's heartbeat, too

    @property
    def _has_thread(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        wake = self._wake
        reporter = ref(self, lambda _: wake.set())  # so that the thread ends with the tracker it works for
        thread = threading.Thread(target=_work, args=(reporter, wake), name="job-progress reporter", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the process ends, or may have no more threads
            warn_once("no thread", "what runs report is seen at their end: %s", error)
        else:
            self._thread = thread

    def discard(self, run: Run) -> None:
        """This run is over, unless its end is still to be published."""
        if run.final is None:
            self._runs.discard(run)
            if not self._runs and not run.lost:  # nobody is left for whom the thread would find out
                self._outage.ends(WRITING)

    def finish(self, run: Run, error: BaseException) -> None:
        """Have the thread finish *run* with *error*. Returns at once, wherever it is called."""
        self._finishing.append((run, error))
        _owing.add(self)
        self._wake.set()

    def wake(self) -> None:
        """Look at the runs now. Returns at once."""
        self._wake.set()

    def close(self) -> None:
        """End the thread, once all ends are published, or after a while; runs that still report start it no more."""
        self.publish_ends(monotonic() + SETTLE_WITHIN)
        self._closed = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=SETTLE_WITHIN)

    def publish_ends(self, deadline: float) -> list[Run]:
        """Wait until all ends are published, or *deadline* has come. Returns whose are not."""
        self._away_until = 0.0
        self._wake.set()
        while (self._finishing or self._owing()) and monotonic() < deadline:
            if not self._has_thread:
                self._tick()
            sleep(0.02)
        return self._owing()

    def _owing(self) -> list[Run]:
        return [run for run in list(self._runs) if run.final is not None]

    def settle(self, run: Run, event: RunEvent | None) -> None:
        """Publish an end, or what is reported, from the calling thread.

        The first who finds the store away tries for `SETTLE_WITHIN` seconds, and what the store itself takes for one
        try; others, and those who come while it is known to be away, do not wait. The thread goes on trying to publish
        the end of a run, for `GIVE_UP_AFTER` seconds; other reports it takes up with the next tick anyway.
        """
        try:
            is_published = self._publish_in_time(run, event)
        except BaseException:  # such as Ctrl-C, or a queue's time limit, also while waiting
            self._take_over(run, event)
            raise
        if not is_published:
            self._take_over(run, event)
        elif event is not None:
            run.final = None

    def _publish_in_time(self, run: Run, event: RunEvent | None) -> bool:
        if (self._has_thread and self._outage.is_waited_for) or _strikes_a_call():
            return False
        deadline, pause, waits = monotonic() + SETTLE_WITHIN, 0.05, False
        while True:
            asked_at = monotonic()
            try:
                with self._outage.asking(asked_at):
                    left = self._publish([(run, event)])
                if not left:
                    self._outage.ends(WRITING)
                    return True
            except StoreUnavailable as error:
                if self._outage.begins(WRITING, error, asked_at):
                    waits = waits or self._outage.is_first_to_wait()
                    if not waits:
                        return False
            if monotonic() + pause > deadline:
                return False
            sleep(pause)
            pause = min(pause * 2, self._retry_every)

    def _take_over(self, run: Run, event: RunEvent | None) -> None:
        """Have the thread go on trying to publish *event*, if it is an end."""
        if event is not None:
            self._runs.add(run)
            run.final, run.give_up_at = event, monotonic() + GIVE_UP_AFTER
            _owing.add(self)
            _mind_the_end_of_children()
            self._wake.set()

    def _wish(
        self, run: Run, event: RunEvent | None, now: datetime
    ) -> tuple[Run, RunEvent | None, JobState, Change] | None:
        try:
            decided = run.decide(event, now)
            return None if decided is None else (run, event, decided[0], change_to(decided[0], run.key, decided[1]))
        except UNSTORABLE as error:
            # What one run reports must not keep the others from being published. Nothing else is caught here: in the
            # job's own thread, that is a time limit of its queue.
            logger.exception("%s %r cannot be published any more", run.known.job, run.known.id)
            run.lose(f"what it reports cannot be stored: {error}")
            return None

    def _publish(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Bring runs and their ends to the store: one round trip for all, and one more after conflicts.

        Where there is no end, what the run reports is read anew in each round: another thread of it may
        have published something newer, which must not be overwritten with what was read before.

        Returns:
            Those that others, or other threads of theirs, kept changing meanwhile.
        """
        for _ in range(ROUNDS):
            now = clock.now()
            wishes = [wish for run, event in pairs if (wish := self._wish(run, event, now)) is not None]
            if not wishes:
                return ()
            try:
                conflicts = self._store.swap([change for *_, change in wishes])
            except StoreUnavailable:
                for run, *_ in wishes:
                    run.stay_awake(clock.now())  # to wait for a store is not to sleep
                raise
            pairs = []
            for (run, event, state, _), conflict in zip(wishes, conflicts, strict=True):
                if conflict is None:
                    run.wrote(state)
                    continue
                current = conflict.current
                try:
                    run.learn(current, state_in(current))
                except NewerFormat as error:
                    run.give_up(str(error))
                else:
                    pairs.append((run, event))
        return pairs

    def tick(self) -> float | None:
        """Look once, unless this is closed. Returns the seconds until the next time; negative: there is none."""
        return -1.0 if self._closed else self._tick()

    def _tick(self) -> float | None:
        """Publish what is due. Returns the seconds to sleep, `None` for until somebody wakes us."""
        while self._finishing:
            run, error = self._finishing.popleft()
            with suppress(Exception):  # as from the handler of a log
                run.finish(error)
        now = monotonic()
        if now < self._away_until and self._outage.stops_writing:
            return self._away_until - now
        tick = int(now / self._flush_interval)
        due = [(run, run.final) for run in list(self._runs) if self._is_due(run, now, tick)]
        is_left = False
        for first in range(0, len(due), AT_ONCE):
            batch, asked_at = due[first : first + AT_ONCE], monotonic()
            try:
                with self._outage.asking(asked_at):
                    left = {run for run, _ in self._publish(batch)}
            except Exception as error:  # noqa: BLE001 - it is said by whom it is told to
                self._outage.begins(WRITING, error, asked_at)
                for run, _ in due[first + AT_ONCE :]:  # they wait, too
                    run.stay_awake(clock.now())
                self._away_until = monotonic() + self._retry_every
                return self._retry_every
            self._outage.ends(WRITING)
            is_left = is_left or bool(left)
            for run, event in batch:
                if event is not None and run.final is event and run not in left:
                    run.final = None
                    self._runs.discard(run)
                # Woken in the middle of a tick, a run waits for the one after the next: never
                # two writes within an interval (less a fifth, for a thread that wakes late).
                run.next_tick = int(now / self._flush_interval + 1.8)
        if self in _owing and not self._owing():
            _owing.discard(self)
        return self._flush_interval if is_left else self._sleep()

    def _is_due(self, run: Run, now: float, tick: int) -> bool:
        if run.final is not None and now >= run.give_up_at:
            logger.error("the end of %s %r was never published: %s", run.known.job, run.known.id, run.final)
            run.lost = True
        if run.lost:
            self._runs.discard(run)
            return False
        if run.ended:
            return run.final is not None
        if not run.quiet:
            if tick < run.next_tick:
                return False
            if run.has_news():
                return True
            # First rest, then one more look: a report in between either is seen or wakes us.
            run.next_tick = 0
            run.rest()
            if run.has_news():
                run.quiet = False  # alert stays until the next report, which does no harm
                return True
        return now >= self._contact_by(run)

    def _contact_by(self, run: Run) -> float:
        if run.start is not None:  # the store was away when it began
            return 0.0
        interval = min(CHECKPOINT_CONTACT, self._heartbeat) if run.wants_news else self._heartbeat
        by = run.contact + interval
        return by - by % (interval / BATCHES)  # a little earlier, together with other runs

    def _sleep(self) -> float | None:
        runs = [run for run in list(self._runs) if not run.ended]
        if not runs:
            return self._retry_every if any(run.final is not None for run in list(self._runs)) else None
        now = monotonic()
        if any(not run.quiet for run in runs):
            return self._flush_interval - now % self._flush_interval
        return max(min(self._contact_by(run) for run in runs) - now, 0.0)


def _work(reporter_of: ref[Reporter], wake: Wake) -> None:
    timeout: float | None = None
    while timeout is None or timeout >= 0:
        wake.wait(timeout)
        reporter = reporter_of()
        timeout = -1.0 if reporter is None else reporter.tick()
        del reporter  # or this thread would keep it for as long as it sleeps


def _strikes_a_call() -> bool:
    """Is this thread's own call of a store interrupted, by a signal or the like, so that its locks are held?

    The thread of a reporter counts as being in one.
    """
    frame: FrameType | None = sys._getframe(3)  # of who called `settle`
    while frame is not None:
        if frame.f_globals.get("__name__") in _CALLERS:
            return True
        frame = frame.f_back
    return False


_CALLERS = (__name__, "job_progress.tracker")
"""Where stores are called."""
_owing: set[Reporter] = set()
"""Those that have ends to publish, which keeps them alive until they have."""


def publish_all_ends() -> None:
    """Publish what has ended, before the process does, if a bounded time allows."""
    deadline = monotonic() + SETTLE_WITHIN
    while RUNS.are_busy and monotonic() < deadline:
        sleep(0.02)
    for reporter in list(_owing):
        lost = reporter.publish_ends(deadline)
        _owing.discard(reporter)
        if lost:
            first = lost[0].known
            logger.error("never published: the end of %s %r, and of %d more", first.job, first.id, len(lost) - 1)


atexit.register(publish_all_ends)


def _mind_the_end_of_children() -> None:
    """The children of multiprocessing end without what `atexit` knows, but with finalizers of their own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and util not in _minded:
        _minded.append(util)
        util.Finalize(None, publish_all_ends, exitpriority=0)


_minded: list[object] = []


class _Forks:
    """A forked child has forgotten its parent's finalizers."""

    def reset_after_fork(self) -> None:
        _minded.clear()


_forks = _Forks()
reset_in_children(_forks)
