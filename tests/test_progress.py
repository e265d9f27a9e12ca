"""The handle through which a job reports."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from job_progress import Job, JobCancelled, JobNotCancellable, Progress, Tracker, current_progress
from job_progress.current import detached

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


@pytest.fixture
def progress() -> Iterator[Progress]:
    """The progress of a real run."""
    with Job("shop.import", cancellable=True).start("7") as progress:
        yield progress


def seen(progress: Progress) -> tuple[float | None, int | None, int | None]:
    state = progress.state
    return state.progress, state.completed, state.total


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (0, 0.0),
        (0.5, 0.5),
        (1, 1.0),
        (-3, 0.0),
        (7.5, 1.0),
        (math.inf, 1.0),
        (-math.inf, 0.0),
        (None, None),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (True, 1.0),
    ],
)
def test_update_clamps_to_0_and_1(progress: Progress, given: Any, shown: float | None) -> None:
    """Numbers outside are cut, None is indeterminate, and every kind of number will do."""
    assert progress.update(given) is progress
    assert progress.state.progress == shown


@pytest.mark.parametrize(("wrong", "error"), [(math.nan, ValueError), ("0.5", TypeError), ([], TypeError)])
def test_update_refuses_what_is_no_number(progress: Progress, wrong: Any, error: type[Exception]) -> None:
    """The error names the value, and what was reported before stays."""
    progress.update(0.3)
    with pytest.raises(error, match="progress is a number from 0 to 1"):
        progress.update(wrong)
    assert progress.state.progress == 0.3


def test_progress_may_go_down(progress: Progress) -> None:
    """A job may find out that there is more to do."""
    assert progress.update(0.8).update(0.2).state.progress == 0.2


def test_update_of_the_message_alone_leaves_the_progress(progress: Progress) -> None:
    """Within an iteration the message changes, and the count goes on."""
    for _ in progress.track(range(4)):
        progress.update(message="at it")
    assert (*seen(progress), progress.state.message) == (1.0, 4, 4, "at it")


def test_a_message_stays_until_there_is_another(progress: Progress) -> None:
    """None leaves it, an empty one takes it away."""
    assert progress.update(0.1, message="reading").update(0.2).state.message == "reading"
    assert progress.update(0.3, message="").state.message == ""


def test_a_message_is_one_that_can_be_stored(progress: Progress) -> None:
    """Long ones are cut, and what UTF-8 cannot carry, as in odd file names, is replaced."""
    assert progress.update(message="x" * 5000).state.message == "x" * 999 + "…"
    assert progress.update(message="caf\udce9.csv").state.message == "caf?.csv"
    with pytest.raises(TypeError, match="message must be a string, not 7"):
        progress.update(message=7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"completed": 1, "total": 4}, 0.25),
        ({"completed": 0, "total": 0}, 1.0),
        ({"completed": 9, "total": 4}, 1.0),
        ({"completed": 1, "total": 2, "base": 0.25, "max": 0.5}, 0.5),
        ({"completed": 2, "total": 2, "base": 0.25, "max": 0.5}, 0.75),
        ({"completed": 0, "total": 0, "base": 0.25, "max": 0.5}, 0.75),
        ({"completed": 2, "total": 2, "base": 0.5, "max": 0.8}, 1.0),
        ({"completed": 1, "total": 2, "base": 0.5}, 0.75),
        ({"completed": 1, "total": 100, "base": 0.0, "max": 1.0}, 0.01),
    ],
)
def test_steps(progress: Progress, arguments: dict[str, Any], shown: float) -> None:
    """Progress is base + max * completed / total, in 0..1, and max is cut to what is left."""
    progress.update_with_steps(**arguments)
    assert progress.state.progress == pytest.approx(shown)
    assert (progress.state.completed, progress.state.total) == (arguments["completed"], arguments["total"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"completed": 10**30, "total": 4}, "completed must be less than 2 to the 63rd"),
        ({"completed": -1, "total": 4}, "completed must not be negative: -1"),
        ({"completed": 1, "total": -4}, "total must not be negative: -4"),
        ({"completed": 1, "total": 4, "base": 1.5}, "base must be from 0 to 1, not 1.5"),
        ({"completed": 1, "total": 4, "base": math.nan}, "base must be from 0 to 1, not nan"),
        ({"completed": 1, "total": 4, "max": -0.1}, "max must be from 0 to 1 - base, not -0.1"),
        ({"completed": 1, "total": 4, "max": math.nan}, "max must be from 0 to 1 - base, not nan"),
    ],
)
def test_wrong_steps_are_an_error_at_the_call(progress: Progress, arguments: dict[str, Any], message: str) -> None:
    """The error says which number is wrong, and nothing is reported."""
    with pytest.raises(ValueError, match=message):
        progress.update_with_steps(**arguments)
    assert seen(progress) == (0.0, None, None)


def test_advance_counts_towards_the_total(progress: Progress) -> None:
    """With a total the progress follows; it may be set, and corrected, on the way."""
    progress.advance(3)
    assert seen(progress) == (None, 3, None)
    progress.total = 12
    assert seen(progress) == (0.25, 3, 12)
    progress.advance().advance(0)
    assert (progress.total, *seen(progress)) == (12, 4 / 12, 4, 12)
    progress.total = None
    assert seen(progress) == (None, 4, None)


@pytest.mark.parametrize(("wrong", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_advance_takes_whole_numbers(progress: Progress, wrong: Any, error: type[Exception]) -> None:
    """Anything else is an error at the call, and the count stays."""
    progress.advance(2)
    with pytest.raises(error, match="n must"):
        progress.advance(wrong)
    assert progress.state.completed == 2


@pytest.mark.parametrize("step", [1, 2])
def test_advance_loses_nothing_between_threads(progress: Progress, step: int) -> None:
    """Eight threads that count at the same time are all counted, by ones or by more."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    progress.total = 80_000 * step
    try:
        threads = [
            threading.Thread(target=lambda: [progress.advance(step) for _ in range(10_000)] and None) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen(progress) == (1.0, 80_000 * step, 80_000 * step)


def test_track_counts_an_item_when_its_turn_is_over(progress: Progress) -> None:
    """While the first is worked on none is done, and at the end all are."""
    counts = [progress.state.completed for _ in progress.track("abc", message="letters")]
    assert counts == [0, 1, 2]
    assert (*seen(progress), progress.state.message) == (1.0, 3, 3, "letters")


def test_track_without_a_length_is_indeterminate(progress: Progress) -> None:
    """A generator is counted, and a total can be given."""
    list(progress.track(iter("abc")))
    assert seen(progress) == (None, 3, None)
    list(progress.track(iter("abc"), total=6))
    assert seen(progress) == (0.5, 3, 6)


def test_track_of_nothing_is_done(progress: Progress) -> None:
    """An empty list fills its share."""
    assert list(progress.track([], base=0.2, max=0.3)) == []
    assert seen(progress) == (0.5, 0, 0)


def test_track_beyond_the_total_stays_full(progress: Progress) -> None:
    """More items than were announced do not break the bar, and are counted."""
    list(progress.track(iter(range(9)), total=4))
    assert seen(progress) == (1.0, 9, 4)


def test_track_checks_its_arguments_at_the_call(progress: Progress) -> None:
    """Not at the first item, where nobody would look for it."""
    with pytest.raises(ValueError, match="base"):
        progress.track([1], base=2)
    with pytest.raises(ValueError, match="total must not be negative"):
        progress.track([1], total=-1)


def test_nested_counts_show_whichever_reported_last(progress: Progress) -> None:
    """After an inner count is over, the outer one shows again."""
    for _ in progress.track(range(2)):
        list(progress.track(range(5)))
        assert progress.state.total == 5
    assert seen(progress) == (1.0, 2, 2)


def test_counts_stay_when_the_progress_is_set_by_hand(progress: Progress) -> None:
    """The last count is still what was counted."""
    list(progress.track(range(5), max=0.5))
    assert seen(progress.update(0.9)) == (0.9, 5, 5)


def test_a_part_maps_into_its_share(progress: Progress) -> None:
    """Its 0..1 is the share, parts nest, and none reaches beyond its own."""
    part = progress.part(0.25, 0.5)
    assert part.update(0.5).state.progress == 0.5
    assert part.part(0.5).update(1.0).state.progress == 0.75
    assert part.update(9).state.progress == 0.75
    part.total = 4
    assert part.advance().state.progress == 0.375
    assert progress.part(0.9, 5).update(1.0).state.progress == 1.0


def test_split_divides_evenly_or_by_weight(progress: Progress) -> None:
    """So many equal parts, or one per weight, whatever the weights sum to."""
    ends = [part.update(1.0).state.progress for part in progress.split(4)]
    assert ends == pytest.approx([0.25, 0.5, 0.75, 1.0])
    ends = [part.update(1.0).state.progress for part in progress.split([6, 0, 2])]
    assert ends == pytest.approx([0.75, 0.75, 1.0])
    starts = [part.update(0.0).state.progress for part in progress.split(4)]
    assert starts == pytest.approx([0.0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize("wrong", [0, -1, [], [0.0, 0.0], [1, -1, 1], [math.nan], [math.inf, 1]])
def test_split_needs_something_to_divide_by(progress: Progress, wrong: Any) -> None:
    """No parts, or weights that make no shares, are an error that shows them."""
    with pytest.raises(ValueError, match=r"split\(\) takes"):
        progress.split(wrong)


def test_completing_parts_does_not_complete_the_job(progress: Progress) -> None:
    """Even the last one only fills its share, and hands its result to the job."""
    for part in progress.split(3):
        part.complete(result={"parts": 3})
    state = progress.flush().state
    assert (state.is_processing, state.result) == (True, {"parts": 3})
    assert state.progress == pytest.approx(1.0)


@dataclass
class Point:
    x: float
    y: float


@dataclass
class Row:
    id: UUID
    price: Decimal


class Model(pydantic.BaseModel):
    at: datetime


class Structure(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, None),
        ({"a": [1, 2.5, "x", True, None]}, {"a": [1, 2.5, "x", True, None]}),
        (Row(UUID(int=7), Decimal("1.50")), {"id": "00000000-0000-0000-0000-000000000007", "price": "1.50"}),
        (Model(at=datetime(2030, 1, 1, tzinfo=UTC)), {"at": "2030-01-01T00:00:00Z"}),
        ([Structure("x")], [{"name": "x"}]),
    ],
)
def test_results_are_plain_json(progress: Progress, given: Any, stored: Any) -> None:
    """Dataclasses, models, times, UUIDs and decimals are encoded."""
    assert progress.update(0.5, result=given).state.result == stored


def test_a_result_is_a_copy(progress: Progress) -> None:
    """What happens to the object afterwards does not change what was reported."""
    rows = [1]
    progress.update(result=rows)
    rows.append(2)
    assert progress.state.result == [1]


def test_results_can_be_cleared(progress: Progress) -> None:
    """An explicit None is a result, too; leaving it out keeps the one before."""
    progress.update(result=[1])
    assert progress.update(0.5).state.result == [1]
    assert progress.update(result=None).state.result is None


RECURSIVE: list[object] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (object(), "result cannot be stored as JSON"),
        ({"deep": {1, object}}, "result cannot be stored as JSON"),
        (RECURSIVE, "result cannot be stored as JSON"),
        ("caf\udce9", "result cannot be stored as JSON"),
        (math.nan, "JSON has no nan"),
        ({"deep": [None, (1, Point(1, -math.inf))]}, "JSON has no -inf"),
        ([{1: "a", "1": "b"}], "two keys of a dictionary are '1' once they are strings"),
        ({"deep": {date(2030, 1, 1): 1, "2030-01-01": 2}}, "two keys of a dictionary are '2030-01-01'"),
    ],
)
def test_wrong_results_are_an_error_at_the_call(progress: Progress, wrong: Any, message: str) -> None:
    """Without a JSON form, or changed by it: a clear error in the job's own frame, and nothing half reported."""
    error = TypeError
    progress.update(result="before")
    with pytest.raises(error, match=message):
        progress.update(result=wrong)
    with pytest.raises(error, match=message):
        progress.update(0.9, message="after", result=wrong)
    with pytest.raises(error, match=message):
        progress.update_with_steps(9, 10, result=wrong)
    with pytest.raises(error, match=message):
        progress.complete(result=wrong)
    with pytest.raises(ValueError, match="NaN"):
        progress.update(math.nan, message="after")
    assert (progress.state.progress, progress.state.message) == (0.0, None)
    assert (progress.state.result, progress.state.status) == ("before", "processing")


