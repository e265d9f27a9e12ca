"""APScheduler, as the contract suite uses it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from threading import Thread
from types import ModuleType
from typing import Any, ClassVar

from tests.queues.driver import Point
from tests.queues.orders import OrderDriver, follow

ONCE = "nothing runs again after an error"
NOT_YET = "until it is due there is a schedule, and no execution"


class APScheduler(OrderDriver):
    """A scheduler, with executors of each kind."""

    name = "APScheduler"
    pools = ("threads", "processes", "asyncio")
    has_cancelled = False
    cannot: ClassVar = {
        "test_what_is_enqueued_is_pending": NOT_YET,
        "test_what_is_not_called_after_all_does_not_wait": NOT_YET,
        "test_an_id_and_an_owner_come_from_the_arguments": NOT_YET,
        "test_what_is_cancelled_while_it_waits_never_runs": NOT_YET,
        "test_a_retry_waits_with_its_error_and_starts_clean": ONCE,
        Point.REVOKES: f"{NOT_YET} that could be taken back",
        Point.DIES: "what runs when its process dies is not fired again",
        Point.REPEATS: "a firing comes once",
        "test_what_fails_after_the_function_and_is_tried_again_is_the_next_attempt": ONCE,
        Point.REFUSES: f"{NOT_YET} that could be refused",
        Point.FOLLOWS: "no schedule follows another",
    }

    @property
    def jobs(self) -> ModuleType:
        from tests.queues import jobs

        return jobs

    def task(self, job: str) -> object:
        from apscheduler.schedulers.background import BackgroundScheduler

        return BackgroundScheduler().add_job(getattr(self.jobs, job), args=(1, 1))


class Host:
    """Where the scheduler is."""

    def __init__(self, scheduler: Any) -> None:
        from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED

        from job_progress.queues.apscheduler import install

        self.scheduler = scheduler
        self.schedules: dict[str, str] = {}
        self.outcomes: dict[str, str] = {}
        install(scheduler)
        scheduler.add_listener(self.heard, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        scheduler.start(paused=True)

    def heard(self, event: Any) -> None:
        """One has been fired."""
        from apscheduler.events import EVENT_JOB_EXECUTED

        self.outcomes[event.job_id] = "done" if event.code == EVENT_JOB_EXECUTED else "failed"

    def submit(self, job: str, *args: Any) -> str:
        """Have a job fired at once. Returns the id that its execution has, if it has none of its own."""
        from job_progress.queues.apscheduler import id_of
        from tests.queues import jobs

        schedule = self.scheduler.add_job(getattr(jobs, job), args=args, misfire_grace_time=None)
        id = id_of(schedule)
        self.schedules[id] = schedule.id
        return id

    def outcome(self, id: str) -> str | None:
        """What has become of it."""
        return self.outcomes.get(self.schedules[id])


def main(pool: str) -> None:
    """Be the process that takes orders."""
    from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if pool == "asyncio":
        loop = asyncio.new_event_loop()
        Thread(target=loop.run_forever, daemon=True).start()
        host = Host(AsyncIOScheduler(event_loop=loop))
    else:
        executor = {"threads": ThreadPoolExecutor, "processes": ProcessPoolExecutor}[pool]
        host = Host(BackgroundScheduler(executors={"default": executor(2)}))
    follow({"work": host.scheduler.resume, "submit": host.submit, "outcome": host.outcome})


if __name__ == "__main__":
    main(sys.argv[1])
