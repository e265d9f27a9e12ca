"""What only the store in PostgreSQL does: its table, its connections, and servers that are killed, frozen or strict."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import monotonic
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool

from job_progress import JobStatus, StoreUnavailable, Tracker
from job_progress.stores import Conflict, Query, Record, Store, open_store
from job_progress.stores import postgresql_connections as connections
from job_progress.stores import postgresql_push as push
from job_progress.stores.postgresql import DDL, SWEEP_BATCH, PostgreSQLStore
from job_progress.stores.postgresql_connections import Connections
from job_progress.stores.postgresql_push import PostgreSQLSubscription
from job_progress.stores.postgresql_statements import listing
from tests.processes import bodies
from tests.processes.child import Launch
from tests.processes.jobs import job_at
from tests.servers.postgresql import PostgreSQLServer
from tests.stores.changes import change, load, names, put, swap
from tests.waiting import eventually

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    """An empty store; its table is made at the first use."""
    with closing(open_store(postgresql_url, "test")) as store:
        yield store


@pytest.fixture
def private(postgresql: PostgreSQLServer) -> Iterator[Store]:
    """An empty store on a server that the test may do to as it likes."""
    with closing(open_store(postgresql.url, "test")) as store:
        yield store


@pytest.fixture
def sql(postgresql_url: str) -> Iterator[psycopg.Connection]:
    """A connection past the library, to the database of `store`."""
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        assert eventually(lambda: backends(connection) == 0)  # those that earlier tests have closed
        yield connection


def value_of(sql: psycopg.Connection, statement: str) -> Any:
    """The one value that *statement* answers with."""
    row = sql.execute(statement.encode()).fetchone()
    assert row
    return row[0]


def backends(sql: psycopg.Connection) -> int:
    """How many connections of the library the server has."""
    count: int = value_of(sql, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'job-progress'")
    return count


# The table.


def test_nothing_is_opened_before_the_first_use(sql: psycopg.Connection, postgresql_url: str) -> None:
    """Opening and describing touch no server; the description names it, and no user."""
    store = open_store(postgresql_url, "test")
    port = conninfo_to_dict(postgresql_url)["port"]
    assert store.describe() == f"PostgreSQL at 127.0.0.1:{port}, database postgres"
    assert backends(sql) == 0
    store.load(["key"])
    assert backends(sql) == 1
    store.close()
    assert eventually(lambda: backends(sql) == 0)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://", "localhost:5432, database someone"),
        ("postgres://app@db.example/", "db.example:5432, database app"),
        ("postgresql://app:secret@db.example:6432/jobs?sslmode=require", "db.example:6432, database jobs"),
        ("postgresql://app:sec?ret@one:1,two:2/jobs", "one,two:1,2, database jobs"),
        ("postgresql://app@/jobs?host=/run/postgresql", "/run/postgresql:5432, database jobs"),
        ("postgresql://?hostaddr=10.0.0.1&dbname=jobs", "10.0.0.1:5432, database jobs"),
    ],
)
def test_a_description_says_where_it_is(url: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, port and database are said, those that go without saying, too, and no password."""
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGUSER", "someone")
    assert open_store(url, "test").describe() == f"PostgreSQL at {where}"


def test_the_definition_makes_the_very_table(store: Store, sql: psycopg.Connection) -> None:
    """What `DDL` makes by hand is what a first use makes; run again it changes nothing."""
    shape = """
        SELECT json_agg(d ORDER BY d) FROM (
            SELECT pg_get_indexdef(indexrelid) AS d FROM pg_index WHERE indrelid = 'job_progress_states'::regclass
            UNION ALL SELECT concat(attname, atttypid::regtype, attnotnull, (SELECT collname FROM pg_collation
                WHERE oid = attcollation)) FROM pg_attribute WHERE attrelid = 'job_progress_states'::regclass
        )"""
    put(store, change())
    made = json.dumps(value_of(sql, shape))
    assert "keytexttC" in made.replace(" ", "")
    sql.execute("DROP TABLE job_progress_states")
    sql.execute(DDL.encode())
    assert json.dumps(value_of(sql, shape)) == made
    put(store, change())
    sql.execute(DDL.encode())
    assert load(store) == Record(1, b"value")


