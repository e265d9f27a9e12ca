"""The default tracker and its settings."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from job_progress import Job, JobState, StoreUnavailable, Tracker, configure
from job_progress.default import default_tracker, set_default_tracker
from job_progress.testing import isolated_tracker
from tests.observed_store import ObservedStore

pytestmark = pytest.mark.usefixtures("job_progress_tracker")


def test_configure_makes_the_default_tracker(tmp_path: Path) -> None:
    """Jobs that name none use it, from then on."""
    job = Job("configured")
    tracker = configure(store=f"sqlite:///{tmp_path}/states.db", ttl=60)
    assert job.tracker is tracker is default_tracker()
    job.lock("7")
    assert [state.id for state in Tracker(f"sqlite:///{tmp_path}/states.db").list("configured")] == ["7"]
    assert configure.__name__ == "configure"


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JOB_PROGRESS_STORE, unless the code says otherwise."""
    monkeypatch.setenv("JOB_PROGRESS_STORE", f"sqlite:///{tmp_path}/environment.db")
    set_default_tracker(None)
    assert "environment.db" in default_tracker().store.describe()
    assert default_tracker() is default_tracker()
    assert Tracker("memory://").store.describe() == "this process's memory"


def test_without_any_word_states_live_in_a_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cache directory, so that web process and worker share it with no server."""
    monkeypatch.delenv("JOB_PROGRESS_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "job-progress/states.db" in Tracker().store.describe()
    assert not any(tmp_path.iterdir())  # opened at the first use, not before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": "mongodb://x"}, "unknown store scheme 'mongodb'"),
        ({"store": "redis://localhost:port"}, "is no URL of a Redis or Valkey server"),
        ({"store": "states.db"}, "a store is named by a URL such as sqlite:///progress.db, not 'states.db'"),
        ({"store": "memory://x"}, "memory:// takes nothing after it"),
        ({"store": "memory://", "prefix": ""}, "prefix must be 1 to 200 printable characters"),
        ({"ttl": 0}, "ttl must be more than 0, and finite, not 0"),
        ({"ttl": float("inf")}, "ttl must be more than 0, and finite, not inf"),
        ({"pending_ttl": -1}, "pending_ttl must be more than 0"),
        ({"flush_interval": 0}, "flush_interval must be more than 0"),
        ({"heartbeat": float("nan")}, "heartbeat must be more than 0"),
        ({"max_result_bytes": 0}, "max_result_bytes must be more than 0"),
        ({"stalled_after": 9, "heartbeat": 5}, "stalled_after .* must be at least twice the heartbeat"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """The error says what was given and what to give; the default stays as it was."""
    before = default_tracker()
    with pytest.raises(ValueError, match=message):
        configure(**settings)
    assert default_tracker() is before


def test_ids_may_be_unique_across_jobs() -> None:
    """With key=, two jobs share a lock; prefixes keep trackers apart."""
    tracker = Tracker("memory://", key=lambda _job, id_: id_)
    first, second = Job("first", tracker=tracker), Job("second", tracker=tracker)
    assert first.lock("7") is not None
    assert second.lock("7") is None
    state = second.get("7")
    assert isinstance(state, JobState)
    assert state.job == "first"


@pytest.mark.parametrize("wrong", ["", None, 7])
def test_a_key_function_must_make_keys(wrong: Any) -> None:
    """Anything else is an error at the call."""
    tracker = Tracker("memory://", key=lambda _job, _id: wrong)
    with pytest.raises(TypeError, match="key= must make a non-empty string"):
        tracker.get("job", "7")


def test_isolation_restores_what_was_before() -> None:
    """Inside there is another default tracker, in memory, and outside nothing has happened."""
    outside = default_tracker()
    with isolated_tracker() as inside:
        assert default_tracker() is inside is not outside
        Job("isolated").lock("7")
    assert default_tracker() is outside
    assert Job("isolated").get("7") is None


def test_a_change_that_never_wins_is_given_up() -> None:
    """A run that publishes in between every time: an error after a bounded number of tries."""
    store = ObservedStore()
    job = Job("busy", cancellable=True, tracker=Tracker(store))
    with job.start("7") as progress:

        def come_first() -> None:
            store.before_swap = lambda: None
            flush = threading.Thread(target=progress.flush)  # in this one, it would not wait for its own call
            flush.start()
            flush.join()
            store.before_swap = come_first

        store.before_swap = come_first
        with pytest.raises(StoreUnavailable, match="changed 100 times"):
            job.cancel("7")
        store.before_swap = lambda: None
    job.tracker.close()
