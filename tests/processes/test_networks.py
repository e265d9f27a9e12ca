"""The network between a job and its server is slow, breaks, or lets nobody through; or the server has no space left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from job_progress import StoreUnavailable
from job_progress.job import Job
from job_progress.stores.django_cache import DjangoCacheStore
from tests.processes.jobs import job_at, state_of
from tests.servers.django_caches import BACKENDS, cache_settings
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.proxy import Proxy
from tests.servers.valkey import ValkeyServer
from tests.waiting import eventually


def _through(proxy: Proxy, url: str) -> str:
    head, _, tail = url.rpartition(":")
    return f"{head}:{proxy.port}/{tail.partition('/')[2]}"


@pytest.fixture(params=["django-redis", "postgresql", "redis"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """The way to a server; not of a cluster, whose nodes tell their clients where to go."""
    request.getfixturevalue("postgresql_url" if request.param == "postgresql" else "valkey_url")  # empties it
    server: PostgreSQLServer | ValkeyServer = request.getfixturevalue(
        "shared_postgresql" if request.param == "postgresql" else "shared_valkey"
    )
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def job(request: pytest.FixtureRequest, proxy: Proxy) -> Iterator[Job]:
    """The job "work", on the far side of the network."""
    kind = request.node.callspec.params["proxy"]
    server = request.getfixturevalue("shared_postgresql" if kind == "postgresql" else "shared_valkey")
    url = _through(proxy, server.url)
    if kind == "django-redis":
        with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=url) as url:
            job = job_at(url)
            yield job
            job.tracker.close()
    else:
        job = job_at(url)
        yield job
        job.tracker.close()


def test_a_slow_server(job: Job, proxy: Proxy) -> None:
    """With late answers reports take no time, arrive a little later, and the end is there when the job returns."""
    with job.start("7") as progress:
        progress.update(0.1).flush()
        # A Django cache, which takes some round trips for a change, gives one up that takes longer than 2.5 s.
        proxy.latency = 0.2 if isinstance(job.tracker.store, DjangoCacheStore) else 1.0
        waited = 0.0
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            began = time.monotonic()
            progress.update(0.5, message="meanwhile").set(at=began)
            assert not progress.cancel_requested
            waited = max(waited, time.monotonic() - began)
            time.sleep(0.001)
        assert waited < 0.5
    proxy.latency = 0.0
    state = state_of(job, "7")
    assert (state.status, state.attempt, state.message) == ("completed", 1, "meanwhile")


@pytest.mark.parametrize("how", ["cut", "cuts_answers", "refuse"])
def test_connections_break(job: Job, proxy: Proxy, how: str) -> None:
    """Whether they break at rest, within an answer or cannot be made: the job goes on, and all comes right."""
    # In a Django cache a lock whose release was lost lasts for 5 s.
    for id in map(str, range(2 if isinstance(job.tracker.store, DjangoCacheStore) else 10)):
        with job.start(id) as progress:
            progress.update(0.1)
            _break(proxy, how)
            progress.update(0.5, message="meanwhile").set(number=1)
            time.sleep(0.02 * (int(id) % 4))
            progress.update(0.6)
            _break(proxy, how)
            if int(id) % 2:
                proxy.resume()
                progress.flush()
                _break(proxy, how)
            proxy.resume()
        state = job.wait(id, timeout=20)
        assert (state.status, state.attempt, state.message) == ("completed", 1, "meanwhile")
        assert state.meta == {"number": 1}


def _break(proxy: Proxy, how: str) -> None:
    if how == "cuts_answers":
        proxy.cuts_answers = True
    elif how == "cut":
        proxy.cut()
    else:
        proxy.refuse()


def test_who_locks_over_a_network_that_breaks(job: Job, proxy: Proxy) -> None:
    """Whoever is the only one to ask for an id gets it, or an error, and is never told that somebody else has it."""
    refused: list[str] = []
    for id in map(str, range(30)):
        job.get("of no matter")  # a connection is there
        proxy.cuts_answers = True
        try:
            locked = job.lock(id)
        except StoreUnavailable as error:
            refused.append(str(error))
        else:
            assert locked, "locked, but by whom?"
        proxy.resume()
    assert all(refused)
    assert refused, "no answer was lost"


def test_a_lost_answer_that_the_client_asks_for_again(job: Job, proxy: Proxy) -> None:
    """If only one answer is lost, and the client asks again by itself, who has got the lock is told so."""
    for id in map(str, range(30)):
        job.get("of no matter")
        proxy.cuts_one_answer = True
        with suppress(StoreUnavailable):
            assert job.lock(id), "locked, but by whom?"
        proxy.resume()


def test_the_outside_is_told_that_nobody_is_let_through(job: Job, proxy: Proxy) -> None:
    """At once, in one line of text, and everything works again as soon as the network does."""
    assert job.lock("7")
    proxy.refuse()
    for call in (lambda: job.get("7"), lambda: job.lock("8"), lambda: job.cancel("7"), job.list):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as raised:
            call()
        assert time.monotonic() - began < 5.0
        assert len(str(raised.value).splitlines()) == 1
    proxy.resume()
    assert job.lock("8")
    assert state_of(job, "7").is_pending


@pytest.mark.parametrize("through", ["redis", "django-redis"])
def test_a_server_without_space(through: str, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """One that takes no more tells so to those outside, and nothing to the job; all comes right when it has space."""
    caplog.set_level(logging.WARNING, "job_progress")
    if through == "django-redis":
        with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=valkey.url) as url:
            _runs_out_of_space(job_at(url), valkey, caplog)
    else:
        _runs_out_of_space(job_at(valkey.url), valkey, caplog)


def valkey_has_space(valkey: ValkeyServer) -> None:
    """From now on it takes as much as there is."""
    with valkey.client() as client:
        client.config_set("maxmemory", "0")


def _runs_out_of_space(job: Job, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    assert job.lock("pending")
    with valkey.client() as client:
        with job.start("7") as progress:
            progress.update(0.1).flush()
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
            progress.update(0.5, message="meanwhile")
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                job.lock("8")
            assert state_of(job, "7").progress == 0.1  # to read takes no space
            eventually(lambda: "maxmemory" in caplog.text)
            client.config_set("maxmemory", "0")
            eventually(lambda: state_of(job, "7").message == "meanwhile")
            assert job.lock("8")
            client.config_set("maxmemory", "1")
            progress.update(0.7, message="at the end")
            timer = threading.Timer(0.5, valkey_has_space, [valkey])
            timer.start()
        timer.join()
    state = state_of(job, "7")
    assert (state.status, state.attempt, state.message) == ("completed", 1, "at the end")
    job.tracker.close()
