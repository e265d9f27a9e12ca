"""A Django cache that fails when it is told to, in the ways in which some backends do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django.core.cache.backends.locmem import LocMemCache

Hook = Callable[["UnreliableCache", list[str]], bool | None]


class UnreliableCache(LocMemCache):
    """In memory, and reliable as long as nobody sets a hook.

    A hook is called with the cache and the keys before a method does its work. If it returns
    `False` the method does not, and says nothing about it.
    """

    hooks: ClassVar[dict[str, Hook]] = {}

    def _works(self, method: str, keys: Iterable[str]) -> bool:
        hook = self.hooks.get(method)
        return hook is None or hook(self, list(keys)) is not False

    def add(self, key: Any, value: Any, timeout: Any = None, version: Any = None) -> bool:
        return self._works("add", [key]) and super().add(key, value, timeout, version)

    def get_many(self, keys: Any, version: Any = None) -> dict[Any, Any]:
        return super().get_many(keys, version) if self._works("get_many", keys) else {}

    def set_many(self, data: Any, timeout: Any = None, version: Any = None) -> list[Any]:
        return super().set_many(data, timeout, version) if self._works("set_many", data) else []
