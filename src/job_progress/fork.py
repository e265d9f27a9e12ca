"""One at-fork hook for all: a forked child starts with none of its parent's threads, locks and sockets."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Resettable(Protocol):
    """Holds something that a forked child must not use."""

    def reset_after_fork(self) -> None:
        """Become as new. Runs in the child, before anything else there."""


_owners: WeakSet[Resettable] = WeakSet()


def reset_in_children(owner: Resettable) -> None:
    """Call `owner.reset_after_fork()` in every process forked from this one while *owner* lives."""
    _owners.add(owner)


def _reset_all() -> None:
    for owner in list(_owners):
        owner.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=_reset_all)
