"""What other processes do with a store in a Django cache; see `tests.processes.child`."""

from __future__ import annotations

import os
import signal

from job_progress import StoreUnavailable
from job_progress.stores import django_cache_locks, open_store
from job_progress.stores.django_cache import DjangoCacheStore
from job_progress.stores.django_cache_values import SHARDS
from tests.processes.bodies import hear, say
from tests.stores.changes import change, swap


def add_each(url: str, amount: str) -> None:
    """When told, add each of so many records, which others add as well, and say which of them were made."""
    store = open_store(url, "test")
    store.load(["key"])
    say("ready")
    hear()
    won = [
        number for number in range(int(amount)) if swap(store, change(f"{number}", value=b"%d" % os.getpid())) is None
    ]
    say(" ".join(map(str, won)))
    store.close()


def stay_in_a_change(url: str, lease: str) -> None:
    """Take all locks, say so, stay, and then try to make a change with them."""
    django_cache_locks.LEASE = float(lease)
    store = open_store(url, "test")
    assert isinstance(store, DjangoCacheStore)

    def change_it() -> None:
        writer = store._writer()
        with writer._locked(range(SHARDS), 9.0) as lease:
            say("locked")
            hear()
            writer._write(lease, {store._names.state("key"): (("too late",), None)})

    try:
        store._use(store._writing, change_it)
    except StoreUnavailable as error:
        say(error)


def fork_after_use(url: str) -> None:
    """Use the store, fork, and use it in the child while a thread of the parent goes on with it."""
    store = open_store(url, "test")
    for number in range(20):
        assert swap(store, change(f"parent {number}")) is None
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # should it wait for what nobody does
            os._exit(0 if swap(store, change(f"child {number}")) is None else 1)
        assert swap(store, change(f"parent, too {number}")) is None
        assert os.waitpid(child, 0)[1] == 0
    say("all is well")