def test_many_make_the_table_at_once(launch: Launch, postgresql_url: str, sql: psycopg.Connection) -> None:
    """Eight processes use a database that has no table yet at the same time, five times: each record is made."""
    children = [launch(bodies.open_at_once) for _ in range(8)]
    for _ in range(5):
        sql.execute("DROP TABLE IF EXISTS job_progress_states")
        for child in children:
            child.tell(postgresql_url)
        assert [child.hear() for child in children] == ["None"] * len(children)
        assert value_of(sql, "SELECT count(*) FROM job_progress_states") == len(children)


def test_sixty_four_stores_make_the_table_at_once(postgresql_url: str) -> None:
    """The same from as many threads, with a connection each; one and the same key is made once."""
    begin = threading.Barrier(64)

    def use(number: int) -> tuple[object, object]:
        with closing(open_store(postgresql_url, "test")) as store:
            begin.wait()
            return swap(store, change(f"{number}")), swap(store, change("shared"))

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(use, range(64)))
    assert [own for own, _ in answers] == [None] * 64
    assert [shared for _, shared in answers].count(None) == 1


@pytest.fixture
def guest_url(sql: psycopg.Connection, postgresql_url: str) -> Iterator[str]:
    """The URL for a user who may make no table."""
    sql.execute("CREATE ROLE guest LOGIN")
    yield postgresql_url.replace("postgres@", "guest@")
    sql.execute("DROP OWNED BY guest")
    sql.execute("DROP ROLE guest")


def test_a_user_who_may_not_make_the_table(guest_url: str, sql: psycopg.Connection) -> None:
    """It is said what is missing and where to get it; with the table made by another, all is well."""
    with closing(open_store(guest_url, "test")) as store:
        with pytest.raises(StoreUnavailable) as unavailable:
            load(store)
        assert str(unavailable.value) == (
            f"{store.describe()} has no table job_progress_states, and this user may not make it: "
            "ask for the table (job-progress doctor prints its definition)"
        )
        sql.execute(DDL.encode())
        with pytest.raises(StoreUnavailable, match="permission denied for table job_progress_states"):
            load(store)
        sql.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON job_progress_states TO guest")
        put(store, change())
        assert load(store) == Record(1, b"value")


def test_an_examination_knows_server_and_table(store: Store, guest_url: str) -> None:
    """Which server, and how large the table; who may not make it is given its definition to pass on."""
    server, table = store.examine()
    assert re.fullmatch(r"server: PostgreSQL [0-9.]+", server.text)
    assert table.text == "table: job_progress_states is made at the first use"
    with closing(open_store(guest_url, "test")) as guest:
        _, missing = guest.examine()
    assert missing.text.startswith("there is no table job_progress_states")
    assert DDL in missing.advice
    put(store, change())
    _, table = store.examine()
    assert re.fullmatch(r"table: job_progress_states, about \d+ records, \d+ kB", table.text)
    assert not table.advice


def test_a_table_that_is_dropped_is_made_again(store: Store, sql: psycopg.Connection) -> None:
    """Whoever throws away the states has thrown away the states, and nothing else."""
    put(store, change())
    sql.execute("DROP TABLE job_progress_states")
    assert load(store) is None
    put(store, change())


# Changes.


def test_batches_in_any_order_never_wait_for_each_other(postgresql_url: str, sql: psycopg.Connection) -> None:
    """Six that make and replace the same records at the same time, each in its own order, meet no deadlock."""
    keys = [f"key {number}" for number in range(30)]
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    sql.execute("SELECT pg_stat_force_next_flush()")
    before = value_of(sql, deadlocks)

    def change_all(seed: int) -> int:
        order = random.Random(seed)
        made = 0
        with closing(open_store(postgresql_url, "test")) as store:
            known = dict.fromkeys(keys, 0)
            for _ in range(60):
                some = order.sample(keys, 20)
                wishes = [
                    change(key, expected=known[key], version=known[key] + 1, lifetime=order.choice((0, 60)))
                    for key in some
                ]
                for wish, conflict in zip(wishes, store.swap(wishes), strict=True):
                    if conflict is None:
                        made += 1
                        known[wish.key] = wish.version if wish.lifetime else 0
                    else:
                        known[wish.key] = conflict.current.version if conflict.current else 0
        return made

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(change_all, range(6))) > 30
    sql.execute("SELECT pg_stat_clear_snapshot()")
    assert value_of(sql, deadlocks) == before


