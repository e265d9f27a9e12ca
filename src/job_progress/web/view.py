"""What viewers are shown of a state: as JSON, as a piece of HTML, and as an event."""

from __future__ import annotations

import logging
from collections.abc import Collection
from html import escape
from typing import Any

import msgspec

from job_progress.state import JobState
from job_progress.tracker import Tracker

logger = logging.getLogger("job_progress")

_TRACEBACK = "Traceback (most recent call last):"
_HIDDEN = "the job failed"


def shown(state: JobState, tracker: Tracker, actions: Collection[str] | None = None) -> dict[str, Any]:
    """`state.to_dict()` with its error as viewers may see it, and what this viewer may do, if *actions* says so."""
    plain = state.to_dict()
    if plain["error"] is not None:
        plain["error"] = shown_error(state, tracker)
    if actions is not None:
        plain["actions"] = sorted(actions, reverse=True)
    return plain


def shown_error(state: JobState, tracker: Tracker) -> str:
    """The error of *state* as `Tracker(show_error=…)` has it; without that the job's own, but no traceback."""
    error = state.error or ""
    if tracker.show_error is not None:
        try:
            error = str(tracker.show_error(state))
        except Exception:
            logger.exception("show_error raised; viewers are told only that %s %r failed", state.job, state.id)
            return _HIDDEN
    if _TRACEBACK in error:  # some libraries put that of another process into the message
        lines = [line for line in error.splitlines() if line.strip()]
        ends_it = lines and not lines[-1].startswith((" ", _TRACEBACK))
        return lines[-1] if ends_it else _HIDDEN
    return error


def tag_of(state: JobState, actions: Collection[str], kind: str) -> str:
    """An ETag: another one whenever what is shown differs in more than the time that goes by."""
    marks = f"{kind[0]}{'c' if 'cancel' in actions else ''}{'s' if state.is_stalled else 'h' if state.is_stuck else ''}"
    return f'W/"{state.version}{marks}"'


def event(name: str, data: bytes = b"{}", id: int | None = None) -> bytes:
    """A server-sent event. *data* has no line breaks, as msgspec's JSON has none."""
    numbered = b"" if id is None else b"id: %d\n" % id
    return b"%sevent: %s\ndata: %s\n\n" % (numbered, name.encode(), data)


def state_event(state: JobState, tracker: Tracker, actions: Collection[str] | None = None) -> bytes:
    """The event that tells of *state*."""
    data = msgspec.json.encode(shown(state, tracker, actions))
    return event("state", data, state.version if actions is not None else None)


def fragment(state: JobState, tracker: Tracker, actions: Collection[str], address: str, said: str = "") -> bytes:
    """A piece of HTML that shows *state*, for pages without script, and for htmx, which has it renew itself.

    Args:
        state: What to show.
        tracker: Whose `show_error` rewrites the error.
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
    if state.error:
        parts.append(f'<span class="job-progress-error">{escape(shown_error(state, tracker))}</span>')
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
