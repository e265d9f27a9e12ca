"""Short ways to say what goes into a store."""

from __future__ import annotations

from job_progress.stores import Change, Conflict, Query, Record, Store


def change(
    key: str = "key",
    *,
    expected: int = 0,
    version: int = 1,
    value: bytes = b"value",
    lifetime: float = 60.0,
    job: str = "job",
    status: str = "pending",
    created: int = 0,
) -> Change:
    """A change of which only what matters need be said."""
    return Change(
        key=key,
        expected=expected,
        version=version,
        value=value,
        lifetime=lifetime,
        job=job,
        status=status,
        created=created,
    )


def put(store: Store, *changes: Change) -> None:
    """Make *changes*, all of which must be possible."""
    assert store.swap(changes) == [None] * len(changes)


def swap(store: Store, one: Change) -> Conflict | None:
    """Try a single change."""
    [answer] = store.swap([one])
    return answer


def load(store: Store, key: str = "key") -> Record | None:
    """Load a single record."""
    [record] = store.load([key])
    return record


def names(store: Store, *, limit: int = 1000, after: tuple[int, str] | None = None) -> list[str]:
    """The values of all records, in the order of the listing."""
    return [record.value.decode() for record in store.list(Query(limit=limit, after=after))]


def forget(store: Store, *keys: str) -> None:
    """Have *store* forget *keys*, whatever it holds there."""
    found = zip(keys, store.load(keys), strict=True)
    put(store, *(change(key, expected=one.version, version=one.version + 1, lifetime=0) for key, one in found if one))