def test_a_transaction_that_has_to_give_way_is_tried_again(postgresql_url: str, sql: psycopg.Connection) -> None:
    """Where a database isolates all transactions strictly, one that comes too late for that begins anew."""
    with closing(
        open_store(f"{postgresql_url}?options=-c%20default_transaction_isolation%3Dserializable", "test")
    ) as store:
        put(store, change())
        sql.execute("BEGIN")
        sql.execute("UPDATE job_progress_states SET value = 'touched'")
        with ThreadPoolExecutor(1) as pool:
            swapped = pool.submit(swap, store, change(expected=1, version=2))
            assert eventually(lambda: value_of(sql, WAITING))
            sql.execute("COMMIT")
            assert swapped.result() is None


def test_what_another_makes_meanwhile_is_the_conflict(store: Store, sql: psycopg.Connection) -> None:
    """A change that had to wait for another's, which it could not see when it began, is told of it all the same."""
    put(store, change("other", lifetime=0))
    sql.execute("BEGIN")
    sql.execute(
        "INSERT INTO job_progress_states VALUES ('test', 'key', 7, 'theirs', now(), 'infinity', now(), 'job', 'x', 0)"
    )
    with ThreadPoolExecutor(1) as pool:
        swapped = pool.submit(store.swap, [change("key"), change("fresh")])
        assert eventually(lambda: value_of(sql, WAITING))
        sql.execute("COMMIT")
        assert swapped.result() == [Conflict(Record(7, b"theirs")), None]


def test_what_another_removes_meanwhile_is_missing(store: Store, sql: psycopg.Connection) -> None:
    """A change that had to wait for a sweep conflicts with nothing."""
    put(store, change())
    sql.execute("BEGIN")
    sql.execute("DELETE FROM job_progress_states")
    with ThreadPoolExecutor(1) as pool:
        swapped = pool.submit(swap, store, change(expected=1, version=2))
        assert eventually(lambda: value_of(sql, WAITING))
        sql.execute("COMMIT")
        assert swapped.result() == Conflict(None)
    assert load(store) is None


def test_each_call_is_one_round_trip(postgresql: PostgreSQLServer) -> None:
    """So are loading, listing, and changes of one kind, however many, those that conflict included."""
    url = f"{postgresql.url}?options=-c%20log_statement%3Dall"
    with closing(open_store(url, "test")) as store:
        put(store, change("a"), change("b"))
        calls: list[Callable[[], object]] = [
            lambda: store.load(["a", "b", "c"]),
            lambda: store.list(Query(limit=5, statuses={"pending", "failed"})),
            lambda: store.swap([change("a"), change("c")]),
            lambda: store.swap([change("a", expected=1, version=2), change("b", expected=7, version=8)]),
        ]
        for call in calls:
            before = postgresql.log().count(" LOG:  execute ")
            call()
            assert postgresql.log().count(" LOG:  execute ") == before + 1


def test_statuses_of_the_library_are_labels(store: Store) -> None:
    """An enumeration's members are stored and found like their values."""
    put(store, change(status=JobStatus.FAILED))
    assert store.list(Query(limit=1, statuses={JobStatus.FAILED})) == store.list(Query(limit=1, statuses={"failed"}))
    assert names(store) == ["value"]


def test_lifetimes_without_end(store: Store) -> None:
    """More seconds than a timestamp can hold are as many as it can."""
    put(store, change("inf", lifetime=float("inf")), change("long", lifetime=1e300))
    assert store.load(["inf", "long"]) == [Record(1, b"value")] * 2


def test_what_no_database_can_hold(store: Store) -> None:
    """A character that PostgreSQL forbids, or a key too long for its index, fails the one call, and no other."""
    put(store, change())
    with pytest.raises(StoreUnavailable, match="NUL"):
        store.load(["a\0b"])
    noise = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    with pytest.raises(StoreUnavailable, match="index row"):
        swap(store, change(noise))
    assert load(store) == Record(1, b"value")


class LosesAnAnswer(psycopg.Connection[Any]):
    """A connection that breaks after the server has done what it was asked, and before that is known."""

    broken_once = False

    def wait(self, *args: Any, **options: Any) -> Any:
        answer = super().wait(*args, **options)
        if not type(self).broken_once:
            type(self).broken_once = True
            self.close()
            raise psycopg.OperationalError("the connection is lost")
        return answer


