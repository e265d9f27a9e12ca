"""Who is shown what of an error, behind every framework alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import flask
import httpx
import pytest
from msgspec import structs
from starlette.applications import Starlette
from starlette.routing import Mount

from job_progress import Job, JobFailed, JobState, Tracker
from job_progress.encoding import change_to
from job_progress.names import key_of
from job_progress.task import QueueTask, queue_task
from job_progress.web import create_app
from job_progress.web.flask import create_blueprint
from tests.web.conftest import ADMIN, named
from tests.web.events import streaming
from tests.web.faces import MOUNT, Face, by_header, serving_asgi, serving_wsgi

pytestmark = pytest.mark.environment("main", "django6")

SECRET = "postgres://shop:hunter2@db/shop"
ADA = {"X-User": "ada"}
HTML = {"Accept": "text/html"}


def fail(job: Job, error: BaseException | str, *, will_retry: bool = False) -> None:
    """Run `("shop.import", "7")`, which is Ada's, until it fails with *error*: raised, or said."""
    job.lock("7", owner="ada")
    task = QueueTask(will_retry=lambda error: will_retry)
    with suppress(Exception), queue_task(task), job.start("7") as progress:
        if isinstance(error, str):
            progress.fail(error)
        else:
            raise error


@pytest.fixture(params=["link", "owner"])
def viewer(request: pytest.FixtureRequest, face: Face, job: Job) -> tuple[str, dict[str, str]]:
    """Somebody who may see this one state, and the address at which they do."""
    if request.param == "owner":
        return named(job.name, "7"), ADA
    return face.links.path(job.name, "7", actions={"view", "cancel"}), {}


def everything(face: Face, client: httpx.Client, path: str, headers: dict[str, str]) -> dict[str, str]:
    """All that this viewer can get of the state: by each way, what came."""
    got = {
        "json": client.get(path, headers=headers),
        "html": client.get(path, headers=headers | HTML),
        "poll": client.get(f"{path}?wait=5", headers=headers),
        "cancel": client.post(f"{path}/cancel", headers=headers),
        "list": client.get("states", headers=headers),
    }
    if face.streams:
        got["events"] = client.get(f"{path}/events", headers=headers)
    return {way: f"{answer.headers} {answer.text}" for way, answer in got.items()}


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (ValueError(SECRET), "ValueError"),
        (JobFailed("no hoses"), "no hoses"),
        ("no hoses", "no hoses"),
        (f'Traceback (most recent call last):\n  File "hunter2.py", line 1\nOSError: {SECRET}', "OSError"),
    ],
)
def test_viewers_of_one_state_see_what_is_meant_for_them(
    face: Face, client: httpx.Client, job: Job, viewer: tuple[str, dict[str, str]], error: Exception | str, seen: str
) -> None:
    """By a link, or as its owner: JSON, HTML, events and the answer to a cancel have no word of anything else."""
    fail(job, error)
    got = everything(face, client, *viewer)
    assert "hunter2" not in str(got)
    for way, answer in got.items():
        assert (seen in answer) is (way != "list"), way
    assert client.get(viewer[0], headers=viewer[1]).json()["error"] == seen


def test_of_a_retry_viewers_see_as_much(
    face: Face, client: httpx.Client, job: Job, viewer: tuple[str, dict[str, str]]
) -> None:
    """While it waits, and once it is cancelled then."""
    fail(job, ValueError(SECRET), will_retry=True)
    path, headers = viewer
    got = [client.get(path, headers=headers), client.get(path, headers=headers | HTML)]
    got.append(client.post(f"{path}/cancel", headers=headers))
    for answer in got:
        assert "ValueError" in answer.text
        assert "hunter2" not in answer.text


def test_who_may_list_sees_all(face: Face, client: httpx.Client, admin: httpx.Client, job: Job) -> None:
    """By name, in the list, and also by a link that others have; their copies are not taken for one another."""
    fail(job, ValueError(SECRET))
    whole = f"ValueError: {SECRET}"
    path = face.links.path(job.name, "7")
    for address in (path, named(job.name, "7")):
        assert admin.get(address).json()["error"] == whole
        assert whole in admin.get(address, headers=HTML).text
        if face.streams:
            assert "hunter2" in admin.get(f"{address}/events").text
    assert [state["error"] for state in admin.get("states").json()["states"]] == [whole]
    tag = client.get(path).headers["etag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert admin.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_streams_tell_each_viewer_theirs(face: Face, client: httpx.Client, admin: httpx.Client, job: Job) -> None:
    """Who watched before it failed, one state or the list."""
    if not face.streams:
        pytest.skip("this face long-polls")
    path = face.links.path(job.name, "7")
    job.lock("7", owner="ada")
    with ExitStack() as stack:
        theirs = stack.enter_context(streaming(client, f"{path}/events"))
        all_of_it = stack.enter_context(streaming(admin, f"{path}/events"))
        listed = stack.enter_context(streaming(admin, "events"))
        assert next(listed).name == "reset"
        assert {next(events).data["error"] for events in (theirs, all_of_it)} == {None}
        fail(job, ValueError(SECRET))
        assert last_error(theirs) == "ValueError"
        assert last_error(all_of_it) == f"ValueError: {SECRET}"
        assert next(event.data for event in listed if event.data["error"])["error"] == f"ValueError: {SECRET}"


def last_error(events: Iterator[Any]) -> object:
    """The error of the last state before the end."""
    *_, last, end = events
    assert end.name == "end"
    return last.data["error"]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (f"ValueError: {SECRET}", "ValueError"),
        (f"interrupted by SystemExit: {SECRET}", "interrupted by SystemExit"),
        (f"redis.exceptions.ConnectionError: {SECRET}", "ConnectionError"),
        (SECRET, "failed"),
        (f"cannot connect: {SECRET}", "failed"),
    ],
)
def test_of_a_record_of_before_viewers_see_the_type_at_most(
    face: Face, client: httpx.Client, admin: httpx.Client, job: Job, error: str, seen: str
) -> None:
    """It does not say for whom its error is."""
    fail(job, "made anew below")
    state = job.get("7")
    assert state is not None
    put(job.tracker, structs.replace(state, version=state.version + 1, error=error, error_for_viewers=None))
    assert client.get(face.links.path(job.name, "7")).json()["error"] == seen
    assert admin.get(named(job.name, "7")).json()["error"] == error


