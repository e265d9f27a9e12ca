"""The oldest client that the package promises to work with, beside the newest, which the other tests use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

OLDEST = "5.0.1"
ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str) -> str:
    """Run Python with what lies in *folder* in front of what is installed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(400)
def test_the_oldest_client_passes_the_same_tests() -> None:
    """The contract, and all that is special to Valkey, Redis and their cluster."""
    folder = Path(sys.prefix) / f"redis-{OLDEST}"
    assert folder.is_dir(), f"put it there: pip install --no-deps --target {folder} redis=={OLDEST} (make test does)"
    assert run(folder, "-c", "import redis; print(redis.__version__)").strip() == OLDEST
    assert redis.__version__ > OLDEST
    passed = run(
        folder,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "redis and not django"),
        *("tests/stores/test_contract.py", "tests/stores/test_redis.py", "tests/stores/test_redis_cluster.py"),
    )
    assert " passed" in passed
