"""The origins of a site's own pages, as browsers see them."""

from __future__ import annotations

import re
from collections.abc import Collection

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[^/*?#@\s]+")


class Origins:
    """Origins whose pages may cancel by a cookie, beside those of the host that was asked.

    Args:
        origins: Such as `https://shop.example`; or `https://*.shop.example`, for all hosts below that domain.

    Raises:
        TypeError: It is no collection of strings.
        ValueError: One of them is no origin.
    """

    def __init__(self, origins: Collection[str]) -> None:
        if isinstance(origins, str) or not all(isinstance(origin, str) for origin in origins):
            raise TypeError(f"origins= takes several strings, not {origins!r}")
        given = [origin.lower().removesuffix("/") for origin in origins]
        for origin in given:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"origins= takes origins such as https://shop.example, not {origin!r}")
        self._exact = frozenset(given)
        self._below = [origin.split("*") for origin in given if "*" in origin]

    def has(self, origin: str) -> bool:
        """Is *origin*, as a browser sent it, one of these?"""
        origin = origin.lower()
        return origin in self._exact or any(
            origin.startswith(scheme) and origin.endswith(domain) for scheme, domain in self._below
        )
