"""What only the store in a Django cache does: locks, listings made of pages, and what backends get wrong."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, transaction
from django.test.utils import override_settings

from job_progress import StoreUnavailable
from job_progress.stores import Conflict, Query, Record, Store, django_cache_index, django_cache_locks, open_store
from job_progress.stores.django_cache import DjangoCacheStore
from job_progress.stores.django_cache_locks import Busy, CacheLocks, FileLocks, Lease, Locks
from job_progress.stores.django_cache_values import SHARDS, boot, shard_of
from job_progress.testing import frozen_clock
from tests.processes.child import Launch
from tests.servers.django_caches import BACKENDS, SPACE, URL, cache_settings, states_cache
from tests.servers.valkey import ValkeyServer
from tests.stores import django_bodies
from tests.stores.changes import change, forget, load, names, put, swap
from tests.stores.unreliable_cache import Hook, UnreliableCache
from tests.waiting import eventually

pytestmark = pytest.mark.environment("main", "django6")

BETWEEN_PROCESSES = ["django_database_url", "django_file_url", "django_redis_url"]


@contextmanager
def opened(url: str = URL) -> Iterator[DjangoCacheStore]:
    """The store, closed in the end."""
    store = open_store(url, "test")
    assert isinstance(store, DjangoCacheStore)
    yield store
    store.close()


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[DjangoCacheStore]:
    """An empty store; by default in this process's memory."""
    with opened(request.getfixturevalue(getattr(request, "param", "django_locmem_url"))) as store:
        yield store


@pytest.fixture
def unreliable() -> Iterator[dict[str, Hook]]:
    """The hooks of a cache that `opened` opens; none, at first."""
    with cache_settings(BACKEND="tests.stores.unreliable_cache.UnreliableCache", OPTIONS=SPACE):
        caches["states"].clear()
        UnreliableCache.hooks.clear()
        yield UnreliableCache.hooks
        UnreliableCache.hooks.clear()


def unavailable(store: Store) -> str:
    """The one line with which every method of *store* says that it is unavailable."""
    messages: set[str] = set()
    for use in (
        partial(store.load, ["key"]),
        partial(store.swap, [change()]),
        partial(store.list, Query(limit=1)),
        store.sweep,
    ):
        with pytest.raises(StoreUnavailable) as error:
            use()
        messages.add(str(error.value))
        assert error.value.__cause__
    message = messages.pop()
    assert "\n" not in message
    return message


def run(program: str) -> str:
    """What a program says that has no Django settings."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


# Which cache.


def test_the_cache_that_a_url_names() -> None:
    """`django-cache://alias`, or the default; nothing is opened, not even to find out whether there is one."""
    assert open_store("django-cache://", "test").describe() == "Django cache 'default'"
    assert open_store("django-cache://elsewhere", "test").describe() == "Django cache 'elsewhere'"


def test_a_cache_that_is_not_in_the_settings(django_locmem_url: str) -> None:
    """The error names it, and those that are."""
    message = unavailable(open_store("django-cache://elsewhere", "test"))
    assert message == (
        "cannot use the Django cache 'elsewhere': the setting CACHES knows only 'default', 'states': add it there"
    )


def test_without_settings() -> None:
    """The error says which variable names them."""
    said = run(
        "from job_progress.stores import open_store\n"
        "try: open_store('django-cache://', 'test').load(['key'])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert said.startswith("StoreUnavailable cannot use the Django cache 'default': Requested setting CACHES")
    assert "DJANGO_SETTINGS_MODULE" in said


def test_without_django() -> None:
    """The error says what to install."""
    said = run(
        "import sys; sys.modules['django.core.cache'] = None\n"
        "from job_progress.stores import open_store\n"
        "try: open_store('django-cache://', 'test')\n"
        "except ImportError as error: print(error)"
    )
    assert said == "states in a Django cache need Django: pip install 'job-progress[django]'\n"


def test_a_cache_that_keeps_nothing_is_refused() -> None:
    """The one for development."""
    with cache_settings(BACKEND=f"{BACKENDS}.dummy.DummyCache"):
        assert "it keeps nothing" in unavailable(open_store(URL, "test"))


@pytest.mark.parametrize("location", ["redis://one,redis://two", "redis://one;redis://two", ["redis://1", "redis://2"]])
def test_replicas_of_redis_are_refused(location: str | list[str]) -> None:
    """What is read there may be of before the last change."""
    with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=location):
        assert "replicas, which lag behind" in unavailable(open_store(URL, "test"))


class ReadsElsewhere:
    """A database router for replicas."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return "replica"


