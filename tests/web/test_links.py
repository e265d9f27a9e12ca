"""Signed links, and rules."""

from __future__ import annotations

from typing import Any

import pytest

from job_progress import JobState
from job_progress.web import Links, Rule, allow_all, create_app
from job_progress.web.rules import Link, Question, as_rule
from job_progress.web.ways import InThread, run
from tests.web.faces import SECRET

WAY = InThread(streams=True, waits=True)
STATE = JobState(job="shop.import", id="7", version=1)


def opened(links: Rule, path: str) -> Link | None:
    assert path.startswith("s/")
    return links.opened(path.removeprefix("s/"))


def allows(rule: Rule, action: Any = "view", state: JobState | None = STATE, link: Link | None = None) -> bool:
    return run(rule.allows(Question(None, action, state, link), WAY))


def test_a_link_says_what_it_was_made_for() -> None:
    """The job, the id in its plain form, and the actions; to view, if nothing else was said."""
    links = Links(SECRET)
    assert opened(links, links.path("shop.import", 7)) == Link("shop.import", "7", frozenset({"view"}))
    both = links.path("shop.import", "ü/✓", actions={"cancel", "view"}, expires=None)
    assert opened(links, both) == Link("shop.import", "ü/✓", frozenset({"view", "cancel"}))


def test_a_link_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a day, or as it was said; one that never does is valid for ever."""
    links = Links(SECRET)
    now = 1_900_000_000.0
    monkeypatch.setattr("job_progress.web.links.time.time", lambda: now)
    daily, brief, eternal = (links.path("a", "7", expires=expires) for expires in (86400, 60, None))
    assert links.path("a", "7", bind=False) == links.path("a", "7", bind=False, expires=86400)
    now += 61
    assert [opened(links, path) is not None for path in (daily, brief, eternal)] == [True, False, True]
    now += 86400
    assert [opened(links, path) is not None for path in (daily, brief, eternal)] == [False, False, True]


def test_a_secret_can_be_replaced() -> None:
    """The newest signs; what an older one has signed is accepted as long as it is in the list."""
    old, both, new = Links("x" * 20), Links(["x" * 20, "y" * 20]), Links("y" * 20)
    assert opened(both, old.path("a", "7")) is not None
    assert opened(new, both.path("a", "7")) is not None
    assert opened(new, old.path("a", "7")) is None
    assert opened(old, both.path("a", "7")) is None


@pytest.mark.parametrize("secret", ["", [], ["x" * 20, ""], [7]])
def test_without_a_secret_there_are_no_links(secret: Any) -> None:
    """An error where they are made, not a door that is open to all."""
    with pytest.raises(ValueError, match="long random text"):
        Links(secret)


def test_a_short_secret_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """It is accepted, as tests and notebooks have such."""
    Links("short")
    assert "may be guessed" in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"actions": set()}, {"actions": {"list"}}, {"actions": "view"}, {"expires": 0}, {"expires": float("nan")}],
)
def test_a_link_that_makes_no_sense_is_an_error(options: dict[str, Any]) -> None:
    """Where it is made."""
    with pytest.raises(ValueError, match="must be"):
        Links(SECRET).path("a", "7", **options)


def test_a_link_is_for_its_state_alone() -> None:
    """Whatever a tracker's key= makes of the id, and for the actions in it."""
    links = Links(SECRET)
    link = Link("shop.import", "7", frozenset({"view"}))
    assert allows(links, link=link)
    assert not allows(links, "cancel", link=link)
    assert not allows(links, "list", None, link=link)
    assert not allows(links, state=JobState(job="other", id="7", version=1), link=link)
    assert not allows(links)


def test_rules_are_combined_with_or() -> None:
    """What any of them allows is allowed; functions, sync and async, stand on either side."""

    async def viewers(request: Any, action: str, state: JobState | None) -> bool:
        return action == "view"

    def cancellers(request: Any, action: str, state: JobState | None) -> bool:
        return action == "cancel"

    links = Links(SECRET)
    for rule in (links | viewers | cancellers, viewers | (cancellers | links)):
        assert [allows(rule, action) for action in ("view", "cancel", "list")] == [True, True, False]
        assert opened(rule, links.path("a", "7")) is not None


def test_allow_all_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """It works, and says what it does."""
    app = create_app(allow_all)
    assert "sees, and may cancel, every job" in caplog.text
    assert allows(allow_all, "list", None)
    app.close()


@pytest.mark.parametrize("authorize", [None, True, "allow_all", Links, object()])
def test_without_a_rule_there_is_no_application(authorize: Any) -> None:
    """An error at the start that names what there is; so is leaving it out."""
    with pytest.raises(TypeError, match=r"Links\(secret=…\)"):
        create_app(authorize)
    missing: dict[str, Any] = {}
    with pytest.raises(TypeError, match="authorize"):
        create_app(**missing)


def test_a_rule_that_fails_lets_nobody_in() -> None:
    """What it raises is raised on."""

    def broken(request: Any, action: str, state: JobState | None) -> bool:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        allows(as_rule(broken))
