"""Jobs for pools of processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from job_progress import current_progress, tracked
from tests.queues.jobs import tracker, wait_for


@tracked(tracker=tracker)
def die(folder: str) -> None:
    """Be killed when told to."""
    current_progress().update(0.5).flush()
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")
    os.kill(os.getpid(), signal.SIGKILL)


@tracked(tracker=tracker)
def locked() -> object:
    """Return what no process can send to another."""
    return threading.Lock()


@tracked(tracker=tracker, id="name")
def alone(name: str, folder: str) -> None:
    """Have an id of its own, and go on when told to."""
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")
