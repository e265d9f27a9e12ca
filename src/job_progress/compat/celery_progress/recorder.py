"""`ProgressRecorder`."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

from job_progress.compat.bars import Amount, is_seen
from job_progress.current import current_progress

logger = logging.getLogger("job_progress")

Number = int | float | Decimal

_warned: set[str] = set()
"""Names of tasks of which it was said that something is missing."""


class ProgressRecorder:
    """Reports as celery-progress does, into the running job. No I/O.

    In a task that is not tracked it reports nowhere, and says so in the log. It may be used in any thread.

    Args:
        task: The `self` of a bound task.

    Attributes:
        current: As it was set last; so are `total` and `description`.
    """

    current: Number = 0
    total: Number = 0
    description: str = ""

    def __init__(self, task: Any) -> None:
        self.task = task
        self._progress = current_progress()
        request = getattr(task, "request", None)
        if getattr(request, "id", None) is not None and not getattr(request, "called_directly", False):
            self._look_for_mistakes(str(getattr(task, "name", task)))

    def set_progress(self, current: Number, total: Number, description: str = "") -> tuple[str, dict[str, Any]]:
        """*current* of *total* is done; of a total of 0 nobody knows how much that is.

        Returns:
            Celery's word for such a state, and what celery-progress keeps with it.
        """
        self.current = current
        self.total = total
        if description:
            self.description = description
        own = current_progress()
        progress = own if is_seen(own) else self._progress
        run, base, size = progress.share()
        amount = Amount(base, size, current, total)
        progress.update(message=str(description or ""))
        run.follow(amount)
        percent = round((amount.fraction() or 0.0) * 100, 2)
        return "PROGRESS", {
            "pending": False,
            "current": current,
            "total": total,
            "percent": percent,
            "description": description,
        }

    def increment_progress(self, by: Number = 1, description: str = "") -> None:
        """So many more are done; the total stays."""
        current: Any = self.current
        self.set_progress(current + by, self.total, description)

    def _look_for_mistakes(self, name: str) -> None:
        if not is_seen(self._progress):
            wrong = "is not tracked, so that nobody sees its progress: put @tracked below @app.task(bind=True)"
        elif self._progress.state.task is None:
            wrong = "is tracked, but not by the id of its task: call job_progress.queues.celery.install(app)"
        else:
            return
        if name not in _warned:
            _warned.add(name)
            logger.warning("%s reports to celery-progress and %s", name, wrong)
