"""The jobs of `tests.queues.jobs` as Django's tasks. Imported once Django is set up."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from tests.queues import jobs
from tests.queues.drivers.django_project import PACKAGE

task: Any = import_module(PACKAGE).task


def here(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function* as one of this module, where its task is found by its name."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__module__ = __name__
    return call


silent = task(here(jobs.silent))
add = task(here(jobs.add))
named = task(here(jobs.named))
wait = task(here(jobs.wait))
stubborn = task(here(jobs.stubborn))
fail = task(here(jobs.fail))
flaky = task(here(jobs.flaky))
nameless = task(here(jobs.nameless))
