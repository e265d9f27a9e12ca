"""The jobs of the browser tests, in processes of their own; see `Child`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from time import sleep
from typing import Any

from job_progress import Progress, Tracker
from job_progress.job import Job
from tests.processes.child import Child, Launch
from tests.web.browser.server import STALLED_AFTER


def say(line: object) -> None:
    """Let the test hear *line*."""
    print(line, flush=True)


def job_at(url: str, name: str) -> Job:
    """A job whose reports and whose death are soon seen."""
    tracker = Tracker(url, flush_interval=0.02, heartbeat=0.2, stalled_after=STALLED_AFTER)
    return Job(name, cancellable=True, tracker=tracker)


def obey(url: str, name: str, id: str) -> None:
    """A run that does what it is told, line by line, and says when it is in the store."""
    with job_at(url, name).start(id) as progress:
        progress.flush()
        say("begun")
        for line in sys.stdin:
            call, arguments, options = json.loads(line)
            _do(progress, call, arguments, options)
            progress.flush()
            say("done")
    say("ended")


def _do(progress: Progress, call: str, arguments: list[Any], options: dict[str, Any]) -> None:
    if call == "raise":
        raise RuntimeError(*arguments)
    if call == "stop when asked":
        while not progress.cancel_requested:
            sleep(0.01)
        progress.exit_if_cancelled()
    if call == "expect":
        [progress.total] = arguments
        return
    getattr(progress, call)(*arguments, **options)


def obey_for_many(url: str, name: str, count: str) -> None:
    """So many runs at once, named by their numbers; all report what they are told."""
    job = job_at(url, name)
    with ExitStack() as stack:
        runs = [stack.enter_context(job.start(f"{number}")) for number in range(int(count))]
        say("begun")
        for line in iter(sys.stdin.readline, "end\n"):
            for number, progress in enumerate(runs):
                progress.update(float(line), message=f"run {number}")
            runs[-1].flush()
            say("done")
    say("ended")


class Worker:
    """A test's handle of a run in another process."""

    def __init__(self, launch: Launch, url: str, name: str, id: str) -> None:
        self.child: Child = launch(obey, url, name, id)
        assert self.child.hear() == "begun"

    def begin(self, call: str, *arguments: object, **options: object) -> None:
        """Have it call a method of its `Progress`, and do not wait."""
        self.child.tell(json.dumps([call, arguments, options]))

    def do(self, call: str, *arguments: object, **options: object) -> None:
        """Have it call a method of its `Progress`, and wait until that is in the store."""
        self.begin(call, *arguments, **options)
        assert self.child.hear() == "done"