def test_a_change_whose_answer_was_lost_is_known_as_made(postgresql_url: str) -> None:
    """The second try finds the record that the first has left, and tells it from somebody else's."""
    with ConnectionPool(postgresql_url, min_size=0, max_size=1, open=True, connection_class=LosesAnAnswer) as pool:
        LosesAnAnswer.broken_once = True
        store = PostgreSQLStore(pool, "test")
        put(store, change("theirs", value=b"theirs"))
        LosesAnAnswer.broken_once = False
        answers = store.swap([change("mine"), change("theirs")])
        assert LosesAnAnswer.broken_once
        assert answers == [None, Conflict(Record(1, b"theirs"))]
        assert swap(store, change("mine")) == Conflict(Record(1, b"value"))


# Listing.


def scanned(plan: dict[str, Any]) -> int:
    """How many rows a plan took from the table."""
    own = plan["Actual Rows"] * plan["Actual Loops"] if "Scan" in plan["Node Type"] and "Relation Name" in plan else 0
    removed = plan.get("Rows Removed by Filter", 0) * plan["Actual Loops"]
    return int(own + removed) + sum(scanned(part) for part in plan.get("Plans", ()))


def test_a_page_of_many_records_is_read_and_no_more(store: Store, sql: psycopg.Connection) -> None:
    """Whatever is asked for, rare or common, only as many rows are touched as are shown, and no others."""
    load(store)  # which makes the table
    sql.execute("""
        INSERT INTO job_progress_states
        SELECT 'test', 'key ' || n, 1, repeat('x', 300)::bytea, now(), 'infinity', 'infinity',
            CASE WHEN n % 1000 = 7 THEN 'rare' ELSE 'job ' || n % 5 END,
            CASE WHEN n % 1000 = 3 THEN 'failed' WHEN n % 1000 = 1 THEN 'processing' ELSE 'completed' END, n
        FROM generate_series(1, 20000) AS n
        """)
    sql.execute("ANALYZE job_progress_states")
    for job in (None, "job 1", "job 3", "rare", "unknown"):
        for statuses in (None, ["completed"], ["failed"], ["pending"], ["completed", "failed", "processing"]):
            for after in (None, (10_000, "key 10000"), (10, "")):
                query = Query(limit=20, job=job, statuses=statuses, after=after)
                created, key = after or (None, None)
                values = {"prefix": "test", "job": job, "statuses": statuses, "created": created, "key": key}
                [[[explained]]] = sql.execute(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {listing(query)}".encode(), {**values, "limit": 20}
                ).fetchall()
                assert scanned(explained["Plan"]) <= 22 * len(statuses or [""]), (query, explained)


# Expiry.


def count(sql: psycopg.Connection) -> int:
    """How many rows the table has, expired or not."""
    rows: int = value_of(sql, "SELECT count(*) FROM job_progress_states")
    return rows


def expire(sql: psycopg.Connection, amount: int) -> None:
    """Have so many expired records in the table."""
    sql.execute(
        "INSERT INTO job_progress_states SELECT 'gone', n, 1, '', now(), now() - interval '1h', now() - interval '1h',"
        " 'job', 'failed', n FROM generate_series(1, %s) AS n",
        [amount],
    )


def test_expired_records_are_swept_from_the_table(store: Store, sql: psycopg.Connection, postgresql_url: str) -> None:
    """The next process that writes throws away what has expired, below any prefix, then lets some time go by."""
    put(store, change("long"), change("over", lifetime=0))
    expire(sql, 3)
    with closing(open_store(postgresql_url, "another")) as another:
        put(another, change("new"))
        assert count(sql) == 2
        expire(sql, 3)
        put(another, change("newer"))
        assert count(sql) == 6


def test_a_large_heap_is_swept_in_parts(store: Store, sql: psycopg.Connection) -> None:
    """One change takes one part along, and the next one the next; `sweep` takes all."""
    load(store)
    expire(sql, 2 * SWEEP_BATCH + 1)
    put(store, change("a"))
    assert count(sql) == SWEEP_BATCH + 1 + 1
    put(store, change("b"))
    assert count(sql) == 1 + 2
    sql.execute("DELETE FROM job_progress_states WHERE prefix = 'gone'")
    expire(sql, SWEEP_BATCH + 1)
    store.sweep()
    assert count(sql) == 2