def test_a_result_that_is_too_large_is_left_out(progress: Progress, caplog: pytest.LogCaptureFixture) -> None:
    """The rest of the report counts; the state says what is missing until a result is kept, and the log once."""
    progress.update(result="before").update(0.4, message="after", result="x" * 70_000)
    state = progress.update(0.5, result="y" * 70_001).flush().state
    assert (state.progress, state.message, state.result) == (0.5, "after", None)
    assert (state.result_omitted or "").startswith(
        "result is 70,003 bytes as JSON and may be 65,536 (max_result_bytes)"
    )
    assert len(caplog.records) == 1
    state = progress.update(0.6).update(result=[None, 1e300, {"a": 1, "b": {"a": 1}, 2: 2}]).flush().state
    assert (state.result, state.result_omitted) == ([None, 1e300, {"a": 1, "b": {"a": 1}, "2": 2}], None)
    state = progress.complete(result="x" * 70_000).state
    assert (state.status, state.result, state.result_omitted is None) == ("completed", None, False)


def test_metadata_that_json_would_change_are_an_error(progress: Progress) -> None:
    """As with results, in a run and in a lock."""
    with pytest.raises(TypeError, match="JSON has no inf"):
        progress.set(rate=math.inf)
    with pytest.raises(TypeError, match="two keys of a dictionary are '1'"):
        progress.set(counts={1: 2, "1": 3})
    with pytest.raises(TypeError, match="meta cannot be stored as JSON: two keys of a dictionary are '1'"):
        Job("shop.import").lock("8", meta={1: 2, "1": 3})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
    assert progress.state.meta == {}


