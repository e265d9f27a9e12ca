"""One state over HTTP, behind every framework alike: seen, waited for, and cancelled."""

from __future__ import annotations

import logging
import socket
import threading
from time import monotonic

import httpx
import pytest

from job_progress import Job, JobState, Tracker
from job_progress.default import set_default_tracker
from tests.waiting import eventually
from tests.web.conftest import named
from tests.web.faces import Face

pytestmark = pytest.mark.environment("main", "django6")

ODD = ["a/b", "/", "%", "%2F", "ü✓", "a b+c", "events", "a/events", "a/cancel", "?x=1#y", "a//b/", "ü" * 200]


def state_of(job: Job, id: str = "7") -> JobState:
    state = job.get(id)
    assert state is not None
    return state


@pytest.mark.parametrize("by", ["link", "name"])
def test_a_state_is_its_json_and_what_the_viewer_may_do(face: Face, admin: httpx.Client, job: Job, by: str) -> None:
    """`to_dict()` and nothing else but `actions`, with headers that keep it from being stored, sniffed or framed."""
    job.lock("7", owner="ada", meta={"file": "a.csv"})
    path = face.links.path(job.name, "7") if by == "link" else named(job.name, "7")
    answer = admin.get(path)
    assert answer.status_code == 200
    assert answer.json() == {**state_of(job).to_dict(), "actions": ["view", "cancel"]}
    expected = {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    head = admin.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])


def test_a_link_shows_its_state_and_only_that(face: Face, client: httpx.Client, job: Job) -> None:
    """Without the action "cancel" the page knows that there is no button to show, and the button would do nothing."""
    job.lock("7")
    job.lock("8")
    path = face.links.path(job.name, "7")
    assert client.get(path).json()["actions"] == ["view"]
    assert client.post(f"{path}/cancel").status_code == 404
    assert client.get(named(job.name, "7")).status_code == 404
    assert client.get("states").status_code == 404
    assert state_of(job).is_pending
    both = face.links.path(job.name, "8", actions={"view", "cancel"})
    assert client.get(both).json()["actions"] == ["view", "cancel"]


@pytest.mark.parametrize("id", ODD)
def test_odd_ids_work_in_every_route(face: Face, admin: httpx.Client, tracker: Tracker, id: str) -> None:
    """By link and by name, for the state, its events, and cancelling; so do odd names of jobs."""
    job = Job("odd / % ü", tracker=tracker, cancellable=True)
    job.lock(id)
    for path in (face.links.path(job.name, id, actions={"view", "cancel"}), named(job.name, id)):
        assert admin.get(path).json()["id"] == id
        if face.streams:
            with admin.stream("GET", f"{path}/events") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
        assert admin.post(f"{path}/cancel").json()["id"] == id
    assert state_of(job, id).is_cancelled


def test_rules_are_told_the_owner(face: Face, client: httpx.Client, job: Job) -> None:
    """Whoever a state belongs to sees and cancels it; others do not even learn that it is there."""
    job.lock("7", owner="ada")
    assert client.get(named(job.name, "7"), headers={"X-User": "ada"}).json()["actions"] == ["view", "cancel"]
    assert client.get(named(job.name, "7"), headers={"X-User": "bob"}).status_code == 404
    assert client.post(f"{named(job.name, '7')}/cancel", headers={"X-User": "bob"}).status_code == 404
    assert state_of(job).is_pending
    assert client.post(f"{named(job.name, '7')}/cancel", headers={"X-User": "ada"}).status_code == 202


def test_unknown_and_not_allowed_look_the_same(face: Face, client: httpx.Client, job: Job) -> None:
    """The same status, headers and body for a state that is not there, or not for this viewer, and for bad links."""
    job.lock("7", owner="ada")
    good = face.links.path(job.name, "7")
    paths = [
        named(job.name, "7"),
        named(job.name, "8"),
        named("other", "7"),
        face.links.path(job.name, "8"),
        good[:-1],
        good[:-5] + ("A" if good[-5] != "A" else "B") + good[-4:],  # the last letter has bits that mean nothing
        "s/x",
        "s/" + "x" * 5000,
        "states",
        "no/such/place",
        f"states/{'j' * 201}/7",
        f"states/{job.name}/%00",
    ]
    answers = {path: client.get(path) for path in paths}
    answers |= {f"{path}/events": client.get(f"{path}/events") for path in paths[:-2]}
    answers |= {f"POST {path}": client.post(f"{path}/cancel") for path in paths[:8]}
    looks = {
        (answer.status_code, answer.content, str({**answer.headers, "date": "", "server": ""}))
        for answer in answers.values()
    }
    assert len(looks) == 1, {path: answer.status_code for path, answer in answers.items()}
    assert answers[named(job.name, "7")].status_code == 404


