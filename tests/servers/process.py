"""A server process that belongs to a test: started, frozen, killed, and gone when the tests are."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.waiting import eventually


class ServerProcess:
    """Runs a command until told otherwise; a context manager that ends it."""

    patience = 30.0
    """Seconds that it may take until it is ready."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def is_running(self) -> bool:
        """Has it been started, and not ended?"""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent
            )
        try:
            eventually(lambda: not self.is_running or self.is_ready(), self.patience)
            assert self.is_running, f"it did not start: {self._log.read_text()[-2000:]}"
        except BaseException:
            self.kill()
            raise

    def is_ready(self) -> bool:
        """Does it answer?"""
        raise NotImplementedError

    def kill(self) -> None:
        """End it, with no chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        assert self._process
        self._process.terminate()
        self._process.wait(30)

    def freeze(self) -> None:
        """Have it stand still, with its connections open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port on which nobody listens, and, on Linux, which nobody else is given as long as this process lives."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    if sys.platform == "linux":
        _reserved.append(probe)  # a server that allows the reuse of addresses, as all do, can listen there nevertheless
    else:
        probe.close()
    return port


def _die_with_parent() -> None:
    # Tests that are killed themselves leave no server behind; only Linux can promise that.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
