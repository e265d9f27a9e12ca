"""What a process knows of a Valkey or Redis server: the scripts to run there, and what its clock shows."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from math import inf
from time import monotonic
from typing import Any

ASK_EVERY = 1.0
"""Seconds for which what is known of a server's clock is good enough."""


class Script:
    """A script beside this module, called by the hash of its text."""

    def __init__(self, name: str) -> None:
        self.text = files("job_progress.stores").joinpath(name).read_text()
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], *arguments: str | bytes | int) -> tuple[Any, ...]:
        """The command that runs it, if the server knows it already."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


SWAP, SWEEP, CLOCK = Script("swap.lua"), Script("sweep.lua"), Script("clock.lua")
TEXTS = {script.sha: script.text for script in (SWAP, SWEEP, CLOCK)}


class ServerClock:
    """What the server's clock shows, in milliseconds, as far as this process knows."""

    def __init__(self) -> None:
        self._ahead = self._set_at = -inf

    def set(self, now: int) -> None:
        """It shows *now*, now."""
        self._set_at = monotonic()
        self._ahead = now - self._set_at * 1000

    def now(self) -> float:
        """What it shows now, unless it was set meanwhile."""
        return monotonic() * 1000 + self._ahead

    @property
    def is_old(self) -> bool:
        """Has nobody asked the server for some time?"""
        return monotonic() - self._set_at > ASK_EVERY