def test_metadata_are_merged(progress: Progress) -> None:
    """Later values replace earlier ones of the same name; all together are limited."""
    progress.set(file="a.csv", rows=1).set(rows=2)
    assert progress.flush().state.meta == {"file": "a.csv", "rows": 2}
    with pytest.raises(TypeError, match="meta cannot be stored"):
        progress.set(bad=object())
    progress.set(big="x" * 40_000)
    with pytest.raises(ValueError, match=r"meta is 80,0.. bytes"):
        progress.set(big2="x" * 40_000)


def test_complete_ends_the_run_at_once(progress: Progress, job_progress_tracker: Tracker) -> None:
    """The store has it when the call returns, and later reports change nothing."""
    progress.update(0.5).complete(result=[1])
    stored = job_progress_tracker.get("shop.import", "7")
    assert stored is not None
    assert (stored.status, stored.progress, stored.result) == ("completed", 1.0, [1])
    progress.update(0.1, message="late").flush()
    progress.complete(result=[2])
    progress.fail("late")
    assert job_progress_tracker.get("shop.import", "7") == stored


def test_complete_keeps_a_partial_result(progress: Progress) -> None:
    """Completing without a result keeps the one that was handed out on the way."""
    assert progress.update(result=[1]).complete().state.result == [1]


