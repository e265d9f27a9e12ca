"""What only the store in memory does."""

from __future__ import annotations

from job_progress.stores import Record
from job_progress.stores.memory import SWEEP_EVERY, MemoryStore
from job_progress.testing import frozen_clock
from tests.processes import bodies
from tests.processes.child import Launch
from tests.stores.changes import change, load, put


def test_each_is_its_own() -> None:
    """Two stores in memory share nothing."""
    one, other = MemoryStore(), MemoryStore()
    put(one, change())
    assert load(other) is None


def test_expired_records_do_not_pile_up() -> None:
    """What has expired is thrown away now and then, and nothing else."""
    store = MemoryStore()
    with frozen_clock() as clock:
        put(store, change("kept", lifetime=1000))
        put(store, *(change(f"{number}", lifetime=1) for number in range(500)))
        clock.tick(2)
        for version in range(1, SWEEP_EVERY):
            put(store, change("kept", expected=version, version=version + 1, lifetime=1000))
        assert load(store, "kept") == Record(SWEEP_EVERY, b"value")
    assert len(store._held) == 1  # there is no other way to see that memory is freed


def test_its_records_live_as_long_as_it_does() -> None:
    """`close` has nothing to let go of."""
    store = MemoryStore()
    put(store, change())
    store.close()
    assert load(store) == Record(1, b"value")


def test_a_forked_child_has_a_copy(launch: Launch) -> None:
    """It goes on from what was there at the fork, even in the middle of a change, and changes only its own copy."""
    forker = launch(bodies.fork_with_a_store_in_memory)
    assert forker.hear() == "[]"
    assert forker.ends() == 0


def test_there_is_nothing_to_examine() -> None:
    """Nor does a record differ from itself, while it ages."""
    assert list(MemoryStore().examine()) == []
    assert not Record(1, b"value") != Record(1, b"value", 5.0)  # noqa: SIM202 - the operator is what is tested
    assert Record(1, b"value") != Record(2, b"value")
