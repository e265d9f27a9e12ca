"""States as events, and how many may watch."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from job_progress import Job, Tracker
from job_progress.default import set_default_tracker
from job_progress.encoding import explain
from job_progress.run import Run
from job_progress.web import site
from job_progress.web.ways import InLoop, InThread
from tests.waiting import eventually
from tests.web.conftest import ADMIN, named
from tests.web.events import streaming
from tests.web.faces import PLACES, Face

pytestmark = pytest.mark.environment("main", "django6")


@pytest.fixture(autouse=True)
def _gone_viewers_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InThread, "keep_alive", 0.1)


@pytest.fixture
def streamer(face: Face, admin: httpx.Client) -> httpx.Client:
    """A client of a face that sends events."""
    if not face.streams:
        pytest.skip("this face long-polls")
    return admin


def test_states_come_until_the_end(streamer: httpx.Client, job: Job) -> None:
    """The state now, then newer ones with rising versions as ids, the final one, and `end`; then it is closed."""
    with job.start("7") as progress, streaming(streamer, f"{named(job.name, '7')}/events") as events:
        first = next(events)
        assert (first.name, first.data["status"], first.data["actions"]) == (
            "state",
            "processing",
            ["view", "cancel"],
        )
        progress.update(0.5, message="half")
        second = next(events)
        assert (second.data["progress"], second.data["message"]) == (0.5, "half")
        progress.complete(result=42)
        *others, last = events
    assert others[-1].data["result"] == 42
    assert (last.name, last.id) == ("end", others[-1].id)
    versions = [int(event.id) for event in (first, second, *others)]
    assert versions == sorted(set(versions))
    assert [event.data["version"] for event in (first, second, *others)] == versions


def test_a_stream_goes_on_where_it_was_cut(streamer: httpx.Client, job: Job) -> None:
    """What was seen is not sent again; what came meanwhile is; after the end there is nothing, and no coming back."""
    path = f"{named(job.name, '7')}/events"
    with job.start("7") as progress:
        with streaming(streamer, path) as events:
            seen = next(events).id
        progress.update(0.5).flush()
        with streaming(streamer, path, **{"Last-Event-ID": seen}) as events:
            seen = next(events).id
        with streaming(streamer, path, **{"Last-Event-ID": seen}) as events:
            progress.update(0.75)
            newer = next(event for event in events if event.data["progress"] == 0.75)
            assert int(newer.id) > int(seen)
    with streaming(streamer, path, **{"Last-Event-ID": seen}) as events:
        assert [event.name for event in events] == ["state", "end"]
    final = job.get("7")
    assert final is not None
    ended = streamer.get(path, headers={"Last-Event-ID": str(final.version)})
    assert (ended.status_code, ended.content) == (204, b"")


def test_whoever_comes_after_the_tracker_was_changed(streamer: httpx.Client, job: Job, tmp_path: Path) -> None:
    """The default tracker is another by now, and somebody still watches the same job and id in the one before."""
    path = f"{named(job.name, '7')}/events"
    job.lock("7")
    with streaming(streamer, path) as before, closing(Tracker(f"sqlite:///{tmp_path}/other.db")) as other:
        assert next(before).data["status"] == "pending"
        set_default_tracker(other)
        with Job(job.name).start("7") as progress, streaming(streamer, path) as events:
            assert next(events).data["status"] == "processing"
            progress.update(0.5)
            assert next(event for event in events if event.data["progress"] == 0.5)


def test_a_run_that_dies_is_shown_stalled(streamer: httpx.Client, sqlite_url: str) -> None:
    """The same version comes once more, as dead."""
    quick = Tracker(sqlite_url, heartbeat=0.2, stalled_after=0.5)
    before = set_default_tracker(quick)
    run = Job("dying").begin("7")
    assert isinstance(run, Run)
    with streaming(streamer, f"{named('dying', '7')}/events") as events:
        assert next(events).data["is_stalled"] is False
        quick.reporter.close()
        stalled = next(event for event in events if event.data["is_stalled"])
        assert stalled.data["can_be_cancelled"] is True
    set_default_tracker(before)
    quick.close()


def test_it_is_kept_alive_by_comments(streamer: httpx.Client, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet stream is not taken for dead by what lies between."""
    monkeypatch.setattr(InLoop, "keep_alive", 0.1)
    job.lock("7")
    with streamer.stream("GET", f"{named(job.name, '7')}/events") as response:
        lines = response.iter_lines()
        assert [line for line, _ in zip(lines, range(40), strict=False) if line.startswith(":")]


