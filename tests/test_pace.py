"""The estimate behind `eta` and `rate`, on made-up timelines."""

from collections.abc import Iterable

import pytest

from job_progress.pace import Pace


def estimate(timeline: Iterable[tuple[float, float]]) -> float | None:
    pace = Pace()
    for time, amount in timeline:
        pace.observe(time, amount)
    return pace.per_second()


def steady(start: float, stop: float, amount: float, speed: float, step: float = 0.1) -> list[tuple[float, float]]:
    return [(start + k * step, amount + k * step * speed) for k in range(round((stop - start) / step) + 1)]


def test_steady_work() -> None:
    """Two per second are two per second."""
    assert estimate(steady(0, 60, 0, 2)) == pytest.approx(2)


@pytest.mark.parametrize("timeline", [[], [(0.0, 0.5)], [(0.0, 0.5), (5.0, 0.5)], [(0.0, 0.5), (0.0, 0.7)]])
def test_unknown_until_something_can_be_compared(timeline: list[tuple[float, float]]) -> None:
    """No report, one report, no difference or no time between them say nothing."""
    assert estimate(timeline) is None


def test_unknown_amounts_are_passed_over() -> None:
    """An indeterminate stretch neither counts nor disturbs."""
    pace = Pace()
    pace.observe(0, None)
    assert pace.per_second() is None


def test_two_reports_are_enough() -> None:
    """A job of few large steps has an estimate after the second."""
    assert estimate([(0, 0.25), (60, 0.5)]) == pytest.approx(0.25 / 60)


def test_right_after_a_pause() -> None:
    """Ten minutes without work leave no trace, at once and later."""
    before, after = steady(0, 30, 0, 2), steady(630, 632, 60.2, 2)
    assert estimate(before + after[:1]) == pytest.approx(2, rel=0.05)
    assert estimate(before + after) == pytest.approx(2, rel=0.05)


def test_right_after_a_jump() -> None:
    """Work that was skipped or resumed is not taken for speed, whenever it comes."""
    assert estimate(steady(0, 30, 0, 2) + steady(30.1, 32, 1060, 2)) == pytest.approx(2, rel=0.05)
    assert estimate([(0.0, 0.0), (0.001, 500.0), *steady(0.5, 3, 501, 2)]) == pytest.approx(2, rel=0.05)


def test_items_of_different_size() -> None:
    """A slow item in four counts with the time it takes: amount over time, not the mean of speeds."""
    time, timeline = 0.0, [(0.0, 0.0)]
    for item in range(1, 101):
        time += 3.0 if item % 2 else 1.0
        timeline.append((time, float(item)))
    assert estimate(timeline) == pytest.approx(0.5, rel=0.15)


def test_a_lasting_change_is_followed() -> None:
    """When work gets slower for good, the estimate does, after about a third of the time."""
    assert estimate(steady(0, 60, 0, 10) + steady(60.1, 100, 601, 1)) == pytest.approx(1, rel=0.05)


def test_starting_over_begins_anew() -> None:
    """Progress that falls is no negative speed."""
    assert estimate([*steady(0, 10, 0, 5), (10.1, 1.0)]) is None
    assert estimate(steady(0, 10, 0, 5) + steady(10.1, 15, 1, 3)) == pytest.approx(3)


def test_never_negative_or_infinite() -> None:
    """Whatever comes in, what comes out is a usable number or nothing."""
    for timeline in ([(0, 5), (1, 3)], [(0, 0), (0, 9)], [(1, 0), (1, 1), (1, 2)], [(5, 0), (4, 1)]):
        value = estimate(timeline)
        assert value is None or 0 < value < float("inf")


def test_memory_is_bounded() -> None:
    """A million reports keep a handful of samples."""
    pace = Pace()
    for time in range(100_000):
        pace.observe(float(time), float(time))
    assert len(pace._samples) <= 21
