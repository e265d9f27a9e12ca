"""Nobody is let in who should not be, and nothing that is sent makes the server fail."""

from __future__ import annotations

import asyncio
import random
import string
from collections import Counter
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from job_progress import Job, JobState, Tracker
from job_progress.web import Links, create_app, site
from job_progress.web.openapi import openapi_document
from tests.web.faces import SECRET

ATTEMPTS = 2_000
ALPHABET = string.ascii_letters + string.digits + "-_."


def forged(good: str, other: str, stranger: str, expired: str, chance: random.Random) -> str:
    """A token that opens nothing, made in one of the ways that one would try."""
    payload, _, signature = good.rpartition(".")
    place = chance.randrange(len(good))
    changed = chance.choice(ALPHABET.replace(good[place], ""))
    return chance.choice(
        [
            good[:place] + changed + good[place + 1 :] if place < len(good) - 1 else good + "A",
            good[:place],
            good[place + 1 :],
            f"{payload}.{other.rpartition('.')[2]}",
            f"{other.rpartition('.')[0]}.{signature}",
            f"{payload}.",
            stranger,
            expired,
            good + good,
            f".{good}",
            "".join(chance.choices(ALPHABET, k=chance.randrange(1, 200))),
        ]
    )


async def test_thousands_of_attempts_are_in_vain(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong, expired, cut and swapped tokens, foreign origins, and names alone: none sees or cancels anything."""
    monkeypatch.setattr(site, "NOT_FOUND_AFTER", 0.0)
    asked: list[str] = []

    async def nobody(request: object, action: str, state: JobState | None) -> bool:
        asked.append(action)
        return False

    links = Links(SECRET)
    app = create_app(links | nobody, tracker=tracker)
    job = Job("secret.job", tracker=tracker, cancellable=True)
    for id in ("7", "8"):
        job.lock(id, meta={"secret": "hunter2"})
    good, other = (links.path(job.name, id, actions={"view", "cancel"})[2:] for id in ("7", "8"))
    stranger = Links("another secret, quite as long").path(job.name, "7", actions={"view", "cancel"})[2:]
    with patch("job_progress.web.links.time.time", return_value=1.0):
        expired = links.path(job.name, "7", actions={"view", "cancel"})[2:]
    view_only = links.path(job.name, "7")[2:]
    chance = random.Random(7)
    foreign = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
    answers: Counter[int] = Counter()

    async def attempts(count: int) -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobs.example") as client:
            for _ in range(count):
                token = forged(good, other, stranger, expired, chance)
                kind = chance.randrange(6)
                if kind == 0:
                    answer = await client.post(f"/s/{view_only}/cancel", headers=chance.choice(foreign))
                elif kind == 1:
                    answer = await client.post(f"/s/{view_only}/cancel")
                elif kind == 2:
                    answer = await client.get(chance.choice([f"/states/{job.name}/7", "/states", "/", "/events"]))
                else:
                    end = chance.choice(["", "/events", "/cancel"])
                    answer = await client.request("POST" if end == "/cancel" else "GET", f"/s/{token}{end}")
                assert "hunter2" not in answer.text
                answers[answer.status_code] += 1

    await asyncio.gather(*(attempts(ATTEMPTS // 10) for _ in range(10)))
    assert sum(answers.values()) == ATTEMPTS
    assert set(answers) == {403, 404}
    assert all(state.is_pending for state in job.list())
    assert {"view", "cancel", "list"} == set(asked)


def _app() -> object:
    tracker = Tracker("memory://")
    Job("known", tracker=tracker).lock("7")
    return create_app(lambda request, action, state: True, tracker=tracker, max_watchers=1)


schema = schemathesis.openapi.from_dict(openapi_document())
schema.app = _app()


@pytest.mark.filterwarnings("ignore")
@schema.exclude(path_regex="events$").parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_no_request_makes_it_fail(case: schemathesis.Case[Any]) -> None:
    """Whatever stands in the paths, queries and headers of the documented routes: only documented answers, no 5xx."""
    if case.query:
        case.query = {name: 0 if name == "wait" else value for name, value in case.query.items()}
    response = case.call()
    assert response.status_code < 500, response.text
    assert str(response.status_code) in case.operation.definition.raw["responses"]
