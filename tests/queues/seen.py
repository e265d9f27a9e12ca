"""What a watcher sees of an execution, gathered beside a test."""

from __future__ import annotations

from threading import Thread
from types import TracebackType

from job_progress import Job


class Seen:
    """Watches, from its first state to its last, in a thread of its own."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.errors: set[str | None] = set()
        self._thread: Thread | None = None

    def follow(self, job: Job, id: str) -> None:
        """Begin to watch."""
        self._thread = Thread(target=self._watch, args=(job, id), daemon=True)
        self._thread.start()

    def _watch(self, job: Job, id: str) -> None:
        for state in job.watch(id, timeout=120):
            self.statuses.append(str(state.status))
            self.errors.add(state.error)

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None and kind is None:
            self._thread.join()
