"""JSON in and out: a state as bytes, and what users hand in as plain values; and errors as texts."""

from __future__ import annotations

import json
import logging
import re
from math import isfinite
from typing import Any

import msgspec

from job_progress.errors import JobFailed, NewerFormat
from job_progress.events import Explanation
from job_progress.state import FORMAT, JobState, Settings, microseconds
from job_progress.stores.contract import Change, Record

logger = logging.getLogger("job_progress")

MAX_RESULT_BYTES = 64 * 1024
"""The default limit of a result, and of all metadata together, as JSON."""
MESSAGE_LENGTH = 1000
"""Longer messages are cut: a progress message is a line, and each report carries it."""
ERROR_LENGTH = 4000
TRACEBACK = "Traceback (most recent call last):"
UNTOLD = "failed"
"""What viewers are told of an error of which they may see nothing."""
_TYPE = re.compile(r"(interrupted by )?(?:[^\W\d]\w*\.)*([A-Z]\w*)(?=: |\n|$)")


class TooLarge(ValueError):
    """What was handed in has a JSON form, which is longer than it may be."""


def _encode_model(value: Any) -> Any:
    kind = type(value).__name__
    if not hasattr(value, "model_dump"):  # pydantic, which this package need not import to know
        raise TypeError(f"{kind} has no JSON form")
    try:
        return value.model_dump(mode="json")
    except Exception as error:  # whose text may say what viewers of the state should not see
        raise TypeError(f"model_dump() of {kind} raised {type(error).__name__}") from error


_encoder = msgspec.json.Encoder(enc_hook=_encode_model)
_decoder = msgspec.json.Decoder(JobState)
_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def change_to(state: JobState, key: str, expected: int) -> Change:
    """The wish to put *state* below *key*, where version *expected* should be.

    The bytes are JSON, readable in the store's own tools.
    """
    return Change(
        key=key,
        expected=expected,
        version=state.version,
        value=_encoded(state),
        lifetime=state.lifetime,
        job=state.job,
        status=state.status,
        created=microseconds(state.created_at),
    )


def state_in(record: Record | None) -> JobState | None:
    """The state that *record* holds; `None` if there is none, or if its bytes are no record at all.

    The record's age tells how long the run has been silent, and not the clock of the process that wrote it. Fields of
    a newer version are kept, and written again with the state.

    Raises:
        NewerFormat: A newer version wrote it, and this one cannot tell what it means.
    """
    if record is None:
        return None
    try:
        state = _decoded(record.value)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        logger.warning("a record is unreadable and counts as missing: %s: %.100r", error, record.value)
        return None
    return state.silent_for(record.age + (state.silence or 0.0))


def _encoded(state: JobState) -> bytes:
    unknown, of_settings = state.unknown, state.settings.unknown
    if not unknown and not of_settings:
        return _encoder.encode(state)
    settings = msgspec.structs.replace(state.settings, unknown=msgspec.UNSET)
    fields = _fields_of(_encoder.encode(msgspec.structs.replace(state, unknown={}, settings=settings)))
    if of_settings:
        fields["settings"] = msgspec.Raw(_encoder.encode(_fields_of(fields["settings"]) | _raw(of_settings)))
    return _encoder.encode(fields | _raw(unknown))


def _raw(fields: dict[str, bytes]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(value) for name, value in fields.items()}


def _decoded(value: bytes) -> JobState:
    try:
        state = _decoder.decode(value)
    except msgspec.ValidationError as error:  # as of fields that it does not know, which are rare
        fields = _fields_of(value)
        if not fields.keys() >= {"job", "id"}:
            raise  # it is no record
        name = " ".join(bytes(fields[part]).decode() for part in ("job", "id"))
        try:
            known, unknown = _parted(fields, JobState)
            settings, of_settings = _parted(_fields_of(fields.get("settings", b"{}")), Settings)
            state = _decoder.decode(_encoder.encode(known | {"settings": settings}))
        except msgspec.ValidationError as reason:
            raise _newer(name, str(reason)) from error
        settings_kept = msgspec.structs.replace(state.settings, unknown=of_settings or msgspec.UNSET)
        state = msgspec.structs.replace(state, unknown=unknown, settings=settings_kept)
    if state.format > FORMAT:
        raise _newer(f'"{state.job}" "{state.id}"', f"format {state.format}, and this one knows {FORMAT}")
    return state


