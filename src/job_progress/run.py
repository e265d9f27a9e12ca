"""One attempt by one worker: what it has reported, what it knows of the store, how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf
from threading import RLock
from time import monotonic
from typing import Any, Protocol, TypeVar

from msgspec import structs

from job_progress import clock
from job_progress.count import Count
from job_progress.encoding import MAX_RESULT_BYTES, MESSAGE_LENGTH, TooLarge, explain, line, plain
from job_progress.errors import JobCancelled, JobCancelledInPool
from job_progress.events import Acknowledge, Complete, Fail, Report, Reported, Retry, RunEvent, Start
from job_progress.once import warn_once
from job_progress.pace import Pace
from job_progress.pools import in_pool
from job_progress.state import JobState, JobStatus, Source, microseconds
from job_progress.stores.contract import Record
from job_progress.task import current_task
from job_progress.transitions import Refused, transition

logger = logging.getLogger("job_progress")

T = TypeVar("T")
U = TypeVar("U")


class Publisher(Protocol):
    """Brings a run's events to the store."""

    def add(self, run: Run) -> None:
        """Publish what *run* reports from now on."""

    def wake(self) -> None:
        """Look at the runs soon. Returns at once."""

    def settle(self, run: Run, event: RunEvent | None) -> None:
        """Publish the end that *event* is, or else what is reported, before returning, if a bounded time allows."""

    def discard(self, run: Run) -> None:
        """This run is over."""

    def finish(self, run: Run, error: BaseException) -> None:
        """Have *run* finished with *error* soon. Returns at once, wherever it is called."""


