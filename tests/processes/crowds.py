"""What other processes do with many jobs, watchers or processes at once; see `Child`."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from contextlib import suppress
from functools import partial

from job_progress import JobAlreadyProcessing, clock, current_progress
from job_progress.job import Job
from tests.processes.bodies import hear, say
from tests.processes.jobs import job_at
from tests.waiting import eventually


def fork_lockers(url: str, processes: int, ids: int) -> None:
    """In so many forked processes, all at once, lock every id; say which each has won, or that it failed."""
    job = job_at(url)
    gun, fire = os.pipe()
    runners = [_fork_locker(job, gun, fire, int(ids)) for _ in range(int(processes))]
    say("ready")
    hear()
    os.close(fire)
    for child, answer in runners:
        failed = os.waitpid(child, 0)[1] != 0
        say("failed" if failed else os.read(answer, 65536).decode())


def _fork_locker(job: Job, gun: int, fire: int, ids: int) -> tuple[int, int]:
    answer, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, answer
    try:
        os.close(fire)
        os.read(gun, 1)  # until the parent closes the other end
        os.write(tell, " ".join(f"{id}" for id in range(ids) if job.lock(id) is not None).encode())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def fork_workers(url: str) -> None:
    """For each id that the test names fork a process that runs it in some hundredths of a second, and waits to die."""
    job = job_at(url)
    while id := hear():
        child = os.fork()
        if child == 0:
            with job.start(id) as progress:
                for step in range(1, 10):
                    progress.update(step / 10, message=f"step {step}")
                    if step % 3 == 0:
                        progress.flush()
                    time.sleep(0.002)
            signal.pause()
        say(child)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


class Reports:
    """How long each report took, by what went on meanwhile, and what was logged."""

    def __init__(self) -> None:
        self.phase = "warm-up"
        self.times: dict[str, list[float]] = defaultdict(list)
        self.ends: list[float] = []
        self.failed: list[str] = []
        self.logged: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.logged.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("job_progress").addHandler(handler)

    def tell(self) -> None:
        """Let the test hear it all, in seconds: the 99th percentile for each phase, and the longest of all."""
        percentiles = {phase: sorted(times)[len(times) * 99 // 100] for phase, times in self.times.items()}
        longest = max(max(times) for times in self.times.values())
        ends, failed, logged = self.ends, self.failed, self.logged
        say(json.dumps({"p99": percentiles, "longest": longest, "ends": ends, "failed": failed, "logged": logged}))


def run_jobs(url: str, jobs: int) -> None:
    """Run so many jobs that report all the time, until the test says that the first few, and that all should end."""
    job, reports = job_at(url), Reports()
    jobs = int(jobs)

    def work(number: int) -> None:
        try:
            with job.start(number) as progress:
                while reports.phase != "end" and not (reports.phase == "some end" and number < jobs // 4):
                    began = time.perf_counter()
                    progress.update(random.random() / 2, message=reports.phase)
                    reports.times[reports.phase].append(time.perf_counter() - began)
                    time.sleep(0.005)
                progress.update(0.9, message="the last").set(number=number)
                began = time.perf_counter()
            reports.ends.append(time.perf_counter() - began)
        except BaseException as error:
            reports.failed.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(jobs)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(job.list("processing", limit=jobs)) == jobs)
    say("working")
    while reports.phase != "end":
        reports.phase = hear()
    for thread in threads:
        thread.join()
    with suppress(AssertionError):  # an end that is published by the thread is what finds the store back
        eventually(lambda: not reports.logged or reports.logged[-1].endswith(" is back"), 30)
    reports.tell()
    hear()  # what ended while the store was away is still under way


def run_short_jobs(url: str, jobs: int) -> None:
    """Each time that the test says so, run so many empty jobs; say how long the first and the others took."""
    job, reports, number = job_at(url), Reports(), 0
    say("ready")
    while hear() == "run":
        times: list[float] = []
        for _ in range(int(jobs) + 1):
            number += 1
            began = time.perf_counter()
            with job.start(number):
                pass
            times.append(time.perf_counter() - began)
        say(json.dumps({"first": times[0], "others": sum(times[1:]), "longest": max(times[1:])}))
    say(json.dumps(reports.logged))


def wait_for_a_job(url: str) -> None:
    """Run an async job that takes an hour, with a time limit of a second, and say how long that took."""
    import asyncio

    job = job_at(url)
    with job.start("0"):
        pass

    async def work() -> None:
        async with job.astart("7"):
            await asyncio.sleep(3600)

    async def limited() -> float:
        began = time.perf_counter()
        with suppress(TimeoutError):
            await asyncio.wait_for(work(), 1)
        return time.perf_counter() - began

    say("ready")
    while hear() == "run":
        say(asyncio.run(limited()))


def watch_many(url: str, watchers: int, ids: int) -> None:
    """Watch so many ids by so many watchers, who join one by one; say when all are there, and what they saw last."""
    job = job_at(url)
    seen: dict[int, str] = {}

    def watch(number: int) -> None:
        for state in job.watch(number % int(ids), timeout=60):
            seen[number] = str(state.status)

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(int(watchers))]
    for number, thread in enumerate(threads):
        thread.start()
        eventually(partial(seen.get, number))
    say("watching")
    for thread in threads:
        thread.join()
    say(" ".join(sorted(set(seen.values()))))
    hear()


def work_by_a_wrong_clock(url: str, id: str, hours: str) -> None:
    """Run an id, and have the wall clock jump in the middle."""
    job = job_at(url)
    with job.start(id) as progress:
        progress.update(0.25).flush()
        say("working")
        hear()
        jump(float(hours))
        time.sleep(0.05)
        progress.update(0.5).flush()
        state = progress.state
        say(state.is_stalled or state.duration.total_seconds() < 0 or bool(state.eta and state.eta.total_seconds() < 0))
        try:
            with job.start(id):
                say("it ran twice")
        except JobAlreadyProcessing:
            say("refused")
        hear()
    say("ended")
    hear()


def jump(hours: float) -> None:
    """From now on have the wall clock of this process be wrong by so many hours, and the steady clock go on."""
    from datetime import UTC, datetime, timedelta

    clock.set_clock(lambda: datetime.now(UTC) + timedelta(hours=hours), time.monotonic)


def memory() -> int:
    """The bytes of memory that this process holds now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - of the kernel's, and not on a disk
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def soak(url: str, seconds: float, per_second: int, ttl: float) -> None:
    """Run short jobs, so many a second; say every second how many have ended, and the memory that is held."""
    from job_progress import Tracker

    job = Job("work", tracker=Tracker(url, ttl=float(ttl)))
    begins = time.monotonic()
    lock, done = threading.Lock(), 0
    wrong: list[str] = []

    def work() -> None:
        nonlocal done
        while True:
            with lock:
                number, done = done, done + 1
            due = begins + number / int(per_second)
            if due > begins + float(seconds):
                return
            time.sleep(max(due - time.monotonic(), 0.0))
            try:
                with job.start(number):
                    for _ in current_progress().track(range(20)):
                        pass
                state = job.get(number)
                if state is None or (state.status, state.completed) != ("completed", 20):
                    wrong.append(repr(state))
            except BaseException as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1.0)
        say(json.dumps({"after": time.monotonic() - begins, "done": done, "memory": memory(), "wrong": wrong[:5]}))
    with suppress(BrokenPipeError):
        say("{}")
    sys.exit(0)


