"""System checks: what is wrong with the setting `JOB_PROGRESS`, before anybody meets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error

from job_progress.tracker import Tracker
from job_progress.web.django.conf import (
    TRACKER_SETTINGS,
    WEB_SETTINGS,
    job_progress_settings,
    origins,
    rule,
    show_error,
    tracker_settings,
)
from job_progress.web.view import Errors

_AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Each mistake in `JOB_PROGRESS`, with what to do about it. No I/O."""
    given = job_progress_settings()
    known = TRACKER_SETTINGS | WEB_SETTINGS
    found: list[CheckMessage] = [
        Error(
            f"JOB_PROGRESS has no setting {name!r}.",
            hint=f"There are {', '.join(sorted(known))}.",
            id="job_progress.E001",
        )
        for name in given
        if name not in known
    ]
    try:
        Tracker(**tracker_settings())
    except (TypeError, ValueError, ImportError) as error:
        found.append(Error(f"JOB_PROGRESS makes no tracker: {error}", id="job_progress.E002"))
    try:
        rule()
    except (TypeError, ImportError) as error:
        hint = "It takes a rule, or a function of the request, the action and the state; or the dotted path of one."
        found.append(Error(f"JOB_PROGRESS['AUTHORIZE'] is no rule: {error}", hint=hint, id="job_progress.E003"))
    if not isinstance(given.get("MAX_WATCHERS", 1), int) or given.get("MAX_WATCHERS", 1) < 1:
        found.append(Error("JOB_PROGRESS['MAX_WATCHERS'] must be a number from 1.", id="job_progress.E004"))
    try:
        Errors(show_error())
    except (TypeError, ImportError) as error:
        hint = "It takes a function of the state that gives the text to show; or the dotted path of one."
        found.append(Error(f"JOB_PROGRESS['SHOW_ERROR'] is no function: {error}", hint=hint, id="job_progress.E005"))
    try:
        origins()
    except (TypeError, ValueError) as error:
        hint = "It takes a list such as ['https://shop.example']; by default CSRF_TRUSTED_ORIGINS."
        found.append(
            Error(f"JOB_PROGRESS['ORIGINS'] is no list of origins: {error}", hint=hint, id="job_progress.E006")
        )
    if "AUTHORIZE" not in given and _AUTHENTICATION not in settings.MIDDLEWARE:
        found.append(
            checks.Warning(
                "Nobody can be signed in, so only signed links let anybody see a job.",
                hint=f"Add {_AUTHENTICATION} to MIDDLEWARE, or set JOB_PROGRESS['AUTHORIZE'].",
                id="job_progress.W001",
            )
        )
    return found
