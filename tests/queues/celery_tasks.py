"""Tasks for what only Celery has, in an application of its own; imported by the tests and by their workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any, cast

from celery import Celery, Task, chain, group, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from job_progress import current_progress, tracked
from job_progress.queues.celery import install
from tests.queues.jobs import tracker, wait_for

ADDRESS = "QUEUE_TESTS_CELERY_TASKS"
VISIBILITY = "QUEUE_TESTS_VISIBILITY"

app = Celery("celery-tests", broker=os.environ[ADDRESS], backend=os.environ[ADDRESS])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": int(os.environ.get(VISIBILITY, "3600"))},
    result_chord_retry_interval=0.1,
    worker_prefetch_multiplier=1,
)
install(app)
install(app)  # does no more than once


def task(**options: Any) -> Callable[..., Any]:
    """Celery's decorator, which has no types."""
    made: Callable[..., Any] = app.task(**options)
    return made


def waiting(folder: str) -> str:
    """Say that it has begun, and in which process; be at a checkpoint all the time, and end when told to."""
    place = Path(folder)
    progress = current_progress().update(0.25)
    (place / "process").write_text(str(os.getpid()))
    (place / "begun").touch()
    while not (place / "go").exists():
        progress.exit_if_cancelled()
        sleep(0.01)
    (place / "ended").touch()
    return "went on"


wait = task(name="wait")(tracked(name="wait", tracker=tracker, cancellable=True)(waiting))
wait_late = task(name="wait_late", acks_late=True, reject_on_worker_lost=True)(
    tracked(name="wait_late", tracker=tracker, cancellable=True)(waiting)
)


def refused(call: Callable[[], None]) -> Callable[[], None]:
    """A decorator of a user's own, above ours, that lets nobody in."""

    @wraps(call)
    def check() -> None:
        raise PermissionError("not today")

    return check


@task()
@refused
@tracked(tracker=tracker)
def forbidden() -> None:
    """Never begin."""


@task()
@tracked(tracker=tracker, store_result=True)
def add(a: int, b: int) -> int:
    """Have a result."""
    return a + b


@task(name="plus")
@tracked(tracker=tracker)
def add_up(numbers: list[int]) -> int:
    """Be the body of a chord."""
    return sum(numbers)


@task(bind=True)
@tracked(tracker=tracker, id="name", owner="by")
def bound(self: Task, name: str, by: str) -> str:
    """Have the task in front of the arguments that say what the id is."""
    return str(self.request.id)


@task(bind=True, max_retries=1)
@tracked(tracker=tracker)
def ask_again(self: Task, with_error: bool, countdown: float = 0.2) -> None:
    """Retry as Celery's manual says, in vain."""
    try:
        raise ConnectionError("no answer")
    except ConnectionError as error:
        raise self.retry(exc=error if with_error else None, countdown=countdown) from None


@task(autoretry_for=(OSError,), dont_autoretry_for=(PermissionError,), max_retries=2, retry_backoff=1)
@tracked(tracker=tracker)
def back_off(permitted: bool) -> None:
    """Fail each time."""
    raise TimeoutError("too slow") if permitted else PermissionError("not yours")


@task(autoretry_for=(OSError,), retry_kwargs={"serializer": "nonsense"})
@tracked(tracker=tracker)
def retry_in_vain() -> None:
    """Be retried, which fails as well."""
    raise ConnectionError("no answer")


@task()
@tracked(tracker=tracker)
def ignore(ended_before: bool) -> None:
    """Say nothing of its end, or all of it."""
    if ended_before:
        current_progress().complete(7)
    raise Ignore


@task()
@tracked(tracker=tracker)
def reject() -> None:
    """Have its message thrown away."""
    raise Reject(ValueError("nonsense"), requeue=False)


@task(acks_late=True)
@tracked(tracker=tracker)
def put_back(folder: str) -> None:
    """Have its message put back once."""
    again = Path(folder) / "again"
    if not again.exists():
        again.touch()
        raise Reject(ConnectionError("not now"), requeue=True)


def sleep_on(folder: str) -> None:
    """Ask nobody whether it may go on."""
    (Path(folder) / "begun").touch()
    wait_for(Path(folder) / "go")


sleeping = task(name="sleeping")(tracked(name="sleeping", tracker=tracker)(sleep_on))


@task()
@tracked(tracker=tracker)
def tidy_up(folder: str) -> None:
    """Know when time is up, and end well all the same."""
    try:
        sleep_on(folder)
    except SoftTimeLimitExceeded:
        current_progress().update(1.0, message="in time")


