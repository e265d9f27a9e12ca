"""What a job is called, and which function or class bears which name: one each, or their states would be mixed up."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from job_progress.given_names import bound_to, given_name, is_named_twice, layers
from job_progress.names import check_name
from job_progress.tracker import Tracker

logger = logging.getLogger("job_progress")

MAIN = ("__main__", "__mp_main__")
"""What Python calls the module that it was started with, there and in the processes that multiprocessing spawns."""

_claimed: dict[str, tuple[str, str]] = {}
"""Names of jobs on the default tracker, and the definitions that bear them."""


def default_name(definition: Any) -> str:
    """`module.qualname`, the same whether the module is imported, or Python was started with it. No I/O."""
    module = definition.__module__
    return f"{_imported_as(module) if module in MAIN else module}.{definition.__qualname__}"


def _imported_as(main: str) -> str:
    module = sys.modules.get(main)
    spec = getattr(module, "__spec__", None)  # of `python -m`
    if spec is not None and spec.name not in MAIN:
        return str(spec.name)
    return Path(getattr(module, "__file__", None) or "").stem or "__main__"


class LateName:
    """The name of a job that says none itself: what the user has called it to its queue, or else the default one.

    A queue's decorator stands above `@tracked`, so it is known a moment later. It is fixed at its first use.

    Args:
        definition: The job's function.
        tracker: Where the job's states live, if that is not the default one.

    Raises:
        ValueError: Another definition bears the default name; or that is none.
    """

    def __init__(self, definition: Any, tracker: Tracker | None) -> None:
        self._definition = definition
        self._tracker = tracker
        self._name = check_name(default_name(definition), "job name")
        self._given: str | None = None
        self._is_fixed = self._has_warned = False
        self._looked_at: Any = None
        claim(self._name, definition, tracker)
        _late[id(self)] = self

    def __str__(self) -> str:
        return self._given or self._name

    def learn_from(self, wrapping: Sequence[Any]) -> None:
        """A queue's objects have the function in them: if a user has named one, the job is called so.

        What stands in the function's module under its name comes first, as all processes find that; a function that
        a queue has under several names is called by none of them. If the job has another name already, there is a
        warning, once. Raises nothing, and does no I/O.
        """
        if wrapping[0] is self._looked_at:  # the same object, for the next task
            return
        given = given_name(wrapping)
        if given is not None and not self._is_fixed:
            self._look_where_it_is_defined()
        self._consider(given, wrapping)
        self._looked_at = wrapping[0]  # at last, so that no other thread uses the job before its name is known

    def _consider(self, given: str | None, wrapping: Sequence[Any]) -> None:
        if given is None or given == str(self) or self._has_warned or is_named_twice(wrapping):
            return
        if self._given is None and not self._is_fixed:
            self._take(given)
        else:
            self._warn(given, "it had its name already when this was found out")

    def _look_where_it_is_defined(self) -> None:
        try:
            wrapping = list(layers(bound_to(self._definition)))
            given = given_name(wrapping) if any(one is self._definition for one in wrapping) else None
        except Exception:  # of a proxy, say, that stands for nothing yet
            logger.debug("what %r is bound to cannot be looked at", self._name, exc_info=True)
            return
        if given is not None and self._given is None:
            self._take(given)

    def _take(self, given: str) -> None:
        try:
            self._given = check_name(given, "job name")
        except ValueError as error:
            self._warn(given, str(error))

    def _warn(self, given: str, reason: str) -> None:
        self._has_warned = True
        logger.warning(
            "the job %r is not called %r, as its queue calls it: %s; "
            "as other processes may call it so, give it a name of its own: @tracked(name=…)",
            str(self),
            given,
            reason,
        )

    def fix(self) -> str:
        """The name, from now on. Raises nothing, and does no I/O."""
        if not self._is_fixed:
            self._look_where_it_is_defined()
            if self._given is not None and self._given != self._name:
                self._rename(self._given)
            self._is_fixed = True  # at last, for the same reason
        return self._name

    def _rename(self, name: str) -> None:
        claimed, bearer = _claims_of(self._tracker), _bearer(self._definition)
        if claimed.get(self._name) == bearer:
            claimed.pop(self._name, None)
        self._name = name
        try:
            claim(name, self._definition, self._tracker)
        except ValueError as error:
            logger.warning("%s; until then their states are mixed up", error)


_late: WeakValueDictionary[int, LateName] = WeakValueDictionary()


def claim(name: str, definition: Any, tracker: Tracker | None) -> None:
    """Let *definition*, a function or class, bear the job name *name* on *tracker*.

    The same definition may claim it again, as when its module is reloaded or imported twice.

    Raises:
        ValueError: Another definition bears it: their states would be mixed up.
    """
    bearer = _bearer(definition)
    other = _claims_of(tracker).setdefault(name, bearer)
    if other != bearer:
        raise ValueError(
            f"{definition.__qualname__} cannot be the job {name!r}: that is {other[1]} in {other[0]}; "
            "give one of them another name="
        )


def _claims_of(tracker: Tracker | None) -> dict[str, tuple[str, str]]:
    return _claimed if tracker is None else tracker.claimed


def _bearer(definition: Any) -> tuple[str, str]:
    file = getattr(sys.modules.get(definition.__module__), "__file__", None)
    return file or definition.__module__, definition.__qualname__


def claimed(tracker: Tracker) -> list[str]:
    """The names of all jobs that this process knows, on the default tracker or on *tracker*; that fixes them."""
    for reference in _late.valuerefs():
        late = reference()
        if late is not None:
            late.fix()
    return [*_claimed.copy(), *(name for name in tracker.claimed.copy() if name not in _claimed)]


@contextmanager
def claims_of_its_own() -> Iterator[None]:
    """Names claimed before, on the default tracker, do not count inside, nor those from inside afterwards."""
    before = _claimed.copy()
    _claimed.clear()
    try:
        yield
    finally:
        _claimed.clear()
        _claimed.update(before)
