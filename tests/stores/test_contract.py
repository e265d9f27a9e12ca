"""What every store does alike; see `tests.stores.conftest` for which there are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

import pytest

from job_progress import clock
from job_progress.stores import Conflict, Query, Record, Store
from job_progress.stores.django_cache import DjangoCacheStore
from tests.stores.changes import change, forget, load, names, put, swap
from tests.stores.conftest import PUSHING, SHARED, Open, Time
from tests.waiting import eventually

ODD_KEYS = [
    "a:b", "*", "?", "[a]", "a/b", "..", "%s", "%", "_", "ü✓", "u\u0308", "😀", "'", '"', "`", "\\", "{}", "#", "&=+",
    " ", " a b ", "a,b", "; DROP TABLE states; --", "A", "a", "0", "00", "None", "\t", "x" * 400,
]  # fmt: skip


# What is there.


def test_an_empty_store_knows_nothing(store: Store) -> None:
    """Before the first change every key is missing and the listing is empty."""
    assert store.load(["a", "b"]) == [None, None]
    assert names(store) == []


def test_what_was_put_is_loaded_in_the_order_asked_for(store: Store) -> None:
    """`load` answers key by key, with `None` for what is missing, and twice for what is asked twice."""
    put(store, change("a", version=3, value=b"A"), change("b", version=5, value=b"B"))
    a, b = Record(3, b"A"), Record(5, b"B")
    assert store.load(["b", "missing", "a", "b"]) == [b, None, a, b]


def test_calls_about_nothing_do_nothing(store: Store) -> None:
    """No keys and no changes are answered with nothing, and nothing happens."""
    put(store, change("a"))
    assert store.load([]) == []
    assert store.swap([]) == []
    assert store.load(["a"]) == [Record(1, b"value")]


def test_what_is_deleted_is_gone(store: Store) -> None:
    """A change whose lifetime is over leaves nothing at its key, and others alone."""
    put(store, change("a"), change("b"), change("c"))
    forget(store, "a", "unknown", "c")
    assert store.load(["a", "b", "c"]) == [None, Record(1, b"value"), None]
    assert len(names(store)) == 1


def test_a_deleted_key_may_be_put_again(store: Store) -> None:
    """Then the key is as if it had never been."""
    put(store, change(version=7))
    forget(store, "key")
    assert swap(store, change(expected=7, version=8)) == Conflict(None)
    put(store, change(expected=0, version=2))
    assert load(store) == Record(2, b"value")


# Compare and swap.


def test_a_change_that_expects_nothing_is_made_where_nothing_is(store: Store) -> None:
    """`expected=0` makes the record if it is missing, and only then; the conflict says what is there."""
    assert swap(store, change(version=4, value=b"first")) is None
    assert swap(store, change(version=9, value=b"second")) == Conflict(Record(4, b"first"))
    assert load(store) == Record(4, b"first")


def test_a_change_replaces_only_the_version_it_expects(store: Store) -> None:
    """A smaller or larger expected version is a conflict, and changes nothing."""
    put(store, change(version=4, value=b"first"))
    for wrong in (3, 5):
        assert swap(store, change(expected=wrong, version=9)) == Conflict(Record(4, b"first"))
    assert load(store) == Record(4, b"first")
    assert swap(store, change(expected=4, version=9, value=b"second")) is None
    assert load(store) == Record(9, b"second")


def test_a_change_to_what_is_missing_conflicts_with_nothing(store: Store) -> None:
    """An expected version of a record that is not there is a conflict that shows that."""
    assert swap(store, change(expected=4, version=5)) == Conflict(None)
    assert load(store) is None


def test_versions_are_compared_exactly(store: Store) -> None:
    """Versions are microseconds by now: neighbours of that size are told apart."""
    version = 1_893_456_000_123_456
    put(store, change(version=version))
    assert swap(store, change(expected=version + 1, version=version + 2)) == Conflict(Record(version, b"value"))
    assert swap(store, change(expected=version, version=version + 1)) is None
    assert load(store) == Record(version + 1, b"value")


def test_each_change_of_a_batch_stands_for_itself(store: Store) -> None:
    """In one call some changes are made and others conflict; each answer is in its place."""
    put(store, change("a", value=b"A"), change("b", value=b"B"), change("c", value=b"C"))
    answers = store.swap(
        [
            change("a", expected=1, version=2, value=b"A2"),
            change("b", expected=7, version=8, value=b"B8"),
            change("new", value=b"N"),
            change("missing", expected=1, version=2),
            change("c", expected=0, version=2),
        ]
    )
    assert answers == [None, Conflict(Record(1, b"B")), None, Conflict(None), Conflict(Record(1, b"C"))]
    assert store.load(["a", "b", "new", "missing", "c"]) == [
        Record(2, b"A2"),
        Record(1, b"B"),
        Record(1, b"N"),
        None,
        Record(1, b"C"),
    ]


def race(stores: Sequence[Store], target: int = 120) -> None:
    """A thread per store raises the counter below one key, which they share, to *target*."""
    begin = threading.Barrier(len(stores))

    def count(store: Store) -> list[int]:
        won: list[int] = []
        version = 0
        begin.wait()
        while version < target:
            wish = change(expected=version, version=version + 1, value=f"{version + 1}".encode())
            conflict = swap(store, wish)
            if conflict is None:
                version += 1
                won.append(version)
            else:
                assert conflict.current is not None
                assert conflict.current.version > version
                assert conflict.current.value == f"{conflict.current.version}".encode()
                version = conflict.current.version
        return won

    with ThreadPoolExecutor(len(stores)) as pool:
        won = [version for versions in pool.map(count, stores) for version in versions]
    assert sorted(won) == list(range(1, target + 1))


def test_of_many_threads_exactly_one_wins_each_version(store: Store) -> None:
    """Eight threads raise one counter through one store: no version is won twice, and none is lost."""
    race([store] * 8)


@pytest.mark.parametrize("store_url", SHARED, indirect=True)
def test_of_many_connections_exactly_one_wins_each_version(open_with: Open) -> None:
    """The same, through a store each."""
    race([open_with("test") for _ in range(8)])


# Odd and large.


def test_any_key_will_do(store: Store) -> None:
    """Keys that mean something to a pattern, a path, a query or a format are only keys."""
    put(store, *(change(key, version=number, value=key.encode()) for number, key in enumerate(ODD_KEYS, 1)))
    expected = [Record(number, key.encode()) for number, key in enumerate(ODD_KEYS, 1)]
    assert store.load(ODD_KEYS) == expected
    for number, key in enumerate(ODD_KEYS, 1):
        assert swap(store, change(key, expected=0, version=99)) == Conflict(expected[number - 1])
    assert sorted(names(store)) == sorted(ODD_KEYS)
    for position, key in enumerate(ODD_KEYS):
        forget(store, key)
        assert store.load(ODD_KEYS[: position + 2]) == [None] * (position + 1) + expected[position + 1 : position + 2]


def test_any_label_will_do(store: Store) -> None:
    """Job names are compared as they are, in their case and without patterns."""
    put(store, *(change(f"{number}", value=job.encode(), job=job) for number, job in enumerate(ODD_KEYS)))
    for job in ODD_KEYS:
        found = store.list(Query(job=job, limit=10))
        assert [record.value.decode() for record in found] == [job]


def test_many_keys_at_once(store: Store) -> None:
    """Thousands of keys fit into one call of each method."""
    amount = 300 if isinstance(store, DjangoCacheStore) else 2000  # which takes them one by one
    keys = [f"key {number}" for number in range(amount)]
    put(store, *(change(key, value=key.encode()) for key in keys))
    assert store.load(["missing", *reversed(keys)]) == [None, *(Record(1, key.encode()) for key in reversed(keys))]
    again = store.swap([change(key, expected=number % 2, version=2) for number, key in enumerate(keys)])
    assert again == [None if number % 2 else Conflict(Record(1, key.encode())) for number, key in enumerate(keys)]
    assert len(names(store, limit=amount + 1)) == amount
    forget(store, *keys[1:])
    assert names(store) == [keys[0]]


@pytest.mark.parametrize("value", [b"", bytes(range(256)) * 257, b"x" * 1_000_000], ids=["none", "every byte", "1 MB"])
def test_values_are_kept_byte_for_byte(store: Store, value: bytes) -> None:
    """Empty, binary and large values come back as they were."""
    put(store, change(value=value))
    assert load(store) == Record(1, value)
    assert store.list(Query(limit=1)) == [Record(1, value)]
    assert swap(store, change()) == Conflict(Record(1, value))


# Time.


def test_a_record_is_forgotten_at_the_end_of_its_lifetime(store: Store, time: Time) -> None:
    """Until then it is there; from then on it is in no answer."""
    began = time.now()
    put(store, change("short", lifetime=time(10)), change("long", lifetime=time(1000), value=b"long"))
    time.passes(5)
    assert load(store, "short") == Record(1, b"value") or time.now() - began >= 10
    time.passes(6)
    assert store.load(["short", "long"]) == [None, Record(1, b"long")]
    assert names(store) == ["long"]


def test_an_expired_record_is_replaced_like_a_missing_one(store: Store, time: Time) -> None:
    """Where a record has expired, a change that expects it conflicts with nothing, one that expects nothing is made."""
    put(store, change(version=5, lifetime=time(10), job="old", status="failed", created=1))
    time.passes(11)
    assert swap(store, change(expected=5, version=6)) == Conflict(None)
    assert load(store) is None
    put(store, change(version=3, lifetime=time(100), value=b"new", job="new", status="pending", created=2))
    time.passes(9)
    assert load(store) == Record(3, b"new")
    assert store.list(Query(job="new", statuses={"pending"}, limit=9, after=(3, ""))) == [Record(3, b"new")]
    assert store.list(Query(job="old", limit=9)) == []


def test_each_change_gives_a_new_lifetime(store: Store, time: Time) -> None:
    """A record lives from its latest change, be that longer or shorter than before."""
    put(store, change("kept", lifetime=time(25)), change("dropped", lifetime=time(1000)))
    put(store, change("kept", expected=1, version=2, lifetime=time(100)))
    put(store, change("dropped", expected=1, version=2, lifetime=time(5)))
    time.passes(26)
    assert store.load(["kept", "dropped"]) == [Record(2, b"value"), None]


def test_a_sweep_takes_nothing_that_lives(store: Store, time: Time) -> None:
    """What has expired stays away, and all else is as it was, in the listing too."""
    put(store, *(change(f"dead {number}", lifetime=time(10)) for number in range(50)))
    put(store, change("live", lifetime=time(1000), value=b"live"))
    time.passes(11)
    store.sweep()
    assert names(store) == ["live"]
    assert store.load(["dead 7", "live"]) == [None, Record(1, b"live")]


def test_a_record_tells_its_age(store: Store, time: Time) -> None:
    """In every answer it is the time since the latest change of this very record."""

    def age(record: Record | None) -> float:
        assert record
        return record.age / time(1)

    def ages() -> list[float]:
        conflict = swap(store, change("a", expected=7, version=8))
        assert conflict
        [listed, _] = store.list(Query(limit=2))
        return [age(load(store, "a")), age(conflict.current), age(listed)]

    began = time.now()
    put(store, change("a", created=2), change("b", created=1))
    assert all(0 <= one < time.now() - began + 1 for one in ages())
    time.passes(10)
    assert all(10 <= one < time.now() - began + 1 for one in ages())
    changed = time.now()
    put(store, change("b", expected=1, version=2))
    assert age(load(store, "b")) < time.now() - changed + 1
    assert all(10 <= one < time.now() - began + 1 for one in ages())


def test_nobody_is_older_than_the_process_that_looks(store: Store) -> None:
    """Where the clock of the one who reads, or of the one who writes, is wrong by an hour, ages are right."""
    hour = timedelta(hours=1)
    for name, wrong in enumerate((hour, -hour), 1):
        put(store, change(f"before {name}", lifetime=86400))
        clock.set_clock(lambda wrong=wrong: datetime.now(UTC) + wrong, monotonic)  # type: ignore[misc]
        try:
            put(store, change(f"after {name}", lifetime=86400))
            found = store.load([f"before {name}", f"after {name}"])
        finally:
            clock.set_clock(None)
        for record in (*found, load(store, f"after {name}")):
            assert record
            assert 0 <= record.age < 10


# Listing.


def test_the_newest_comes_first_and_ties_go_by_key(store: Store) -> None:
    """The order is by `created` falling, then by key rising, whatever the order of the changes."""
    created = {"e": 1, "b": 3, "d": 2, "A": 2, "ü": 2, "a": 3, "c": 2, "~": 2}
    put(store, *(change(key, value=key.encode(), created=moment) for key, moment in created.items()))
    assert names(store) == ["a", "b", "A", "c", "d", "~", "ü", "e"]


def test_a_replaced_record_is_listed_as_it_is_now(store: Store) -> None:
    """A change moves the record to its new labels and place, and leaves nothing at the old."""
    put(store, change("a", value=b"a", status="pending", created=1), change("b", value=b"b", created=2))
    put(store, change("a", expected=1, version=2, value=b"A", job="other", status="failed", created=3))
    assert names(store) == ["A", "b"]
    assert store.list(Query(job="job", limit=9)) == [Record(1, b"b")]
    assert store.list(Query(statuses={"pending"}, limit=9)) == [Record(1, b"b")]
    assert store.list(Query(job="other", statuses={"failed"}, limit=9)) == [Record(2, b"A")]


def test_a_change_that_conflicts_leaves_the_listing_alone(store: Store) -> None:
    """What was not made is not listed."""
    put(store, change("a", value=b"a"))
    swap(store, change("a", expected=9, version=10, job="other", status="failed", created=5))
    swap(store, change("b", expected=9, version=10))
    assert names(store) == ["a"]
    assert store.list(Query(job="other", limit=9)) == []
    assert store.list(Query(statuses={"failed"}, limit=9)) == []


def test_listing_by_job_and_status(store: Store) -> None:
    """Both, either or neither may be given; several statuses are any of them, none of them is none."""
    jobs, statuses = ("a", "b"), ("pending", "failed", "completed")
    for job in jobs:
        for number, status in enumerate(statuses):
            put(store, change(job + status, value=(job + status).encode(), job=job, status=status, created=-number))

    def listed(job: str | None, wanted: set[str] | None) -> list[str]:
        return [record.value.decode() for record in store.list(Query(job=job, statuses=wanted, limit=99))]

    assert listed("a", None) == ["apending", "afailed", "acompleted"]
    assert listed("b", {"failed"}) == ["bfailed"]
    assert listed("b", {"completed", "pending"}) == ["bpending", "bcompleted"]
    assert listed(None, {"completed", "pending"}) == ["apending", "bpending", "acompleted", "bcompleted"]
    assert len(listed(None, None)) == 6
    assert listed("c", None) == listed("a", {"cancelled"}) == listed("a", set()) == []


def test_a_listing_is_no_longer_than_its_limit(store: Store) -> None:
    """The first so many are listed, also of a job or status."""
    put(
        store, *(change(f"{number}", value=b"%d" % number, job=f"{number % 2}", created=-number) for number in range(9))
    )
    for limit in (1, 2, 9, 10, 1_000_000):
        assert names(store, limit=limit) == [f"{number}" for number in range(9)][:limit]
    odd = store.list(Query(job="1", statuses={"pending"}, limit=2))
    assert [record.value for record in odd] == [b"1", b"3"]


def test_a_page_begins_right_after_the_cursor(store: Store) -> None:
    """Also where several were created in the same microsecond, and where the cursor's own record is not there."""
    created = {"a1": 1, "m1": 1, "z1": 1, "a2": 2, "m2": 2, "z2": 2}
    put(store, *(change(key, value=key.encode(), created=moment) for key, moment in created.items()))
    everything = names(store)
    assert everything == ["a2", "m2", "z2", "a1", "m1", "z1"]
    for position, key in enumerate(everything):
        assert names(store, after=(created[key], key)) == everything[position + 1 :]
    assert names(store, after=(3, "a")) == everything
    assert names(store, after=(2, "")) == everything
    assert names(store, after=(2, "b")) == everything[1:]
    assert names(store, after=(2, "zz")) == everything[3:]
    assert names(store, after=(1, "zz")) == []
    assert names(store, after=(0, "")) == []


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pages_stay_right_while_records_come_and_go(store: Store, size: int) -> None:
    """Whoever turns the pages sees all that was there throughout, in order, and nothing twice."""
    at_first = {f"k{number:02}": number // 3 for number in range(30)}
    put(store, *(change(key, value=key.encode(), created=moment) for key, moment in at_first.items()))
    seen: list[str] = []
    deleted: list[str] = []
    after: tuple[int, str] | None = None
    while page := names(store, limit=size, after=after):
        seen += page
        after = (at_first[page[-1]], page[-1])
        # A new one comes to the top; the last that was shown and the next to be shown go.
        put(store, change(f"new {len(seen)}", value=b"new", created=1000))
        gone = [page[-1], *names(store, limit=1, after=after)]
        deleted += gone
        forget(store, *gone)
    by_age = sorted(at_first, key=lambda key: (-at_first[key], key))
    assert seen == [key for key in by_age if key in seen]
    assert set(at_first) - set(deleted) < set(seen)
    assert set(deleted) - set(seen)


# Openings, prefixes and pushes.


def test_a_closed_store_may_be_used_again(store: Store) -> None:
    """`close` lets go of connections, not of records; twice does no harm."""
    store.close()
    put(store, change())
    store.close()
    store.close()
    assert load(store) == Record(1, b"value")


def test_a_description_opens_nothing(store: Store, store_url: str) -> None:
    """`describe` is a short text, the same before and after use, and needs no store."""
    before = store.describe()
    assert before
    assert "\n" not in before
    put(store, change())
    assert store.describe() == before


@pytest.mark.parametrize("store_url", SHARED, indirect=True)
def test_what_one_has_put_the_others_see(store: Store, open_with: Open) -> None:
    """Stores opened on one URL are one store."""
    other = open_with("test")
    put(store, change(value=b"mine"))
    assert load(other) == Record(1, b"mine")
    put(other, change(expected=1, version=2, value=b"yours"))
    assert swap(store, change(expected=1, version=2)) == Conflict(Record(2, b"yours"))
    forget(other, "key")
    assert load(store) is None


@pytest.mark.parametrize("prefixes", [("a", "b"), ("a", "a:b"), ("a", "A"), ("a", "*"), ("%", "_")])
@pytest.mark.parametrize("store_url", SHARED, indirect=True)
def test_prefixes_keep_applications_apart(open_with: Open, prefixes: tuple[str, str]) -> None:
    """What is below one prefix is not there below another, even if one begins like the other."""
    one, other = map(open_with, prefixes)
    put(one, change("key", value=b"one"), change("b:key", value=b"one, too", created=-1))
    assert other.load(["key", "b:key"]) == [None, None]
    assert names(other) == []
    put(other, change("key", version=2, value=b"other"))
    assert names(other) == ["other"]
    assert names(one) == ["one", "one, too"]
    forget(one, "key", "b:key")
    assert load(other) == Record(2, b"other")


@pytest.mark.parametrize("store_url", PUSHING, indirect=True)
def test_a_subscriber_is_told_which_keys_have_changed(store: Store, open_with: Open) -> None:
    """Each change to a key that is followed, made here or elsewhere, is pushed; a conflict is no change."""
    elsewhere = open_with("test") if store.describe() != "this process's memory" else store
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert subscription
    for key in ("a", "ü:%s*"):
        subscription.follow(key)
        assert eventually(partial(told.__contains__, key))  # as it does from now on
    told.clear()
    put(store, change("a"))
    swap(store, change("a", expected=7, version=8))
    put(store, change("unfollowed"))
    put(elsewhere, change("a", expected=1, version=2), change("ü:%s*"))
    assert eventually(lambda: len(told) >= 3)
    assert sorted(told) == ["a", "a", "ü:%s*"]
    subscription.close()


@pytest.mark.parametrize("store_url", PUSHING, indirect=True)
def test_who_no_longer_follows_is_told_no_more(store: Store) -> None:
    """Neither of the one key, nor of any after `close`; other subscriptions still are."""
    told: list[str] = []
    told_too: list[str] = []
    subscription, other = store.subscribe(told.append), store.subscribe(told_too.append)
    assert subscription
    assert other
    for key in ("a", "b"):
        subscription.follow(key)
        other.follow(key)
    assert eventually(lambda: set(told) == set(told_too) == {"a", "b"})
    subscription.unfollow("a")
    other.unfollow("never followed")
    told.clear()
    told_too.clear()
    put(store, change("a"), change("b"))
    assert eventually(lambda: sorted(told_too) == ["a", "b"] and told == ["b"])
    subscription.close()
    put(store, change("b", expected=1, version=2))
    assert eventually(lambda: sorted(told_too) == ["a", "b", "b"])
    assert told == ["b"]
    other.close()
    other.close()


@pytest.mark.parametrize("store_url", PUSHING, indirect=True)
def test_a_subscriber_finds_what_it_was_told_of(store: Store) -> None:
    """A push comes after the change, so that whoever loads upon it gets the new record."""
    found: list[Record | None] = []
    subscription = store.subscribe(lambda key: found.append(load(store, key)))
    assert subscription
    subscription.follow("a")
    assert eventually(lambda: found == [None])
    put(store, change("a", value=b"first"))
    assert eventually(lambda: found[1:])
    assert found[1] == Record(1, b"first")
    subscription.close()


@pytest.mark.parametrize("store_url", PUSHING, indirect=True)
def test_prefixes_keep_pushes_apart(open_with: Open) -> None:
    """A change below another prefix is not told."""
    mine, other = (open_with("a"), open_with("b"))
    told: list[str] = []
    subscription = mine.subscribe(told.append)
    assert subscription
    subscription.follow("key")
    subscription.follow("last")
    assert eventually(lambda: set(told) == {"key", "last"})
    told.clear()
    put(other, change("key"))
    put(mine, change("last"))
    assert eventually(lambda: told)
    assert told == ["last"]
    subscription.close()
