"""One set of at-fork hooks for all: a forked child starts with none of its parent's threads, locks and sockets."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Resettable(Protocol):
    """Holds something that a forked child must not use."""

    def reset_after_fork(self) -> None:
        """Become as new. Runs in the child, before anything else there."""


class Pausable(Resettable, Protocol):
    """Uses something that must be at rest while its process forks."""

    def pause_for_fork(self) -> None:
        """Come to rest. Runs in the parent, before the fork."""

    def resume_after_fork(self) -> None:
        """Go on. Runs in the parent, after the fork."""


_owners: WeakSet[Resettable] = WeakSet()
_pausable: WeakSet[Pausable] = WeakSet()
_paused: list[Pausable] = []
_one_at_a_time = threading.Lock()  # or two threads that fork could each pause half, and wait for the other


def reset_in_children(owner: Resettable) -> None:
    """Call `owner.reset_after_fork()` in every process forked from this one while *owner* lives."""
    _owners.add(owner)


def pause_for_forks(owner: Pausable) -> None:
    """As `reset_in_children`, and have *owner* at rest in this process while it forks."""
    _owners.add(owner)
    _pausable.add(owner)


def _pause_all() -> None:
    _one_at_a_time.acquire()
    _paused.extend(_pausable)
    for owner in _paused:
        owner.pause_for_fork()


def _resume_all() -> None:
    for owner in _paused:
        owner.resume_after_fork()
    _paused.clear()
    _one_at_a_time.release()


def _reset_all() -> None:
    _paused.clear()
    _one_at_a_time.release()
    for owner in list(_owners):
        owner.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_reset_all)
