"""A page of the list of states."""

from __future__ import annotations

from job_progress.errors import StoreUnavailable
from job_progress.state import JobState
from job_progress.tracker import Tracker
from job_progress.web.routes import BadQuery, Query

SCANNED = 5_000
"""Of so many states at most the ids are compared with what is searched for, at one request."""


def page_of(tracker: Tracker, query: Query) -> tuple[list[JobState], str | None]:
    """The states that *query* asks for, newest first, and the cursor of the next page. One round trip.

    A search for part of an id looks at a bounded number of states, so that a page may be short, or
    empty, with more to come.

    Raises:
        BadQuery: The cursor is none.
        StoreUnavailable: The store does not answer.
    """
    try:
        if query.q is None:
            states = tracker.list(query.job, query.statuses, query.limit + 1, query.after)
            has_more = len(states) > query.limit
            states = states[: query.limit]
            return states, states[-1].cursor if has_more else None
        scanned = tracker.list(query.job, query.statuses, SCANNED, query.after)
    except StoreUnavailable:
        raise
    except ValueError:
        raise BadQuery("after must be a cursor that a page before has ended with") from None
    wanted, found = query.q.casefold(), []
    for state in scanned:
        if wanted in state.id.casefold():
            found.append(state)
            if len(found) == query.limit:
                return found, None if state is scanned[-1] and len(scanned) < SCANNED else state.cursor
    return found, scanned[-1].cursor if len(scanned) == SCANNED else None
