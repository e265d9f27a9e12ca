"""Every block of code in docs/compat.md is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs" / "compat.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
CHECKS = """
from job_progress.default import default_tracker

states = {state.job: state for state in default_tracker().list()}
assert states["compat.import_products"].result == 10
assert states["compat.resize"].message == "albums"
assert (states["compat.fetch"].completed, states["compat.reindex"].completed) == (2, 2)
assert {state.progress for state in states.values()} == {1.0}
assert urlpatterns[0].namespace == "celery_progress"
assert endpoint.site
"""


def test_the_blocks_run_in_order(tmp_path: Path) -> None:
    """As one program, in a Django project without settings of its own; what they report is there."""
    assert {language for language, _ in BLOCKS} == {"python"}
    assert TEXT.count("```") == 2 * len(BLOCKS)
    program = tmp_path / "compat.py"
    set_up = "import django, django.conf\ndjango.conf.settings.configure()\ndjango.setup()\n"
    program.write_text("\n".join([set_up, *(text for _, text in BLOCKS), CHECKS]))
    environment = os.environ | {"JOB_PROGRESS_STORE": f"sqlite:///{tmp_path}/states.db"}
    ran = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "%" not in ran.stderr
