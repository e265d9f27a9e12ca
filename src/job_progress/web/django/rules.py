"""Whom Django's own users are to the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from job_progress.state import JobState
from job_progress.web.rules import Action
from job_progress.web.ways import InLoop


def owner_or_staff(request: HttpRequest, action: Action, state: JobState | None) -> bool:
    """A signed-in user may see and cancel what belongs to them (`owner` is their primary key); staff may do all."""
    user: Any = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return False
    return bool(user.is_staff) or (state is not None and state.owner is not None and state.owner == str(user.pk))


class DjangoLoop(InLoop):
    """In an event loop, where users' functions may touch the database only in the thread that is for it."""

    async def call_of_users(self, function: Callable[..., object], *args: object) -> object:
        """Call it in Django's thread."""
        return await sync_to_async(function, thread_sensitive=True)(*args)
