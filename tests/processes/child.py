"""A test's handle of another process, with which it talks in lines of text."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Protocol

ROOT = Path(__file__).parents[2]
DJANGO = "DJANGO_AS_IN_THE_TEST"
"""The variable that tells Django's settings to a process that uses one of its caches."""


class Child:
    """Runs `body(*arguments)`, a function of a module, in a new interpreter."""

    def __init__(self, body: Callable[..., None], *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.run_body", body.__module__, body.__name__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=ROOT,
            env=_environment(measured=not body.__name__.startswith("fork_")) | _django_settings(arguments),
            start_new_session=True,  # so that what it forks ends with it
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        self._heard = b""

    def hear(self, timeout: float = 30.0) -> str:
        """The next line that it says."""
        deadline = monotonic() + timeout
        while b"\n" not in self._heard:
            assert select.select([self._out], [], [], max(deadline - monotonic(), 0.0))[0], "it says nothing"
            said = os.read(self._out.fileno(), 65536)
            assert said, f"it ended with {self._process.wait(timeout)} and said {self._heard!r}"
            self._heard += said
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def tell(self, line: object = "go") -> None:
        """Let it hear *line*."""
        self._in.write(f"{line}\n".encode())

    def ends(self, timeout: float = 30.0) -> int:
        """Wait for its end. Returns its exit code."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End it, and nothing that it forked, with no chance to tidy up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Freeze it, all its threads, before returning."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def clean_up(self) -> None:
        """End it, and all that it forked."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._in.close()
        self._out.close()


def _environment(measured: bool) -> dict[str, str]:
    # Coverage holds a lock of its own while a thread enters a file; a child forked at that moment waits for ever.
    return {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_")}


def _django_settings(arguments: Sequence[object]) -> dict[str, str]:
    if not any(str(argument).startswith("django-cache:") for argument in arguments):
        return {}
    from tests.servers.django_caches import setting

    return {DJANGO: setting()}


class Launch(Protocol):
    """What the fixture `launch` gives."""

    def __call__(self, body: Callable[..., None], *arguments: object) -> Child:
        """Start a process."""
        ...
