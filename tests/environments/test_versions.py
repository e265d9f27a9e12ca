"""That an environment is what its file says, and where tests run."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.environments import HERE, LOCKS
from tests.environments.__main__ import needed

pytestmark = pytest.mark.environment("arq", "django6", "saq")


def test_the_versions_are_the_locked_ones() -> None:
    """Of every package; none has been replaced by another since, or by the resolver."""
    locked = [Requirement(line) for line in LOCKS[HERE].read_text().splitlines() if line and line[0] != "#"]
    found = {f"{each.name}=={version(each.name)}" for each in locked}
    assert found == set(map(str, locked))


def test_what_the_environment_is_for() -> None:
    """The versions that cannot be in the main one: of what it is named for, and of what that needs."""
    name = "django" if HERE == "django6" else HERE
    oldest, other = {"arq": ("0.28", ("redis", "5")), "django": ("6", None), "saq": ("0.26", ("redis", "7"))}[name]
    assert version(name).startswith(f"{oldest}.")
    assert other is None or version(other[0]).startswith(f"{other[1]}.")


def test_the_python_is_new_enough() -> None:
    """As the first line of its file says."""
    assert sys.version_info[:2] >= needed(HERE)