@task()
def untracked() -> str:
    """Be none of ours, but call what is."""
    add(1, 2)
    return "done"


@task(ignore_result=True)
@tracked(tracker=tracker, cancellable=True)
def cancel_itself() -> None:
    """Have a result that nobody wants."""
    current_progress().cancel_and_exit()


shared = shared_task(name="shared")(tracked(name="shared", tracker=tracker)(sleep_on))
typed = task(name="typed", pydantic=True)(tracked(name="typed", tracker=tracker)(sleep_on))


class Counting(Task):  # type: ignore[misc]
    """A task that is a class."""

    name = "counting"

    def run(self, name: str) -> str:
        """Have `self` in front, as methods do."""
        return name

    run = cast("Any", tracked(name="counting", tracker=tracker, id=lambda self, name: name)(run))


counting: Any = app.register_task(Counting())


# What goes on, or leaves in other ways.


def is_first(folder: str) -> bool:
    """Is this the first time in that folder?"""
    place = Path(folder) / "first"
    first = not place.exists()
    place.touch()
    return first


@contextmanager
def slow_to_leave() -> Iterator[None]:
    """As a transaction that is rolled back, or a connection that is closed."""
    try:
        yield
    finally:
        sleep(0.3)


@task(bind=True)
@tracked(tracker=tracker)
def again_at_once(self: Task, folder: str, throw: bool) -> None:
    """Be sent again before this function has left."""
    with slow_to_leave():
        if is_first(folder):
            self.retry(exc=ConnectionError("no answer"), countdown=0, throw=throw)


@task(bind=True)
@tracked(tracker=tracker, store_result=True)
def next_page(self: Task, page: int) -> int:
    """Go on as a task of its own, as for the pages of a list."""
    with slow_to_leave():
        if page < 3:
            return cast("int", self.replace(next_page.s(page + 1)))
    return page


@task(bind=True)
@tracked(tracker=tracker, id="page", store_result=True)
def named_page(self: Task, page: int) -> int:
    """The same, but each page is an execution."""
    return page if page == 2 else cast("int", self.replace(named_page.s(page + 1)))


@task(bind=True)
@tracked(tracker=tracker)
def hand_over(self: Task, to: str) -> None:
    """Be replaced by something else."""
    others = {
        "one": add.s(1, 2),
        "chain": chain(add.s(1, 2), add.s(4)),
        "group": chain(add.s(1, 2), group(add.s(3), add.s(4))),
    }
    raise self.replace(others[to])


@task(bind=True)
@tracked(tracker=tracker)
def say_failed(self: Task) -> None:
    """Tell Celery by hand how it ended."""
    self.update_state(state="FAILURE", meta={"exc_type": "ValueError", "exc_message": ["by hand"]})
    raise Ignore


def leave_once(folder: str) -> None:
    """End the process the first time."""
    if is_first(folder):
        sys.exit(3)


leave_late = task(name="leave_late", acks_late=True, reject_on_worker_lost=True)(
    tracked(name="leave_late", tracker=tracker)(leave_once)
)
leave_retried = task(name="leave_retried", retry_on_worker_lost=True, default_retry_delay=0)(
    tracked(name="leave_retried", tracker=tracker)(leave_once)
)
leave_for_good = task(name="leave_for_good")(tracked(name="leave_for_good", tracker=tracker)(leave_once))


@task(acks_late=True, acks_on_timeout=False, time_limit=1)
@tracked(tracker=tracker)
def hang_once(folder: str) -> None:
    """Take too long the first time."""
    if is_first(folder):
        sleep_on(folder)


@task()
@tracked(tracker=tracker)
def no_json() -> object:
    """Return what the serializer does not take."""
    return object()


class Raising(Task):  # type: ignore[misc]
    """A class whose call fails once the function has returned."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        super().__call__(*args, **kwargs)
        raise LookupError("after the function")


@task(base=Raising)
@tracked(tracker=tracker)
def fails_in_its_class() -> None:
    """End well, for its own part."""


class Killed(Task):  # type: ignore[misc]
    """A class whose process dies between the function and its result, the first time."""

    def __call__(self, folder: str) -> Any:
        first = not (Path(folder) / "first").exists()
        result = super().__call__(folder)
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@task(base=Killed, acks_late=True, reject_on_worker_lost=True)
@tracked(tracker=tracker)
def killed_before_its_result(folder: str) -> str:
    """Do its work."""
    is_first(folder)
    return "done"


@task()
def note(*args: Any) -> None:
    """Say that it ran; the folder comes last."""
    with (Path(args[-1]) / "notes").open("a") as notes:
        notes.write("x")
