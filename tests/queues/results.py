"""What the contract suite found, kept for the table in the README: `python -m tests.queues.results`.

Each run of the tests notes what it has seen of each queue in `.results`, one file an environment; what it did
not run stays as it was. The table is made of these files, and of the drivers' own words on what a queue cannot.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.environments import HERE, LOCKS, MAIN, ROOT
from tests.queues.driver import Driver, Point

Outcomes = dict[str, dict[str, dict[str, str]]]
"""By queue, point and test."""

RESULTS = ROOT / ".results"
README = ROOT / "README.md"
PROPERTY = "queue and point"
HEADINGS = {
    Point.PENDING: "pending at once",
    Point.RUNS: "progress, result",
    Point.FAILS: "errors, retries",
    Point.CANCELS: "cancel",
    Point.REVOKES: "its own revoke",
    Point.DIES: "killed worker",
    Point.SURVIVES: "no hook breaks",
    Point.COSTS: "cost",
    Point.REPEATS: "second delivery",
    Point.AROUND: "fails before, after",
    Point.REFUSES: "broker refuses",
    Point.FOLLOWS: "followers",
}
PLACE = re.compile(r"(?<=<!-- queues: python -m tests.queues.results -->\n).*?(?=<!-- /queues -->)", re.DOTALL)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Note what was seen."""
    file = RESULTS / f"{HERE}.json"
    seen = read(file)
    news = False
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, (queue, point) in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    seen.setdefault(queue, {}).setdefault(str(point), {})[report.nodeid] = outcome
                    news = True
    if news:
        RESULTS.mkdir(exist_ok=True)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(seen)))


def read(file: Path) -> Outcomes:
    """What was noted in *file*; nothing, if there is none."""
    return msgspec.json.decode(file.read_bytes(), type=Outcomes) if file.exists() else {}


def mark(request: pytest.FixtureRequest, queue: str, point: Point) -> None:
    """Note that this test shows *point* of *queue*."""
    request.node.user_properties.append((PROPERTY, (queue, int(point))))


def table(drivers: list[type[Driver]]) -> str:
    """The table and its footnotes, for those queues of which results are there."""
    seen: Outcomes = {}
    for environment in (MAIN, *LOCKS):
        seen |= read(RESULTS / f"{environment}.json")
    notes: list[str] = []
    lines = [f"| | {' | '.join(HEADINGS.values())} |", f"| --- {'| :-: ' * len(HEADINGS)}|"]
    for driver in drivers:
        if driver.name in seen:
            cells = [_cell(driver, point, seen[driver.name].get(str(int(point)), {}), notes) for point in HEADINGS]
            page = f"docs/queues/{driver.__module__.rpartition('.')[2]}.md"
            lines.append(f"| [{driver.name}]({page}) | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""])


def _cell(driver: type[Driver], point: Point, outcomes: dict[str, str], notes: list[str]) -> str:
    found = {outcome for test, outcome in outcomes.items() if _test_name(test) not in driver.cannot}
    cell = "–" if point in driver.cannot else "✓" if found == {"passed"} else "✗"
    affected: list[Point | str] = [point, *sorted(map(_test_name, outcomes))]  # they ran in any order
    for why in dict.fromkeys(driver.cannot[what] for what in affected if what in driver.cannot):
        note = f"{driver.name}: {why}"
        if note not in notes:
            notes.append(note)
        cell += f" ({notes.index(note) + 1})"
    return cell


def _test_name(nodeid: str) -> str:
    return nodeid.rpartition("::")[2].partition("[")[0]


def main(check: bool) -> None:
    """Write the table into the README; or only see that what was found is what is there.

    An environment whose Python is missing has found nothing, so that there the footnotes are other ones.
    """
    from tests.queues.conftest import DRIVERS, driver_class

    before = README.read_text(encoding="utf-8")
    after = PLACE.sub(lambda _: table([driver_class(name) for name in DRIVERS]), before)
    if not check:
        README.write_text(after, encoding="utf-8")
    elif not _rows(after) <= _rows(before):
        sys.exit("The table of queues in README.md is not what the tests found: python -m tests.queues.results")


def _rows(text: str) -> set[str]:
    found = PLACE.search(text)
    lines = found[0].splitlines() if found else []
    return {re.sub(r" \(\d+\)", "", line) for line in lines if line.startswith("|")}


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
