"""Two versions of the library at work on the same states, as in a deploy that goes from server to server."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import job_progress
from job_progress import Job, JobState, StoreUnavailable, Tracker, once
from job_progress.encoding import change_to, state_in
from job_progress.queues.lifecycle import enqueued
from job_progress.stores import Record
from job_progress.task import QueueTask, queue_task
from tests.processes.child import ROOT, Child, Launch
from tests.processes.versions import newer_process

REFUSED = ["paused", "strict"]
"""Ids of states that only the newer version understands."""


@pytest.fixture
def tracker(sqlite_url: str) -> Iterator[Tracker]:
    """This version's."""
    tracker = Tracker(sqlite_url)
    yield tracker
    tracker.close()


@pytest.fixture
def job(tracker: Tracker) -> Job:
    """A job of this version."""
    return Job("job", cancellable=True, tracker=tracker)


@pytest.fixture
def newer(launch: Launch, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Child:
    """A process with a newer version: it has more fields, settings and statuses, and another default."""
    source = tmp_path / "newer" / "job_progress"
    shutil.copytree(Path(job_progress.__file__).parent, source)
    change = {
        "state.py": {
            '    CANCELLED = "cancelled"\n': '    CANCELLED = "cancelled"\n    PAUSED = "paused"\n',
            "    ttl: float = 900.0\n": "    ttl: float = 1800.0\n    failed_ttl: float = 86400.0\n",
            "    version: int = 0\n": "    version: int = 0\n    labels: dict[str, str] = {}\n",
            "FORMAT = 1\n": "FORMAT = 2\n",
        },
        "transitions.py": {"CANCELLED = JobStatus": "CANCELLED, _ = JobStatus"},
        "tracker.py": {"ttl: float = 900.0,\n": "ttl: float = 1800.0,\n"},
    }
    for name, texts in change.items():
        text = (source / name).read_text()
        for old, new in texts.items():
            assert old in text
            text = text.replace(old, new, 1)
        (source / name).write_text(text)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{source.parent}{os.pathsep}{ROOT}")
        child = launch(newer_process, sqlite_url)
    assert child.hear() == "locked"
    return child


def asked(newer: Child, id: str) -> Any:
    """What the newer version reads: status, progress, labels, its new setting, and the one with another default."""
    newer.tell(id)
    return json.loads(newer.hear())


def test_an_older_process_keeps_what_it_does_not_know(newer: Child, job: Job) -> None:
    """Fields that a newer version wrote are there after a cancel, a run's start, its reports and its end, until the
    next life begins; so are settings, until a run brings its own. What either does not say, as it is its default,
    means the same to the other.
    """
    first = job.get("kept")
    assert first
    assert first.is_pending
    assert first.settings.ttl == 1800
    with job.start("kept") as progress:
        progress.update(0.5).flush()
        assert asked(newer, "kept") == ["processing", 0.5, {"shop": "Öl"}, 86400, 900]
        job.cancel("kept")
        assert asked(newer, "kept")[:3] == ["processing", 0.5, {"shop": "Öl"}]
    assert asked(newer, "kept")[:3] == ["completed", 1.0, {"shop": "Öl"}]
    assert job.lock("kept")
    assert asked(newer, "kept") == ["pending", 0.0, {}, 86400, 900]


def test_an_older_process_that_cancels_keeps_settings_it_does_not_know(newer: Child, job: Job) -> None:
    """They are still those of the newer version's job."""
    assert job.cancel("kept").is_cancelled
    assert asked(newer, "kept") == ["cancelled", 0.0, {"shop": "Öl"}, 5, 1800]


@pytest.mark.parametrize("id", REFUSED)
def test_what_only_a_newer_version_understands_is_never_missing(newer: Child, job: Job, id: str) -> None:
    """All that is asked from outside about that id is refused, says why, and changes nothing: nobody gets its lock."""
    [before] = job.tracker.store.load([f"job:{id}"])
    calls: list[Callable[[], object]] = [
        lambda: job.get(id),
        lambda: job.lock(id),
        lambda: job.mark_as_pending(id),
        lambda: job.cancel(id),
        lambda: next(job.watch(id)),
        lambda: job.wait(id, timeout=10),
        lambda: job.tracker.get_many([("job", id)]),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=rf'"job" "{id}" was written by a newer job-progress'):
            call()
    assert job.tracker.store.load([f"job:{id}"]) == [before]


@pytest.mark.parametrize("id", REFUSED)
def test_a_job_does_its_work_all_the_same(newer: Child, job: Job, id: str, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose state it cannot read does its work unseen, says so once, and neither changes the state nor keeps
    other runs from being published; and the store does not count as away.
    """
    [before] = job.tracker.store.load([f"job:{id}"])
    with job.start(id) as progress, job.start("other") as other:
        progress.update(0.5).flush()
        other.update(0.5).flush()
        seen = job.get("other")
        assert seen
        assert seen.progress == 0.5
        assert not progress.cancel_requested
        progress.exit_if_cancelled()
    assert job.tracker.store.load([f"job:{id}"]) == [before]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert said[0].startswith(f"what job '{id}' reports is not seen any more: ")


def test_lists_and_other_watchers_go_on(
    newer: Child, job: Job, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists leave out what they cannot read, with one log line; who watches another state is not disturbed."""
    monkeypatch.setattr(once, "_warned", set())
    for _ in range(2):
        assert [state.id for state in job.list()] == ["kept"]
    assert job.tracker.prune() == 0
    with job.tracker.watching("job", "paused", lambda: None), job.start("other") as progress:
        watched = job.watch("other", timeout=60)
        assert next(watched).is_processing
        progress.update(0.5)
        assert next(watched).progress == 0.5
    assert "written by a newer job-progress" in caplog.text
    assert len(caplog.records) == 1


def test_a_worker_reads_what_its_message_does_not_tell(newer: Child, job: Job, tracker: Tracker) -> None:
    """A message says of a fresh state what it is, so that the worker need not read it; but not of one with fields that
    not all versions may know.
    """

    def function() -> None:
        """Does nothing."""

    shop = job_progress.tracked(name="job", tracker=tracker)(function)
    assert enqueued(shop, "fresh") is not None
    with queue_task(QueueTask(id="kept")):
        assert enqueued(shop, "kept") is None


def test_records_of_the_first_version_are_read() -> None:
    """What one does not say is, in all versions to come, what it was then."""
    value = b'{"job":"j","id":"1","version":3,"token":"t","settings":{"cancellable":true},"gone":[1]}'
    state = state_in(Record(3, value))
    assert state
    assert (state.status, state.progress, state.attempt, state.meta) == ("pending", 0.0, 0, {})
    settings = msgspec.structs.asdict(state.settings)
    assert settings.pop("unknown") is msgspec.UNSET
    assert settings == {
        "cancellable": True,
        "ttl": 900.0,
        "pending_ttl": 86400.0,
        "stalled_after": 30.0,
        "stuck_after": None,
    }
    assert b'"gone":[1]' in change_to(state, "j:1", 2).value
    state = state_in(Record(1, b'{"job":"j","id":"1"}'))
    assert state == JobState(job="j", id="1")


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"gone":1}', b"\xff", b'{"job":"j"}'])
def test_what_is_no_record_counts_as_missing(value: bytes) -> None:
    """Bytes that were damaged; the next write replaces them."""
    assert state_in(Record(1, value)) is None