def _parted(fields: dict[str, msgspec.Raw], kind: type[msgspec.Struct]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What this version knows of *fields*, and what it does not."""
    names = kind.__struct_encode_fields__
    known = {name: value for name, value in fields.items() if name in names}
    return known, {name: bytes(value) for name, value in fields.items() if name not in names}


def _newer(name: str, why: str) -> NewerFormat:
    return NewerFormat(f"{name} was written by a newer job-progress, and cannot be read by this one ({why}): update it")


def plain(value: Any, what: str, limit: int) -> Any:
    """*value* as plain JSON values, a copy that later changes to *value* do not reach.

    Takes what JSON has, and datetime, UUID, Decimal, enum, dataclass, attrs, msgspec and
    pydantic models.

    Raises:
        TypeError: It, or something inside, has no JSON form; or JSON would silently change it: a number that is
            not finite, or keys of a dictionary that are the same once they are strings.
        TooLarge: The JSON is longer than *limit* bytes.
    """
    try:
        encoded = _encoder.encode(value)
        if len(encoded) > limit:
            raise TooLarge(
                f"{what} is {len(encoded):,} bytes as JSON and may be {limit:,} (max_result_bytes): "
                "store it elsewhere and publish where"
            )
        copy = msgspec.json.decode(encoded)
        _encoder.encode([[copy]])  # in a state it lies deeper
        _refuse_changes(value, encoded)
    except TooLarge:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"{what} cannot be stored as JSON: {error} (in a {type(value).__name__})") from error
    return copy


def _refuse_changes(value: Any, encoded: bytes) -> None:
    """Raise `TypeError` if JSON, which is *encoded*, silently says something else than *value*."""
    if b"null" in encoded:  # which is what the encoder makes of NaN
        _refuse_infinite(msgspec.to_builtins(value, enc_hook=_encode_model))
    if b"{" in encoded:
        # json sees each key, and not the last of those that are the same.
        json.loads(encoded, object_pairs_hook=_refuse_twins, parse_int=str, parse_float=str)


def _refuse_infinite(value: Any) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise TypeError(f"JSON has no {value}")
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for one in inside:
        _refuse_infinite(one)


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twin = next(key for key in keys if keys.count(key) > 1)
        raise TypeError(f"two keys of a dictionary are {twin!r} once they are strings")


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


def explain(error: BaseException | str | Explanation, before: str = "") -> Explanation:
    """Why something failed, with *before* in front.

    Of an exception that is its type and its message, and viewers see the type only: a message may hold anything, the
    password of a database too. A text, and what a `JobFailed` says, is meant for them; a traceback in it is not.
    """
    if isinstance(error, Explanation):
        text, for_viewers = error.text, error.for_viewers
    elif isinstance(error, str):
        text, for_viewers = error, _without_traceback(error)
    else:
        name, message = type(error).__name__, _message_of(error)
        text = f"{name}: {message}" if message else name
        for_viewers = _without_traceback(message) or name if isinstance(error, JobFailed) else name
    return Explanation(*(line(before + part, "error", ERROR_LENGTH) for part in (text, for_viewers)))


def explain_report(report: str) -> Explanation:
    """Why something failed, of a queue's *report*: its own words; or a traceback, whose end tells what was raised."""
    if TRACEBACK in report:
        text = _raised_in(report)
        return explain(Explanation(text, type_in(text)))
    return explain(report.strip().rpartition("\n")[2])


def type_in(text: str) -> str:
    """The type of the exception that *text* tells of; a neutral word, if it does not look like that."""
    named = _TYPE.match(text)
    return f"{named[1] or ''}{named[2]}" if named else UNTOLD


def _without_traceback(text: str) -> str:
    return type_in(_raised_in(text)) if TRACEBACK in text else text


def _raised_in(report: str) -> str:
    """What comes behind the last traceback in *report*: an exception's type and message."""
    lines = report.rpartition(TRACEBACK)[2].strip("\n").splitlines()
    ends = (number for number, one in enumerate(lines) if one.strip() and not one.startswith(" "))
    return "\n".join(lines[next(ends, len(lines)) :]).strip() or UNTOLD


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - an error that cannot be printed is still an error
        return f"(its message could not be made: {type(broken).__name__})"
