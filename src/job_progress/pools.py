"""The pools of `multiprocessing`: what is no `Exception` ends their workers, and whoever waits for them waits on."""

from __future__ import annotations

import sys
from threading import current_thread


def in_pool() -> bool:
    """Is this a worker of a `Pool` or `ThreadPool`, or the thread of one that goes through what it is to do?"""
    processes = sys.modules.get("multiprocessing.process")
    runners = (current_thread(), processes.current_process() if processes else None)
    return any(
        getattr(getattr(runner, "_target", None), "__module__", None) == "multiprocessing.pool" for runner in runners
    )
