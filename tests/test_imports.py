"""What importing the library costs, and what it does not load."""

from __future__ import annotations

import os
import subprocess
import sys

HEAVY = (
    "sqlite3",
    "asyncio",
    "redis",
    "psycopg",
    "typer",
    "rich",
    "platformdirs",
    "pydantic",
    "starlette",
    "uvicorn",
    "flask",
    "itsdangerous",
    "django",
    "django",
    "pytest",
)


def test_importing_loads_no_driver_and_no_framework() -> None:
    """Nor what only some processes need: each is imported where it is used."""
    program = f"import sys, job_progress; print([name for name in {HEAVY} if name in sys.modules])"
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}  # it loads some
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.strip() == "[]"


def test_the_public_names_are_the_contracts() -> None:
    """No more, no fewer."""
    import job_progress

    errors = {"JobCancelled", "JobFailed", "JobNotCancellable", "JobAlreadyProcessing", "ProgressError"}
    errors |= {"StoreUnavailable"}
    classes = {"Tracker", "Progress", "ProgressJob", "Job", "JobState", "JobStatus"}
    assert set(job_progress.__all__) == {"tracked", "current_progress", "configure"} | classes | errors
    assert all(hasattr(job_progress, name) for name in job_progress.__all__)
