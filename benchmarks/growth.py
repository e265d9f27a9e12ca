"""How the cost of a store's operations grows with the number of states that it holds.

Each figure is the time of the same operation on two stores of one engine that share nothing, a large and a
small one, taken in turn. PostgreSQL has been told to look over its tables, as it does by itself within a
minute or so of such a growth; until then it may take a wrong way to a listing by job or by status.

A listing's first page has fifty states, in the small store as in the large one. The filters are what a
dashboard asks for: nothing; one of four jobs; one of five statuses; and a job and a status that only fifty
states of each store have together, spread evenly over its age, so that reading on until the page is full
would mean to read nearly everything. A swap changes a hundred states, spread as evenly, in one call, and its
figure is that of one of them; a read loads one. Memory is taken as in `benchmarks.valkey`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from time import perf_counter

import psycopg
import redis
from msgspec import structs

from benchmarks import engines
from benchmarks.measure import Row, interleaved
from benchmarks.valkey import bytes_per_state
from job_progress import JobState, JobStatus
from job_progress.encoding import change_to
from job_progress.stores import Change, Query, Store, open_store

LARGE = 100_000
LISTED = 1000
"""States of the small store for listings; with fewer, not every page would be full."""
SWAPPED = 100
"""States of the small store for swaps, and in each swap."""
READ = 10
"""States of the small store for reads and memory."""
PAGE = 50
FILL = 1000
LISTS = 5
SWAPS = 2
LOADS = 100
ROUNDS = 5
TRIES = 3

QUERIES: Mapping[str, Query] = {
    "all": Query(limit=PAGE),
    "by job": Query(limit=PAGE, job="shop.job_1"),
    "by status": Query(limit=PAGE, statuses=[JobStatus.PENDING]),
    "by job and status": Query(limit=PAGE, job="shop.job_3", statuses=[JobStatus.FAILED]),
}


def measure() -> list[Row]:
    """Rows of milliseconds, microseconds and bytes in a large store, beside the same in a small one."""
    listings: list[Row] = []
    others: list[Row] = []
    for name, engine in engines.ENGINES.items():
        with engine() as another:
            urls = {states: another() for states in (READ, SWAPPED, LISTED, LARGE)}
            with _filled(urls) as stores:
                listings += _listings(name, stores)
                others += _operations(name, stores)
            if name == "Valkey":
                others.append(_memory(urls))
    with engines.valkey_cluster() as another, _filled({states: another() for states in (LISTED, LARGE)}) as stores:
        listings += _listings("Valkey cluster", stores)
    return listings + others


@contextmanager
def _filled(urls: Mapping[int, str]) -> Iterator[Mapping[int, Store]]:
    """The stores at *urls*, each with as many states as is said there."""
    with ExitStack() as stack:
        stores: dict[int, Store] = {}
        for states, url in urls.items():
            stores[states] = stack.enter_context(closing(open_store(url, "job-progress")))
            for first in range(0, states, FILL):
                changes = [_change(number, states) for number in range(first, min(first + FILL, states))]
                if any(stores[states].swap(changes)):
                    raise RuntimeError("the store was not empty")
            if url.startswith("postgresql:"):
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("VACUUM ANALYZE")
        yield stores


def _change(number: int, states: int) -> Change:
    """The change that brings in the state of that *number* among so many."""
    job, status = f"shop.job_{number % 4}", list(JobStatus)[number % 5]
    if number % max(states // PAGE, 1) == 0:
        job, status = "shop.job_3", JobStatus.FAILED
    elif (job, status) == ("shop.job_3", JobStatus.FAILED):
        status = JobStatus.COMPLETED
    made = _BEGIN + timedelta(milliseconds=number)
    state = structs.replace(
        _TYPICAL, job=job, id=f"{number}", status=status, created_at=made, started_at=made, updated_at=made
    )
    return change_to(state, f"{job}:{number}", 0)


_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_TYPICAL = JobState(
    job="",
    id="",
    progress=0.1234,
    completed=1234,
    total=10_000,
    message="Importing products: row 1,234 of 10,000",
    attempt=1,
    version=1,
    token="0123456789abcdef",
    heartbeat_at=_BEGIN,
    speed=0.00617,
    rate=61.7,
)


def _listings(engine: str, stores: Mapping[int, Store]) -> list[Row]:
    def listed(states: int, query: Query) -> Callable[[], float]:
        def run() -> float:
            begin = perf_counter()
            pages = [stores[states].list(query) for _ in range(LISTS)]
            seconds = perf_counter() - begin
            if any(len(page) != PAGE for page in pages):
                raise RuntimeError(f"a page has {len(pages[0])} states, not {PAGE}: {query}")
            return seconds

        return run

    times = interleaved(
        {f"{name}, {states}": listed(states, query) for name, query in QUERIES.items() for states in (LISTED, LARGE)},
        rounds=ROUNDS,
        tries=TRIES,
    )
    each = {name: seconds / LISTS * 1e3 for name, seconds in times.items()}
    return [
        Row(
            f"first page of {LARGE:,} states, {name}, {engine}",
            each[f"{name}, {LARGE}"],
            "ms",
            each[f"{name}, {LISTED}"],
            f"of {LISTED:,}",
            2.0,
        )
        for name in QUERIES
    ]


def _operations(engine: str, stores: Mapping[int, Store]) -> list[Row]:
    times = interleaved(
        {
            "swap, small": _swapping(stores[SWAPPED], SWAPPED),
            "swap, large": _swapping(stores[LARGE], LARGE),
            "load, small": _loading(stores[READ], READ),
            "load, large": _loading(stores[LARGE], LARGE),
        },
        rounds=ROUNDS,
        tries=TRIES,
    )
    small, large = (times[f"swap, {size}"] / SWAPS / SWAPPED * 1e6 for size in ("small", "large"))
    one, of_many = (times[f"load, {size}"] / LOADS * 1e6 for size in ("small", "large"))
    return [
        Row(f"a change among {LARGE:,} states, {engine}", large, "µs", small, f"among {SWAPPED}"),
        Row(f"a read among {LARGE:,} states, {engine}", of_many, "µs", one, f"among {READ}"),
    ]


def _swapping(store: Store, states: int) -> Callable[[], float]:
    changes = _spread(states)

    def run() -> float:
        nonlocal changes
        seconds = 0.0
        for _ in range(SWAPS):
            changes = [
                structs.replace(change, expected=change.version, version=change.version + 1) for change in changes
            ]
            begin = perf_counter()
            conflicts = store.swap(changes)
            seconds += perf_counter() - begin
            if any(conflicts):
                raise RuntimeError("a change was not made")
        return seconds

    return run


def _loading(store: Store, states: int) -> Callable[[], float]:
    keys = cycle([change.key for change in _spread(states)])

    def run() -> float:
        begin = perf_counter()
        for _ in range(LOADS):
            [record] = store.load([next(keys)])
            if record is None:
                raise RuntimeError("a state is not there")
        return perf_counter() - begin

    return run


def _spread(states: int) -> Sequence[Change]:
    """The changes that brought in a hundred of so many states, or all if there are fewer."""
    return [_change(number, states) for number in range(0, states, max(states // SWAPPED, 1))]


def _memory(urls: Mapping[int, str]) -> Row:
    sizes: dict[int, float] = {}
    for states in (READ, LARGE):
        with closing(redis.Redis.from_url(urls[states])) as client:
            sizes[states] = bytes_per_state(client, states)
    return Row(f"memory of a state among {LARGE:,}, Valkey", sizes[LARGE], "bytes", sizes[READ], f"among {READ}")