class Run:
    """One attempt. The job's threads write the first block of attributes, and whoever publishes reads them.

    Attributes:
        position: The progress: a number, `None`, or the `Count` that it follows from.
        count: The latest counting, which `completed` and `total` show.
        followed: `count`, if the position follows from it and somebody is looking: as long as it is,
            counting an item takes no more than its number.
        quiet: Nobody is looking, so a report must wake the publisher.
        alert: A report must do more than write: `look` for what. Always so while quiet.
        handed_out: The result until now, and why the latest one was left out, if it was.
        checkpoints: The job has asked whether it was cancelled, and so may ask again.
        cancel_requested: Somebody asked to cancel, or took the id away.
        known: The newest state of this run that is, or should be, in the store.
        expected: The version that the store is believed to hold.
        start: The start, as long as the store has not accepted it.
        failure: What is wrong, though the function has returned.
        ended: An end was set, by hand or by the function's end; later reports change nothing.
        lost: Another run, a lock or a cancel has superseded this one: it writes no more.
        forked: This is the copy in a forked process, which reports nowhere.
    """

    def __init__(
        self,
        state: JobState,
        *,
        key: str = "",
        limit: int = MAX_RESULT_BYTES,
        start: Start | None = None,
        publisher: Publisher | None = None,
        source: Source | None = None,
    ) -> None:
        self.position: float | Count | None = state.progress
        self.count: Count | None = None
        self.followed: Count | None = None
        self.message: str | None = None
        self.handed_out: tuple[Any, str | None] = None, None
        self.meta: dict[str, Any] = {}
        self.meta_lock = RLock()  # as a signal handler may report
        self.quiet = self.alert = publisher is not None
        self.checkpoints = False
        self.cancel_requested = False
        cancellable = state.settings.cancellable
        self.threshold = inf if isinstance(cancellable, bool) else cancellable
        self.alert |= self.threshold != inf

        self.publisher = publisher
        self.source = source
        self.key = key
        self.limit = limit
        self.known = state
        self.expected = 0 if start else state.version
        self.start = start
        self.token = state.token or ""
        self.failure: BaseException | None = None
        self.ended = False
        self.lost = False
        self.forked = False

        self._reported_at_end: Reported | None = None

        # The publisher's own notes.
        self.final: RunEvent | None = None
        self.give_up_at = inf
        self.next_tick = 0
        self.contact = monotonic()
        self._tried = self.contact
        self._slept_until = 0  # in the time that versions tell; see `stay_awake`
        self._pace = Pace()
        self._item_pace = Pace()
        self._paced: tuple[float, float, int | None] | None = None  # the counting that it is the pace of

    # What the job reports.

    def wake(self) -> None:
        """Have the first report after a quiet time published at once. No I/O."""
        # In the reverse of the order in `rest`, so that never quiet is left without alert.
        self.alert = self.threshold != inf
        self.quiet = False
        if self.publisher is not None:
            self.publisher.wake()
        elif self.forked:
            warn_once(
                "forked",
                "%s %r: what a process reports that was forked off the run is not seen. Let the run itself report "
                "as the results come in: for result in progress.track(pool.imap_unordered(...), total=n)",
                self.known.job,
                self.known.id,
            )

    def rest(self) -> None:
        """Nobody looks until there is another report, which then wakes the publisher."""
        self.quiet = True
        self.alert = True
        self.followed = None

    def look(self) -> None:
        """Do what a report asks for besides being written. No I/O."""
        if self.threshold != inf:
            self.latch()
        if self.quiet:
            self.wake()

    def latch(self) -> None:
        """Hold on to it if the progress has reached the threshold, by number or by count."""
        counted = self.count.read()[2] if self.count else None
        position = counted if isinstance(self.position, Count) else self.position
        if any(progress is not None and progress >= self.threshold for progress in (position, counted)):
            self.threshold = -inf

    def follow(self, count: Count) -> None:
        """From now on the position follows from *count*. No I/O."""
        if self.threshold != inf:
            self.latch()  # what the position was until now
        # In this order: whoever takes `followed` away has set `quiet` before.
        self.followed = count
        self.position = self.count = count
        if self.followed is not count:  # another thread was here meanwhile: let both come again
            self.followed = None
        if self.quiet:
            self.wake()

    def hand_out(self, result: Any) -> None:
        """Publish *result*; if it is too large, what was left out, and why.

        Raises:
            TypeError: It has no JSON form.
        """
        try:
            self.handed_out = plain(result, "result", self.limit), None
        except TooLarge as error:
            self._leave_out(error)

    def hand_out_returned(self, result: Any) -> None:
        """`hand_out` of what the function returned: its work is done, so nothing raises."""
        try:
            self.hand_out(result)
        except Exception as error:  # noqa: BLE001 - also a time limit that strikes here, after the work
            self._leave_out(error)

    def _leave_out(self, error: Exception) -> None:
        why = line(str(error), "error", MESSAGE_LENGTH)
        if self.handed_out[1] is None:
            logger.warning("%s %r: its result is left out: %s", self.known.job, self.known.id, why)
        self.handed_out = None, why

    def merge_meta(self, meta: dict[str, Any]) -> None:
        """Add *meta* to what the run publishes; see `encoding.plain` for what it raises."""
        with self.meta_lock:
            plain(self.known.meta | self.meta | meta, "meta", self.limit)
            added = plain(meta, "meta", self.limit)
            self.meta = self.meta | added

    def reported(self, now: float | None = None) -> Reported:
        """What the job has reported until now; with the monotonic time, estimates its pace too."""
        position, count = self.position, self.count
        completed, total, counted = count.read() if count else (None, None, None)
        progress = counted if isinstance(position, Count) else position
        progress = None if progress is None else min(progress, 1.0)
        known = self.known
        speed, rate = known.speed, known.rate
        if now is not None:
            self._pace.observe(now, progress)
            counting = None if count is None else (count.base, count.size, count.total)
            if counting != self._paced:
                self._paced, self._item_pace = counting, Pace()
            self._item_pace.observe(now, completed)
            speed, rate = self._pace.per_second(), self._item_pace.per_second()
        if self.threshold != inf:
            self.latch()
        result, omitted = self.handed_out
        return Reported(
            progress=progress,
            completed=completed,
            total=total,
            message=self.message,
            result=result,
            result_omitted=omitted,
            meta=self.meta,
            point_of_no_return=self.threshold == -inf,
            speed=speed,
            rate=rate,
        )

    @property
    def wants_news(self) -> bool:
        """May somebody ask the run to cancel, so that it should soon learn of that?"""
        return self.checkpoints or (self.known.settings.cancellable is not False and self.threshold != -inf)

    def has_news(self) -> bool:
        """Is there a report that the store does not show yet?"""
        return not self.reported().is_in(self.known)

    @property
    def state(self) -> JobState:
        """The run's state as this process sees it, reports that are still under way included. No I/O."""
        state, reported = self.known, self.reported()
        if not reported.is_in(state):
            with suppress(Refused):  # superseded: what is known is all there is to see
                seen = transition(state, Report(self.token, reported), clock.now())
                state = structs.replace(seen, version=state.version)  # nobody has stored it yet
        return state.bound_to(self.source) if self.source else state

    # What the store says. Two threads may be here at once, the publisher and the job's own: the
    # store's compare-and-swap decides between them, and versions only grow.

    def decide(self, event: RunEvent | None, now: datetime) -> tuple[JobState, int] | None:
        """What to write for an end, or for what is reported now, and the version that it must replace.

        `None` if there is nothing (any more) to write.
        """
        if self.lost:
            return None
        self.stay_awake(now)
        # In this order: if the other thread publishes something newer meanwhile, the version
        # that was read here is no longer the store's, and this is decided again.
        expected, known = self.expected, self.known
        event = event or Report(self.token, self.reported(self._tried))
        try:
            state = known
            if self.start is not None and state.token != self.token:
                state = transition(state, self.start, now)
                if not state.is_processing:  # it was cancelled while the store was away
                    self.lose("its start was cancelled")
                    return state, expected
            state = transition(state, event, now)
        except Refused as refusal:
            self.lose(str(refusal))
            return None
        return None if state is known else (state, expected)

    def stay_awake(self, now: datetime) -> None:
        """This process is at work on the run. If it was not for too long, others may have taken the run for dead.

        That is forgotten as soon as something that was decided later is in the store.
        """
        tried, self._tried = self._tried, monotonic()
        if self._tried - tried > self.known.settings.stalled_after:
            self._slept_until = microseconds(now)

    def wrote(self, state: JobState) -> None:
        """The store has *state* now."""
        self.contact = monotonic()
        if state.version >= self._slept_until:
            self._slept_until = 0
        self.start = None
        if state.version > self.known.version:
            self.known, self.expected = state, state.version

    def learn(self, record: Record | None, state: JobState | None) -> None:
        """The store held *record*, which reads *state*, instead of what was expected."""
        if state is None:
            # Forgotten or unreadable there: write anew what is known here, unless this process has
            # slept for so long that another run may have come and gone.
            if self._slept_until or monotonic() - self._tried > self.known.settings.stalled_after:
                self.lose("the process was stopped, and the store has forgotten the run")
                return
        elif self.start is None and state.version < self.known.version:
            pass  # the store went back in time, as after a restart from an older copy
        elif self.start is None and state.token != self.token:
            self.lose(f"{state.job} {state.id!r} now belongs to another run or lock")
            return
        else:
            self.known = state
            if state.is_cancelling and state.token == self.token:
                self.cancel_requested = True
        # Last: the other thread may write as soon as it sees this, and must know the above by then.
        self.expected = record.version if record else 0

    def lose(self, why: str) -> None:
        """Write no more, and stop at the next checkpoint."""
        if not self.lost and not self.ended:
            logger.warning("run %s of %s %r ends here: %s", self.token[:6], self.known.job, self.known.id, why)
        self.lost = True
        self.cancel_requested = True

    def give_up(self, why: str) -> None:
        """Write no more, and let the job do its work."""
        with self.meta_lock:  # as both threads may find out at once
            is_news, self.lost = not self.lost, True
        if is_news:
            logger.warning("what %s %r reports is not seen any more: %s", self.known.job, self.known.id, why)

    def detach(self) -> None:
        """Report nowhere from now on: this is a forked child's copy, and the run is its parent's."""
        self.publisher = None
        self.meta_lock = RLock()  # another thread of the parent may have held it
        self.lost = self.forked = True
        self.quiet = self.alert = True  # so that the first report says that nobody will see it
        self.followed = None

    # How it ends.

    def end(self, event: RunEvent) -> None:
        """Set the end that *event* says, in the store before returning if that can be had in time."""
        self.ended = True
        self._reported_at_end = event.reported
        if self.publisher is not None:
            self.publisher.settle(self, event)
        else:
            decided = self.decide(event, clock.now())
            self.known = decided[0] if decided else self.known

    def finish(self, error: BaseException | None) -> bool:
        """The function has returned, or raised *error*: publish the end.

        Returns:
            Is *error* this run's own cancellation, with which nobody else need be bothered?
        """
        try:
            event = self._outcome(error)
            current_task().delivery.said = _STATUSES[type(event)] if event else self.known.status
            if event is not None:
                self.end(event)
        finally:
            if self.publisher is not None:
                self.publisher.discard(self)
        self._warn_if_it_never_looked()
        return self.is_own(error)

    def drop(self, error: GeneratorExit) -> None:
        """`finish`, soon: this may be the garbage collector, in a thread that holds a lock of the store."""
        if self.publisher is not None:
            self.publisher.finish(self, error)
        else:
            self.finish(error)

    def is_own(self, error: BaseException | None) -> bool:
        """Is *error* the cancellation of this run, and not of one around it? Or a group of nothing else?"""
        if isinstance(error, BaseExceptionGroup):
            return all(self.is_own(one) for one in error.exceptions)
        return isinstance(error, JobCancelled) and (error.state is None or error.state.token == self.token)

    def _warn_if_it_never_looked(self) -> None:
        known = self.known
        if known.cancel_requested_at and not self.checkpoints and (known.is_completed or known.is_failed):
            warn_once(
                f"never looked: {known.job}",
                "%s %r was asked to cancel, and ended without having looked whether it was: a job stops where it calls "
                "progress.exit_if_cancelled(), or at the items of progress.track(..., checkpoint=True)",
                known.job,
                known.id,
            )

    def _outcome(self, error: BaseException | None) -> RunEvent | None:
        reported = self._reported_at_end or self.reported()
        if error is None:
            return None if self.ended else Complete(self.token, reported)
        if isinstance(error, JobCancelled) or self.is_own(error):
            return Acknowledge(self.token, reported)
        task = current_task()
        if _answer(task.was_cancelled, error, False):
            return Acknowledge(self.token, reported)
        will_retry = _answer(task.will_retry, error, False)
        interrupted = not isinstance(error, (Exception, BaseExceptionGroup))
        if interrupted and self.cancel_requested and not will_retry:
            return Acknowledge(self.token, reported)
        shown = _answer(task.shown_error, error, error)
        why = None if shown is None else explain(shown, "interrupted by " if interrupted else "")
        if will_retry:
            delay = _answer(task.retry_delay, error, None)
            due = None if delay is None else clock.now() + timedelta(seconds=max(delay, 0.0))
            return Retry(self.token, reported, why, due)
        return Complete(self.token, reported) if why is None else Fail(self.token, reported, why)

    def cancellation(self) -> JobCancelled:
        """What a checkpoint raises."""
        known = self.known
        kind = JobCancelledInPool if in_pool() else JobCancelled
        return kind(f"{known.job} {known.id!r} was cancelled", known if known.token == self.token else None)


_STATUSES: dict[type[RunEvent], JobStatus] = {
    Complete: JobStatus.COMPLETED,
    Fail: JobStatus.FAILED,
    Retry: JobStatus.PENDING,
    Acknowledge: JobStatus.CANCELLED,
    Report: JobStatus.PROCESSING,
}


def _answer(question: Callable[[BaseException], T], error: BaseException, otherwise: U) -> T | U:
    """What an integration says of *error*, or *otherwise* if it fails at that."""
    try:
        return question(error)
    except Exception:
        logger.exception("an integration of a queue could not tell about %r", error)
        return otherwise