def test_a_stream_does_not_outlive_its_rights(
    streamer: httpx.Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some minutes it ends without `end`: whoever comes back is asked for anew."""
    monkeypatch.setattr(site, "LIFE", 0.4)
    monkeypatch.setattr(InLoop, "keep_alive", 0.1)
    job.lock("7")
    with streaming(streamer, f"{named(job.name, '7')}/events") as events:
        assert [event.name for event in events] == ["state"]


def test_another_life_of_the_id_is_not_shown(streamer: httpx.Client, tracker: Tracker) -> None:
    """The id is taken up for somebody else: the stream of the one before ends, and shows nothing of it."""
    job = Job("shop.reused", tracker=tracker)
    run = job.begin("7", "ada")
    assert isinstance(run, Run)
    with streaming(streamer, f"{named(job.name, '7')}/events") as events:
        assert next(events).data["owner"] == "ada"
        progress = threading.Thread(target=relock, args=(job,))
        progress.start()
        rest = list(events)
        progress.join()
    assert all(event.data.get("owner") != "bob" for event in rest)


def relock(job: Job) -> None:
    """End the run, and lock its id for somebody else at once."""
    with job.start("other"):
        pass
    record = job.get("7")
    assert record is not None
    from job_progress.events import Fail, Reported

    assert record.token is not None
    job.tracker.apply(record, Fail(record.token, Reported(), explain("ended")), likely_new=False)
    job.lock("7", owner="bob")


def test_there_are_places_for_so_many(face: Face, admin: httpx.Client, job: Job) -> None:
    """One more gets 503 and when to ask again; a place is free again when a watcher has gone."""
    job.lock("7")
    path = named(job.name, "7")
    state = job.get("7")
    assert state is not None
    waiting = f"{path}?wait=30&after_version={state.version}"
    with ExitStack() as streams, httpx.Client(base_url=admin.base_url, headers=ADMIN, timeout=60) as other:
        threads = []
        if face.streams:
            briefest = f"{path}?wait=0.01&after_version={state.version}"
            eventually(lambda: other.get(briefest).status_code == 200)
            open_ones = [streams.enter_context(streaming(admin, f"{path}/events")) for _ in range(PLACES)]
            assert [next(events).name for events in open_ones] == ["state"] * PLACES
        else:
            threads = [threading.Thread(target=wait_at, args=(f"{face.base}/{waiting}",)) for _ in range(PLACES)]
            for thread in threads:
                thread.start()
        brief = f"{path}?wait=0.1&after_version={state.version}"
        eventually(lambda: other.get(brief).status_code == 503)
        assert other.get(brief).headers["retry-after"] == "5"
        assert other.get(path).status_code == 200
        job.cancel("7")
        for thread in threads:
            thread.join(30)
    job.lock("7")
    state = job.get("7")
    assert state is not None
    brief = f"{path}?wait=0.1&after_version={state.version}"
    eventually(lambda: admin.get(brief).status_code == 200)


def wait_at(url: str) -> None:
    """Ask until there is a place, which the one who counts them may have."""
    while httpx.get(url, headers=ADMIN, timeout=60).status_code == 503:
        pass


def test_where_nothing_streams_it_is_said(face: Face, admin: httpx.Client, job: Job) -> None:
    """Whoever can take JSON gets the state, with no error that a browser would complain of; else it is 501."""
    if face.streams:
        pytest.skip("this face sends events")
    job.lock("7")
    path = f"{named(job.name, '7')}/events"
    asked = admin.get(path, headers={"Accept": "application/json"})
    assert (asked.status_code, asked.json()["status"]) == (200, "pending")
    rather = admin.get(path, headers={"Accept": "text/event-stream, application/json;q=0.5"})
    assert rather.json()["status"] == "pending"
    assert admin.get(path, headers={"Accept": "text/event-stream, application/json;q=0"}).status_code == 501
    for stream in (path, "events"):
        assert admin.get(stream).status_code == 501


def test_head_of_a_stream_ends(streamer: httpx.Client, job: Job) -> None:
    """The headers, and no stream."""
    job.lock("7")
    for path in (f"{named(job.name, '7')}/events", "events"):
        assert streamer.head(path).headers["content-type"].startswith("text/event-stream")


def test_the_live_list(streamer: httpx.Client, job: Job) -> None:
    """Whoever may list is told to load the list, and then of each state that is new, changes, or ends."""
    job.lock("before")
    with streaming(streamer, "events") as events:
        assert next(events).name == "reset"
        second = iter(events)
        with job.start("7") as progress:
            told = next(event for event in second if event.data.get("id") == "7")
            assert (told.name, told.data["status"]) == ("state", "processing")
            progress.update(0.5)
            assert next(event for event in second if event.data.get("progress") == 0.5).data["id"] == "7"
        assert next(event for event in second if event.data.get("id") == "7").data["status"] == "completed"


def test_the_live_list_is_for_those_who_may_list(client: httpx.Client) -> None:
    """404 for all others."""
    assert client.get("events").status_code == 404
