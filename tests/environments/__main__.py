"""Run the tests that need an environment of their own, one environment after the other: `make test` does.

Arguments are handed on to pytest. An environment whose Python is not on this machine is left out, and the last
lines say so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.environments import LOCKS, ROOT

NEWEST = 20
"""Of Python 3.x, the last that is looked for."""


def needed(name: str) -> tuple[int, int]:
    """The oldest Python that an environment is for, which the first line of its file says."""
    said = re.match(r"# Python (\d+)\.(\d+)", LOCKS[name].read_text())
    assert said, f"{LOCKS[name]} should begin with: # Python 3.11 or newer"
    return int(said[1]), int(said[2])


def find_python(oldest: tuple[int, int]) -> str | None:
    """The Python that runs this if it is new enough, else the oldest on this machine that is."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    for minor in range(oldest[1], NEWEST):
        on_path = shutil.which(f"python3.{minor}")
        of_pyenv = Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python3")
        for candidate in [on_path, *map(str, sorted(of_pyenv))]:
            if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
                return candidate  # a shim may be on the path that leads nowhere
    return None


def make(target: str, python: str) -> bool:
    """Have `make` install what is needed, unless it has. Returns whether it succeeded."""
    done = subprocess.run(["make", "--silent", target, f"PYTHON={python}"], cwd=ROOT, check=False)
    return done.returncode == 0


def run_tests(name: str, arguments: list[str]) -> bool:
    """Run those that belong to an environment, in it. Returns whether all passed."""
    command = [f".venv-{name}/bin/python", "-m", "coverage", "run", "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Returns 1 if anything failed."""
    said, failed = [], False
    for name in LOCKS:
        python = find_python(needed(name))
        if python is None:
            at_least = ".".join(map(str, needed(name)))
            said.append(f"Left out: the tests of {name}, as there is no Python {at_least} or newer")
            continue
        print(f"\nThe tests of {name}, with what tests/environments/{name}.txt says:", flush=True)
        if not (make(f".venv-{name}/.installed", python) and run_tests(name, arguments)):
            said.append(f"Failed: the tests of {name}")
            failed = True
    print("", *said, sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
