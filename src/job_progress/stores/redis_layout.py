"""How states lie in Valkey or Redis: under which keys, listed in which indexes, written in which text.

See `swap.lua`, which writes them.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import NamedTuple

from job_progress.stores.contract import Change, Query

LONGEST = 10**14
"""Milliseconds that stand for ever."""


class Shard(NamedTuple):
    """States and indexes that one call of a script can reach."""

    name: str

    @property
    def states(self) -> str:
        """What the keys of its states begin with."""
        return f"{self.name}:state:"

    @property
    def indexes(self) -> str:
        """What the keys of its indexes begin with."""
        return f"{self.name}:index:"


class Held(NamedTuple):
    """What the server holds for a key.

    Attributes:
        version: As in the latest change.
        written: When that was, in milliseconds by the server's clock.
        listed_in: The name of the index of its status and job.
        value: As in the latest change.
    """

    version: int
    written: int
    listed_in: str
    value: bytes


def held_in(text: bytes) -> Held:
    """What a state's text says.

    Raises:
        ValueError: It is none.
    """
    version, written, _, status, job, value = text.split(b",", 5)
    return Held(int(version[1:]), int(written), f"{status[1:-1].decode()}:{job[1:-1].decode()}", value[:-1])


def arguments_of(change: Change) -> tuple[int, int, int, str]:
    """What `swap.lua` takes for a change, besides its key and value."""
    lifetime = min(ceil(change.lifetime * 1000), LONGEST)
    label = f'{change.created},"{escaped(change.status)}","{escaped(change.job)}"'
    return change.expected, change.version, lifetime, label


def index_of(status: str, query: Query) -> str:
    """The name of the index that lists what *query* asks for and has *status*."""
    return escaped(status) if query.job is None else f"{escaped(status)}:{escaped(query.job)}"


@lru_cache
def escaped(name: str) -> str:
    """*name* without what has a meaning in a state's text or in an index's name."""
    return name.translate(_MEANINGFUL)


_MEANINGFUL = {ord(one): f"%{ord(one):02X}" for one in '%",:\\'}