def test_they_take_the_same_time(face: Face, client: httpx.Client, job: Job) -> None:
    """At best, which a busy machine changes least, what is unknown, not allowed and forged differ by milliseconds."""
    job.lock("7", owner="ada", meta={"large": "x" * 50_000})
    paths = [named(job.name, "7"), named(job.name, "8"), "s/forged", face.links.path(job.name, "9")]
    times: dict[str, list[float]] = {path: [] for path in paths}

    def at_best() -> list[float]:
        for path in paths:
            began = monotonic()
            assert client.get(path).status_code == 404
            times[path].append(monotonic() - began)
        return [min(taken) for taken in times.values()]

    for _ in range(15):
        assert min(at_best()) >= 0.02
    eventually(lambda: max(them := at_best()) - min(them) < 0.008, 60)  # on a busy machine the best comes late


def test_a_page_without_script_gets_html(face: Face, admin: httpx.Client, job: Job) -> None:
    """A piece of HTML that htmx renews until the end, with a form that cancels; all of it escaped."""
    nasty = '<script>alert("1")</script>'
    path = named(job.name, nasty)
    with job.start(nasty) as progress:
        progress.update_with_steps(1, 4, message=nasty).flush()
        answer = admin.get(path, headers={"Accept": "text/html"})
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script" not in answer.text
        assert '<progress max="1" value="0.25">' in answer.text
        assert f'hx-get="/jobs/{path}"' in answer.text
        assert f'<form method="post" action="/jobs/{path}/cancel"' in answer.text
        cancelled = admin.post(f"{path}/cancel", headers={"Accept": "text/html"})
        assert (cancelled.status_code, "cancelling" in cancelled.text) == (202, True)
    ended = admin.get(path, headers={"Accept": "text/html"}).text
    assert "completed" in ended
    assert "hx-get" not in ended


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),  # of browsers
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html;q=0.5, application/json;q=0.9", "application/json"),
        ("application/json;q=0.5, text/html", "text/html"),
        ("application/json, text/html", "application/json"),  # the one that is named first, if both are as welcome
        ("text/html, application/json", "text/html"),
        ("text/html, */*", "text/html"),
        ("text/*", "text/html"),
        ("text/html;q=0, */*", "application/json"),
        ("application/*;q=0.1, TEXT/HTML ; q=0.2", "text/html"),
        ("text/html;q=evil, application/json;q=0.9", "text/html"),
        ("application/json;q=nan, text/html;q=0.9", "application/json"),
        ("image/png, ;;q=,", "application/json"),
        ("text/htmlx, application/json;q=0.1", "application/json"),
    ],
)
def test_what_is_most_welcome_is_sent(face: Face, admin: httpx.Client, job: Job, accept: str, kind: str) -> None:
    """HTML or JSON by the quality that `Accept` gives each, the most specific range first; JSON if nothing is said."""
    job.lock("7")
    answer = admin.get(named(job.name, "7"), headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(kind)


def test_an_etag_saves_sending_it_again(face: Face, admin: httpx.Client, job: Job) -> None:
    """304 as long as nothing has changed; JSON and HTML have different ones."""
    job.lock("7")
    path = named(job.name, "7")
    tag = admin.get(path).headers["etag"]
    again = admin.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert admin.get(path, headers={"If-None-Match": tag, "Accept": "text/html"}).status_code == 200
    job.cancel("7")
    assert admin.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_a_long_poll_answers_when_there_is_something_newer(face: Face, admin: httpx.Client, job: Job) -> None:
    """Held back until then, and no longer; at once where it is newer already, or has ended."""
    path = named(job.name, "7")
    with job.start("7") as progress:
        version = state_of(job).version
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(admin.get(path, params={"wait": 25, "after_version": version}))
        )
        began = monotonic()
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()
        progress.update(0.5)
        asking.join(10)
        assert answers[0].json()["progress"] == 0.5
        assert monotonic() - began < 10
        assert admin.get(path, params={"wait": 25, "after_version": version}).json()["progress"] == 0.5
    version = state_of(job).version
    assert admin.get(path, params={"wait": 25, "after_version": version}).json()["status"] == "completed"
    assert monotonic() - began < 20


def test_a_long_poll_that_runs_out_answers_with_what_there_is(face: Face, admin: httpx.Client, job: Job) -> None:
    """The same state again, after the time that was asked for."""
    job.lock("7")
    version = state_of(job).version
    began = monotonic()
    answer = admin.get(named(job.name, "7"), params={"wait": "0.4", "after_version": version})
    assert answer.json()["version"] == version
    assert 0.4 <= monotonic() - began < 5


