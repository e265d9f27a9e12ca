"""How watching goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from job_progress import Job, JobState, StoreUnavailable, Tracker
from job_progress.cli.watching import REMEMBERED, Running, follow
from job_progress.tracker import States


def test_a_store_that_goes_away_is_waited_for(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    """Once it has answered, watching outlasts its absence, and says so once."""
    job = Job("shop.import", tracker=tracker)
    job.lock("1")

    def looks() -> Iterator[States]:
        yield tracker.list()
        yield []
        yield []
        with job.start("1"):
            pass
        yield tracker.list()

    answers = looks()

    def look() -> States:
        states = next(answers)
        if not states:
            raise StoreUnavailable("the store is away")
        return states

    shown: list[Sequence[JobState]] = []
    [final] = follow(look, shown.append, to_the_end=True)
    assert final.is_completed
    assert [state.status for states in shown for state in states] == ["pending"] * 3 + ["completed"]
    assert capsys.readouterr().err == "the store is away; watching goes on when it is back\n"


def test_a_store_that_never_answered_is_an_error() -> None:
    """So that a wrong URL is noticed at once."""

    def look() -> States:
        raise StoreUnavailable("no such host")

    with pytest.raises(StoreUnavailable, match="no such host"):
        follow(look, lambda states: None, to_the_end=True)


def test_what_has_ended_is_remembered_but_not_for_ever(tracker: Tracker) -> None:
    """A watch that is left open for days does not grow."""
    job, running = Job("shop.import", tracker=tracker), Running(tracker)
    for id in range(REMEMBERED + 5):
        with job.start(id):
            running.look()
    job.lock("waits")
    states = running.look()
    assert len(states) == REMEMBERED + 1
    assert [states[0].id, states[-1].id] == ["5", "waits"]
