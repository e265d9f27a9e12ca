"""Keeps the tokens of links out of logs: who reads a log must not be able to open them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping

_LOGS = (
    "uvicorn.access",
    "hypercorn.access",
    "gunicorn.access",
    "granian.access",
    "werkzeug",
    "django.request",
    "django.server",
    "django.channels.server",  # runserver of daphne; by itself it logs past logging
)
"""Where servers and frameworks write the addresses that were asked for."""
_TOKEN = re.compile(r"((?:^|/)s/)[\w.~:-]{16,}")
_HIDDEN = r"\1…"


class _HideTokens(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _without_token(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_without_token(arg) for arg in record.args)
        elif isinstance(record.args, Mapping):
            record.args = _Cleaned(record.args)
        return True


class _Cleaned(Mapping[str, object]):
    """What *of* has, without tokens. It is asked each time, as servers' own mappings make up what they do not have."""

    def __init__(self, of: Mapping[str, object]) -> None:
        self._of = of

    def __getitem__(self, name: str) -> object:
        return _without_token(self._of[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


_hide = _HideTokens()


def keep_tokens_out_of_logs() -> None:
    """Have the known servers' logs of requests show `s/…` for a link. Doing it twice changes nothing."""
    for name in _LOGS:
        logging.getLogger(name).addFilter(_hide)


def _without_token(value: object) -> object:
    return _TOKEN.sub(_HIDDEN, value) if isinstance(value, str) else value
