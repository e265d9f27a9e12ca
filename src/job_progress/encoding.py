"""JSON in and out: a state as bytes, and what users hand in as plain values."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from job_progress.state import JobState, microseconds
from job_progress.stores.contract import Change, Record

logger = logging.getLogger("job_progress")

MAX_RESULT_BYTES = 64 * 1024
"""The default limit of a result, and of all metadata together, as JSON."""
MESSAGE_LENGTH = 1000
"""Longer messages are cut: a progress message is a line, and each report carries it."""
ERROR_LENGTH = 4000


def _encode_model(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # pydantic, which this package need not import to know
        return value.model_dump(mode="json")
    raise NotImplementedError


_encoder = msgspec.json.Encoder(enc_hook=_encode_model)
_decoder = msgspec.json.Decoder(JobState)


def change_to(state: JobState, key: str, expected: int) -> Change:
    """The wish to put *state* below *key*, where version *expected* should be.

    The bytes are JSON, readable in the store's own tools.
    """
    return Change(
        key=key,
        expected=expected,
        version=state.version,
        value=_encoder.encode(state),
        lifetime=state.lifetime,
        job=state.job,
        status=state.status,
        created=microseconds(state.created_at),
    )


def state_in(record: Record | None) -> JobState | None:
    """The state that *record* holds; `None` if there is none that this version can read.

    How long the run has been silent goes by the record's age, and not by the clock of whoever wrote it.
    """
    if record is None:
        return None
    try:
        state = _decoder.decode(record.value)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        logger.warning("a record is unreadable and counts as missing: %s: %.100r", error, record.value)
        return None
    return state.silent_for(record.age + (state.silence or 0.0))


def plain(value: Any, what: str, limit: int) -> Any:
    """*value* as plain JSON values, a copy that later changes to *value* do not reach.

    Takes what JSON has, and datetime, UUID, Decimal, enum, dataclass, attrs, msgspec and
    pydantic models.

    Raises:
        TypeError: It, or something inside, has no JSON form.
        ValueError: The JSON is longer than *limit* bytes.
    """
    try:
        encoded = _encoder.encode(value)
        copy = msgspec.json.decode(encoded)
        _encoder.encode([[copy]])  # in a state it lies deeper
    except (TypeError, ValueError, NotImplementedError, OverflowError, RecursionError) as error:
        detail = str(error) or "it has no JSON form"
        raise TypeError(f"{what} cannot be stored as JSON: {detail} (in a {type(value).__name__})") from error
    if len(encoded) > limit:
        raise ValueError(
            f"{what} is {len(encoded):,} bytes as JSON and may be {limit:,} (max_result_bytes): "
            "store it elsewhere and publish where"
        )
    return copy


def line(text: str, what: str, length: int) -> str:
    """*text*, cut to *length* characters, with what UTF-8 cannot carry replaced.

    Raises:
        TypeError: It is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string, not {text!r}")
    if len(text) > length:
        text = text[: length - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def explain(error: BaseException | str) -> str:
    """*error* in one piece of text: its type and its message."""
    if isinstance(error, str):
        return line(error, "error", ERROR_LENGTH)
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - an error that cannot be printed is still an error
        message = f"(its message could not be made: {type(broken).__name__})"
    name = type(error).__name__
    return line(f"{name}: {message}" if message else name, "error", ERROR_LENGTH)
