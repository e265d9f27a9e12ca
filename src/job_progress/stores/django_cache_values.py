"""What stands in a Django cache: below which keys, in which form, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import NamedTuple

from django.core.cache import BaseCache

from job_progress import clock
from job_progress.stores.contract import Change, Record

SHARDS = 8
"""Into so many parts the keys are divided; each has a lock and an index of its own."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux names the time since it was booted. Containers of one machine share it, as they share its clock."""
KEYS_PER_READ = 500
"""Few enough for every database."""
SPARE_TIME = 60
"""Seconds for which a backend keeps a value beyond its lifetime, which ends by our own clock: theirs are coarse."""

Entry = tuple[int, str, str]
"""What listings go by: created, job and status."""
Plain = tuple[int, bytes, float, float, str, float, int, str, str]


class Held(NamedTuple):
    """A record, as it stands in the cache: a plain tuple of these.

    Attributes:
        version: As in the change.
        value: As in the change.
        lifetime: As in the change, in seconds.
        written: By the wall clock of who wrote it.
        boot: Which machine, and which of its boots, that was; empty if nobody can tell.
        steady: The same moment on that machine's steady clock.
        created: As in the change.
        job: As in the change.
        status: As in the change.
    """

    version: int
    value: bytes
    lifetime: float
    written: float
    boot: str
    steady: float
    created: int
    job: str
    status: str

    @classmethod
    def of(cls, change: Change) -> Held:
        """*change*, made now."""
        return cls(
            change.version,
            change.value,
            change.lifetime,
            clock.now().timestamp(),
            boot(),
            clock.steady(),
            change.created,
            change.job,
            change.status,
        )

    @property
    def age(self) -> float:
        """Seconds since it was written; by the wall clocks only where it comes from another machine or boot."""
        if self.boot and self.boot == boot():
            return max(clock.steady() - self.steady, 0.0)
        return max(clock.now().timestamp() - self.written, 0.0)

    @property
    def entry(self) -> Entry:
        """Where it is listed."""
        return self.created, self.job, self.status

    @property
    def plain(self) -> Plain:
        """Itself as a plain tuple, for backends pickle classes by name."""
        return self[:]

    @property
    def record(self) -> Record:
        """What the contract says of it."""
        return Record(self.version, self.value, self.age)

    @property
    def timeout(self) -> int:
        """For how many seconds a backend that forgets by itself should keep it."""
        return ceil(self.lifetime) + SPARE_TIME


def living(plain: Plain | None) -> Held | None:
    """What was found in the cache, if it has not expired by now."""
    if plain is None:
        return None
    held = Held(*plain)
    return held if held.age < held.lifetime else None


def states(cache: BaseCache, names: Names, keys: Sequence[str]) -> dict[str, Plain]:
    """What stands in *cache* below *keys*, be it expired or not; of what is not there, nothing."""
    found: dict[str, Plain] = {}
    for start in range(0, len(keys), KEYS_PER_READ):
        some = {names.state(key): key for key in keys[start : start + KEYS_PER_READ]}
        found |= {some[name]: plain for name, plain in cache.get_many(list(some)).items()}
    return found


@lru_cache(maxsize=1)
def boot() -> str:
    """Names the machine and the time since it was booted; empty where the system does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Names:
    """The keys of a store in its cache: of letters and digits only, and short, as Memcached wants them."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def _name(self, kind: str, name: object) -> str:
        # Neither can the prefix end, nor the name begin, elsewhere: the length stands before both.
        text = f"{len(self._prefix)}:{self._prefix}{name}"
        return f"job-progress-{kind}-{blake2b(text.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"

    def state(self, key: str) -> str:
        """Of a record."""
        return self._name("state", key)

    def lock(self, shard: int) -> str:
        """Of a shard's lock."""
        return self._name("lock", shard)

    def directory(self, shard: int) -> str:
        """Of the list of a shard's pages."""
        return self._name("directory", shard)

    def page(self, page: str) -> str:
        """Of a page."""
        return self._name("page", page)


def shard_of(key: str) -> int:
    """Which shard a record belongs to, whoever asks."""
    return blake2b(key.encode(errors="surrogatepass"), digest_size=1).digest()[0] % SHARDS