def run_in_a_storm(url: str, per_second: int) -> None:
    """Run so many short jobs a second, each in a thread of its own; say how long they took, and what failed."""
    job, reports, number = job_at(url), Reports(), 0
    times: list[tuple[float, float]] = []
    is_over = threading.Event()

    def work(number: int) -> None:
        began = time.perf_counter()
        try:
            with job.start(number) as progress:
                for _ in progress.track(range(20)):
                    pass
        except BaseException as error:
            reports.failed.append(repr(error))
        times.append((began, time.perf_counter() - began))

    def send() -> None:
        nonlocal number
        begins = time.monotonic()
        while not is_over.wait(max(begins + number / int(per_second) - time.monotonic(), 0.0)):
            threading.Thread(target=work, args=(number,)).start()
            number += 1

    sender = threading.Thread(target=send, daemon=True)  # or it would outlive a test that was killed
    sender.start()
    say("running")
    storms_at = 0.0
    while (order := hear()) == "count":
        storms_at = time.perf_counter() - 10
        say(number - int(per_second))  # those of the last second may be under way
    assert order == "end"
    is_over.set()
    sender.join()
    eventually(lambda: len(times) == number, 60)
    calm = sorted(took for began, took in times if began < storms_at)
    every = sorted(took for _, took in times)
    slow = sum(took > calm[len(calm) * 99 // 100] + 0.01 for took in every)
    figures = {"calm p99": calm[len(calm) * 99 // 100], "p99": every[len(every) * 99 // 100], "longest": every[-1]}
    say(json.dumps({**figures, "jobs": number, "slow": slow, "failed": reports.failed, "logged": reports.logged}))


def stay_silent(url: str, runs: int) -> None:
    """Run so many jobs at once that report nothing; whenever the test asks, say the CPU time and the memory so far."""
    from contextlib import ExitStack

    from job_progress import Tracker

    job = Job("work", tracker=Tracker(url))
    with ExitStack() as stack:
        for number in range(int(runs)):
            stack.enter_context(job.start(number))
        say("silent")
        while hear() == "figures":
            say(json.dumps({"cpu": time.process_time(), "memory": memory()}))
    say("ended")
