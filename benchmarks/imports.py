"""What `import job_progress` costs a process that has just begun, beside `import redis`.

Every time is that of a fresh interpreter, from before it is started until it is gone, with all
files in the disk cache and all bytecode compiled (into a folder of the benchmark's own, so that
neither side profits from, or suffers for, how it was installed). The row with a goal has the time
of an interpreter that imports nothing taken off both sides; the other has not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from tempfile import TemporaryDirectory

from benchmarks.measure import Row, interleaved, timed

ROUNDS = 15
TRIES = 2


def measure() -> list[Row]:
    """Rows of milliseconds."""
    with TemporaryDirectory() as bytecode:
        programs = {
            "nothing": _process("pass", bytecode),
            "ours": _process("import job_progress", bytecode),
            "redis": _process("import redis", bytecode),
        }
        for run in programs.values():  # compiles, and warms the disk cache
            run()
        times = interleaved(programs, rounds=ROUNDS, tries=TRIES)
    nothing, ours, redis = (times[name] * 1e3 for name in ("nothing", "ours", "redis"))
    return [
        Row("cold `import job_progress`, less start-up", ours - nothing, "ms", redis - nothing, "`import redis`", 0.35),
        Row("cold `import job_progress`, the whole process", ours, "ms", redis, "`import redis`"),
        Row("the interpreter's start-up, taken off above", nothing, "ms"),
    ]


def _process(code: str, bytecode: str) -> Callable[[], float]:
    command = [sys.executable, "-X", f"pycache_prefix={bytecode}", "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return timed(lambda: subprocess.run(command, env=environment, check=True))
