"""What is known of one execution of a job: an immutable snapshot, and the numbers derived from it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from math import isfinite
from typing import Any, Protocol

from msgspec import UNSET, Struct, UnsetType, field, structs, to_builtins

from job_progress import clock


class JobStatus(StrEnum):
    """Where an execution stands. A missing state has no status."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_pending(self) -> bool:
        """Is it waiting for a worker?"""
        return self is JobStatus.PENDING

    @property
    def is_processing(self) -> bool:
        """Has a worker taken it up?"""
        return self is JobStatus.PROCESSING

    @property
    def is_running(self) -> bool:
        """Is it pending or processing, so that an end is still to come?"""
        return not self.is_finished

    @property
    def is_finished(self) -> bool:
        """Has it ended, in whichever way?"""
        return self.is_completed or self.is_failed or self.is_cancelled

    @property
    def is_completed(self) -> bool:
        """Did it end well?"""
        return self is JobStatus.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Did it end with an error?"""
        return self is JobStatus.FAILED

    @property
    def is_cancelled(self) -> bool:
        """Was it cancelled?"""
        return self is JobStatus.CANCELLED

    @property
    def is_locked(self) -> bool:
        """Does it keep others from locking the id, unless the run has stalled?"""
        return self.is_running


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a job decided about its states; kept in each state, so that any process can act on it.

    All of it is written, so that it means the same to a version with other defaults. The defaults here are what a
    record means that does not say: they are part of the format, and never change.

    Attributes:
        cancellable: `False`: only while pending; `True`: until it ends; a number from 0 to 1:
            while the progress has never reached it.
        ttl: Seconds the store remembers a finished state.
        pending_ttl: Seconds it remembers a state that no worker touches, from when its queue task is due.
        stalled_after: Seconds without a sign of life after which a run counts as dead.
        stuck_after: Seconds without progress after which a run that is alive counts as stuck; `None`: never.
    """

    cancellable: bool | float = False
    ttl: float = 900.0
    pending_ttl: float = 86400.0
    stalled_after: float = 30.0
    stuck_after: float | None = None
    unknown: dict[str, bytes] | UnsetType = field(default=UNSET, name="?")
    """What a newer version wrote besides, as JSON."""


FORMAT = 1
"""The newest format that this version can read. Older versions keep the fields that they do not know, so a new field
needs no new format. Raise it when they would still do something wrong with the state."""
USUAL = Settings()


class Source(Protocol):
    """Where a snapshot came from, so that it can be read again."""

    def get(self, job: str, id: str) -> JobState | None:
        """Read a state."""
        ...

    async def aget(self, job: str, id: str) -> JobState | None:
        """`get`, without blocking the event loop."""
        ...

    def cancel(self, job: str, id: str) -> JobState:
        """Ask to cancel an execution."""
        ...

    async def acancel(self, job: str, id: str) -> JobState:
        """`cancel`, without blocking the event loop."""
        ...