def test_a_sweep_waits_for_nobody(store: Store, sql: psycopg.Connection) -> None:
    """What somebody has locked is left where it is, for the next sweep."""
    load(store)
    expire(sql, 2)
    sql.execute("BEGIN")
    sql.execute("SELECT FROM job_progress_states WHERE key = '1' FOR UPDATE")
    store.sweep()
    assert count(sql) == 1
    sql.execute("COMMIT")
    store.sweep()
    assert count(sql) == 0


def test_who_may_not_sweep_may_change(guest_url: str, sql: psycopg.Connection) -> None:
    """A sweep that fails on the way fails no change; one that was asked for says so."""
    sql.execute(DDL.encode())
    sql.execute("GRANT SELECT, INSERT, UPDATE ON job_progress_states TO guest")
    with closing(open_store(guest_url, "test")) as store:
        put(store, change())
        with pytest.raises(StoreUnavailable, match="permission denied"):
            store.sweep()


# URLs.


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@h/db?sslmod=require", 'invalid URI query parameter: "sslmod"'),
        ("postgresql://u:sec%zzret@h/db", "invalid percent-encoded token"),
        ("postgresql://u:secret@[h/db", "matching"),
        ("postgresql://u:secret@[::1]x/db", "unexpected character"),
        ("postgresql://u:se%00cret@h/db", "forbidden value"),
        ("postgresql://u@h/db?password=secret=x", "extra key/value separator"),
        ("postgresql://u@h/db?secret", "missing key/value separator"),
        ("postgresql://u:@secret@h/db", "%40"),
        ("postgresql://u:sec/ret@h/db", "%2F"),
        ("postgresql://u:secret@h/db?push=maybe", "push is on or off, not 'maybe'"),
        ("postgresql://u:secret@h/db?max_connections=0", "max_connections is a number from 1 on, not '0'"),
        ("postgresql://u:secret@h/db?max_connections=many", "not 'many'"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    """What nobody understands is refused at once; the error says why, and shows no password."""
    with pytest.raises(ValueError) as refused:
        open_store(url, "test")
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "ret" not in str(refused.value).replace("interpret", "")


def test_a_password_is_shown_nowhere(postgresql_url: str) -> None:
    """Neither where it is wrong, nor where the database, the port or the host is."""
    right = postgresql_url.replace("postgres@", "postgres:secret@")
    wrong = [
        right.removesuffix("postgres") + "nowhere",
        re.sub(r":\d+/", ":1/", right),
        right.replace("127.0.0.1", "host.invalid"),
        right.replace("postgres:", "nobody:"),
        f"{right}?sslmode=require",
    ]
    for url in wrong:
        with closing(open_store(url, "test")) as store:
            assert "secret" not in store.describe()
            with pytest.raises(StoreUnavailable) as unavailable:
                load(store)
            assert str(unavailable.value).startswith(f"cannot use {store.describe()}: ")
            assert "secret" not in str(unavailable.value)
            assert "\n" not in str(unavailable.value)


def test_parameters_of_the_client_reach_it(postgresql_url: str) -> None:
    """What is libpq's in a URL goes there, and what is not does not."""
    url = f"{postgresql_url}?application_name=my%20app&push=off&options=-c%20lock_timeout%3D7s"
    with closing(open_store(url, "test")) as store:
        assert isinstance(store, PostgreSQLStore)
        with store._pool.connection() as connection:
            assert value_of(connection, "SHOW application_name") == "my app"
            assert value_of(connection, "SHOW lock_timeout") == "7s"


# Connections.


def test_nothing_is_left_in_the_session(store: Store) -> None:
    """However often something is said, the server is asked to remember none of it: a proxy may give it to another."""
    for version in range(20):
        put(store, change(expected=version, version=version + 1))
        assert load(store) == Record(version + 1, b"value")
    assert isinstance(store, PostgreSQLStore)
    with store._pool.connection() as connection:
        assert value_of(connection, "SELECT count(*) FROM pg_prepared_statements") == 0
        assert value_of(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_connections_are_few_and_kept(postgresql_url: str, sql: psycopg.Connection) -> None:
    """Many threads share the connections that are allowed, and those stay open for the next."""
    with closing(open_store(f"{postgresql_url}?max_connections=2", "test")) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(store, change(f"{number}")), range(100)))
        assert 1 <= backends(sql) <= 2
        assert len(names(store)) == 100