def test_fail_ends_the_run_with_a_message(progress: Progress, job_progress_tracker: Tracker) -> None:
    """By text or by exception."""
    progress.update(0.5, result=[1]).fail("no such file")
    stored = job_progress_tracker.get("shop.import", "7")
    assert stored is not None
    assert (stored.status, stored.error, stored.progress, stored.result) == ("failed", "no such file", 0.5, [1])


def test_errors_are_told_by_type_and_message() -> None:
    """An exception without a message shows its type, and one that cannot be printed is still told."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert detached().fail(ValueError("bad row")).state.error == "ValueError: bad row"
    assert detached().fail(KeyError()).state.error == "KeyError"
    assert detached().fail(Unprintable()).state.error == ("Unprintable: (its message could not be made: RuntimeError)")
    assert len(detached().fail("x" * 10_000).state.error or "") == 4000


def test_cancelling_from_inside(job_progress_tracker: Tracker) -> None:
    """It is cancelled at once; twice is harmless; an end by hand before it stands."""
    job = Job("inside", cancellable=True)
    with job.start("a") as progress:
        progress.update(0.5).cancel()
        assert job.get("a") == progress.state
        assert progress.cancel().state.is_cancelled
    assert job.wait("a").is_cancelled
    with job.start("b") as progress, pytest.raises(JobNotCancellable, match="'b' is completed"):
        progress.complete().cancel()
    with job.start("c") as progress:
        progress.cancel_and_exit()
    assert job.wait("c").is_cancelled


def test_what_is_not_cancellable_is_not_so_from_inside_either() -> None:
    """Neither without the option nor past the threshold, even if the progress has fallen since."""
    with Job("stubborn").start("a") as progress, pytest.raises(JobNotCancellable):
        progress.cancel()
    with Job("threshold", cancellable=0.75).start("a") as progress:
        progress.update(0.8).update(0.1)
        with pytest.raises(JobNotCancellable):
            progress.cancel_and_exit()


@pytest.mark.parametrize("report", ["update", "track", "advance", "steps"])
def test_every_way_to_pass_the_threshold_latches_it(report: str, job_progress_tracker: Tracker) -> None:
    """The point of no return holds however it was reached, and wherever the progress goes afterwards."""
    job = Job("threshold", cancellable=0.5)
    with job.start(report) as progress:
        if report == "update":
            progress.update(0.5)
        elif report == "track":
            for position in progress.track(range(4)):
                if position == 2:
                    break
        elif report == "advance":
            progress.total = 2
            progress.advance()
        else:
            progress.update_with_steps(1, 2)
        progress.update(0.1).flush()
        with pytest.raises(JobNotCancellable, match="point of no return"):
            job.cancel(report)


def test_checkpoints_without_a_request_do_nothing(progress: Progress) -> None:
    """And the cleanup is not called."""
    cleaned: list[int] = []
    assert progress.exit_if_cancelled(lambda: cleaned.append(1)) is progress
    assert (progress.cancel_requested, cleaned) == (False, [])


def test_a_checkpoint_cleans_up_and_leaves(progress: Progress, job_progress_tracker: Tracker) -> None:
    """It raises JobCancelled, which no `except Exception` swallows."""
    cleaned: list[int] = []
    job_progress_tracker.cancel("shop.import", "7")
    progress.flush()
    assert progress.cancel_requested
    with pytest.raises(JobCancelled, match="'7' was cancelled") as cancelled:
        progress.exit_if_cancelled(lambda: cleaned.append(1))
    assert cleaned == [1]
    assert cancelled.value.state is not None
    assert not isinstance(cancelled.value, Exception)


def test_outside_of_a_run_nothing_happens() -> None:
    """A job's function can be called plainly: every call works, and reports nowhere."""
    progress = current_progress()
    progress.update(0.5, message="x", result=1).update_with_steps(1, 2).advance().set(a=1).flush()
    progress.exit_if_cancelled()
    assert list(progress.track("ab", checkpoint=True)) == ["a", "b"]
    assert progress.split(2)[0].update(1.0).state.progress == 0.5
    assert progress.complete(3).state.result == 3
    assert current_progress().state.progress == 0.0
    with pytest.raises(JobCancelled):
        current_progress().cancel_and_exit()


