"""A link is for the life it was made for, or for its owner: whoever runs the same id later is shown to nobody by it."""

from __future__ import annotations

import time

import httpx
import pytest

from job_progress import Job, JobState
from job_progress.testing import frozen_clock
from job_progress.web.links import SignedLinks
from tests.web.events import streaming
from tests.web.faces import Face

pytestmark = pytest.mark.environment("main", "django6")
BOTH = {"view", "cancel"}


def locked(job: Job, owner: str | None = None) -> JobState:
    state = job.lock("7", owner=owner)
    assert state is not None
    return state


def opens(client: httpx.Client, path: str) -> bool:
    """Does the link show the state? What it does not show, it does not cancel either."""
    status = client.get(path).status_code
    assert status in (200, 404)
    if status == 404:
        assert client.post(f"{path}/cancel").status_code == 404
        assert client.get(f"{path}/events").status_code == 404
    return status == 200


@pytest.mark.parametrize("owner", ["bob", None])
def test_a_link_does_not_show_somebody_elses_later_run(
    face: Face, client: httpx.Client, job: Job, owner: str | None
) -> None:
    """Made of the state or by its name: seen, cancelled and streamed for Alice, and as unknown once Bob has the id."""
    alices = locked(job, "alice")
    paths = [face.links.path(alices, actions=BOTH), face.links.path(job.name, "7", actions=BOTH)]
    for_the_id = face.links.path(job.name, "7", actions=BOTH, bind=False)
    assert [opens(client, path) for path in (*paths, for_the_id)] == [True, True, True]
    assert client.post(f"{paths[0]}/cancel").status_code == 202
    assert [opens(client, path) for path in paths] == [True, True]  # how it ended can be seen
    locked(job, owner)
    assert [opens(client, path) for path in (*paths, for_the_id)] == [False, False, True]
    assert [state.status for state in job.list()] == ["pending"]
    assert client.post(f"{for_the_id}/cancel").status_code == 202


def test_an_owners_link_shows_the_owners_later_runs(face: Face, client: httpx.Client, job: Job) -> None:
    """What belongs to the same person is for the same eyes; and so it is if it has not begun."""
    ahead = face.links.path(JobState(job=job.name, id="7", owner="alice"))
    path = face.links.path(locked(job, "alice"))
    job.cancel("7")
    locked(job, "alice")
    assert [opens(client, one) for one in (path, ahead)] == [True, True]
    assert "alice" not in path


def test_a_link_of_nobodys_state_is_for_that_life(face: Face, client: httpx.Client, job: Job) -> None:
    """All its attempts, and nothing later."""
    path = face.links.path(locked(job), actions=BOTH)
    with pytest.raises(OSError, match="once"), job.start("7"):
        assert opens(client, path)
        raise OSError("once")
    assert opens(client, path)
    with job.start("7"):
        assert not opens(client, path)


def test_a_link_that_is_made_ahead_is_for_the_first_life(face: Face, client: httpx.Client, job: Job) -> None:
    """By name, before there is a state: for the one that begins, and not for the one after it."""
    path = face.links.path(job.name, "7")
    assert not opens(client, path)
    with job.start("7"):
        assert opens(client, path)
    assert opens(client, path)
    with job.start("7"):
        assert not opens(client, path)


def test_a_link_that_is_made_ahead_waits_a_quarter_of_an_hour(job: Job, links: SignedLinks) -> None:
    """What begins later may be somebody else's, after the life it was for is forgotten."""
    with frozen_clock() as clock:
        link = links.opened(links.path(job.name, "7").removeprefix("s/"))
        assert link is not None
        clock.tick(890)
        in_time = locked(job)
        clock.tick(20)
        late = JobState(job=job.name, id="7", version=1, created_at=clock())
    assert [link.is_for(state) for state in (in_time, late)] == [True, False]


def test_a_stream_ends_with_the_life_it_is_for(face: Face, client: httpx.Client, job: Job) -> None:
    """Open while the id changes hands: nothing of the later life is told."""
    if not face.streams:
        return  # what it says to a page that asks now and then is tested above
    path = face.links.path(locked(job, "alice"))
    with streaming(client, f"{path}/events") as events:
        assert next(events).data["owner"] == "alice"
        job.cancel("7")
        locked(job, "bob")
        assert all(event.data.get("owner") in ("alice", None) for event in events)


def test_links_from_before_stay_as_they_were(face: Face, client: httpx.Client, job: Job) -> None:
    """Signed by an earlier version: for the id, until they expire; so are those with `bind=False`, to old processes."""
    locked(job, "bob")
    until = int(time.time() + 60)
    before = face.links.sign([job.name, "7", "vc", until])
    assert opens(client, f"s/{before}")
    unbound = face.links.path(job.name, "7", bind=False).removeprefix("s/")
    assert len(face.links.unsign(unbound)) == 4
    for odd in (
        [job.name, "7", "v", None, None],
        [job.name, "7", "v", None, ["x", 1]],
        [job.name, "7", "v", None, ["l", "1"]],
    ):
        assert not opens(client, f"s/{face.links.sign(odd)}")


def test_a_link_is_made_of_a_state_or_of_a_name_and_id(links: SignedLinks, job: Job) -> None:
    """Not of both, and not of half."""
    with pytest.raises(TypeError, match="a state, or a job's name and an id"):
        links.path(locked(job), "7")
    with pytest.raises(TypeError, match="a state, or a job's name and an id"):
        links.path(job.name)
