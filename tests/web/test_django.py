"""What the Django face has of its own: whom it lets in, its links, its tag, and its checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from job_progress import Job, JobState, Tracker
from tests.web.faces import django_links

django_links()

from django.contrib.auth.models import AnonymousUser, User  # noqa: E402 - Django wants to be set up first
from django.core import checks  # noqa: E402
from django.template import Context, Template  # noqa: E402
from django.test import Client, override_settings  # noqa: E402

from job_progress.default import default_tracker, set_default_tracker  # noqa: E402
from job_progress.web.django.apps import JobProgressConfig  # noqa: E402
from job_progress.web.django.checks import check_settings  # noqa: E402
from job_progress.web.django.links import links, url_of  # noqa: E402
from job_progress.web.django.rules import owner_or_staff  # noqa: E402

pytestmark = pytest.mark.environment("main", "django6")


@pytest.fixture(autouse=True)
def _default_tracker_stays() -> Iterator[None]:
    before = set_default_tracker(None)
    yield
    set_default_tracker(before)


@pytest.mark.parametrize(
    ("user", "theirs", "anothers", "list"),
    [
        (User(pk=7), True, False, False),
        (User(pk=8, is_staff=True), True, True, True),
        (User(pk=7, is_active=False), False, False, False),
        (AnonymousUser(), False, False, False),
        (None, False, False, False),
    ],
    ids=["owner", "staff", "inactive", "anonymous", "no middleware"],
)
def test_the_owner_and_staff_are_let_in(user: Any, theirs: bool, anothers: bool, list: bool) -> None:
    """The owner of a state is the primary key of a user; what belongs to nobody is for staff alone."""
    request: Any = SimpleNamespace(user=user) if user is not None else SimpleNamespace()
    for action in ("view", "cancel"):
        assert owner_or_staff(request, action, JobState(job="a", id="1", owner="7")) is theirs
        assert owner_or_staff(request, action, JobState(job="a", id="1", owner="77")) is anothers
        assert owner_or_staff(request, action, JobState(job="a", id="1")) is anothers
        assert owner_or_staff(request, action, None) is (user is not None and bool(getattr(user, "is_staff", False)))
    assert owner_or_staff(request, "list", None) is list


def test_the_tag_puts_a_live_bar_into_a_page(tracker: Tracker) -> None:
    """The component, and a signed link that shows the state, and cancels it unless the page says otherwise."""
    set_default_tracker(tracker)
    state = Job("shop.import").lock("<a/b>")
    text = "{% load job_progress %}{% job_progress state %}|{% job_progress state cancel=False expires=60 %}"
    html = Template(text).render(Context({"state": state}))
    first, second = re.findall(r'<job-progress src="(/jobs/s/[^"]+)"></job-progress>', html)
    assert html.count('<script type="module" src="/jobs/static/job-progress.js"></script>') == 2
    client = Client()
    assert client.get(first).json()["id"] == "<a/b>"
    assert client.get(second).json()["actions"] == ["view"]
    assert client.post(f"{second}/cancel").status_code == 404
    assert client.post(f"{first}/cancel").json()["status"] == "cancelled"
    assert client.get("/jobs/static/job-progress.js").status_code == 200


def test_the_tag_says_what_it_needs(tracker: Tracker) -> None:
    """A lock that somebody else holds is `None`, and so is a state that nobody knows."""
    with pytest.raises(TypeError, match=r"takes a state, as job.lock\(id\) or job.get\(id\) gives, not None"):
        Template("{% load job_progress %}{% job_progress state %}").render(Context({"state": None}))


def test_links_follow_the_secret_key() -> None:
    """Links of another key open nothing; those of a fallback do."""
    path = links.path("shop.import", "7")
    token = path.removeprefix("s/")
    assert links.opened(token) is not None
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[]):
        assert links.opened(token) is None
    with override_settings(
        SECRET_KEY="another", SECRET_KEY_FALLBACKS=["a key that is only for tests, and long enough"]
    ):
        assert links.opened(token) is not None
    assert url_of(JobState(job="shop.import", id="7"), cancel=False).startswith("/jobs/s/")


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({}, []),
        ({"STORE": "memory://", "TTL": 60, "SHOW_ERROR": "builtins.str", "MAX_WATCHERS": 5}, []),
        ({"STOER": "memory://"}, ["job_progress.E001"]),
        ({"STORE": "foo://"}, ["job_progress.E002"]),
        ({"SHOW_ERROR": "no.such.thing"}, ["job_progress.E005"]),
        ({"SHOW_ERROR": 7}, ["job_progress.E005"]),
        ({"TTL": -1}, ["job_progress.E002"]),
        ({"AUTHORIZE": "no.such.thing"}, ["job_progress.E003"]),
        ({"AUTHORIZE": None}, ["job_progress.E003"]),
        ({"MAX_WATCHERS": 0}, ["job_progress.E004"]),
        ({"ORIGINS": ["https://shop.example"]}, []),
        ({"ORIGINS": ["shop.example"]}, ["job_progress.E006"]),
    ],
)
def test_mistakes_in_the_settings_are_found_by_the_checks(settings: dict[str, Any], ids: list[str]) -> None:
    """Each has an identifier and says what is wrong; a project without mistakes has none."""
    with override_settings(JOB_PROGRESS=settings):
        assert [message.id for message in check_settings(None)] == ids


def test_a_default_rule_without_users_is_warned_of() -> None:
    """Where nobody can be signed in, the owner cannot be."""
    with override_settings(JOB_PROGRESS={}, MIDDLEWARE=[]):
        [warning] = check_settings(None)
    assert (warning.id, warning.level) == ("job_progress.W001", checks.WARNING)


def test_the_checks_are_run_with_djangos_own() -> None:
    """`manage.py check` finds them."""
    with override_settings(JOB_PROGRESS={"STOER": "memory://"}):
        assert "job_progress.E001" in [message.id for message in checks.run_checks()]


def test_the_app_configures_the_default_tracker() -> None:
    """Views and jobs of the project use the store that the settings name; without one, what was configured stays."""
    import job_progress.web.django as package

    config = JobProgressConfig("job_progress.web.django", package)
    with override_settings(JOB_PROGRESS={"STORE": "memory://", "TTL": 60}):
        config.ready()
        configured = default_tracker()
        assert configured.settings.ttl == 60
    with override_settings(JOB_PROGRESS={"AUTHORIZE": "tests.web.faces.by_header"}):
        config.ready()
        assert default_tracker() is configured
    with override_settings(JOB_PROGRESS={"TTL": -1}):
        config.ready()  # the check says what is wrong
        assert default_tracker() is configured