def test_replicas_of_a_database_are_refused(django_database_url: str) -> None:
    """The same."""
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.ReadsElsewhere"]):
        assert "another database than it writes to" in unavailable(open_store(URL, "test"))


# What goes wrong in it.


def test_a_server_that_is_away(valkey: ValkeyServer) -> None:
    """The error says what the client says; when the server is back all is well."""
    with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=valkey.url), opened() as store:
        put(store, change())
        valkey.stop()
        assert unavailable(store).startswith("cannot use the Django cache 'states': ")
        valkey.start()
        eventually(lambda: answers(store))
        put(store, change("another"))


def test_a_server_that_stands_still(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than `CALL_TIMEOUT`, though the client would wait for ever."""
    monkeypatch.setattr("job_progress.stores.django_cache.CALL_TIMEOUT", 0.3)
    with cache_settings(BACKEND=f"{BACKENDS}.redis.RedisCache", LOCATION=valkey.url), opened() as store:
        put(store, change())
        valkey.freeze()
        assert unavailable(store) == "cannot use the Django cache 'states': it does not answer for 0.3 s"
        valkey.thaw()
        eventually(lambda: answers(store))
        put(store, change("another", version=2))


def answers(store: Store) -> bool:
    """Does it, or is it unavailable?"""
    try:
        return load(store) == Record(1, b"value")
    except StoreUnavailable:
        return False


def test_a_table_that_is_not_there() -> None:
    """The error names it."""
    with cache_settings(BACKEND=f"{BACKENDS}.db.DatabaseCache", LOCATION="missing"), opened() as store:
        assert "no such table: missing" in unavailable(store)


def test_a_folder_that_is_deleted(tmp_path: Path, django_file_url: str) -> None:
    """It is made anew, empty."""
    with opened() as store:
        put(store, change())
        folder = tmp_path / "cache"
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        assert load(store) is None
        put(store, change())
        assert load(store) == Record(1, b"value")


def test_a_write_that_fails_without_saying_so(unreliable: dict[str, Hook]) -> None:
    """It is tried again, as a database may have been busy; what cannot be written raises `StoreUnavailable`."""
    failures = [False, False, False]
    unreliable["set_many"] = lambda cache, keys: failures.pop() if failures else True
    with opened() as store:
        put(store, change())
        assert load(store) == Record(1, b"value")
        unreliable["set_many"] = lambda cache, keys: False
        with pytest.raises(StoreUnavailable, match="it does not keep what is written"):
            store.swap([change("another")])
        assert names(store) == ["value"]


def test_a_lock_that_is_lost_in_the_middle(unreliable: dict[str, Hook]) -> None:
    """If the cache is emptied between lock and write nobody is told that the change was made."""
    unreliable["set_many"] = lambda cache, keys: cache.clear()
    with opened() as store:
        with pytest.raises(StoreUnavailable, match="it has lost a lock of a moment ago"):
            store.swap([change()])
        unreliable.clear()
        forget(store, "key")
        put(store, change())


def test_a_lock_that_the_backend_fails_to_make(unreliable: dict[str, Hook]) -> None:
    """Where nobody holds it, it is tried again."""
    failures = [False, False, False]
    unreliable["add"] = lambda cache, keys: failures.pop() if failures else True
    with opened() as store:
        put(store, change())
        assert failures == []


def test_a_change_that_is_cut_off_in_the_middle(unreliable: dict[str, Hook]) -> None:
    """The entry without a record is not listed, and the change may be made again; both are listed once."""

    def cut_off(cache: UnreliableCache, keys: list[str]) -> None:
        if any("-state-" in key for key in keys):
            raise ConnectionError

    with opened() as store:
        put(store, change("before", value=b"before"))
        unreliable["set_many"] = cut_off
        with pytest.raises(StoreUnavailable, match=r"cannot use the Django cache 'states': ConnectionError$"):
            store.swap([change()])
        with pytest.raises(StoreUnavailable):
            store.swap([change("before", expected=1, version=2, status="failed")])
        unreliable.clear()
        assert names(store) == ["before"]
        put(store, change(), change("before", value=b"before", expected=1, version=2, status="failed"))
        assert names(store) == ["before", "value"]


@pytest.mark.parametrize("cut", ["state", "page"])
def test_a_new_status_that_is_cut_off_in_the_middle(
    django_locmem_url: str, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """The state is listed as what it is, at once or after a sweep: a dead run is found by its status."""
    write = LocMemCache.set

    def set_until(cache: LocMemCache, key: str, *rest: Any, **more: Any) -> None:
        if f"-{cut}-" in key:
            raise ConnectionError
        write(cache, key, *rest, **more)

    with opened(django_locmem_url) as store:
        put(store, change(status="processing"))
        with monkeypatch.context() as patch:
            patch.setattr(LocMemCache, "set", set_until)
            with pytest.raises(StoreUnavailable):
                store.swap([change(expected=1, version=2, status="failed")])
        status = "processing" if cut == "state" else "failed"
        assert (load(store), names(store)) == (Record(1 if cut == "state" else 2, b"value"), ["value"])
        store.sweep()
        assert names(store) == ["value"]
        for one in ("processing", "failed"):
            assert len(store.list(Query(limit=10, statuses=[one]))) == (one == status)


# Locks.


@pytest.mark.parametrize("url", BETWEEN_PROCESSES)
def test_of_many_processes_one_adds_each_record(url: str, launch: Launch, request: pytest.FixtureRequest) -> None:
    """Eight processes add the same hundred records at once: each is added by exactly one, who finds its own."""
    url = request.getfixturevalue(url)
    children = [launch(django_bodies.add_each, url, 100) for _ in range(8)]
    assert [child.hear() for child in children] == ["ready"] * 8
    for child in children:
        child.tell()
    won = [number for child in children for number in child.hear(60).split()]
    assert sorted(won, key=int) == [str(number) for number in range(100)]
    with opened(url) as store:
        assert len(names(store)) == 100


@pytest.mark.parametrize("store", BETWEEN_PROCESSES, indirect=True)
def test_the_locks_of_a_killed_process(
    launch: Launch, store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken away from it after a while, by one of those who wait, who all wait on."""
    monkeypatch.setattr(django_cache_locks, "LEASE", 2.0)
    child = launch(django_bodies.stay_in_a_change, URL, 2.0)
    assert child.hear() == "locked"
    child.kill()
    others = [open_store(URL, "test") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda other: other.swap([change(f"{n}") for n in range(10)]), others))
    assert [[answer[number] for answer in answers].count(None) for number in range(10)] == [1] * 10
    for other in others:
        other.close()