def test_cancelling(face: Face, admin: httpx.Client, job: Job) -> None:
    """202 with the state when it is accepted; 409 with the reason and the state when it can be cancelled no more."""
    path = f"{named(job.name, '7')}/cancel"
    with job.start("7"):
        accepted = admin.post(path)
        assert (accepted.status_code, accepted.json()["is_cancelling"]) == (202, True)
        assert admin.post(path).status_code == 202
    refused = admin.post(path)
    assert refused.status_code == 409
    assert refused.json()["error"] == "cannot cancel shop.import '7': it is completed"
    assert refused.json()["state"]["status"] == "completed"
    assert admin.post(f"{named(job.name, '8')}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://outside-the-proxy.example"}, 202),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "SAME"}, 403),
        ({"Origin": "SAME"}, 202),
    ],
)
def test_pages_of_other_sites_cancel_nothing(
    face: Face, admin: httpx.Client, job: Job, headers: dict[str, str], status: int
) -> None:
    """Whatever cookies the browser sends along; forms of the own site, fetch and programs do."""
    job.lock("7")
    same = face.base.removesuffix("/jobs")
    sent = {name: value.replace("SAME", same) for name, value in headers.items()}
    answer = admin.post(f"{named(job.name, '7')}/cancel", headers=sent)
    assert answer.status_code == status
    assert state_of(job).is_cancelled == (status == 202)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(face: Face, admin: httpx.Client, job: Job, method: str) -> None:
    """405 with what there is; nothing is changed, and cancelling is for POST alone."""
    job.lock("7")
    answer = admin.request(method, named(job.name, "7"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    wrong = admin.request("GET" if method == "POST" else method, f"{named(job.name, '7')}/cancel")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert state_of(job).is_pending


@pytest.mark.parametrize("length", ["65537", "9" * 30, "evil"])
def test_a_large_body_is_sent_away(face: Face, admin: httpx.Client, job: Job, length: str) -> None:
    """Before any of it is read; what a form sends is let pass."""
    job.lock("7")
    path = f"{named(job.name, '7')}/cancel"
    where = httpx.URL(f"{face.base}/{path}")
    with socket.create_connection((where.host, where.port or 80), timeout=10) as connection:
        head = f"POST {where.raw_path.decode()} HTTP/1.1\r\nHost: {where.host}\r\nX-User: admin\r\n"
        body = b"x" * 65537 if length == "65537" else b""  # Django reads it before it asks anybody
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + body)
        status = connection.recv(100).split()[1]
    assert status == b"413" if length == "65537" else status in (b"413", b"400")  # the latter from the server itself
    assert state_of(job).is_pending
    assert admin.post(path, data={"csrf": "x" * 100}).status_code == 202


@pytest.mark.parametrize(
    "query",
    [
        "wait=-1",
        "wait=1e9",
        "wait=nan",
        "wait=61",
        "wait=evil",
        "after_version=1.5",
        "after_version=99999999999999999999",
        "limit=0",
        "limit=501",
        "limit=evil",
        "status=evil",
        "after=evil",
        "after=" + "1" * 3000,
        "q=" + "x" * 201,
        "q=%00",
        "job=" + "x" * 201,
        "&".join(f"x{number}=1" for number in range(50)),
    ],
)
def test_bad_values_are_named_and_not_repeated(face: Face, admin: httpx.Client, job: Job, query: str) -> None:
    """400 with a sentence about the name, from both the state and the list; nothing of the value comes back."""
    job.lock("7")
    for path in (named(job.name, "7"), "states"):
        answer = admin.get(f"{path}?{query}")
        if query.startswith("after=") and path != "states" and len(query) < 100:
            assert answer.status_code == 200  # a state has no cursor
            continue
        assert answer.status_code == 400, answer.text
        assert "evil" not in answer.text
        assert "xxx" not in answer.text


def test_a_store_that_is_away_is_said(face: Face, admin: httpx.Client, job: Job, sqlite_url: str) -> None:
    """503, to be asked again; not a server error."""
    away = Tracker("sqlite:////proc/no/such/folder.db")
    set_default_tracker(away)
    answer = admin.get(named(job.name, "7"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "proc" not in answer.text
    away.close()


def test_tokens_are_not_logged(face: Face, client: httpx.Client, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """Servers and frameworks write down that a link was asked for, and not which."""
    caplog.set_level("DEBUG")
    job.lock("7")
    good = face.links.path(job.name, "7")
    bad = face.links.path(job.name, "8")
    assert [client.get(path).status_code for path in (good, bad)] == [200, 404]
    uvicorns = logging.getLogger("uvicorn.access")
    uvicorns.warning('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", f"/jobs/{good}?wait=1", "1.1", 200)
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    logged = "\n".join(record.getMessage() for record in ours)
    assert good.removeprefix("s/") not in logged
    assert bad.removeprefix("s/") not in logged
    assert "/jobs/s/…?wait=1" in logged
