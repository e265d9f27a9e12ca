"""A job that the tests can enqueue, and a worker that is told so cannot import."""

from __future__ import annotations

import os

from job_progress import Tracker, tracked

if "WITHOUT_RQ_ONLY_HERE" in os.environ:
    raise ImportError("this worker is of an older release")


@tracked(tracker=Tracker(os.environ["QUEUE_TESTS_STORE"]))
def only_here() -> None:
    """Never begin."""