@pytest.mark.parametrize("store", ["django_database_url", "django_redis_url"], indirect=True)
def test_a_process_that_stands_still_in_a_change(
    launch: Launch, store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it wakes up, others have its locks and have changed what it was about to change: it gives up."""
    monkeypatch.setattr(django_cache_locks, "LEASE", 2.0)
    child = launch(django_bodies.stay_in_a_change, URL, 2.0)
    assert child.hear() == "locked"
    child.stop()
    put(store, change())
    child.tell()
    child.resume()
    assert "it took too long to write to it, which was given up on the way" in child.hear()
    assert load(store) == Record(1, b"value")
    put(store, *(change(f"{number}") for number in range(10)))  # no lock was left, and none of another's let go


@pytest.mark.parametrize("kind", ["cache", "file"])
def test_a_lock_that_is_not_free(kind: str, request: pytest.FixtureRequest) -> None:
    """Waiting has an end, and then all is as before; when the lock is free it can be had."""
    request.getfixturevalue("django_locmem_url" if kind == "cache" else "django_file_url")
    mine: Locks = CacheLocks() if kind == "cache" else FileLocks("states")
    other: Locks = CacheLocks() if kind == "cache" else FileLocks("states")
    cache = states_cache()
    with mine.held(cache, ["b"], 0.0):
        began = time.monotonic()
        with pytest.raises(Busy, match="is at work on it"), other.held(cache, ["a", "b"], 0.1):
            pass
        assert time.monotonic() - began >= 0.1
        with other.held(cache, ["a"], 0.0):
            pass
    with other.held(cache, ["a", "b"], 0.0):
        pass


def test_who_has_lost_need_not_wait(store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others are at work, a change that cannot be made is answered; one that could be waits, to an end."""
    monkeypatch.setattr("job_progress.stores.django_cache_writer.LOCK_TIMEOUT", 1.0)
    put(store, change())
    wishes = [change(expected=expected, version=2) for expected in (1, 7)]
    with CacheLocks().held(states_cache(), [store._names.lock(shard_of("key"))], 0.0):
        assert swap(store, wishes[1]) == Conflict(Record(1, b"value"))
        assert swap(store, change()) == Conflict(Record(1, b"value"))
        with pytest.raises(StoreUnavailable, match="another process, thread or open transaction is at work on it"):
            store.swap(wishes[:1])
    assert swap(store, wishes[0]) is None


def test_a_lock_is_taken_away_by_one_only(django_locmem_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as somebody else is about to take away the lock of a dead process, nobody does so, too."""
    monkeypatch.setattr(django_cache_locks, "LEASE", 0.05)
    locks, cache = CacheLocks(), states_cache()
    cache.set("name", "dead", None)
    cache.set("name-dead", "another", None)
    with pytest.raises(Busy), locks.held(cache, ["name"], 0.2):
        pass
    assert cache.get("name") == "dead"
    cache.delete("name-dead")
    with locks.held(cache, ["name"], 0.2) as lease:
        assert cache.get("name") == lease.token
    assert cache.get("name") is None


def test_a_lock_that_was_asked_for_in_vain_keeps_nobody_waiting(
    django_locmem_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent server may add it after all; who asked, and got no answer, knows that nobody holds it."""
    locks, cache = CacheLocks(), states_cache()
    add = cache.add

    def add_and_say_nothing(*args: Any) -> bool:
        add(*args)
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(cache, "add", add_and_say_nothing)
        patch.setattr(cache, "delete_many", lambda names: None)  # a silent server takes nothing away, either
        with pytest.raises(TimeoutError), locks.held(cache, ["name"], 0.0):
            pass
    assert cache.get("name") is not None
    with pytest.raises(Busy), CacheLocks().held(cache, ["name"], 0.05):
        pass
    with locks.held(cache, ["name"], 0.5) as lease:
        assert cache.get("name") == lease.token


def test_who_took_too_long_writes_nothing_and_lets_go_of_nothing(
    store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the lock may be another's by now."""
    monkeypatch.setattr("job_progress.stores.django_cache_writer.LOCK_TIMEOUT", 0.0)
    put(store, change())
    monkeypatch.setattr(django_cache_locks, "LEASE", 0.0)
    with pytest.raises(StoreUnavailable, match="it took too long to read from it, so that nothing was changed"):
        store.swap([change(expected=1, version=2)])
    assert load(store) == Record(1, b"value")
    assert states_cache().get(store._names.lock(shard_of("key"))) is not None


def test_nothing_is_made_of_what_lives_no_time(store: DjangoCacheStore) -> None:
    """Where nothing is, a change whose lifetime is over changes nothing."""
    assert swap(store, change(lifetime=0)) is None
    assert load(store) is None
    assert cached("state") == cached("page") == cached("directory") == []


def test_locks_on_files_are_not_inherited(django_file_url: str) -> None:
    """A forked child closes the files, so that they are free when its parent lets go, or ends."""
    locks, cache = FileLocks("states"), states_cache()
    with pytest.raises(ValueError, match="closed file"), locks.held(cache, ["name"], 0.0):
        locks.reset_after_fork()
        with FileLocks("states").held(cache, ["name"], 0.0) as lease:
            assert lease == Lease()


@pytest.mark.parametrize("url", BETWEEN_PROCESSES)
def test_a_fork_between_two_changes(url: str, launch: Launch, request: pytest.FixtureRequest) -> None:
    """The child uses no connection and no thread of its parent's, and both go on."""
    child = launch(django_bodies.fork_after_use, request.getfixturevalue(url))
    assert child.hear() == "all is well"
    assert child.ends() == 0


# Transactions and connections.


def test_a_transaction_that_is_rolled_back_takes_nothing_with_it(django_database_url: str) -> None:
    """A request that fails after it has locked an id: the state stays, and others see it all the time."""
    with opened() as store, opened() as other:
        put(store, change("before"))
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            assert states_cache().get("x") is None  # so that the transaction has begun
            put(store, change())
            assert load(other) == Record(1, b"value")
            raise ZeroDivisionError
        assert load(store) == load(other) == Record(1, b"value")


def test_no_connection_is_left_behind(django_database_url: str) -> None:
    """Neither in the thread that asks, nor in the store's own."""

    def is_open() -> bool:
        return connections["default"].connection is not None

    def use(store: Store) -> bool:
        put(store, change())
        assert names(store) == ["value"]
        return is_open()

    with opened() as store:
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(use, store).result()
        assert not store._reading.run(is_open)
        assert not store._writing.run(is_open)


# Time.


def test_what_comes_from_another_machine_goes_by_the_wall_clock(
    store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age, and its end; what comes from a clock that is ahead is new."""
    with frozen_clock() as clock:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("job_progress.stores.django_cache_values.boot", lambda: "elsewhere")
            put(store, change(lifetime=100))
        clock.tick(60)
        record = load(store)
        assert record
        assert record.age == 60
        clock.tick(-90)
        record = load(store)
        assert record
        assert record.age == 0
        clock.tick(131)
        assert load(store) is None


def test_where_the_system_does_not_tell_its_boots(
    store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All goes by the wall clock."""
    monkeypatch.setattr("job_progress.stores.django_cache_values.BOOT_ID", tmp_path / "missing")
    boot.cache_clear()
    try:
        assert boot() == ""
        with frozen_clock() as clock:
            put(store, change(lifetime=100))
            clock.tick(60)
            record = load(store)
            assert record
            assert record.age == 60
    finally:
        boot.cache_clear()


def test_a_server_forgets_by_itself_but_not_too_early(django_redis_url: str, shared_valkey: ValkeyServer) -> None:
    """It knows whole seconds, and a fraction counts as one; a minute is added for what clocks differ."""
    with opened() as store, shared_valkey.client() as client:
        put(store, change(lifetime=0.5))
        [key] = client.keys("*-state-*")
        assert 58 <= client.ttl(key) <= 61
        time.sleep(0.5)
        assert load(store) is None


# Listing.


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of four entries."""
    monkeypatch.setattr(django_cache_index, "PAGE_ENTRIES", 4)


def cached(kind: str) -> list[str]:
    """The keys of a kind in the cache in memory."""
    held: dict[str, bytes] = vars(states_cache())["_cache"]
    return [key for key in held if f"job-progress-{kind}-" in key]


@pytest.mark.usefixtures("small_pages")
def test_many_pages(store: DjangoCacheStore) -> None:
    """However records come, go and move, they are listed in order, from the beginning and from anywhere."""
    dice = random.Random(7)
    created: dict[str, int] = {}
    versions: dict[str, int] = {}
    for turn in range(300):
        key = f"{dice.randrange(150)}"
        if dice.random() < 0.2:
            forget(store, key)
            created.pop(key, None)
            versions.pop(key, None)
            continue
        created[key] = dice.randrange(50)
        put(
            store,
            change(key, expected=versions.get(key, 0), version=turn + 1, value=key.encode(), created=created[key]),
        )
        versions[key] = turn + 1
    in_order = sorted(created, key=lambda key: (-created[key], key))
    assert names(store) == in_order
    assert len(cached("page")) > 2 * SHARDS
    for position in range(0, len(in_order), 7):
        after = (created[in_order[position]], in_order[position])
        assert names(store, after=after, limit=10) == in_order[position + 1 : position + 11]
    assert store.list(Query(limit=10, job="other")) == []


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("store", ["django_locmem_url", "django_file_url", "django_database_url"], indirect=True)
def test_a_sweep_leaves_nothing_of_what_has_expired(store: DjangoCacheStore) -> None:
    """Neither records, nor pages, nor the space of locks; where the backend does not forget by itself as well."""
    with frozen_clock() as clock:
        put(store, *(change(f"{number}", lifetime=10, created=number) for number in range(100)))
        clock.tick(11)
        put(store, change("new", value=b"new"))
        store.sweep()
        assert names(store) == ["new"]
        keys = [f"{number}" for number in range(100)]
        assert states_cache().get_many([store._names.state(key) for key in [*keys, "new"]]).keys() == {
            store._names.state("new")
        }
        directories = states_cache().get_many([store._names.directory(shard) for shard in range(SHARDS)])
        assert [len(directory) for directory in directories.values() if directory] == [1]
        forget(store, "new")
        store.sweep()
        assert names(store) == []
        put(store, change())
        assert names(store) == ["value"]


def test_changes_tidy_now_and_then(store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sweep, what has expired goes as well, as long as there are changes."""
    monkeypatch.setattr("job_progress.stores.django_cache.TIDY_EVERY", 0.0)
    with frozen_clock() as clock:
        put(store, *(change(f"{number}", lifetime=10) for number in range(30)))
        clock.tick(11)

        def tidy() -> bool:
            swap(store, change(version=1))
            return len(cached("state")) == 1

        assert eventually(tidy)


def test_tidying_waits_for_nobody(store: DjangoCacheStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lock is not free, it is left for the next time."""
    monkeypatch.setattr("job_progress.stores.django_cache.TIDY_EVERY", 0.0)
    elsewhere = (shard_of("key") + 1) % SHARDS
    monkeypatch.setattr("job_progress.stores.django_cache_writer.randrange", lambda _: elsewhere)
    with CacheLocks().held(states_cache(), [store._names.lock(elsewhere)], 0.0):
        began = time.monotonic()
        put(store, change())
        assert time.monotonic() - began < django_cache_locks.LOCK_TIMEOUT / 2


def test_a_listing_that_meets_much_that_has_expired_has_it_taken_away(
    unreliable: dict[str, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the next one need not go through it; if that fails, the answer is there all the same."""
    monkeypatch.setattr("job_progress.stores.django_cache.MANY_DEAD", 20)

    def fail(cache: UnreliableCache, keys: list[str]) -> None:
        raise ConnectionError

    with opened() as store, frozen_clock() as clock:
        put(store, *(change(f"{number}", lifetime=10) for number in range(30)), change("live", value=b"live"))
        clock.tick(11)
        unreliable["add"] = fail
        assert names(store) == ["live"]
        assert len(cached("state")) == 31
        unreliable.clear()
        assert names(store) == ["live"]
        assert len(cached("state")) == 1
        put(store, *(change(f"few {number}", lifetime=10) for number in range(10)))
        clock.tick(11)
        assert names(store) == ["live"]
        assert len(cached("state")) == 11


def test_pages_that_are_replaced_while_they_are_listed(
    unreliable: dict[str, Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is missed: the listing begins again."""
    with opened() as store, opened() as other:
        put(store, *(change(f"{number:02}", value=f"{number:02}".encode()) for number in range(60)))

        def replace(cache: UnreliableCache, keys: list[str]) -> None:
            if any("-page-" in key for key in keys):
                unreliable.clear()
                monkeypatch.setattr(django_cache_index, "PAGE_ENTRIES", 4)
                other.sweep()

        unreliable["get_many"] = replace
        assert names(store) == [f"{number:02}" for number in range(60)]
        assert not unreliable
        assert len(cached("page")) > 2 * SHARDS


def test_a_page_that_the_cache_has_lost(store: DjangoCacheStore) -> None:
    """What was listed on it is not, until it is to be listed elsewhere; all else is as before."""
    keys = [f"{number:02}" for number in range(60)]
    put(store, *(change(key, value=key.encode()) for key in keys))
    lost = shard_of(keys[0])
    [(_, page)] = states_cache().get(store._names.directory(lost))
    states_cache().delete(store._names.page(page))
    left = [key for key in keys if shard_of(key) != lost]
    assert names(store) == left
    assert states_cache().get(store._names.directory(lost)) == []  # nobody looks for it again
    assert None not in store.load(keys)
    put(store, change(keys[0], expected=1, version=2, value=b"00", status="failed"))
    assert names(store) == [keys[0], *left]
    states_cache().delete(store._names.directory(lost))
    assert names(store) == left
    put(store, change(keys[0], expected=2, version=3, value=b"00", status="completed"))
    assert names(store) == [keys[0], *left]


@pytest.mark.usefixtures("small_pages")
def test_threads_that_list_while_others_change(store: DjangoCacheStore) -> None:
    """What was there throughout is in every listing, and nothing is there twice."""
    lasting = [f"lasting {number}" for number in range(40)]
    put(store, *(change(key, value=key.encode(), created=number * 10) for number, key in enumerate(lasting)))
    stop = threading.Event()

    def keep_changing() -> None:
        with opened() as other:
            dice = random.Random(7)
            for turn in range(10_000):
                if stop.is_set():
                    break
                put(other, change(f"{turn}", value=b"%d" % turn, created=dice.randrange(400)))
                forget(other, f"{turn - 30}")

    changing = threading.Thread(target=keep_changing)
    changing.start()
    try:
        for _ in range(30):
            listed = names(store, limit=10_000)
            assert [key for key in listed if key.startswith("lasting")] == lasting[::-1]
            assert len(set(listed)) == len(listed)
    finally:
        stop.set()
        changing.join()
