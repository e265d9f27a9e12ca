"""What other processes do that have a newer version of the library than the test has."""

from __future__ import annotations

import json
from typing import Any

from msgspec import structs

from job_progress import Job, Tracker
from job_progress.encoding import change_to
from job_progress.state import JobStatus
from tests.processes.bodies import hear, say


def newer_process(url: str) -> None:
    """Lock the id `kept` with a field and a setting, `paused` with a status, and `strict` with a format that are new.

    Then say of each state that the test names what is new in it.
    """
    tracker = Tracker(url)
    job = Job("job", cancellable=True, tracker=tracker)
    news: dict[str, dict[str, Any]] = {
        "kept": {"labels": {"shop": "Öl"}},
        "paused": {"status": JobStatus("paused")},
        "strict": {"format": 2},
    }
    for id, fields in news.items():
        locked = job.lock(id)
        assert locked
        settings = structs.replace(locked.settings, failed_ttl=5.0)
        state = structs.replace(locked, version=locked.version + 1, settings=settings, **fields)
        assert tracker.store.swap([change_to(state, f"job:{id}", locked.version)]) == [None]
    say("locked")
    while id := hear():
        found = job.get(id)
        assert found
        labels, settings = getattr(found, "labels"), found.settings  # noqa: B009 - the test's version has none
        say(json.dumps([found.status, found.progress, labels, getattr(settings, "failed_ttl"), settings.ttl]))  # noqa: B009
