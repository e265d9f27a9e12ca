"""Warnings of mistakes that nobody would see otherwise: worth one line of a process's log, and no more."""

from __future__ import annotations

import logging
from contextlib import suppress

logger = logging.getLogger("job_progress")

_warned: set[str] = set()


def warn_once(kind: str, message: str, *args: object) -> None:
    """Log *message*, if nothing of this *kind* was logged in this process before. Never raises into the job."""
    if kind not in _warned:
        _warned.add(kind)
        with suppress(Exception):  # of a filter, say
            logger.warning(message, *args)
