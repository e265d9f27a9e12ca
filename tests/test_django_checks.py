"""What `manage.py check` says of the store of job states."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.checks import run_checks

from job_progress import Tracker
from job_progress.default import set_default_tracker
from job_progress.django_checks import check_cache, register_checks
from tests.servers.django_caches import BACKENDS, SPACE, URL, cache_settings

pytestmark = pytest.mark.environment("main", "django6")


@pytest.fixture(autouse=True)
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default tracker is made anew, on the cache of the test."""
    monkeypatch.setenv("JOB_PROGRESS_STORE", URL)
    before = set_default_tracker(None)
    yield
    set_default_tracker(before)


def found() -> dict[str, str]:
    """What the check finds: ids and messages."""
    return {str(message.id): str(message) for message in check_cache(None)}


def test_a_cache_that_processes_share_is_well(django_redis_url: str) -> None:
    """Nothing is found, and the server is not asked."""
    assert found() == {}


def test_a_cache_of_one_process(django_locmem_url: str) -> None:
    """W001: what a worker reports no web process sees."""
    assert found().keys() == {"job_progress.W101"}
    assert "'states'" in found()["job_progress.W101"]


@pytest.mark.parametrize("options", [{}, {"OPTIONS": {"MAX_ENTRIES": 500}}])
def test_a_cache_with_little_space(tmp_path: object, options: dict[str, object]) -> None:
    """W002: Django throws entries away, by default when there are more than 300."""
    with cache_settings(BACKEND=f"{BACKENDS}.filebased.FileBasedCache", LOCATION=str(tmp_path), **options):
        assert found().keys() == {"job_progress.W102"}
        assert ("500" if options else "300") in found()["job_progress.W102"]


def test_a_cache_in_an_sqlite_database(django_database_url: str) -> None:
    """W103: heartbeats wait for a job's own transaction."""
    assert found().keys() == {"job_progress.W103"}
    assert "'states'" in found()["job_progress.W103"]


def test_a_cache_that_cannot_hold_states() -> None:
    """E002: it keeps nothing, or it is not there."""
    with cache_settings(BACKEND=f"{BACKENDS}.dummy.DummyCache", OPTIONS=SPACE):
        assert found().keys() == {"job_progress.E102"}
        set_default_tracker(Tracker("django-cache://elsewhere"))
        assert found().keys() == {"job_progress.E102"}


def test_a_url_that_names_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """E001, with the reason."""
    monkeypatch.setenv("JOB_PROGRESS_STORE", "mysql://host")
    assert found().keys() == {"job_progress.E101"}
    assert "'mysql'" in found()["job_progress.E101"]


def test_other_stores_are_no_matter_of_django() -> None:
    """Nothing is found."""
    set_default_tracker(Tracker("memory://"))
    assert found() == {}


def test_the_check_is_run_with_all_others(django_locmem_url: str) -> None:
    """Once it is registered, be it twice."""
    register_checks()
    register_checks()
    assert [message.id for message in run_checks()].count("job_progress.W101") == 1
