"""The command `job-progress`: see, watch and cancel jobs from a terminal or a script."""

from __future__ import annotations

import sys

SERVED_BY = ("starlette", "uvicorn", "itsdangerous")
"""What the extra `web` brings along."""


def main() -> None:
    """Run the command line on `sys.argv`, and exit with the code that its help explains."""
    try:
        from job_progress.cli.app import run
    except KeyboardInterrupt:  # so soon
        sys.exit(130)
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(f"error: the command line needs {error.name}: pip install 'job-progress[cli]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run())
