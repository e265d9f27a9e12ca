"""A store plus settings: everything that can be done to a state by name, without its job's code."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic

from msgspec import structs

from job_progress import clock
from job_progress.encoding import MAX_RESULT_BYTES, change_to, state_in
from job_progress.errors import JobAlreadyProcessing, JobNotCancellable, NewerFormat, StoreUnavailable
from job_progress.events import Event, FindDead, Lock, RequestCancel, Start
from job_progress.names import check_id, check_name, key_of
from job_progress.once import warn_once
from job_progress.outage import WRITING, Outage
from job_progress.reporter import Reporter
from job_progress.run import Run
from job_progress.state import JobState, JobStatus, Settings, microseconds
from job_progress.stores import DEFAULT_URL, Query, Record, Store, open_store
from job_progress.task import NO_TASK, QueueTask
from job_progress.threads import in_thread
from job_progress.transitions import Refused, describe, transition
from job_progress.watch import Hub, Watcher

logger = logging.getLogger("job_progress")

STORE_VARIABLE = "JOB_PROGRESS_STORE"
ROUNDS = 100
"""How often a change from outside is decided again after conflicts."""
MAX_LIMIT = 100_000
PRUNED_AT_ONCE = 1000
AVERAGED = 100
"""How many of the latest executions an average is taken over."""

Status = JobStatus | str
States = list[JobState]
Found = list[JobState | None]


class Tracker:
    """A store and settings; jobs belong to one.

    Args:
        store: A URL (see `job_progress.stores.open_store`) or a `Store`. Nothing is opened before
            the first use. By default `JOB_PROGRESS_STORE`, else a file in the user's cache directory.
        prefix: Keeps the states of several applications in one store apart.
        ttl: Seconds a finished state is remembered.
        pending_ttl: Seconds a state is remembered that no live run touches, from when its queue task is due: more
            than the longest that a task may wait in the queue.
        flush_interval: Seconds between two writes of one run's progress.
        heartbeat: Seconds between two signs of life of a run that reports nothing.
        stalled_after: Seconds without a sign of life after which a run counts as dead; at least
            twice the heartbeat.
        max_result_bytes: The size that a result, and all metadata of a state, may have as JSON.
        key: Makes the key of a state from its job and id, for ids that are unique across jobs.

    Raises:
        ValueError: A setting is out of its range, or the URL is wrong.
    """

    run_type: type[Run] = Run

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        prefix: str = "job-progress",
        ttl: float = 900.0,
        pending_ttl: float = 86400.0,
        flush_interval: float = 0.1,
        heartbeat: float = 5.0,
        stalled_after: float = 30.0,
        max_result_bytes: int = MAX_RESULT_BYTES,
        key: Callable[[str, str], str] = key_of,
    ) -> None:
        for name, value in (
            ("ttl", ttl),
            ("pending_ttl", pending_ttl),
            ("flush_interval", flush_interval),
            ("heartbeat", heartbeat),
            ("stalled_after", stalled_after),
            ("max_result_bytes", max_result_bytes),
        ):
            check_positive(value, name)
        if stalled_after < 2 * heartbeat:
            raise ValueError(
                f"stalled_after ({stalled_after} s) must be at least twice the heartbeat ({heartbeat} s), "
                "or live runs would be taken for dead"
            )
        if isinstance(store, Store):
            self.store = store
        else:
            url = store if store is not None else os.environ.get(STORE_VARIABLE) or DEFAULT_URL
            self.store = open_store(url, check_name(prefix, "prefix"))
        self.settings = Settings(ttl=ttl, pending_ttl=pending_ttl, stalled_after=stalled_after)
        self.max_result_bytes = max_result_bytes
        self.claimed: dict[str, tuple[str, str]] = {}  # the names of its jobs, and who bears them
        self._warned: set[str] = set()  # jobs
        self._key = key
        self._outage = Outage(self.store)
        self.reporter = Reporter(self.store, flush_interval, heartbeat, self._outage)
        # Half an interval, so that watching adds less delay than reporting does.
        self._hub = Hub(self.store, self._load, self._listed, flush_interval / 2, self._outage)

    def get(self, job: str, id: str | None) -> JobState | None:
        """The state of an execution, or `None` if the store knows none. One round trip.

        Raises:
            StoreUnavailable: The store does not answer, or a newer version of this library wrote the state, in a
                format that this one cannot read.
            ValueError, TypeError: *id* is none that an execution can have.
        """
        return None if id is None else self._load([self._key_of(job, id)])[0]

    async def aget(self, job: str, id: str | None) -> JobState | None:
        """`get`, without blocking the event loop."""
        return await in_thread(self.get, job, id)

    def get_many(self, names: Sequence[tuple[str, str]]) -> Found:
        """`get` for each `(job, id)`, in their order, in one round trip."""
        return self._load([self._key_of(job, id) for job, id in names])

    def get_listed(self, names: Sequence[tuple[str, str]]) -> Found:
        """`get_many` as lists see it: without those that only a newer version of this library can read."""
        return self._listed([self._key_of(job, id) for job, id in names])

    async def aget_many(self, names: Sequence[tuple[str, str]]) -> Found:
        """`get_many`, without blocking the event loop."""
        return await in_thread(self.get_many, names)

    def cancel(self, job: str, id: str) -> JobState:
        """Ask to cancel an execution. Two round trips.

        A pending one is cancelled at once, and will not start. A processing one is asked to stop
        (`is_cancelling`), and is cancelled when it reaches a checkpoint, or turns out to be dead.
        Asking twice is harmless.

        Returns:
            The new state.

        Raises:
            JobNotCancellable: It is unknown, finished, not cancellable or past its threshold.
                Nothing was changed.
            StoreUnavailable: The store does not answer.
        """
        blank = JobState(job=job, id=check_id(id))
        try:
            return self.apply(blank, RequestCancel(), likely_new=False)
        except Refused as refusal:
            state = refusal.state
            raise JobNotCancellable(f"cannot cancel {job} {state.id!r}: {_why_not(state)}", state) from None

    async def acancel(self, job: str, id: str) -> JobState:
        """`cancel`, without blocking the event loop."""
        return await in_thread(self.cancel, job, id)

    def list(
        self,
        job: str | None = None,
        status: Status | Collection[Status] | None = None,
        limit: int = 50,
        after: JobState | str | None = None,
    ) -> States:
        """States, newest first. One round trip.

        Those that only a newer version of this library can read are left out, and a log line says so.

        Args:
            job: Only of this job.
            status: Only with this status, or one of these.
            limit: How many at most, 1 to 100,000.
            after: The last state of the page before, or its `cursor`. Pages stay right while states
                come and go: none is shown twice.

        Raises:
            ValueError: A status, limit or cursor is none.
            StoreUnavailable: The store does not answer.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"limit must be from 1 to {MAX_LIMIT:,}, not {limit}")
        if status is not None:
            status = {JobStatus(one) for one in ((status,) if isinstance(status, str) else status)}
        records = self.store.list(Query(job=job, statuses=status, limit=limit, after=self._place(after)))
        return [self._seen(state) for record in records if (state := _readable(record)) is not None]

    async def alist(
        self,
        job: str | None = None,
        status: Status | Collection[Status] | None = None,
        limit: int = 50,
        after: JobState | str | None = None,
    ) -> States:
        """`list`, without blocking the event loop."""
        return await in_thread(self.list, job, status, limit, after)

    def watch(self, job: str, id: str, timeout: float | None = None) -> Generator[JobState, None, None]:
        """The state now, then each newer one that there is time for, up to and including the final one.

        An id that the store does not know is waited for. If the run dies, its last state comes
        once more, `is_stalled` by then, and the watch goes on, as another worker may take over.

        Args:
            job: The job's name.
            id: Which execution.
            timeout: Seconds after which to stop waiting for the end; by default never.

        Raises:
            TimeoutError: The end did not come within *timeout*.
            StoreUnavailable: The store does not answer at the beginning; later it is waited for.
        """
        return self._hub.states(self._key_of(job, id), f"{job} {id!r}", timeout)

    def awatch(self, job: str, id: str, timeout: float | None = None) -> AsyncGenerator[JobState, None]:
        """`watch`, without blocking the event loop."""
        return self._hub.astates(self._key_of(job, id), f"{job} {id!r}", timeout)

    def wait(self, job: str, id: str, timeout: float | None = None) -> JobState:
        """Block until the execution has ended, and return its final state; see `watch`."""
        [final] = deque(self.watch(job, id, timeout), maxlen=1)
        return final

    async def await_(self, job: str, id: str, timeout: float | None = None) -> JobState:
        """`wait`, without blocking the event loop; the name is what the keyword leaves of the pattern."""
        latest: deque[JobState] = deque(maxlen=1)
        async for state in self.awatch(job, id, timeout):
            latest.append(state)
        return latest[0]

    def average_duration(self, job: str) -> timedelta | None:
        """How long the job takes on average; `None` if nothing is remembered. One round trip.

        The mean over the latest 100 completed executions that the store still holds (`ttl`).
        """
        durations = [state.duration for state in self.list(job, JobStatus.COMPLETED, AVERAGED)]
        return sum(durations, timedelta()) / len(durations) if durations else None

    async def aaverage_duration(self, job: str) -> timedelta | None:
        """`average_duration`, without blocking the event loop."""
        return await in_thread(self.average_duration, job)

    def prune(self, job: str | None = None, older_than: float = 0.0) -> int:
        """Forget finished states before their time, and free the space of those that have expired.

        States that run, or that were begun anew meanwhile, are left alone, and so are cancelled ones whose queue
        task is still to come, as it must be refused then. A round trip for each 1,000 states.

        Args:
            job: Only of this job.
            older_than: Only those that ended so many seconds ago.

        Returns:
            How many were forgotten.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        until, pruned, after = clock.now() - timedelta(seconds=older_than), 0, None
        finished = [status for status in JobStatus if status.is_finished]
        while states := self.list(job, finished, PRUNED_AT_ONCE, after):
            changes = [
                structs.replace(change_to(state, self._key_of(state.job, state.id), state.version), lifetime=0.0)
                for state in states
                if state.finished_at is not None and state.finished_at <= until and not state.owes_start
            ]
            pruned += self.store.swap(changes).count(None)
            after = states[-1]
        self.store.sweep()
        return pruned

    async def aprune(self, job: str | None = None, older_than: float = 0.0) -> int:
        """`prune`, without blocking the event loop."""
        return await in_thread(self.prune, job, older_than)

    def close(self) -> None:
        """End the background thread and let go of the store's connections."""
        self.reporter.close()
        self.store.close()

    # For jobs and integrations.

    def apply(self, blank: JobState, event: Event, *, likely_new: bool, guess: JobState | None = None) -> JobState:
        """Let *event* happen to the state of *blank*'s job and id; *blank* stands for it where it is missing.

        One round trip if the state is missing and *likely_new* says so, or is as *guess* says; else two.

        Raises:
            Refused: The transition table does not allow it.
            StoreUnavailable: The store does not answer, or others keep changing the state.
        """
        key = self._key_of(blank.job, blank.id)
        record = None if likely_new or guess else self.store.load([key])[0]
        state = guess or state_in(record) or blank
        for _ in range(ROUNDS):
            changed = transition(state, event, clock.now())
            if changed is state:
                return state.bound_to(self)
            change = change_to(changed, key, guess.version if guess else record.version if record else 0)
            [conflict] = self.store.swap([change])
            # What stands there may be this very change, if the client asked twice as the first answer was lost.
            if conflict is None or conflict.current == Record(change.version, change.value):
                return changed.bound_to(self)
            if guess is not None and conflict.current is None:
                self._warn_of_twin(blank)
            guess, record = None, conflict.current
            state = state_in(record) or blank
        raise StoreUnavailable(f"{blank.job} {blank.id!r} changed {ROUNDS} times while it was being changed here")

    def lock(self, blank: JobState) -> JobState | None:
        """The pending state that *blank* became, or `None` if the id is locked already."""
        # A token, so that no two lock with the same words, in the same microsecond.
        blank = structs.replace(blank, token=new_token())
        try:
            return self.apply(blank, Lock(blank), likely_new=True)
        except Refused:
            return None

    def begin(self, blank: JobState, task: QueueTask = NO_TASK, *, needs_store: bool = False) -> Run | JobState:
        """Start a run, which may be *task*; or the state that says why not: it was cancelled, or is done, before.

        It has no heartbeats until it is entered, by `current.running`, or added to `reporter`.

        If the store is away the run begins all the same, unless it *needs* it, and the store learns of it later. If
        that is known already, nobody waits for the store.

        Raises:
            JobAlreadyProcessing: Another run of the id is alive.
            StoreUnavailable: The run needs a store that does not answer.
        """
        start = Start(blank, new_token(), task.delivery.has_begun, task.asked)
        guess = None if task.enqueued is None else waiting_since(blank, task.enqueued)
        missed: Start | None = None
        asked_at = monotonic()
        try:
            if not needs_store and (self._outage.stops_writing or self._outage.is_silent):
                state, missed = transition(blank, start, clock.now()), start
            else:
                with self._outage.asking(asked_at):
                    state = self.apply(blank, start, likely_new=True, guess=guess)
        except Refused as refusal:
            state = refusal.state
            raise JobAlreadyProcessing(
                f"{state.job} {state.id!r} is being processed by another run, whose last heartbeat was "
                f"{state.silence_at(clock.now()):.1f} s ago; it can be taken over after "
                f"{state.settings.stalled_after:g} s without one",
                state.bound_to(self),
            ) from None
        except StoreUnavailable as error:
            if needs_store:
                raise
            self._outage.begins(WRITING, error, asked_at)
            state, missed = transition(blank, start, clock.now()), start
        if state.token != start.token:
            return state
        task.delivery.has_begun = True
        return self.run_type(
            state,
            key=self._key_of(state.job, state.id),
            limit=self.max_result_bytes,
            start=missed,
            publisher=self.reporter,
            source=self,
        )

    def watching(self, job: str, id: str, notify: Callable[[], object]) -> AbstractContextManager[Watcher]:
        """Inside a `with`: what holds the newest snapshot, and calls *notify*, from any thread, when there is one."""
        return self._hub.watching(self._key_of(job, id), notify)

    def _warn_of_twin(self, blank: JobState) -> None:
        if blank.job not in self._warned:
            self._warned.add(blank.job)
            logger.warning(
                "%s %r: its message says that it is pending, and here it is not: the sender calls the job by "
                "another name, or has another store, or the store has forgotten it; job-progress doctor may tell which",
                blank.job,
                blank.id,
            )

    def _key_of(self, job: str, id: str) -> str:
        key = self._key(check_name(job, "job name"), check_id(id))
        if not isinstance(key, str) or not key:
            raise TypeError(f"key= must make a non-empty string from a job and an id, not {key!r}")
        return key

    def _load(self, keys: Sequence[str]) -> Found:
        states = (state_in(record) for record in self.store.load(keys))
        return [None if state is None else self._seen(state) for state in states]

    def _listed(self, keys: Sequence[str]) -> Found:
        states = (_readable(record) for record in self.store.load(keys))
        return [None if state is None else self._seen(state) for state in states]

    def _seen(self, state: JobState) -> JobState:
        """*state* as the outside may see it: one that died while it was being cancelled is cancelled."""
        if state.is_cancelling and state.is_stalled:
            return self.apply(state, FindDead(), likely_new=False)
        return state.bound_to(self)

    def _place(self, after: JobState | str | None) -> tuple[int, str] | None:
        if after is None:
            return None
        if isinstance(after, JobState):
            return microseconds(after.created_at), self._key_of(after.job, after.id)
        from urllib.parse import unquote  # not needed by those who only report

        created, job, id = (*after.split(":", 2), "", "")[:3]
        if not re.fullmatch("[0-9]{1,18}", created) or not job:
            raise ValueError(f"after= takes a JobState, or the cursor of one, not {after!r}")
        return int(created), self._key_of(unquote(job), id)


def _readable(record: Record | None) -> JobState | None:
    """The state that *record* holds, if this version can read it; else one log line in this process's life."""
    try:
        return state_in(record)
    except NewerFormat as error:
        warn_once("newer format", "left out of lists, as all like it: %s", error)
        return None


def waiting_since(blank: JobState, version: int) -> JobState:
    """What enqueuing made of *blank* if the outcome has this version, in which the time is."""
    made = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=version)
    return structs.replace(blank, version=version, created_at=made, updated_at=made)


def new_token() -> str:
    """What tells one run or lock from all others."""
    return os.urandom(8).hex()


def check_positive(value: float, name: str) -> None:
    """Raise `ValueError` unless *value*, called *name*, is a finite number above 0."""
    if not 0 < value < inf:
        raise ValueError(f"{name} must be more than 0, and finite, not {value!r}")


def _why_not(state: JobState) -> str:
    if state.version == 0:
        return "the store knows no such execution"
    if not state.is_processing:
        return f"it is {describe(state)}"
    if state.settings.cancellable is False:
        return "it is processing, and its job is not declared cancellable"
    return f"its progress has passed {state.settings.cancellable:g}, its point of no return"