def put(tracker: Tracker, state: JobState) -> None:
    """Store *state*, whatever was there."""
    key = key_of(state.job, state.id)
    [record] = tracker.store.load([key])
    assert record is not None
    tracker.store.swap([change_to(state, key, record.version)])


def no_lists(request: Any, action: str, state: JobState | None) -> bool:
    """A rule that fails if it is asked of the list."""
    assert state is not None
    return True


def text_of(state: JobState) -> str | None:
    """A `show_error` that shows more, less, nothing, or fails."""
    return {"more": state.error, "less": "sorry, ask for 42", "none": None}[str(state.message)]


@contextmanager
def django_showing(show_error: object) -> Iterator[None]:
    """The project has this setting."""
    from django.test import override_settings

    from job_progress.web.django import conf

    sites = (conf.loop_site, conf.thread_site)
    given = {"AUTHORIZE": "tests.web.faces.by_header", "MAX_WATCHERS": 8, "SHOW_ERROR": show_error}
    with override_settings(JOB_PROGRESS=given):
        for site in sites:
            site.cache_clear()
        yield
    for site in sites:
        site.cache_clear()


@pytest.fixture
def showing(face: Face) -> Iterator[httpx.Client]:
    """A client of the same framework, where everybody is shown what `text_of` says."""
    with ExitStack() as stack:
        base = face.base
        if face.name == "starlette":
            app = create_app(by_header, show_error=text_of)
            base = stack.enter_context(serving_asgi(Starlette(routes=[Mount(MOUNT, app)]))) + MOUNT
        elif face.name == "flask":
            served = flask.Flask(__name__)
            served.register_blueprint(create_blueprint(by_header, show_error=text_of), url_prefix=MOUNT)
            base = stack.enter_context(serving_wsgi(served)) + MOUNT
        else:
            stack.enter_context(django_showing(f"{__name__}.text_of"))
        yield stack.enter_context(httpx.Client(base_url=f"{base}/", timeout=30))


def test_show_error_decides_otherwise(showing: httpx.Client, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """For everybody, everywhere; if it fails, nothing of the error is shown at all, and the log says why."""
    path = named(job.name, "7")
    whole = f"ValueError: {SECRET}"
    for message, seen in [("more", whole), ("less", "sorry, ask for 42"), ("none", None), ("defect", "failed")]:
        job.lock("7", owner="ada")
        with suppress(ValueError), job.start("7") as progress:
            progress.update(message=message)
            raise ValueError(SECRET)
        for headers in (ADA, ADMIN):
            assert showing.get(path, headers=headers).json()["error"] == seen
            assert (seen or "no error") in showing.get(path, headers=headers | HTML).text + "no error"
        assert showing.get("states", headers=ADMIN).json()["states"][0]["error"] == seen
        assert ("hunter2" in showing.get(path, headers=ADMIN | HTML).text) is (message == "more")
    assert "show_error raised" in caplog.text


def test_a_rule_that_fails_when_asked_of_the_list_shows_no_more(tracker: Tracker, job: Job) -> None:
    """It was asked only for the error's sake: the state is shown, the error's text is not."""
    fail(job, ValueError(SECRET))
    with serving_asgi(create_app(no_lists)) as base:
        assert httpx.get(f"{base}/{named(job.name, '7')}").json()["error"] == "ValueError"
        assert "hunter2" not in httpx.get(f"{base}/{named(job.name, '7')}/events").text
        assert httpx.get(f"{base}/states").status_code == 500


def test_show_error_must_be_a_function() -> None:
    """That is said where the application is made, not to whoever looks at a failure."""
    wrong: Any = "shop.errors.show"
    for make in (create_app, create_blueprint):
        with pytest.raises(TypeError, match="show_error= is a function"):
            make(by_header, show_error=wrong)
