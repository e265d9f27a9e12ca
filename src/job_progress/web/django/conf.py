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
from job_progress.web.rules import Rule, as_rule
from job_progress.web.site import Site
from job_progress.web.ways import InThread
from job_progress.web.wsgi import MAX_WATCHERS

TRACKER_SETTINGS = frozenset(name.upper() for name in inspect.signature(Tracker).parameters)
"""What `Tracker` takes, in capitals; `KEY` and `SHOW_ERROR` by a dotted path."""
WEB_SETTINGS = frozenset({"AUTHORIZE", "MAX_WATCHERS"})
_BY_PATH = ("KEY", "SHOW_ERROR")


def job_progress_settings() -> dict[str, Any]:
    """The setting `JOB_PROGRESS`, or an empty one."""
    return dict(getattr(settings, "JOB_PROGRESS", None) or {})


def tracker_settings() -> dict[str, Any]:
    """Those of the settings that `configure` takes."""
    given = job_progress_settings()
    return {
        name.lower(): import_string(value) if name in _BY_PATH and isinstance(value, str) else value
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


@cache
def loop_site() -> Site:
    """What answers under ASGI."""
    return Site(rule(), default_tracker, DjangoLoop(), job_progress_settings().get("MAX_WATCHERS", 10_000))


@cache
def thread_site(*, threaded: bool) -> Site:
    """What answers under WSGI, where streams would take a thread each for good; *threaded*: the server has some."""
    way = InThread(streams=False, waits=threaded)
    return Site(rule(), default_tracker, way, job_progress_settings().get("MAX_WATCHERS", MAX_WATCHERS))
