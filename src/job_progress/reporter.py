"""The one background thread of a worker process that publishes what its runs have reported."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from time import monotonic, sleep
from weakref import ref

from job_progress import clock
from job_progress.encoding import change_to, state_in
from job_progress.errors import StoreUnavailable
from job_progress.events import RunEvent
from job_progress.fork import reset_in_children
from job_progress.outage import Outage
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.stores.contract import Change, Store

logger = logging.getLogger("job_progress")

ROUNDS = 10
"""How often a batch is decided again after conflicts before it waits for the next tick."""
SETTLE_WITHIN = 5.0
"""Seconds for which the end of a run, or a flush, tries anew to reach a store that is away."""
RETRY_EVERY = 1.0
"""Seconds between attempts to reach a store that is away, or a heartbeat, if that is shorter."""
GIVE_UP_AFTER = 900.0
"""Seconds after which an end that no store would take is given up."""
CHECKPOINT_CONTACT = 1.0
"""Seconds after which a run that can be cancelled, or asks whether it was, asks for news, if it has none of its own."""


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
        self._wake = threading.Event()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._away_until = 0.0
        self._closed = False

    def reset_after_fork(self) -> None:
        """The runs go on in the parent, which reports them."""
        for run in self._runs:
            run.detach()
        self._reset()

    def add(self, run: Run) -> None:
        """Publish what *run* reports from now on. Starts the thread; no I/O."""
        self._runs.add(run)
        self._closed = False
        with self._start_lock:
            if self._thread is None or not self._thread.is_alive():
                wake = self._wake
                reporter = ref(self, lambda _: wake.set())  # so that the thread ends with the tracker it works for
                self._thread = threading.Thread(
                    target=_work, args=(reporter, wake), name="job-progress reporter", daemon=True
                )
                self._thread.start()
        self._wake.set()  # so that its sleep is measured by this run's heartbeat, too

    def discard(self, run: Run) -> None:
        """This run is over, unless its end is still to be published."""
        if run.final is None:
            self._runs.discard(run)
            if not self._runs and not run.lost:  # nobody is left for whom the thread would find out
                self._outage.ends("reporter")

    def wake(self) -> None:
        """Look at the runs now. Returns at once."""
        self._wake.set()

    def close(self) -> None:
        """End the thread; runs that still report start it no more."""
        self._closed = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=SETTLE_WITHIN)

    def settle(self, run: Run, event: RunEvent | None) -> None:
        """Publish an end, or what is reported, from the calling thread.

        It takes no longer than `SETTLE_WITHIN` seconds and what the store itself takes for one try.

        If the store stays away, the thread goes on trying to publish the end of a run, for
        `GIVE_UP_AFTER` seconds; other reports it takes up with the next tick anyway.
        """
        try:
            self._publish_in_time(run, event)
        except StoreUnavailable as error:
            logger.warning("%s %r: %s; trying on in the background", run.known.job, run.known.id, error)
            self._take_over(run, event)
        except BaseException:  # such as Ctrl-C, or a queue's time limit, also while waiting
            self._take_over(run, event)
            raise
        else:
            if event is not None:
                run.final = None

    def _publish_in_time(self, run: Run, event: RunEvent | None) -> None:
        deadline, pause = monotonic() + SETTLE_WITHIN, 0.05
        while True:
            try:
                return self._publish([(run, event)])
            except StoreUnavailable:
                if monotonic() + pause > deadline:
                    raise
            sleep(pause)
            pause = min(pause * 2, self._retry_every)

    def _take_over(self, run: Run, event: RunEvent | None) -> None:
        """Have the thread go on trying to publish *event*, if it is an end."""
        if event is not None:
            run.final, run.give_up_at = event, monotonic() + GIVE_UP_AFTER
            self._wake.set()

    def _wish(
        self, run: Run, event: RunEvent | None, now: datetime
    ) -> tuple[Run, RunEvent | None, JobState, Change] | None:
        try:
            decided = run.decide(event, now)
            return None if decided is None else (run, event, decided[0], change_to(decided[0], run.key, decided[1]))
        except Exception as error:
            # What one run reports must not keep the others from being published.
            logger.exception("%s %r cannot be published any more", run.known.job, run.known.id)
            run.lose(f"what it reports cannot be stored: {error}")
            return None

    def _publish(self, pairs: Sequence[tuple[Run, RunEvent | None]]) -> None:
        """Bring runs and their ends to the store: one round trip for all, and one more after conflicts.

        Where there is no end, what the run reports is read anew in each round: another thread of it may
        have published something newer, which must not be overwritten with what was read before.
        """
        for _ in range(ROUNDS):
            now = clock.now()
            wishes = [wish for run, event in pairs if (wish := self._wish(run, event, now)) is not None]
            if not wishes:
                return
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
                else:
                    current = conflict.current
                    run.learn(current, state_in(current))
                    pairs.append((run, event))
        raise StoreUnavailable(f"the states of {len(pairs)} runs changed {ROUNDS} times while they were being written")

    def tick(self) -> float | None:
        """Look once, unless this is closed. Returns the seconds until the next time; negative: there is none."""
        return -1.0 if self._closed else self._tick()

    def _tick(self) -> float | None:
        """Publish what is due. Returns the seconds to sleep, `None` for until somebody wakes us."""
        now = monotonic()
        if now < self._away_until:
            return self._away_until - now
        tick = int(now / self._flush_interval)
        due = [(run, run.final) for run in list(self._runs) if self._is_due(run, now, tick)]
        if due:
            try:
                self._publish(due)
            except Exception as error:  # noqa: BLE001 - it is said by whom it is told to
                self._outage.begins("reporter", error)
                self._away_until = monotonic() + self._retry_every
                return self._retry_every
            self._outage.ends("reporter")
            self._away_until = 0.0
            for run, event in due:
                if event is not None and run.final is event:
                    run.final = None
                    self._runs.discard(run)
                # Woken in the middle of a tick, a run waits for the one after the next: never
                # two writes within an interval (less a fifth, for a thread that wakes late).
                run.next_tick = int(now / self._flush_interval + 1.8)
        return self._sleep()

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
        return run.contact + (min(CHECKPOINT_CONTACT, self._heartbeat) if run.wants_news else self._heartbeat)

    def _sleep(self) -> float | None:
        runs = [run for run in list(self._runs) if not run.ended]
        if not runs:
            return self._retry_every if any(run.final is not None for run in list(self._runs)) else None
        now = monotonic()
        if any(not run.quiet for run in runs):
            return self._flush_interval - now % self._flush_interval
        return max(min(self._contact_by(run) for run in runs) - now, 0.0)


def _work(reporter_of: ref[Reporter], wake: threading.Event) -> None:
    timeout: float | None = None
    while timeout is None or timeout >= 0:
        wake.wait(timeout)
        wake.clear()  # before looking, so that what is set while looking is not lost
        reporter = reporter_of()
        timeout = -1.0 if reporter is None else reporter.tick()
        del reporter  # or this thread would keep it for as long as it sleeps
