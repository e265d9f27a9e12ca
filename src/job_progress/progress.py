"""The handle through which a job reports. Only what says so waits for a store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from math import fsum, isfinite, isnan
from operator import index
from typing import Any, TypeVar
from weakref import ref

from msgspec import UNSET, UnsetType

from job_progress.count import Count
from job_progress.encoding import MESSAGE_LENGTH, explain, line
from job_progress.errors import JobNotCancellable
from job_progress.events import Acknowledge, Complete, Fail
from job_progress.once import warn_once
from job_progress.run import Run
from job_progress.state import JobState
from job_progress.threads import of_run
from job_progress.transitions import describe

T = TypeVar("T")

NOISE = 1e-6
"""By so much sums of fractions may be above 1 without being a mistake."""


class Progress:
    """Reports the progress of a run, or of a part of it.

    `update`, `advance`, `track`, `set` and the checkpoints do no I/O: a background thread
    publishes the newest values, at most once per `flush_interval`. `complete`, `fail`, `cancel`
    and `flush` wait for the store, but no longer than a bounded time, and never raise because
    of it.
    """

    __slots__ = ("_base", "_count", "_is_part", "_iterations", "_ones", "_plain_below", "_run", "_size")

    def __init__(self, run: Run, base: float = 0.0, size: float = 1.0, *, is_part: bool = False) -> None:
        """Jobs get theirs from `current_progress` or `Job.start`, and parts from `part` and `split`."""
        self._run = run
        self._base = base
        self._size = size
        self._is_part = is_part
        self._plain_below = -1.0 if is_part else 1.0  # of the whole, a fraction is the progress as it stands
        self._count = Count(base, size, None)
        self._ones = self._count.ones
        self._iterations: list[tuple[Count, ref[Generator[Any, None, None]]]] = []

    def update(
        self,
        fraction: float | UnsetType | None = UNSET,
        *,
        message: str | None = None,
        result: Any = UNSET,
    ) -> Progress:
        """Say how far the job is. No I/O.

        Args:
            fraction: 0..1, cut to that; it may be less than before. `None`: nobody knows how much
                there is to do. Left out: as it was.
            message: What the job is doing now, cut to 1,000 characters. `None`: as it was.
            result: What can be handed out already, as JSON. Left out: as it was. If it is too large
                (`max_result_bytes`), the state has none, and says why in `result_omitted`.

        Returns:
            Itself, for chaining.

        Raises:
            TypeError: *fraction* is no number, *message* no string, or *result* has no JSON form (nor has
                NaN, infinity, or a dictionary with keys that are the same once they are strings).
            ValueError: *fraction* is NaN.
        """
        run = self._run
        if message is not None or result is not UNSET:
            self._position_of(fraction)  # all is checked before anything is written
            self._describe(message, result)
        try:
            if 0.0 <= fraction < self._plain_below:  # type: ignore[operator] # pyright: ignore[reportOperatorIssue]
                run.position = fraction  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
            else:
                run.position = self._position_of(fraction)
            run.followed = None
        except TypeError:  # what cannot be compared: None, UNSET, or no number
            if fraction is not UNSET:
                run.position = self._position_of(fraction)
                run.followed = None
        if run.alert:
            run.look()
        return self

    def _position_of(self, fraction: float | UnsetType | None) -> float | None:
        if fraction is None or fraction is UNSET:
            return None
        try:
            is_nan = isnan(fraction)
        except (TypeError, ArithmeticError):
            raise TypeError(f"progress is a number from 0 to 1, or None, not {fraction!r:.100}") from None
        if is_nan:
            raise ValueError("progress is a number from 0 to 1, or None, not NaN")
        if fraction > 1.0 + NOISE:
            warn_once("percent", "progress is a number from 0 to 1, so that update(%r) says all is done", fraction)
        return self._base + self._size * min(max(float(fraction), 0.0), 1.0)

    def _describe(self, message: str | None, result: Any) -> None:
        text = None if message is None else line(message, "message", MESSAGE_LENGTH)
        if result is not UNSET:
            self._run.hand_out(result)
        if text is not None:
            self._run.message = text

    def update_with_steps(
        self,
        completed: int,
        total: int,
        *,
        base: float = 0.0,
        max: float | None = None,
        message: str | None = None,
        result: Any = UNSET,
    ) -> Progress:
        """Say how far the job is as *completed* of *total*. No I/O.

        The progress becomes `base + max * completed / total`, in 0..1; of a total of 0 all is
        done; what is completed beyond the total counts as the total.

        Args:
            completed: Items done, at least 0.
            total: Items in all, at least 0.
            base: Where this share of the progress begins, 0..1.
            max: How large the share is; by default, and at most, what is left above *base*.
            message: As for `update`.
            result: As for `update`.

        Raises:
            TypeError, ValueError: A number is out of its range; or as for `update`.
        """
        count = Count(*self._share(base, max), _whole(total, "total"), _whole(completed, "completed"))
        self._describe(message, result)
        self._run.follow(count)
        return self

    def advance(self, n: int = 1) -> Progress:
        """Count *n* more items as done. No I/O, no lock, and safe from several threads.

        With `total` set, the progress follows; without, it is indeterminate.

        Raises:
            TypeError, ValueError: *n* is no whole number, or less than 0.
        """
        if n == 1:
            next(self._ones)
        else:
            self._count.add(_whole(n, "n"))
        if self._run.followed is not self._count:
            self._run.follow(self._count)
        return self

    @property
    def total(self) -> int | None:
        """How many items `advance` will count in all, or inside a `track` that does; `None` while that is unknown."""
        return self._counting().total

    @total.setter
    def total(self, total: int | None) -> None:
        count = self._counting()
        count.total = None if total is None else _whole(total, "total")
        self._run.follow(count)

    def _counting(self) -> Count:
        """What counts now: the innermost iteration that is not over, or else `advance`."""
        while self._iterations:
            count, iteration_of = self._iterations[-1]
            iteration = iteration_of()
            if getattr(iteration, "gi_frame", None) is not None:
                return count
            self._iterations.pop()
        return self._count

    def track(
        self,
        iterable: Iterable[T],
        *,
        total: int | None = None,
        base: float = 0.0,
        max: float | None = None,
        message: str | None = None,
        checkpoint: bool = False,
    ) -> Iterator[T]:
        """Iterate over *iterable* and count each item once its turn is over. No I/O.

        Args:
            iterable: What to go through.
            total: How many items there are; by default its `len()`. Without either the progress
                is indeterminate.
            base: As for `update_with_steps`.
            max: As for `update_with_steps`.
            message: As for `update`.
            checkpoint: Before each item, raise `JobCancelled` if somebody has asked to cancel.

        Raises:
            TypeError, ValueError: At the call, as for `update_with_steps`.
        """
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        share = self._share(base, max)
        count = Count(*share, None if total is None else _whole(total, "total"))
        run = self._run
        self._describe(message, UNSET)
        run.follow(count)
        if checkpoint:
            run.checkpoints = True
            iterable = _checked(run, iterable)
        iteration = _counted(run, count, iter(iterable))
        self._counting()  # forgets those that are over
        self._iterations.append((count, ref(iteration)))
        return iteration

    def part(self, base: float, max: float | None = None) -> Progress:
        """A `Progress` whose 0..1 is the share of this one that begins at *base* and is *max* large.

        Parts nest. Completing a part fills its share, and does not complete the job.

        Raises:
            ValueError: *base* is not in 0..1, or *max* is negative.
        """
        return Progress(self._run, *self._share(base, max), is_part=True)

    def split(self, parts: int | Sequence[float]) -> list[Progress]:
        """Divide this progress into consecutive parts: so many equal ones, or one per weight.

        Raises:
            ValueError: No parts; or a weight is negative or not finite, or all are 0.
        """
        weights = [1.0] * parts if isinstance(parts, int) else [float(weight) for weight in parts]
        whole = fsum(weights)
        if not (isfinite(whole) and whole > 0 and min(weights) >= 0):
            raise ValueError(f"split() takes a number of parts, or weights that are not all 0, not {parts!r}")
        return [self.part(fsum(weights[:position]) / whole, weight / whole) for position, weight in enumerate(weights)]

    def set(self, **meta: Any) -> Progress:
        """Merge small JSON metadata of this attempt into the state. No I/O.

        The next attempt begins with what `lock` was given, and nothing else.

        Raises:
            TypeError: A value has no JSON form.
            ValueError: All metadata together are too large.
        """
        self._run.merge_meta(meta)
        return self.update()

    def complete(self, result: Any = UNSET) -> Progress:
        """End the run well now, without waiting for the function to return; of a part: fill its share.

        Published at once: one round trip. Later reports change nothing; if the function raises
        after all, the run has failed.

        Raises:
            TypeError: *result* has no JSON form; see `update`.
        """
        if self._is_part:
            return self.update(1.0, result=result)
        run = self._run
        if not run.ended:
            self.update(result=result)
            run.end(Complete(run.token, run.reported()))
        return self

    async def acomplete(self, result: Any = UNSET) -> Progress:
        """`complete`, without blocking the event loop."""
        return await of_run(self.complete, result)

    def fail(self, error: BaseException | str) -> Progress:
        """End the run as failed, for *error*, without raising it. Published at once: one round trip.

        A text is shown to everybody who may see the job; an exception as if it had been raised.

        To raise is better where it will do: the queue then knows, too, and may retry.
        """
        run = self._run
        if not run.ended:
            run.end(Fail(run.token, run.reported(), explain(error)))
        return self

    async def afail(self, error: BaseException | str) -> Progress:
        """`fail`, without blocking the event loop."""
        return await of_run(self.fail, error)

    @property
    def cancel_requested(self) -> bool:
        """Has somebody asked to cancel this run, or taken its id away? No I/O.

        True as soon as this process has learnt of it: with its next report, or within a second.
        """
        run = self._run
        if not run.checkpoints:
            run.checkpoints = True
            run.wake()
        return run.cancel_requested

    def exit_if_cancelled(self, cleanup: Callable[[], object] | None = None) -> Progress:
        """A checkpoint: if somebody has asked to cancel, call *cleanup* and leave the job. No I/O.

        Raises:
            JobCancelled: They have. The job need not catch it.
        """
        if self.cancel_requested:
            if cleanup is not None:
                cleanup()
            raise self._run.cancellation()
        return self

    def cancel(self) -> Progress:
        """Cancel the run from inside. Published at once: one round trip. Return, or raise, soon after.

        Raises:
            JobNotCancellable: The job is not cancellable, or is past its threshold.
        """
        run = self._run
        state = run.state
        if run.ended:
            if state.is_cancelled:
                return self
            raise JobNotCancellable(f"{state.job} {state.id!r} is {describe(state)}", state)
        if not (state.can_be_cancelled or run.cancel_requested):
            raise JobNotCancellable(f"{state.job} {state.id!r} cannot be cancelled (any more)", state)
        run.end(Acknowledge(run.token, run.reported()))
        return self

    async def acancel(self) -> Progress:
        """`cancel`, without blocking the event loop."""
        return await of_run(self.cancel)

    def cancel_and_exit(self) -> None:
        """`cancel`, and leave the job.

        Raises:
            JobNotCancellable: As `cancel`.
            JobCancelled: Otherwise. The job need not catch it.
        """
        self.cancel()
        raise self._run.cancellation()

    async def acancel_and_exit(self) -> None:
        """`cancel_and_exit`, without blocking the event loop."""
        await self.acancel()
        raise self._run.cancellation()

    def flush(self) -> Progress:
        """Wait until what was reported is in the store: one round trip; some seconds if the store is away."""
        run = self._run
        if run.publisher is not None and not run.ended:
            run.publisher.settle(run, None)
        return self

    async def aflush(self) -> Progress:
        """`flush`, without blocking the event loop."""
        return await of_run(self.flush)

    @property
    def state(self) -> JobState:
        """The run's own current state, with what is not published yet. No I/O."""
        return self._run.state

    def share(self) -> tuple[Run, float, float]:
        """The run, and which share of its progress this is: where it begins, and how large it is. For integrations."""
        return self._run, self._base, self._size

    def _share(self, base: float, max: float | None) -> tuple[float, float]:
        """This progress's share from *base* on, in terms of the whole."""
        if not 0.0 <= base <= 1.0:
            raise ValueError(f"base must be from 0 to 1, not {base!r}")
        left = 1.0 - base
        if max is not None and not max >= 0.0:
            raise ValueError(f"max must be from 0 to 1 - base, not {max!r}")
        size = left if max is None else min(max, left)
        return self._base + self._size * base, self._size * size


def _counted(run: Run, count: Count, items: Iterator[T]) -> Generator[T, None, None]:
    completed = 0
    for item in items:
        yield item
        completed += 1
        count.completed = completed
        if run.followed is not count:
            run.follow(count)


def _checked(run: Run, items: Iterable[T]) -> Iterator[T]:
    for item in items:
        if run.cancel_requested:
            raise run.cancellation()
        yield item


def _whole(number: int, name: str) -> int:
    try:
        whole = index(number)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {number!r}") from None
    if whole < 0:
        raise ValueError(f"{name} must not be negative: {number!r}")
    if whole >= 2**63:
        raise ValueError(f"{name} must be less than 2 to the 63rd")
    return whole
