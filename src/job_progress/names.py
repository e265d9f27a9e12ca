"""What may name a job or an execution of one."""

from __future__ import annotations

from uuid import UUID

MAX_LENGTH = 200
HASH_LENGTH = 16


def check_name(value: object, what: str) -> str:
    """*value* as the name or id that it is: 1 to 200 printable characters.

    Raises:
        TypeError: It is no string, whole number or UUID.
        ValueError: It is empty, too long, or has a character that does not print.
    """
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, a whole number or a UUID, not {value!r}")
    if not 1 <= len(value) <= MAX_LENGTH or not value.isprintable():
        shown = value if len(value) <= MAX_LENGTH else value[:20] + "…"
        raise ValueError(f"{what} must be 1 to {MAX_LENGTH} printable characters, not {len(value)} as in {shown!r}")
    return str.__str__(value)  # of an enumeration's member, its value


def check_id(value: object) -> str:
    """*value* as the id that it is: 1 to 200 printable characters.

    A longer one is shortened, the same way each time, and visibly: its first characters, "…", and 16 hexadecimal
    digits of its hash.

    Raises:
        TypeError: It is no string, whole number or UUID.
        ValueError: It is empty, or has a character that does not print.
    """
    if isinstance(value, str) and len(value) > MAX_LENGTH and value.isprintable():
        from hashlib import sha256  # seldom needed

        value = str.__str__(value)
        return f"{value[: MAX_LENGTH - HASH_LENGTH - 1]}…{sha256(value.encode()).hexdigest()[:HASH_LENGTH]}"
    return check_name(value, "id")


def key_of(job: str, id: str) -> str:
    """The default key of `(job, id)`; two different pairs never share one."""
    return f"{job.replace('%', '%25').replace(':', '%3A')}:{id}"
