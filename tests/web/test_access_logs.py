"""What real servers write down of a request for a link: that there was one, and not which."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from job_progress.web import Links
from job_progress.web.access_log import keep_tokens_out_of_logs
from tests.servers.process import ServerProcess, free_port
from tests.waiting import eventually
from tests.web.faces import MOUNT, SECRET

ATOMS = '%(h)s "%(r)s" %(U)s %(s)s "%({X-Trace}i)s" "%({x-none}i)s" "%({RAW_URI}e)s" %(nothing)s'
"""A format of gunicorn's with what only its own mapping knows: headers, the environment, and a dash for all else."""
SERVERS = {
    "gunicorn": [
        "-b",
        "127.0.0.1:{port}",
        "--access-logfile",
        "-",
        "--access-logformat",
        ATOMS,
        "tests.web.logged:wsgi",
    ],
    "hypercorn": [
        *("-b", "127.0.0.1:{port}", "--access-logfile", "-"),
        *("--access-logformat", '"%(R)s" %(s)s "%({X-Trace}i)s" %(nothing)s', "tests.web.logged:app"),
    ],
    "granian": ["--interface", "asgi", "--port", "{port}", "--access-log", "tests.web.logged:app"],
    "uvicorn": ["--port", "{port}", "tests.web.logged:app"],
}


class WebServer(ServerProcess):
    """A server by its own command, with what it writes."""

    def __init__(self, name: str, log: Path) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}{MOUNT}"
        self.log = log
        options = [option.format(port=port) if "{port}" in option else option for option in SERVERS[name]]
        super().__init__([sys.executable, "-m", name, *options], log)

    def is_ready(self) -> bool:
        """Does it answer?"""
        try:
            return httpx.get(f"{self.base}/static/job-progress.js").status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.stop()  # with its workers, which a kill would leave behind
        self.kill()


@pytest.mark.parametrize("name", SERVERS)
def test_a_servers_own_log_has_no_token(name: str, tmp_path: Path) -> None:
    """Its line is as its format wants it, headers and unknown parts too; nothing is dumped; and `…` is the token."""
    token = Links(SECRET).path("shop.import", "7").removeprefix("s/")
    with WebServer(name, tmp_path / "log") as server:
        answer = httpx.get(f"{server.base}/s/{token}?wait=1", headers={"X-Trace": f"of {MOUNT}/s/{token}"})
        assert answer.status_code == 404
        eventually(lambda: "/s/…" in server.log.read_text(), 30)
    written = server.log.read_text()
    assert token not in written
    assert "Traceback" not in written
    assert "Error" not in written
    if "X-Trace" in str(SERVERS[name]):
        [line] = [line for line in written.splitlines() if "/s/…" in line]
        assert f'"of {MOUNT}/s/…"' in line
        assert line.endswith("-")


def test_a_mapping_stays_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """What other formatters ask it for is there, without tokens: its keys, its length, and what it makes up."""

    class Atoms(dict[str, object]):
        def __missing__(self, key: str) -> str:
            return f"/s/{'x' * 20} of {key}"

    keep_tokens_out_of_logs()
    logging.getLogger("gunicorn.access").warning("%(U)s %(s)d %(none)s", Atoms(U=f"/jobs/s/{'x' * 20}", s=200))
    assert caplog.messages == ["/jobs/s/… 200 /s/… of none"]
    [record] = caplog.records
    assert isinstance(record.args, Mapping)
    assert (dict(record.args), len(record.args)) == ({"U": "/jobs/s/…", "s": 200}, 2)
