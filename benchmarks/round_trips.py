"""How often a job goes to the store: counted by a store that passes everything on to one in memory."""

from __future__ import annotations

from benchmarks.measure import CountingStore, Row
from job_progress import Job, Tracker
from job_progress.stores.memory import MemoryStore


def measure() -> list[Row]:
    """Rows of round trips."""
    store = CountingStore(MemoryStore())
    tracker = Tracker(store)
    job = Job("benchmarks.silent", tracker=tracker)

    def trips(id: str) -> int:
        before = store.trips
        with job.start(id):
            pass
        return store.trips - before

    unknown = trips("unknown")
    job.mark_as_pending("pending")
    pending = trips("pending")
    tracker.close()
    return [
        Row("round trips of a job that reports nothing, unknown before", unknown, "trips", goal=2),
        Row("round trips of a job that reports nothing, pending before", pending, "trips", goal=3),
    ]
