"""Signed links: whoever holds one may see one state, and cancel it if the link says so."""

from __future__ import annotations

import hashlib
import logging
import time
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from job_progress import clock
from job_progress.names import check_id, check_name
from job_progress.state import JobState
from job_progress.tracker import check_positive
from job_progress.web.access_log import keep_tokens_out_of_logs
from job_progress.web.binding import Binding, binding_of
from job_progress.web.rules import Link, Question, Rule
from job_progress.web.ways import Way

logger = logging.getLogger("job_progress")

DAY = 86400.0
SALT = "job_progress.web"
MAX_TOKEN = 4096
"""Longer tokens are not even looked at."""
SHORT_SECRET = 16
_ACTIONS = ("view", "cancel")


class SignedLinks(Rule):
    """Makes and checks links; how they are signed is left to who derives from it."""

    def __init__(self) -> None:
        keep_tokens_out_of_logs()

    @abstractmethod
    def sign(self, payload: list[Any]) -> str:
        """*payload*, JSON values, as a signed text that needs no quoting in a URL."""

    @abstractmethod
    def unsign(self, token: str) -> Any:
        """What `sign` was given; `None` if *token* is none of this rule's. Takes constant time."""

    def path(
        self,
        job: str | JobState,
        id: str | int | UUID | None = None,
        *,
        actions: Collection[str] = ("view",),
        expires: float | None = DAY,
        bind: bool = True,
    ) -> str:
        """The address of a state, below the mount: `s/<token>`. No I/O.

        The link of a state that has an owner shows all runs of that id which belong to the same owner; that of another
        state shows this one life, with all its attempts. By name and id, it is for the life that the id has now, or
        else for the first one that begins within a quarter of an hour.

        Args:
            job: The state, as `lock` gives it; or the job's name.
            id: Which execution, if *job* is a name; it need not have begun.
            actions: What whoever holds the link may do: `"view"`, and `"cancel"`.
            expires: In how many seconds the link opens nothing any more; `None`: never.
            bind: `False`: it is for whatever run the id ever has, whoever it belongs to.

        Raises:
            ValueError, TypeError: An argument is none of these.
        """
        if isinstance(job, JobState) == (id is not None):
            raise TypeError(f"a link is made of a state, or a job's name and an id, not of {job!r} and {id!r}")
        state = job if isinstance(job, JobState) else JobState(job=check_name(job, "job name"), id=check_id(id))
        if not actions or not set(actions) <= set(_ACTIONS) or isinstance(actions, str):
            raise ValueError(f'actions must be a set of "view" and "cancel", not {actions!r}')
        if expires is not None:
            check_positive(expires, "expires")
        until = None if expires is None else int(time.time() + expires)
        letters = "".join(action[0] for action in _ACTIONS if action in actions)
        bound = [binding_of(state, clock.now()).parts] if bind else []
        return f"s/{self.sign([state.job, state.id, letters, until, *bound])}"

    def opened(self, token: str) -> Link | None:
        """The link that *token* is, if it is unaltered and not expired."""
        match self.unsign(token) if len(token) <= MAX_TOKEN else None:
            case [str(job), str(id), str(letters), int() | None as until, *bound] if not _is_past(until):
                try:
                    binding = Binding.of(*bound) if bound else None  # what 0.1 signed is for the id
                except (TypeError, ValueError):
                    return None
                return Link(job, id, frozenset(action for action in _ACTIONS if action[0] in letters), binding)
        return None

    async def allows(self, question: Question, way: Way) -> bool:
        """Was a link followed that allows it, for this very state?"""
        return self.allows_by_link(question)

    def allows_by_link(self, question: Question) -> bool:
        """Was a link followed that allows it, for this very state?"""
        link, state = question.link, question.state
        return link is not None and state is not None and link.is_for(state) and question.action in link.actions


def _is_past(until: int | None) -> bool:
    return until is not None and time.time() >= until


class Links(SignedLinks):
    """Signed links of any web application, by itsdangerous (HMAC with SHA-256).

    Args:
        secret: A long random text that nobody else knows, the same in every process that makes or serves
            links. Several, oldest first: the last one signs, and links signed with any of them are
            accepted, so that a secret can be replaced while its links are about.

    Raises:
        ValueError: There is no secret, or an empty one.
    """

    def __init__(self, secret: str | Sequence[str]) -> None:
        from itsdangerous import BadData, URLSafeSerializer

        super().__init__()
        secrets = [secret] if isinstance(secret, str) else list(secret)
        if not secrets or not all(isinstance(one, str) and one for one in secrets):
            raise ValueError("Links needs a secret: a long random text, as from secrets.token_urlsafe()")
        if any(len(one) < SHORT_SECRET for one in secrets):
            logger.warning("a secret of Links is shorter than %d characters, and may be guessed", SHORT_SECRET)
        self._serializer = URLSafeSerializer(secrets, SALT, signer_kwargs={"digest_method": hashlib.sha256})
        self._bad = BadData

    def sign(self, payload: list[Any]) -> str:
        """Sign with the last secret."""
        token = self._serializer.dumps(payload)
        return token if isinstance(token, str) else token.decode()

    def unsign(self, token: str) -> Any:
        """Accept what any of the secrets has signed."""
        try:
            return self._serializer.loads(token)
        except (self._bad, ValueError):  # the latter of what is no ASCII, say
            return None
