"""Choose anew the versions of an environment, the newest that go together: `python -m tests.environments.lock arq`.

What it is chosen from is the dependency group of that name in pyproject.toml.
"""

from __future__ import annotations

import subprocess
import sys

from tests.environments import LOCKS, ROOT
from tests.environments.__main__ import find_python, make, needed

NOT_LOCKED = ["job-progress", "pip", "setuptools", "wheel"]
INSTALLED = f"""
from importlib.metadata import distributions
for line in sorted({{f"{{each.name.lower()}}=={{each.version}}" for each in distributions()}}):
    if line.partition("==")[0] not in {NOT_LOCKED}:
        print(line)
"""


def lock(name: str) -> None:
    """Install the newest versions, and write them down."""
    python = find_python(needed(name))
    assert python, f"there is no Python {needed(name)} or newer"
    assert make(f".venv-{name}/.newest", python)
    command = [f".venv-{name}/bin/python", "-c", INSTALLED]
    versions = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    head = [line for line in LOCKS[name].read_text().splitlines() if line.startswith("#")]
    LOCKS[name].write_text("\n".join([*head, versions]))


if __name__ == "__main__":
    for name in sys.argv[1:] or LOCKS:
        lock(name)
