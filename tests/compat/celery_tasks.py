"""Tasks as celery-progress's users have them, for a worker of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any

from celery import Celery

from job_progress import configure, current_progress, tracked
from job_progress.compat.celery_progress import ProgressRecorder
from job_progress.queues.celery import install

app: Any = Celery("compat", broker=os.environ.get("COMPAT_BROKER", "memory://"), set_as_current=False)
install(app)
task: Callable[..., Callable[[Any], Any]] = app.task
if "COMPAT_STORE" in os.environ:
    configure(os.environ["COMPAT_STORE"], flush_interval=0.02)


def wait_for(folder: str, name: str) -> None:
    """Go on when the test says so."""
    while not Path(folder, name).exists():
        current_progress().exit_if_cancelled()
        sleep(0.01)


@task(bind=True)
@tracked(store_result=True, cancellable=True)
def count(self: Any, folder: str) -> int:
    """Goes on with each file that the test makes."""
    recorder = ProgressRecorder(self)
    wait_for(folder, "begin")
    recorder.set_progress(3, 10, description="hoses")
    wait_for(folder, "go on")
    recorder.increment_progress(by=4)
    wait_for(folder, "end")
    return 45


@task(bind=True)
@tracked
def fail(self: Any, folder: str) -> None:
    """Fails."""
    ProgressRecorder(self).set_progress(1, 4)
    raise ValueError("no hoses here")


def begun_again_when_told(function: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    """A retry waits for the test before it begins, so that there is time to look at what is retried."""

    @wraps(function)
    def begun(self: Any, folder: str) -> str:
        if self.request.retries:
            wait_for(folder, "again")
        return function(self, folder)

    return begun


@task(bind=True, max_retries=1)
@begun_again_when_told
@tracked(store_result=True)
def again(self: Any, folder: str) -> str:
    """Works the second time, when the test says so."""
    if self.request.retries == 0:
        try:
            raise TimeoutError("the supplier does not answer")
        except TimeoutError as error:
            raise self.retry(exc=error, countdown=1) from error
    wait_for(folder, "answer")
    return "answered"


@task(bind=True)
def untracked(self: Any, n: int) -> int:
    """Somebody has forgotten something."""
    recorder = ProgressRecorder(self)
    recorder.set_progress(1, n)
    return n
