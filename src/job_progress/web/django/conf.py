"""What the setting `JOB_PROGRESS` says."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from job_progress.default import default_tracker
from job_progress.tracker import Tracker
from job_progress.web.django.links import links
from job_progress.web.django.rules import DjangoLoop, owner_or_staff
from job_progress.web.origins import Origins
from job_progress.web.rules import Rule, as_rule
from job_progress.web.site import Site
from job_progress.web.view import ShowError
from job_progress.web.ways import InThread

TRACKER_SETTINGS = frozenset(name.upper() for name in inspect.signature(Tracker).parameters)
"""What `Tracker` takes, in capitals; `KEY` by a dotted path, if need be."""
WEB_SETTINGS = frozenset({"AUTHORIZE", "MAX_WATCHERS", "ORIGINS", "SHOW_ERROR"})
"""What is for the live view only; `AUTHORIZE` and `SHOW_ERROR` by a dotted path, if need be."""


def job_progress_settings() -> dict[str, Any]:
    """The setting `JOB_PROGRESS`, or an empty one."""
    return dict(getattr(settings, "JOB_PROGRESS", None) or {})


def tracker_settings() -> dict[str, Any]:
    """Those of the settings that `configure` takes."""
    given = job_progress_settings()
    return {
        name.lower(): import_string(value) if name == "KEY" and isinstance(value, str) else value
        for name, value in given.items()
        if name in TRACKER_SETTINGS
    }


def rule() -> Rule:
    """Signed links, and besides them what `AUTHORIZE` says: by default the owner, and staff.

    Raises:
        ImportError, TypeError: `AUTHORIZE` names nothing, or no rule.
    """
    given = job_progress_settings().get("AUTHORIZE", owner_or_staff)
    return links | as_rule(import_string(given) if isinstance(given, str) else given)


def show_error() -> ShowError | None:
    """What `SHOW_ERROR` says, if it does.

    Raises:
        ImportError: It names nothing.
    """
    given: Any = job_progress_settings().get("SHOW_ERROR")
    made: ShowError | None = import_string(given) if isinstance(given, str) else given
    return made


def origins() -> list[str]:
    """Where browsers find this site: what `ORIGINS` says, by default what Django trusts as well.

    Raises:
        TypeError, ValueError: They are none.
    """
    given: list[str] = job_progress_settings().get("ORIGINS", settings.CSRF_TRUSTED_ORIGINS)
    Origins(given)
    return given


@cache
def loop_site() -> Site:
    """What answers under ASGI."""
    limit = job_progress_settings().get("MAX_WATCHERS", 10_000)
    return Site(rule(), default_tracker, DjangoLoop(), limit, show_error(), origins())


@cache
def thread_site(*, places: int) -> Site:
    """What answers under WSGI, where streams would take a thread each for good.

    Args:
        places: How many answers may be held back, if the settings do not say so; 0: none, whatever they say.
    """
    way = InThread(streams=False, waits=places > 0)
    limit = job_progress_settings().get("MAX_WATCHERS", max(places, 1))
    return Site(rule(), default_tracker, way, limit, show_error(), origins())
