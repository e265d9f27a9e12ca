"""A test's handle of the real command, in processes of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from time import monotonic

from tests.waiting import eventually

PROGRAM = (sys.executable, "-m", "job_progress.cli")


class Started:
    """A command that runs, with what it has printed so far."""

    def __init__(self, environment: dict[str, str], args: tuple[str, ...], columns: int | None) -> None:
        self.environment = environment
        here, there = pty.openpty() if columns else os.pipe()
        if columns:
            fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._out = here
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the tests, and it, would ignore it
        self.process = subprocess.Popen(
            [*PROGRAM, *args],
            stdin=subprocess.DEVNULL,
            stdout=there,
            stderr=there,
            env=environment,
            start_new_session=True,  # a group of its own, as a shell gives each command
        )
        signal.signal(signal.SIGHUP, inherited)
        os.close(there)
        self.text = ""

    def prints(self, text: str, timeout: float = 30.0) -> str:
        """Wait until *text* has been printed. Returns all that was."""
        eventually(lambda: self._read(0.02) and text in self.text, timeout)
        return self.text

    def ends(self, timeout: float = 60.0) -> int:
        """Wait for its end, and read what is left. Returns the exit code."""
        deadline = monotonic() + timeout
        while self.process.poll() is None:
            assert monotonic() < deadline, f"it does not end; it printed {self.text}"
            self._read(0.02)
        while self._read(0.0):
            pass
        return self.process.returncode

    def signal(self, number: int) -> None:
        """Send it a signal, as a terminal does: to the whole group."""
        os.killpg(self.process.pid, number)

    def close_terminal(self) -> None:
        """Close its terminal, as when its window is closed. It can be read no more."""
        os.close(self._out)
        self._out = os.open(os.devnull, os.O_RDONLY)

    def is_gone(self) -> bool:
        """Is there no process of its group left?"""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def workers(self) -> list[int]:
        """The processes that the demo has started for its jobs."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and "spawn_main" in folder.joinpath("cmdline").read_text():
                    found.append(int(folder.name))
        return found

    def clean_up(self) -> None:
        """Leave nothing behind, whatever has happened."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._out)

    def _read(self, timeout: float) -> bool:
        if select.select([self._out], [], [], timeout)[0]:
            with suppress(OSError):  # what a terminal says when its other end is closed
                if said := os.read(self._out, 65536):
                    self.text += said.decode("utf-8", "replace")
                    return True
            return False
        return timeout > 0


class Command:
    """`job-progress` on a store."""

    def __init__(self, url: str) -> None:
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")},
            "JOB_PROGRESS_STORE": url,
            "TERM": "xterm-256color",
            "PYTHONIOENCODING": "utf-8",
        }
        self._started: list[Started] = []

    def __call__(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [*PROGRAM, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**self.environment, **environment},
            timeout=60,
            check=False,
        )

    def start(self, *args: str, columns: int | None = None, **environment: str) -> Started:
        """Start it; with *columns*, on a terminal that is so wide."""
        self._started.append(Started({**self.environment, **environment}, args, columns))
        return self._started[-1]

    def clean_up(self) -> None:
        """End all that was started."""
        for started in self._started:
            started.clean_up()
