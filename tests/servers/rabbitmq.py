"""A real RabbitMQ, from Debian's package, on free ports and in a folder of its own: never the system's service."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pytest

from tests.servers.process import ServerProcess, free_port

COMMANDS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
"""The server itself, and not what Debian puts in front of it, which runs it as another user."""
HELP = "the tests of RabbitMQ need its server: install rabbitmq-server"


class NoServer(Exception):
    """There is none, and none could be had; the text says what to do."""


def server() -> str:
    """The path of the server, which is installed if there is none.

    Raises:
        NoServer: That did not work.
    """
    path = _installed()
    if path is None and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        _run("apt-get", "update")
        _run("apt-get", "install", "--yes", "--no-install-recommends", "rabbitmq-server")
        path = _installed()
    if path is None:
        raise NoServer(HELP)
    return path


def _installed() -> str | None:
    return next((path for path in map(shutil.which, COMMANDS) if path), None)


def _run(*command: str) -> None:
    # In the runlevel of a system that is being repaired, packages start no service.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


class _PortMapper(ServerProcess):
    """Erlang's, which nodes find each other by; without one, the server would leave its own behind."""

    def __init__(self, folder: Path, port: int) -> None:
        self._environment = {"ERL_EPMD_PORT": str(port)}
        super().__init__(["epmd", "-port", str(port), "-address", "127.0.0.1"], folder / "epmd.log")

    def is_ready(self) -> bool:
        """Does it answer?"""
        asked = subprocess.run(
            ["epmd", "-names"], env={**os.environ, **self._environment}, capture_output=True, check=False
        )
        return asked.returncode == 0


class RabbitMQServer(ServerProcess):
    """A server on a free port, which keeps what it holds in *folder*."""

    patience = 120.0

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._stack = ExitStack()
        self._mapper = free_port()
        environment = {
            "HOME": folder,  # where the secret that nodes share is made
            "ERL_EPMD_PORT": self._mapper,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": "true",  # so that the script becomes the server, and can be killed as such
            "RABBITMQ_NODENAME": f"tests-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": free_port(),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_PID_FILE": folder / "pid",
            "RABBITMQ_CONF_ENV_FILE": folder / "none",
        }
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text("")
        command = ["env", *(f"{name}={value}" for name, value in environment.items()), server()]
        super().__init__(command, folder / "rabbitmq.log")

    def __enter__(self) -> Self:
        self._stack.enter_context(_PortMapper(self._folder, self._mapper))
        return super().__enter__()

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)
        self._stack.close()

    @property
    def url(self) -> str:
        """For those who send and receive."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def is_ready(self) -> bool:
        """Does it let people in?"""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as line:
                line.sendall(b"AMQP\x00\x00\x09\x01")
                return line.recv(1) == b"\x01"
        except OSError:
            return False


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQServer]:
    """One server for all tests that leave it running."""
    if not _installed():
        pytest.skip(HELP)
    with TemporaryDirectory(prefix="rabbitmq-") as folder, RabbitMQServer(Path(folder)) as started:
        yield started


if __name__ == "__main__":  # before the tests, which run several at a time
    try:
        server()
    except NoServer as error:
        sys.stderr.write(f"{error}; they are left out\n")
