"""States in words: for people, on one line, and safe to print whatever a job has reported."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from math import log10
from typing import Any

from job_progress import clock
from job_progress.state import JobState, JobStatus

ERROR_LENGTH = 300
"""Of an error, as much is shown beside other things; `show` has all of it."""

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")


def clean(text: str) -> str:
    """*text* on one line, without escape sequences and other characters that do not print."""
    return " ".join("".join(one if one.isprintable() else " " for one in _ESCAPES.sub("", text)).split())


def name(state: JobState) -> str:
    """The job and id in full: what `watch`, `show` and `cancel` take."""
    return clean(f"{state.job} {state.id}")


def short_name(state: JobState) -> str:
    """The last part of the job's name, and the id."""
    return clean(f"{state.job.rpartition('.')[2] or state.job} {state.id}")


def situation(state: JobState) -> str:
    """Where it stands, in one word: a status, or what is more telling."""
    if state.version == 0:
        return "unknown"
    if state.is_stalled:
        return "stalled"
    if state.is_cancelling:
        return "cancelling"
    return "retrying" if state.is_pending and state.attempt else str(state.status)


def detail(state: JobState) -> str:
    """What there is to say about the situation: what it does, or what went wrong."""
    match situation(state):
        case "unknown":
            return "nobody has locked or started it yet"
        case "stalled":
            silence = timedelta(seconds=state.silence_at(clock.now()))
            return f"no sign of life for {span(silence)}: its worker may have died"
        case "failed" | "retrying":
            return clean(state.error or "")[:ERROR_LENGTH]
        case _:
            return clean(state.message or "")


def percent(state: JobState) -> str:
    """Such as `42%`; nothing while it is not known, or has not begun."""
    return "" if state.percent is None or state.is_pending else f"{state.percent}%"


def items(state: JobState) -> str:
    """Such as `420/1,000`; nothing if the job does not count."""
    if state.completed is None:
        return ""
    return _amount(state.completed) + ("" if state.total is None else f"/{_amount(state.total)}")


def rate(state: JobState) -> str:
    """Items per second, or per minute if they are slow; nothing unless it is at work."""
    if not state.rate or not state.is_processing or state.is_stalled:
        return ""
    if state.rate < 1:
        return f"{state.rate * 60:.2g}/min"
    return f"{_amount(state.rate) if state.rate >= 10 else format(state.rate, '.1f')}/s"


def elapsed(state: JobState) -> str:
    """How long the latest run took or has taken; nothing before it."""
    return span(state.duration) if state.started_at else ""


def left(state: JobState) -> str:
    """Such as `0:18 left`; nothing while it is not known."""
    return "" if state.eta is None else f"{span(state.eta)} left"


def row(state: JobState) -> list[str]:
    """The columns of a listing: job, id, situation, percent, items, time, and what there is to say."""
    numbers = [percent(state), items(state), elapsed(state)]
    return [clean(state.job), clean(state.id), situation(state), *numbers, detail(state)]


def facts(state: JobState) -> list[str]:
    """All that is known, as `key: value`, and without what is empty or not so."""
    unknown: tuple[Any, ...] = (None, {})
    return [
        f"{key}: {_value(value)}"
        for key, value in state.to_dict().items()
        if value not in unknown and not (value is False and key.startswith(("is_", "can_")))
    ]


def _value(value: Any) -> str:
    if value is True:
        return "yes"
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def tally(states: Sequence[JobState]) -> str:
    """How many are in which situation, such as `3 completed, 1 failed`."""
    found = [situation(state) for state in states]
    return ", ".join(f"{found.count(one)} {one}" for one in dict.fromkeys((*JobStatus, *found)) if one in found)


def span(time: timedelta) -> str:
    """Such as `0:07`, `12:30`, `3:05:00` or `2 d 03:05`."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _amount(number: float) -> str:
    """At most six characters wide, for all that can be counted."""
    if number < 100_000:
        return f"{number:,.0f}"
    power = min(int(log10(number) + 1e-4) // 3, 5)  # 999,900 is 1M already, if it is not to be 1e+03k
    return f"{number / 1000**power:.3g}{' kMGTP'[power]}"
