"""The pictures are made by the project, and show what it shows."""

from __future__ import annotations

import html
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from job_progress.default import set_default_tracker
from job_progress.stores.postgresql import DDL
from job_progress.stores.redis import RedisStore
from tests.servers.valkey import ValkeyServer

DOCS = Path(__file__).parent.parent / "docs"


def words_in(svg: str) -> list[str]:
    return re.sub(r"[\xa0\s]+", " ", html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)))).split()


def test_the_picture_in_the_readme_is_up_to_date() -> None:
    """The script makes the same words as the file has, and the file loads nothing from elsewhere."""
    make: Callable[[], str] = runpy.run_path(str(DOCS / "screenshots.py"))["picture_of_bars"]
    kept = (DOCS / "bars.svg").read_text(encoding="utf-8")
    assert words_in(make()) == words_in(kept)
    assert {"completed", "cancelling", "pending", "retrying", "stalled", "failed"} <= set(words_in(kept))
    assert set(re.findall(r"https?://[^\"' )]+", kept)) == {"http://www.w3.org/2000/svg"}


STORES = (DOCS / "stores.md").read_text(encoding="utf-8")


def test_work_is_shared_among_processes_and_threads_as_shown(tmp_path: Path) -> None:
    """The program runs, its own assertions hold, and nothing is said of reports that are not seen."""
    page = (DOCS / "threads-and-processes.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "resize.py").write_text(block)
    result = subprocess.run(
        [sys.executable, "resize.py"],
        cwd=tmp_path,
        env=os.environ | {"JOB_PROGRESS_STORE": f"sqlite:///{tmp_path}/states.db"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_definition_of_the_table_is_the_real_one() -> None:
    """Who makes it by hand makes what the store would have made."""
    [shown] = re.findall(r"^```sql\n(.*?)^```$", STORES, re.MULTILINE | re.DOTALL)
    assert shown == DDL


def test_a_client_of_ones_own_is_given_as_shown(shared_valkey: ValkeyServer) -> None:
    """The block runs, but for the port."""
    [block] = re.findall(r"^```python\n(.*?)^```$", STORES, re.MULTILINE | re.DOTALL)
    try:
        exec(block.replace("6379", str(shared_valkey.port)), {})
    finally:
        tracker = set_default_tracker(None)
    assert tracker
    assert isinstance(tracker.store, RedisStore)
    assert tracker.get("job", "7") is None