async def test_the_async_twins(job_progress_tracker: Tracker) -> None:
    """Each does what its blocking namesake does."""
    job = Job("async", cancellable=True)
    async with job.astart("a") as progress:
        await progress.update(0.5).aflush()
        assert (await job.aget("a")) == progress.state
        await progress.acomplete(result=1)
    async with job.astart("b") as progress:
        await progress.afail("no")
    async with job.astart("c") as progress:
        await progress.acancel()
    async with job.astart("d") as progress:
        await progress.acancel_and_exit()
    states = {state.id: state.status for state in await job.alist()}
    assert states == {"a": "completed", "b": "failed", "c": "cancelled", "d": "cancelled"}


def test_two_threads_that_count_apart_never_hide_each_other(progress: Progress) -> None:
    """If one is interrupted while its count becomes the one that shows, the other's next item shows again."""
    run = progress._run
    first, second = progress.part(0.0, 0.5), progress.part(0.5)

    class Interrupting(type(run)):  # type: ignore[misc]
        """Lets the second thread count between two steps of the first one."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "followed" and value is first._count and second._count.read()[0] == 0:
                second.advance()

    run.__class__ = Interrupting
    first.advance()
    second.advance()
    assert run.count is second._count
    assert progress.state.completed == 2


def test_a_total_that_is_set_inside_an_iteration_is_its_own(progress: Progress) -> None:
    """Of the innermost one that is not over; before and after, it is what `advance` counts to."""
    progress.total = 100
    for number in progress.track(iter("abcd")):
        assert progress.total == (None if number == "a" else 4)
        progress.total = 4
        assert seen(progress) == (0.25 * "abcd".index(number), "abcd".index(number), 4)
        for _ in progress.track(iter("xy")):
            progress.total = 2
            break
    assert seen(progress) == (1.0, 4, 4)
    assert progress.total == 100
    progress.advance(50)
    assert seen(progress) == (0.5, 50, 100)


def test_a_total_may_be_set_before_the_first_item(progress: Progress) -> None:
    """As by who has made the iterator already; one that was dropped unused counts no more."""
    iterator = progress.track(iter("ab"))
    progress.total = 2
    next(iterator)
    next(iterator)
    assert seen(progress) == (0.5, 1, 2)
    progress.track(iter("dropped"))
    assert progress.total == 2
    assert list(iterator) == []
    assert progress.total is None
