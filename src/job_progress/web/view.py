"""What viewers are shown of a state: as JSON, as a piece of HTML, and as an event."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from html import escape
from typing import Any

import msgspec

from job_progress.encoding import UNTOLD, type_in
from job_progress.state import JobState

logger = logging.getLogger("job_progress")

ShowError = Callable[[JobState], str | None]
"""A user's own: makes the text that everybody is shown of a state's error; `None`, and they are shown none."""


class Errors:
    """What people are shown of errors.

    Args:
        show_error: Makes it. By default those who may see all see all of it, and others what is meant for them.

    Raises:
        TypeError: *show_error* is no function.
    """

    def __init__(self, show_error: ShowError | None = None) -> None:
        if show_error is not None and not callable(show_error):
            raise TypeError(f"show_error= is a function that makes a text of a state, not {show_error!r}")
        self._show_error = show_error

    def differ(self, state: JobState) -> bool:
        """May different people be shown different errors of *state*?"""
        return self._show_error is None and state.error is not None

    def shown(self, state: JobState, *, sees_all: bool) -> str | None:
        """The error of *state*, if it has one, as somebody may see it who *sees_all*, or does not."""
        if state.error is None:
            return None
        if self._show_error is not None:
            try:
                made = self._show_error(state)
                return None if made is None else str(made)
            except Exception:
                logger.exception("show_error raised; viewers are told only that %s %r failed", state.job, state.id)
                return UNTOLD
        if sees_all:
            return state.error
        return type_in(state.error) if state.error_for_viewers is None else state.error_for_viewers


def shown(state: JobState, error: str | None, actions: Collection[str] | None = None) -> dict[str, Any]:
    """`state.to_dict()` with *error* for its own, and what this viewer may do, if *actions* says so."""
    plain = state.to_dict() | {"error": error}
    if actions is not None:
        plain["actions"] = sorted(actions, reverse=True)
    return plain


def tag_of(state: JobState, actions: Collection[str], kind: str, *, sees_all: bool) -> str:
    """An ETag: another one whenever what is shown differs in more than the time that goes by."""
    liveness = "s" if state.is_stalled else "h" if state.is_stuck else ""
    marks = f"{kind[0]}{'c' if 'cancel' in actions else ''}{liveness}{'a' if sees_all else ''}"
    return f'W/"{state.version}{marks}"'


def event(name: str, data: bytes = b"{}", id: int | None = None) -> bytes:
    """A server-sent event. *data* has no line breaks, as msgspec's JSON has none."""
    numbered = b"" if id is None else b"id: %d\n" % id
    return b"%sevent: %s\ndata: %s\n\n" % (numbered, name.encode(), data)


def state_event(state: JobState, error: str | None, actions: Collection[str] | None = None) -> bytes:
    """The event that tells of *state*, with *error* for its own."""
    data = msgspec.json.encode(shown(state, error, actions))
    return event("state", data, state.version if actions is not None else None)


def fragment(state: JobState, error: str | None, actions: Collection[str], address: str, said: str = "") -> bytes:
    """A piece of HTML that shows *state*, for pages without script, and for htmx, which has it renew itself.

    Args:
        state: What to show.
        error: What to show of its error.
        actions: What the viewer may do.
        address: The absolute path of the state.
        said: Something to say besides, such as why it was not cancelled.
    """
    src = escape(address)
    renews = "" if state.is_finished else f' hx-get="{src}" hx-trigger="every 1s" hx-swap="outerHTML"'
    value = "" if state.progress is None else f' value="{state.progress:.4g}"'
    parts = [f'<progress max="1"{value}></progress>'] if not state.is_finished or state.is_completed else []
    parts.append(f'<span class="job-progress-status">{_situation(state)}</span>')
    if state.percent is not None and state.is_processing:
        parts.append(f'<span class="job-progress-percent">{state.percent}%</span>')
    if state.completed is not None:
        of = "" if state.total is None else f" of {state.total}"
        parts.append(f'<span class="job-progress-items">{state.completed}{of}</span>')
    if state.message:
        parts.append(f'<span class="job-progress-message">{escape(state.message)}</span>')
    if error:
        parts.append(f'<span class="job-progress-error">{escape(error)}</span>')
    if said:
        parts.append(f'<span class="job-progress-said">{escape(said)}</span>')
    if "cancel" in actions and state.can_be_cancelled and not state.is_cancelling:
        parts.append(
            f'<form method="post" action="{src}/cancel" hx-post="{src}/cancel" hx-target="closest .job-progress" '
            'hx-swap="outerHTML"><button>Cancel</button></form>'
        )
    inside = "\n  ".join(parts)
    return (
        f'<div class="job-progress" data-status="{state.status}" role="status"{renews}>\n  {inside}\n</div>\n'.encode()
    )


def _situation(state: JobState) -> str:
    if state.is_stalled:
        return "stalled"
    if state.is_cancelling:
        return "cancelling"
    return "retrying" if state.is_pending and state.error else str(state.status)
