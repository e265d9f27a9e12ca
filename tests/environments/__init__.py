"""Environments for tests whose dependencies cannot be together with those of the others.

Each is a file `<name>.txt` in this folder: the Python it needs, and the exact version of every package, so that
no resolver goes back to older ones unseen. A module says where its tests run, and a test or parameter may narrow it:

    pytestmark = pytest.mark.environment("arq")

What says nothing runs in the main environment, `"main"`. A module is not even imported elsewhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAIN = "main"
LOCKS = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.txt"))}
"""The files of all environments but the main one, by name."""

HERE = next((name for name in LOCKS if Path(sys.prefix).name == f".venv-{name}"), MAIN)
"""The environment of this process."""

_OF_A_MODULE = re.compile(r"^pytestmark = .*\bmark\.environment\(([^)]*)\)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave alone what has no test that runs here."""
    if collection_path.is_dir():
        modules = list(collection_path.rglob("test_*.py"))
        return True if modules and not any(map(_runs_here, modules)) else None
    return True if collection_path.match("test_*.py") and not _runs_here(collection_path) else None


def _runs_here(module: Path) -> bool:
    said = _OF_A_MODULE.search(module.read_text("utf-8"))
    return HERE in re.findall(r"\w+", said[1]) if said else HERE == MAIN


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of other environments."""
    elsewhere = [item for item in items if not all(HERE in mark.args for mark in _marks(item))]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _marks(item: pytest.Item) -> list[pytest.Mark]:
    marks = list(item.iter_markers("environment"))
    unknown = {name for mark in marks for name in mark.args} - LOCKS.keys() - {MAIN}
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} is for {unknown}, but there are only {[MAIN, *LOCKS]}")
    return marks
