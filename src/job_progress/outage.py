"""Says once that a store is away, and once that it is back, however many parts of the process find out."""

from __future__ import annotations

import logging

from job_progress.errors import StoreUnavailable
from job_progress.stores.contract import Store

logger = logging.getLogger("job_progress")


class Outage:
    """Who cannot reach a store at present. Reading may go on while writing fails, so each part has its say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parties: set[str] = set()

    def begins(self, party: str, error: Exception) -> None:
        """*party* met *error* where it looked for an answer of the store."""
        if not self._parties:
            defect = None if isinstance(error, StoreUnavailable) else error
            logger.warning("%s; what is reported is kept until it is back", error, exc_info=defect)
        self._parties.add(party)

    def ends(self, party: str) -> None:
        """*party* has reached the store."""
        if party in self._parties:
            self._parties.discard(party)
            if not self._parties:
                logger.warning("%s is back", self._store.describe())
