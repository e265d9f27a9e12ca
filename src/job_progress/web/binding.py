"""Which lives of an id a link is for: all lives of one owner, one life, or the life at the time the link was made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from job_progress.state import JobState, microseconds

BEGINS_WITHIN = 900.0
"""Seconds in which the life must begin of a link that was made before it.

The store keeps an ended life for as long by default (`ttl`), so the next life knows that it is not the first.
"""
_OWNER, _LIFE, _TIME = "o", "l", "t"


@dataclass(frozen=True)
class Binding:
    """What a link is bound to: a kind, and its value, as the link carries them."""

    kind: str
    value: str | int

    @classmethod
    def of(cls, parts: object) -> Binding:
        """The binding that a link carries.

        Raises:
            ValueError: It is none that this version knows.
        """
        match parts:
            case ["o" as kind, str(value)] | ["l" | "t" as kind, int(value)]:
                return cls(str(kind), value)
        raise ValueError("an unknown binding")

    @property
    def parts(self) -> list[str | int]:
        """What a link carries of it."""
        return [self.kind, self.value]

    def includes(self, state: JobState) -> bool:
        """Is it bound to the life that *state* is of?"""
        created = microseconds(state.created_at)
        if self.kind == _OWNER:
            return state.owner is not None and _digest(state.owner) == self.value
        if self.kind == _LIFE:
            return created == self.value
        late = created - int(self.value)
        return late <= 0 or (late <= BEGINS_WITHIN * 1e6 and not state.renewed)


def binding_of(state: JobState, now: datetime) -> Binding:
    """What the link of *state* is bound to, made at *now*, by the clock that states go by."""
    if state.owner is not None:
        return Binding(_OWNER, _digest(state.owner))
    if state.created_at is not None:
        return Binding(_LIFE, microseconds(state.created_at))
    return Binding(_TIME, microseconds(now))


def _digest(owner: str) -> str:
    """What stands for *owner* in an address, which more people see than the state: a name or an e-mail may be in it."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:24]
