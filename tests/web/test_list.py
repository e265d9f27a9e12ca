"""The list, the dashboard's page, and the files."""

from __future__ import annotations

import httpx
import pytest

from job_progress import Job, Tracker
from job_progress.web import files, listing
from tests.web.conftest import named

pytestmark = pytest.mark.environment("main", "django6")


def ids(answer: httpx.Response) -> list[str]:
    return [state["id"] for state in answer.json()["states"]]


def test_the_list_is_filtered_and_paged(admin: httpx.Client, tracker: Tracker) -> None:
    """Newest first; by job and status; each page says where the next begins, the last one that there is none."""
    one, other = Job("one", tracker=tracker), Job("other", tracker=tracker)
    for number in range(5):
        one.lock(number)
    other.lock("x")
    one.cancel(1)
    assert ids(admin.get("states")) == ["x", "4", "3", "2", "1", "0"]
    assert admin.get("states").json()["states"][0] == tracker.list()[0].to_dict()
    assert ids(admin.get("states?job=one&status=pending")) == ["4", "3", "2", "0"]
    assert ids(admin.get("states?status=cancelled,completed&status=")) == ["1"]
    page = admin.get("states?limit=4&job=&q=")
    assert ids(page) == ["x", "4", "3", "2"]
    rest = admin.get("states", params={"limit": 4, "after": page.json()["next"]})
    assert (ids(rest), rest.json()["next"]) == (["1", "0"], None)
    assert admin.get("states?limit=6").json()["next"] is None


def test_the_list_is_searched_by_id(admin: httpx.Client, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any part of an id, in any case; a long list bit by bit, each answer saying where to go on."""
    for id in ["Müller-1", "schmidt", "MÜLLER-2", "meier", "müller-3"]:
        job.lock(id)
    assert ids(admin.get("states", params={"q": "mÜller"})) == ["müller-3", "MÜLLER-2", "Müller-1"]
    first = admin.get("states", params={"q": "müller", "limit": 2}).json()
    assert admin.get("states", params={"q": "müller", "after": first["next"]}).json()["states"][0]["id"] == "Müller-1"
    assert admin.get("states", params={"q": "nobody"}).json() == {"states": [], "next": None}
    monkeypatch.setattr(listing, "SCANNED", 2)
    found, after = [], ""
    while after is not None:
        answer = admin.get("states", params={"q": "müller", "after": after})
        found += ids(answer)
        after = answer.json()["next"]
    assert found == ["müller-3", "MÜLLER-2", "Müller-1"]


def test_the_dashboard_is_for_those_who_may_list(client: httpx.Client, admin: httpx.Client) -> None:
    """Its page has a strict policy; for others there is nothing; without the slash one is sent to it."""
    page = admin.get("")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert client.get("").status_code == 404
    bare = admin.get(str(admin.base_url).rstrip("/"), follow_redirects=True)
    assert bare.content == page.content
    assert str(bare.url).endswith("/jobs/")


def test_files_are_for_all(client: httpx.Client) -> None:
    """Known names only, with an ETag, and to be kept for a while."""
    script = client.get("static/job-progress.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=3600, must-revalidate"
    assert script.content == (files.FOLDER / "job-progress.js").read_bytes()
    tag = script.headers["etag"]
    assert client.get("static/job-progress.js", headers={"If-None-Match": tag}).status_code == 304
    for name in ("nothing.js", "..%2F__init__.py", "%2e%2e/site.py", "", "../site.py"):
        assert client.get(f"static/{name}").status_code == 404, name


def test_who_may_list_learns_nothing_from_a_bad_job(admin: httpx.Client) -> None:
    """A job that nobody knows has no states."""
    assert admin.get("states", params={"job": "nobody's"}).json() == {"states": [], "next": None}
    assert admin.get(named("nobody's", "7")).status_code == 404