def test_a_connection_that_does_not_come_free(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds all in use waits for a while, and is told what would help."""
    monkeypatch.setattr(connections, "SILENCE", 0.1)
    with closing(open_store(f"{postgresql_url}?max_connections=1", "test")) as store:
        assert isinstance(store, PostgreSQLStore)
        with (
            store._pool.connection(),
            pytest.raises(StoreUnavailable, match=r"all 1 connections were in use for 0\.1 s"),
        ):
            load(store)
        assert load(store) is None


def test_closing_in_the_middle_of_a_use(store: Store) -> None:
    """What is in use can be used to the end, and is closed then."""
    assert isinstance(store, PostgreSQLStore)
    with store._pool.connection() as connection:
        store.close()
        assert value_of(connection, "SELECT 7") == 7
    assert connection.closed
    assert load(store) is None


def test_a_store_that_is_dropped_closes_its_connections(postgresql_url: str, sql: psycopg.Connection) -> None:
    """Also where nobody has called `close`."""
    store = open_store(postgresql_url, "test")
    load(store)
    assert backends(sql) == 1
    del store
    assert eventually(lambda: backends(sql) == 0)


def test_a_pool_of_the_users_own(postgresql_url: str, sql: psycopg.Connection) -> None:
    """It is used as it is set up, gets back what it gave as it was, and stays open when the store is closed."""
    with ConnectionPool(
        postgresql_url,
        min_size=0,
        max_size=2,
        open=True,
        name="mine",
        kwargs={"row_factory": dict_row, "prepare_threshold": 0},
    ) as pool:
        store = PostgreSQLStore(pool)
        assert store.describe() == "PostgreSQL mine"
        put(store, change("a"), change("b"))
        told: list[str] = []
        subscription = store.subscribe(told.append)
        assert subscription
        subscription.follow("a")
        assert eventually(lambda: told == ["a"])
        put(store, change("a", expected=1, version=2))
        assert eventually(lambda: told == ["a", "a"])
        subscription.close()
        assert eventually(lambda: value_of(sql, LISTENERS) == 0)
        store.close()
        assert store.load(["a", "b"]) == [Record(2, b"value"), Record(1, b"value")]
        with pool.connection() as one, pool.connection() as other:
            for connection in (one, other):
                for left in ("pg_listening_channels()", "pg_prepared_statements WHERE statement LIKE '%job_progress%'"):
                    cursor = connection.cursor(row_factory=tuple_row)
                    cursor.execute(f"SELECT count(*) FROM {left}".encode(), prepare=False)
                    assert cursor.fetchone() == (0,)
    with pytest.raises(StoreUnavailable, match=r"cannot use PostgreSQL mine: the pool .* is already closed"):
        load(store)


def open_three(store: Store) -> None:
    """Have three idle connections."""
    assert isinstance(store, PostgreSQLStore)
    with store._pool.connection() as one, store._pool.connection() as two, store._pool.connection() as three:
        assert len({one, two, three}) == 3


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_restarts(private: Store, postgresql: PostgreSQLServer, how: str) -> None:
    """Without it each call fails at once, and says why; when it is back all is well, at the first call."""
    put(private, change())
    for _ in range(3):
        open_three(private)
        postgresql.stop() if how == "stopped" else postgresql.kill()
        postgresql.start()
        assert load(private) == Record(1, b"value")
    open_three(private)
    postgresql.stop()
    began = monotonic()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="refused") as unavailable:
            load(private)
        assert str(unavailable.value).startswith(f"cannot use {private.describe()}: ")
    assert monotonic() - began < 5
    postgresql.start()
    put(private, change(expected=1, version=2))


def test_a_server_that_comes_back_empty(private: Store, postgresql: PostgreSQLServer) -> None:
    """The table is made again."""
    put(private, change())
    postgresql.restart(keep_data=False)
    assert load(private) is None
    put(private, change())


def test_a_frozen_server(private: Store, postgresql: PostgreSQLServer) -> None:
    """Nobody waits for it for more than ten seconds, and when it goes on all is well."""
    put(private, change())
    postgresql.freeze()
    began = monotonic()
    with pytest.raises(StoreUnavailable, match=re.escape(f"cannot use {private.describe()}: no answer for 5 s")):
        load(private)
    assert 5 <= monotonic() - began < 10
    began = monotonic()
    with (
        closing(open_store(f"{postgresql.url}?connect_timeout=2", "test")) as other,
        pytest.raises(StoreUnavailable, match="timeout"),
    ):
        load(other)
    assert monotonic() - began < 5
    postgresql.thaw()
    assert load(private) == Record(1, b"value")


def test_an_answer_may_take_long_as_long_as_it_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is for silence: an answer in many pieces may take longer than that altogether."""
    monkeypatch.setattr(connections, "SILENCE", 0.4)
    assert isinstance(store, PostgreSQLStore)
    with store._pool.connection() as connection:
        connection.execute("SET client_min_messages = notice")
        began = monotonic()
        connection.execute(
            "DO $$ BEGIN FOR n IN 1..8 LOOP RAISE NOTICE 'still here'; PERFORM pg_sleep(0.1); END LOOP; END $$"
        )
        assert monotonic() - began > 0.7


@pytest.mark.parametrize("can_cancel", [True, False])
def test_who_gives_up_waits_no_more_in_the_server(
    store: Store, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, can_cancel: bool
) -> None:
    """A change that waits for a lock for too long is called off, if the client can, and is not made later."""
    monkeypatch.setattr(connections, "SILENCE", 0.3)
    monkeypatch.setattr(psycopg.capabilities, "has_cancel_safe", lambda: can_cancel)
    put(store, change())
    sql.execute("BEGIN")
    sql.execute("SELECT FROM job_progress_states FOR UPDATE")
    with pytest.raises(StoreUnavailable, match=r"no answer for 0\.3 s"):
        swap(store, change(expected=1, version=2))
    if can_cancel:
        assert eventually(lambda: value_of(sql, WAITING) == 0)
    else:
        assert value_of(sql, WAITING) > 0
    sql.execute("COMMIT")
    assert eventually(lambda: value_of(sql, WAITING) == 0)
    put(store, change(expected=1 if can_cancel else 2, version=9))


# Forks.


def test_a_fork_in_the_middle_of_a_write(launch: Launch, store: Store, postgresql_url: str) -> None:
    """However a fork falls, the child can write at once, on a connection of its own, and so can the parent."""
    forker = launch(bodies.fork_next_to_a_writer, postgresql_url)
    by_thread = int(forker.hear())
    assert forker.hear() == "0"
    assert forker.ends() == 0
    keys = [f"{who} {number}" for who in ("child", "parent") for number in range(40)]
    keys += [f"thread {number}" for number in range(by_thread)]
    assert store.load(keys) == [Record(1, b"value")] * len(keys)


def test_a_forked_child_outlives_its_parent(launch: Launch, store: Store, postgresql_url: str) -> None:
    """What it writes, then and later, is kept."""
    child = launch(bodies.leave_a_forked_child, postgresql_url)
    assert child.hear() == "ready"
    assert child.ends() == 0
    child.tell()
    assert child.hear() == "None"
    assert store.load(["parent", "child", "child, later"]) == [Record(1, b"value")] * 3


def test_a_child_leaves_its_parents_connections_alone(store: Store) -> None:
    """It neither uses nor closes them."""
    load(store)
    assert isinstance(store, PostgreSQLStore)
    pool = store._pool
    assert isinstance(pool, Connections)
    [inherited] = pool._idle
    pool.reset_after_fork()
    with pool.connection() as own:
        assert own is not inherited
    assert not inherited.closed
    assert connections._parked.pop() is inherited
    inherited.close()


def test_a_child_leaves_its_parents_subscription_alone(store: Store) -> None:
    """There it tells nothing and closes nothing, and no call raises."""
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert isinstance(subscription, PostgreSQLSubscription)
    subscription.follow("a")
    assert eventually(lambda: told == ["a"])
    parents, inherited = subscription._closed, subscription._listening
    assert inherited
    subscription.reset_after_fork()
    subscription.follow("b")
    subscription.unfollow("a")
    subscription.close()
    assert told == ["a"]
    assert push._parked.pop() is inherited
    assert not inherited.closed
    parents.set()


# Pushes.


def test_with_push_off_nothing_is_pushed(postgresql_url: str, sql: psycopg.Connection) -> None:
    """Such a store says that it cannot, and tells nobody of its changes."""
    with (
        closing(open_store(f"{postgresql_url}?push=off", "test")) as silent,
        closing(open_store(f"{postgresql_url}?push=on", "test")) as telling,
    ):
        assert silent.subscribe(lambda key: None) is None
        assert isinstance(telling, PostgreSQLStore)
        sql.execute(SQL("LISTEN {}").format(Identifier(telling._channel)))
        put(silent, change("silent"))
        put(silent, change("silent", expected=1, version=2))
        put(telling, change("told"))
        put(telling, change("told", expected=1, version=2))
        assert [told.payload for told in sql.notifies(timeout=10, stop_after=2)] == ["told", "told"]


def test_a_subscription_outlives_its_connection(private: Store, postgresql: PostgreSQLServer) -> None:
    """When the server is back, all that is followed counts as changed, and then each change is told again."""
    told: list[str] = []
    subscription = private.subscribe(told.append)
    assert subscription
    for key in ("a", "b"):
        subscription.follow(key)
    assert eventually(lambda: sorted(told) == ["a", "b"])
    for version, end in enumerate((postgresql.stop, postgresql.kill)):
        told.clear()
        end()
        postgresql.start()
        assert eventually(lambda: sorted(told) == ["a", "b"])
        told.clear()
        put(private, change("b", expected=version, version=version + 1))
        assert eventually(lambda: told == ["b"])
    subscription.close()


def test_a_subscription_to_a_server_that_is_not_there_yet(
    private: Store, postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tries again and again, ever more seldom, but at least so often; then it tells of what was followed."""
    monkeypatch.setattr(push, "RETRY_AFTER", 0.01)
    monkeypatch.setattr(push, "RETRY_AT_LEAST_EVERY", 0.04)
    postgresql.stop()
    told: list[str] = []
    subscription = private.subscribe(told.append)
    assert isinstance(subscription, PostgreSQLSubscription)
    subscription.follow("a")
    assert eventually(lambda: subscription._pause == 0.04)
    assert told == []
    postgresql.start()
    assert eventually(lambda: told == ["a"])
    assert subscription._pause == 0.01
    subscription.close()


def test_a_closed_subscription_leaves_nothing_behind(store: Store, sql: psycopg.Connection) -> None:
    """Its thread ends soon, and its connection is closed."""
    others = set(threading.enumerate())
    subscription = store.subscribe(lambda key: None)
    assert subscription
    [thread] = set(threading.enumerate()) - others
    assert eventually(lambda: value_of(sql, LISTENERS) == 1)
    subscription.close()
    assert eventually(lambda: value_of(sql, LISTENERS) == 0 and not thread.is_alive())


def test_a_key_that_no_notification_can_carry(store: Store) -> None:
    """Then all that is followed counts as changed."""
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert subscription
    key = "ü" * 8000
    subscription.follow("a")
    assert eventually(lambda: told == ["a"])
    subscription.follow(key)
    assert told == ["a", key]  # at once, as it listens already
    told.clear()
    put(store, change(key))
    assert eventually(lambda: sorted(told) == ["a", key])
    assert load(store, key) == Record(1, b"value")
    subscription.close()


def test_a_job_is_watched_across_processes(launch: Launch, postgresql_url: str) -> None:
    """From another process, with nothing polled: each state comes, and the last one ends it."""
    tracker = Tracker(store=postgresql_url)
    worker = launch(bodies.work, postgresql_url, "1")
    assert worker.hear() == "working"
    watch = tracker.watch(job_at(postgresql_url).name, "1", timeout=20)
    assert next(watch).progress == 0.5
    worker.tell()
    assert [state.status for state in watch][-1] is JobStatus.COMPLETED
    assert worker.hear() == "ended"
    tracker.store.close()


# The server of these tests.


def test_a_server_does_not_outlive_its_tests() -> None:
    """When the tests are killed, it is gone."""
    script = (
        "import time; from tests.servers.postgresql import PostgreSQLServer\n"
        "with PostgreSQLServer() as server: print(server.url, server.folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        url, folder = tests.stdout.readline().split()
        psycopg.connect(url).close()
        os.kill(tests.pid, signal.SIGKILL)
        tests.wait()

        def is_gone() -> bool:
            try:
                psycopg.connect(url).close()
            except psycopg.OperationalError:
                return True
            return False

        assert eventually(is_gone)
    subprocess.run(["rm", "-rf", folder], check=True)
