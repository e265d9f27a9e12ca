"""Which pages may cancel: by a link those of any site, as it needs no cookie; by a cookie those of this site."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from job_progress import Job
from job_progress.web import allow_all, create_app
from job_progress.web.origins import Origins
from tests.web.conftest import named
from tests.web.faces import ORIGIN, Face

BEHIND_A_PROXY: list[dict[str, str]] = [
    {"Origin": "http://shop.example"},  # plain proxy_pass asks the server for another host than the browser did
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://another.example"},
]


@pytest.mark.environment("main", "django6")
@pytest.mark.parametrize("headers", BEHIND_A_PROXY)
def test_a_link_cancels_from_everywhere(face: Face, client: httpx.Client, job: Job, headers: dict[str, str]) -> None:
    """Whoever holds it needs no cookie, so that there is none to misuse; and a proxy may change the host."""
    job.lock("7")
    path = face.links.path(job.name, "7", actions={"view", "cancel"})
    answer = client.post(f"{path}/cancel", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


@pytest.mark.environment("main", "django6")
@pytest.mark.parametrize("headers", BEHIND_A_PROXY)
def test_a_link_lends_no_cookie(face: Face, admin: httpx.Client, job: Job, headers: dict[str, str]) -> None:
    """A page of another site that has a link to view, or one for something else, cancels nothing by its visitor's."""
    job.lock("7")
    view = face.links.path(job.name, "7")
    assert admin.post(f"{view}/cancel", headers=headers).status_code == 403
    unknown = face.links.path(job.name, "8", actions={"view", "cancel"})
    assert admin.post(f"{unknown}/cancel", headers=headers).status_code == 404
    assert [state.is_pending for state in job.list()] == [True]
    assert admin.post(f"{view}/cancel").status_code == 202  # of this site


@pytest.mark.environment("main", "django6")
def test_pages_of_the_named_origins_cancel(face: Face, admin: httpx.Client, job: Job) -> None:
    """`origins=` says where this site is for browsers, whatever host a proxy asks for; no other passes for it."""
    cancel = f"{named(job.name, '7')}/cancel"
    job.lock("7")
    for other in (ORIGIN.replace("https", "http"), f"{ORIGIN}.evil.example", f"{ORIGIN}:8443"):
        assert admin.post(cancel, headers={"Origin": other}).status_code == 403
    assert admin.post(cancel, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"}).status_code == 202


@pytest.mark.environment("main", "django6")
def test_an_origin_may_stand_for_all_below_it() -> None:
    """As in Django's `CSRF_TRUSTED_ORIGINS`; the domain itself is not below itself."""
    origins = Origins(["https://*.Shop.example:8443", "http://[::1]:8000/"])
    assert origins.has("https://a.b.shop.example:8443")
    assert origins.has("http://[::1]:8000")
    for other in ("https://shop.example:8443", "https://a.shop.example", "https://evilshop.example:8443", "null", ""):
        assert not origins.has(other)


@pytest.mark.parametrize(
    "origins", [["shop.example"], ["https://shop.example/jobs"], ["*"], "https://shop.example", [7]]
)
def test_what_is_no_origin_is_an_error(origins: Any) -> None:
    """Where the application is made, and not a door that is open or shut for all."""
    with pytest.raises((ValueError, TypeError), match="origins="):
        create_app(allow_all, origins=origins)