class JobState(Struct, frozen=True, omit_defaults=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """An immutable snapshot of one execution of a job.

    The first block of fields is public. What follows it is how other processes decide about
    this state without importing the job's code; `to_dict` leaves it out.

    Attributes:
        job: The job's name.
        id: Which execution of the job.
        status: Where it stands.
        progress: 0..1, or `None` while nobody knows how much there is to do.
        completed: Items done, if the job counts.
        total: Items in all, if the job knows.
        message: What the job says it is doing.
        result: What the job returned or handed out on the way, as plain JSON values.
        result_omitted: Why the latest result was not kept, in English; `None` if it was, or if there was none.
        error: Why it failed, or why the last attempt did.
        meta: Small JSON metadata.
        owner: Whom it belongs to, as given to `lock` or said by `@tracked(owner=…)`.
        attempt: How many runs have begun, this one included.
        created_at: When it was locked, enqueued or, without either, started.
        started_at: When the latest run began.
        updated_at: When anything a person can see last changed.
        last_progress_at: When what the latest run reports last changed; its start counts.
        finished_at: When it ended.
        cancel_requested_at: When somebody asked to cancel it.
        version: Grows with every change and is never used twice for one id: larger is newer.
            0 means that the store has no such state.
    """

    job: str
    id: str
    status: JobStatus = JobStatus.PENDING
    progress: float | None = 0.0
    completed: int | None = None
    total: int | None = None
    message: str | None = None
    result: Any = None
    result_omitted: str | None = None
    error: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    owner: str | None = None
    attempt: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    last_progress_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    version: int = 0

    settings: Settings = field(default_factory=lambda: USUAL)  # so that it is never left out
    given_meta: dict[str, Any] = field(default_factory=dict)
    """What `lock` was given: with this, and not with what an attempt noted, the next attempt begins."""
    token: str | None = None
    """Of the run that may move this state, or of the lock that nobody has started yet; never shown."""
    task: str | None = None
    """The queue's own id of the task that the latest run was, or is to be; empty if that is `id` itself."""
    error_for_viewers: str | None = None
    """What those see of `error` who may see this state, but not all; records of 0.1 have an error without it."""
    heartbeat_at: datetime | None = None
    """The run's last sign of life, by its own clock."""
    silence: float | None = None
    """Seconds for which the run had been silent when somebody else wrote this."""
    point_of_no_return: bool = False
    """Latched once the progress has reached the cancel threshold."""
    other_tasks: tuple[str, ...] = ()
    """Further tasks of the queue that were enqueued for this id while it was pending."""
    refused: tuple[str, ...] = ()
    """Tasks of the queue that were cancelled: each start of one is refused, however often it is delivered."""
    renewed: bool = False
    """The store still knew an earlier life of the id when this one began."""
    owes_start: bool = False
    """Cancelled before it started, and that start is still to come."""
    due: datetime | None = None
    """When the queue will run it, if it is not to run at once."""
    speed: float | None = None
    """Progress per second, by the run's own estimate (`job_progress.pace`)."""
    rate: float | None = None
    """Items per second, by the same estimate; `None` while nothing is counted."""
    format: int = 1
    """The format of the record; a version that does not know it must not change the state."""
    unknown: dict[str, bytes] = field(default_factory=dict, name="?")
    """What a newer version wrote besides, as JSON; kept as long as this life lasts."""

    def __repr__(self) -> str:
        return (
            f"JobState(job={self.job!r}, id={self.id!r}, status={str(self.status)!r}, progress={self.progress}, "
            f"attempt={self.attempt}, version={self.version})"
        )

    @property
    def is_pending(self) -> bool:
        """Is it waiting for a worker?"""
        return self.status.is_pending

    @property
    def is_processing(self) -> bool:
        """Has a worker taken it up?"""
        return self.status.is_processing

    @property
    def is_running(self) -> bool:
        """Is it pending or processing?"""
        return self.status.is_running

    @property
    def is_finished(self) -> bool:
        """Has it ended, in whichever way?"""
        return self.status.is_finished

    @property
    def is_completed(self) -> bool:
        """Did it end well?"""
        return self.status.is_completed

    @property
    def is_failed(self) -> bool:
        """Did it end with an error?"""
        return self.status.is_failed

    @property
    def is_cancelled(self) -> bool:
        """Was it cancelled?"""
        return self.status.is_cancelled

    @property
    def is_locked(self) -> bool:
        """Would `lock` refuse this id now?"""
        return self.version > 0 and self.status.is_locked and not self.is_stalled

    @property
    def is_stalled(self) -> bool:
        """Has the run given no sign of life for `stalled_after` seconds? Asked of now, not of then."""
        return self.is_stalled_at(clock.now())

    def is_stalled_at(self, now: datetime) -> bool:
        """Is the run dead, as seen at *now*?"""
        return self.is_processing and self.silence_at(now) > self.settings.stalled_after

    def silence_at(self, now: datetime) -> float:
        """Seconds without a sign of life, as seen at *now*."""
        since = vars(self).get("silent_since", self.heartbeat_at) or now
        return max((now - since).total_seconds(), 0.0)

    def silent_for(self, seconds: float) -> JobState:
        """This snapshot, freshly read, with what the store says of the run's silence."""
        vars(self)["silent_since"] = clock.now() - timedelta(seconds=min(seconds, _AGES))
        return self

    @property
    def is_stuck(self) -> bool:
        """Is the run alive, but has nothing that it reports changed for more than `stuck_after` seconds?

        Never without that option, and never together with `is_stalled`. It frees no lock.
        """
        after, now = self.settings.stuck_after, clock.now()
        if after is None or not self.is_processing or self.is_stalled_at(now):
            return False
        if self.heartbeat_at is None or self.last_progress_at is None:
            return False
        # Both are by the run's own clock, and the silence since is by the store's: no viewer's clock matters.
        return (self.heartbeat_at - self.last_progress_at).total_seconds() + self.silence_at(now) > after

    @property
    def is_cancelling(self) -> bool:
        """Was it asked to stop, without having stopped yet?"""
        return self.is_processing and self.cancel_requested_at is not None

    @property
    def can_be_cancelled(self) -> bool:
        """Would `cancel` be accepted now?"""
        return self.can_be_cancelled_at(clock.now())

    def can_be_cancelled_at(self, now: datetime) -> bool:
        """Would `cancel` be accepted at *now*?"""
        if self.version == 0 or self.is_finished:
            return False
        if self.is_pending or self.is_cancelling or self.is_stalled_at(now):
            return True
        return self.settings.cancellable is not False and not self.point_of_no_return

    @property
    def percent(self) -> int | None:
        """Whole percents, rounded down, so that 100 means done; `None` if indeterminate."""
        # 0.29 * 100 is 28.999…: the sliver keeps such products from losing a percent.
        return None if self.progress is None else int(self.progress * 100 + 1e-9)

    @property
    def duration(self) -> timedelta:
        """How long the latest run took or has taken until now; zero before it started, never negative."""
        if self.started_at is None:
            return timedelta()
        until = self.updated_at if self.is_pending else self.finished_at
        return max((until or clock.now()) - self.started_at, timedelta())

    @property
    def eta(self) -> timedelta | None:
        """Time left, by the run's own estimate of its speed (`job_progress.pace` says how).

        It counts down between reports and stops at zero. `None` while nobody knows: not
        processing, stalled, indeterminate, or too few reports yet.
        """
        if not self.is_processing or self.is_stalled or self.progress is None or not self.speed:
            return None
        now = clock.now()
        since = (now - (self.updated_at or now)).total_seconds()
        left = (1.0 - self.progress) / self.speed - max(since, 0.0)
        return timedelta(seconds=max(left, 0.0)) if isfinite(left) and left < 1e9 else None

    @property
    def lifetime(self) -> float:
        """Seconds for which the store keeps this record unless it is written again.

        A processing state is written with every heartbeat, so a live one never goes away; one whose worker died
        is kept as long as one that waits. What waits is kept until `pending_ttl` after it is due, and so is what
        was cancelled as long as the queue may deliver it (again), for that must be refused.
        """
        settings = self.settings
        if self.is_finished and not (self.is_cancelled and (self.owes_start or self.task is not None)):
            return settings.ttl
        waits = (self.due - self.updated_at).total_seconds() if self.due and self.updated_at else 0.0
        lifetime = max(settings.pending_ttl, 2 * settings.stalled_after) + max(waits, 0.0)
        return max(lifetime, settings.ttl) if self.is_finished else lifetime

    @property
    def cursor(self) -> str:
        """The place of this state in a listing, for `list(after=…)`."""
        from urllib.parse import quote  # not needed by those who only report

        return f"{microseconds(self.created_at)}:{quote(self.job, safe='')}:{self.id}"

    def bound_to(self, source: Source) -> JobState:
        """A copy of this snapshot that `refresh` and `cancel` can ask *source* about."""
        copy = structs.replace(self)
        vars(copy).update(vars(self), source=source)
        return copy

    def _source(self) -> Source:
        source: Source | None = vars(self).get("source")
        if source is None:
            raise RuntimeError("this JobState was not read through a Tracker or Job, so there is nowhere to ask")
        return source

    def refresh(self) -> JobState:
        """Read the state again: one round trip. The same snapshot if the store has forgotten it.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        return self._source().get(self.job, self.id) or self

    async def arefresh(self) -> JobState:
        """`refresh`, without blocking the event loop."""
        return await self._source().aget(self.job, self.id) or self

    def cancel(self) -> JobState:
        """Ask to cancel this execution; see `Job.cancel`. Returns the new snapshot."""
        return self._source().cancel(self.job, self.id)

    async def acancel(self) -> JobState:
        """`cancel`, without blocking the event loop."""
        return await self._source().acancel(self.job, self.id)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the stable format that the web and the command line show.

        Every public field (times as ISO 8601 in UTC), and derived: `percent` (whole),
        `duration` and `eta` (seconds), `rate` (items per second), `is_stalled`, `is_stuck`,
        `is_cancelling`, `can_be_cancelled`. New keys may come; none goes or changes.
        """
        eta = self.eta
        plain: dict[str, Any] = {name: getattr(self, name) for name in _PUBLIC}
        plain |= {
            "percent": self.percent,
            "duration": self.duration.total_seconds(),
            "eta": None if eta is None else eta.total_seconds(),
            "rate": self.rate,
            "is_stalled": self.is_stalled,
            "is_stuck": self.is_stuck,
            "is_cancelling": self.is_cancelling,
            "can_be_cancelled": self.can_be_cancelled,
        }
        builtins: dict[str, Any] = to_builtins(plain)
        return builtins


_AGES = 1e9  # seconds that no run lasts
_PUBLIC = JobState.__struct_fields__[: JobState.__struct_fields__.index("version") + 1]


def microseconds(moment: datetime | None) -> int:
    """Whole microseconds since 1970, 0 for `None`."""
    return 0 if moment is None else int(moment.timestamp() * 1_000_000)
