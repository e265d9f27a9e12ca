"""Who may do what: rules that are asked before anything is shown or done."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from job_progress.state import JobState
from job_progress.web.binding import Binding
from job_progress.web.ways import Way

logger = logging.getLogger("job_progress")

Action = Literal["view", "cancel", "list"]
Decide = Callable[[Any, Action, JobState | None], bool | Awaitable[bool]]
"""A user's own rule: takes the framework's request, the action and the state, if there is one."""


@dataclass(frozen=True)
class Link:
    """What a signed link says: the state that it is for, and what whoever holds it may do."""

    job: str
    id: str
    actions: frozenset[str]
    binding: Binding | None = field(default=None, compare=False)
    """Which lives of the id it is for; `None`: all."""

    def is_for(self, state: JobState) -> bool:
        """Is it for this very state, in this very life?"""
        is_its_id = (state.job, state.id) == (self.job, self.id)
        return is_its_id and (self.binding is None or self.binding.includes(state))


@dataclass(frozen=True)
class Question:
    """May this be done?

    Attributes:
        request: The framework's own request.
        action: `"view"`, `"cancel"` or `"list"`.
        state: What to, if the store knows it.
        link: The signed link that was followed, its signature and time checked.
    """

    request: Any
    action: Action
    state: JobState | None
    link: Link | None = None


class Rule(ABC):
    """Says who may do what. Combine rules, and functions, with `|`: what any of them allows, is allowed."""

    @abstractmethod
    async def allows(self, question: Question, way: Way) -> bool:
        """Is it allowed?"""

    def opened(self, token: str) -> Link | None:
        """The link that *token* is, if it is one of this rule's, unaltered and not expired."""
        return None

    def allows_by_link(self, question: Question) -> bool:
        """Does the link that was followed allow it, whoever follows it?

        Such a request needs no cookie, and so may come from a page of any site.
        """
        return False

    def __or__(self, other: Rule | Decide) -> Rule:
        return AnyOf(self, as_rule(other))

    def __ror__(self, other: Decide) -> Rule:
        return AnyOf(as_rule(other), self)


class AnyOf(Rule):
    """What one of the *rules* allows."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules

    async def allows(self, question: Question, way: Way) -> bool:
        """Is it allowed by any of them? They are asked in their order, until one says so."""
        for rule in self._rules:
            if await rule.allows(question, way):
                return True
        return False

    def opened(self, token: str) -> Link | None:
        """The link, if *token* is one of any of them."""
        links = (rule.opened(token) for rule in self._rules)
        return next((link for link in links if link is not None), None)

    def allows_by_link(self, question: Question) -> bool:
        """Do the links of any of them allow it?"""
        return any(rule.allows_by_link(question) for rule in self._rules)


class Decided(Rule):
    """What a function of the request, the action and the state says; sync or async."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide

    async def allows(self, question: Question, way: Way) -> bool:
        """Does the function say so? What it raises is raised on, and nobody is let in."""
        return bool(await way.ask(self._decide, question.request, question.action, question.state))


class _AllowAll(Rule):
    async def allows(self, question: Question, way: Way) -> bool:
        return True


allow_all: Rule = _AllowAll()
"""Everybody may do everything: for one's own machine, and behind a proxy that lets in the right people only."""


def as_rule(authorize: object) -> Rule:
    """What was given as `authorize=`, as a rule.

    Raises:
        TypeError: It is none, and nobody shall be let in by mistake.
    """
    if authorize is allow_all:
        logger.warning("allow_all: whoever can reach this web application sees, and may cancel, every job")
    if isinstance(authorize, Rule):
        return authorize
    if not callable(authorize) or isinstance(authorize, type):
        raise TypeError(
            "authorize= says who may see and cancel jobs: Links(secret=…), a function of the request, the action "
            f"and the state, several of these with |, or allow_all; not {type(authorize).__name__}"
        )
    return Decided(cast("Decide", authorize))
