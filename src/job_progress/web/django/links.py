"""Signed links, by Django's own signer: its secret key, and its fallbacks while that is being replaced."""

from __future__ import annotations

from typing import Any

from django.core import signing
from django.urls import reverse

from job_progress.state import JobState
from job_progress.web.links import DAY, SALT, SignedLinks


class DjangoLinks(SignedLinks):
    """Links that `SECRET_KEY` signs."""

    def sign(self, payload: list[Any]) -> str:
        """Sign with the secret key."""
        return signing.Signer(salt=SALT).sign_object(payload)

    def unsign(self, token: str) -> Any:
        """Accept what the secret key or one of its fallbacks has signed."""
        try:
            return signing.Signer(salt=SALT).unsign_object(token)
        except (signing.BadSignature, ValueError):
            return None


links = DjangoLinks()


def url_of(state: JobState, *, cancel: bool = True, expires: float | None = DAY, bind: bool = True) -> str:
    """The absolute path of *state* by a signed link: whoever holds it may see that state, and nothing else.

    A later run of the same id is shown only if it belongs to the same owner.

    Args:
        state: Which; it need not have begun.
        cancel: May it be cancelled by the link?
        expires: In how many seconds the link opens nothing any more; `None`: never.
        bind: `False`: it is for whatever run the id ever has, whoever it belongs to.

    Raises:
        NoReverseMatch: `job_progress.web.django.urls` are not included.
    """
    actions = ("view", "cancel") if cancel else ("view",)
    return reverse("job_progress:dashboard") + links.path(state, actions=actions, expires=expires, bind=bind)
