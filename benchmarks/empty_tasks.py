"""What the workers of `queues` run: empty tasks, after one that holds the worker up and before one that says done.

RQ's worker imports this in each child that it forks, so it imports little.
"""

from __future__ import annotations

import redis

GATE = "benchmarks:gate"
DONE = "benchmarks:done"
PATIENCE = 120
"""Seconds."""


def patient_client(url: str) -> redis.Redis:
    """A client that waits for as long as this may take."""
    return redis.Redis.from_url(url, socket_timeout=PATIENCE)


def empty() -> None:
    """Do nothing."""


def hold_up(url: str) -> None:
    """Wait at the gate."""
    with patient_client(url) as client:
        client.blpop(GATE)


def say_done(url: str) -> None:
    """Be the last."""
    with patient_client(url) as client:
        client.rpush(DONE, "1")
