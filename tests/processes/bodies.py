"""What the other processes do; see `Child`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import count

from job_progress import JobCancelled, JobNotCancellable, StoreUnavailable
from job_progress.job import Job
from job_progress.stores import Record, open_store
from job_progress.stores.memory import MemoryStore
from tests.processes.jobs import job_at, refuse, square
from tests.stores.changes import change, load, swap
from tests.waiting import eventually


def say(line: object) -> None:
    """Let the test hear *line*."""
    print(line, flush=True)


def hear() -> str:
    """The next line from the test."""
    line = sys.stdin.readline()
    if not line:
        sys.exit("the test has gone")
    return line.strip()


# Locks and stores.


def hold_write_lock(file: str, seconds: float = 0.0) -> None:
    """Keep all others from writing to an SQLite file, for some time or until told to end."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("held")
    if seconds:
        time.sleep(float(seconds))
    else:
        hear()
    connection.execute("ROLLBACK")
    connection.close()
    say("released")


def open_at_once() -> None:
    """Open a store and put a record, each time the test names one."""
    while url := hear():
        store = open_store(url, "test")
        say(swap(store, change(f"{os.getpid()}")))
        store.close()


def write_without_end(url: str) -> None:
    """Write to ten records, in turn, several in one call and each several pages long."""
    store = open_store(url, "test")
    keys = [f"{number}" for number in range(10)]
    for round in count():
        changes = []
        for key in keys:
            before = load(store, key)
            version = before.version if before else 0
            value = f"{key}/{version + 1};" * 3000
            changes.append(change(key, expected=version, version=version + 1, value=value.encode()))
        store.swap(changes)
        if round == 0:
            say("writing")


def fill_a_disk(url: str) -> None:
    """Write until no file may grow any more, and again when they may."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = open_store(url, "test")
    swap(store, change("first"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    made = 0
    try:
        for made in range(1, 100):
            swap(store, change(f"{made}", value=bytes(20_000)))
    except StoreUnavailable as error:
        say(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say(swap(store, change("last")))
    records = store.load(["first", *map(str, range(1, made)), "last"])
    say(sum(record is None for record in records))


def run_on_a_full_disk(url: str) -> None:
    """Run a job that reports more than there is space for, say what was logged of it, and end it when there is more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    logged = _logged()
    with job_at(url).start("7") as progress:
        progress.update(0.1).flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
        for step in range(20):
            progress.set(**{f"part {step}": "x" * 3000})
            time.sleep(0.02)
        progress.update(0.5, message="the last of many")
        say(eventually(lambda: [line for line in logged if "until it is back" in line])[0])
        hear()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say("ended")


def work_as_nobody(url: str, id: str) -> None:
    """Run *id* as a user who owns nothing, and say what was logged first."""
    with job_at("memory://").start(id) as progress:
        progress.update(0.5)  # so that all is imported that is so late: from root's own Python, nobody can do so
    if os.geteuid() == 0:
        os.seteuid(65534)
    logged = _logged()
    with job_at(url).start(id) as progress:
        progress.update(0.5, message="by nobody")
        say(eventually(lambda: logged)[0])
        say("working")
        hear()
    say("ended")


def end_in_an_outage(url: str, way: str) -> None:
    """Run two jobs while nobody can write, say so, and end, or have a child of multiprocessing do all that."""
    if way == "child":
        child = multiprocessing.get_context("fork").Process(target=end_in_an_outage, args=(url, "here"))
        child.start()
        child.join()
        return
    job = job_at(url)
    for id in ("first", "second"):
        with job.start(id):
            pass
    say("all have ended")


def _logged() -> list[str]:
    """What is logged from now on."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("job_progress").addHandler(handler)
    return lines


def fork_next_to_a_writer(url: str) -> None:
    """Fork again and again while a thread writes; parent and children use the store."""
    store = open_store(url, "test")
    stop = threading.Event()

    def write() -> None:
        for number in count():
            assert swap(store, change(f"thread {number}")) is None
            if stop.wait(0.0005):
                say(number + 1)
                break

    writer = threading.Thread(target=write)
    writer.start()
    failed = 0
    for number in range(40):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # should it wait for a lock that nobody holds
            os._exit(0 if swap(store, change(f"child {number}")) is None else 1)
        assert swap(store, change(f"parent {number}")) is None
        failed += os.waitpid(child, 0)[1] != 0
    stop.set()
    writer.join()
    say(failed)


def fork_with_a_store_in_memory() -> None:
    """Fork again and again while a thread uses the store, and say which children found something wrong."""
    store = MemoryStore()
    swap(store, change(version=1))
    told: list[str] = []
    subscription = store.subscribe(told.append)
    assert subscription
    subscription.follow("key")
    told.clear()
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            store.load(["key"] * 1000)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    wrong = []
    for number in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(5)  # should it wait for a lock that nobody holds
            made = load(store) == Record(1, b"value") and swap(store, change(expected=1, version=2)) is None
            os._exit(0 if made and not told else 1)
        if os.waitpid(child, 0)[1] != 0 or load(store) != Record(1, b"value"):
            wrong.append(number)
            break
    stop.set()
    busy.join()
    say(wrong)


def leave_a_forked_child(url: str) -> None:
    """Use the store, fork a child that uses it, too, and end; the child goes on."""
    store = open_store(url, "test")
    swap(store, change("parent"))
    if os.fork():
        os._exit(0)
    swap(store, change("child"))
    say("ready")
    hear()
    say(swap(store, change("child, later")))


# Jobs.


def work(url: str, *ids: str) -> None:
    """Run *ids*, half done, in silence, until told to end."""
    job = job_at(url)
    with ExitStack() as stack:
        for id in ids:
            stack.enter_context(job.start(id)).update(0.5, message="by the worker").flush()
        say("working")
        hear()
    say("ended")


def work_with_checkpoints(url: str, id: str) -> None:
    """Run *id* until it is cancelled."""
    try:
        with job_at(url).start(id) as progress:
            progress.update(0.5).flush()
            say("working")
            while True:
                progress.exit_if_cancelled(lambda: say("cleaning up"))
                time.sleep(0.005)
    except JobCancelled:
        say("somebody else must have stopped it")
    say("ended")


def sleep_silently(url: str, id: str, seconds: float) -> None:
    """Run *id*, and report nothing at all."""
    with job_at(url).start(id):
        say("working")
        time.sleep(float(seconds))


def cancel_on_demand(url: str) -> None:
    """Cancel each id that the test names, a moment later, and say what came of it."""
    job = job_at(url)
    while id := hear():
        time.sleep(random.uniform(0.0, 0.01))
        try:
            job.cancel(id)
        except JobNotCancellable:
            say("refused")
        else:
            say("asked")


def lock_on_demand(url: str) -> None:
    """Try to lock each id that the test names until it can be had, and say since when it was."""
    job = job_at(url)
    while id := hear():
        say("locked at once" if job.lock(id) else "trying")
        while job.lock(id) is None:
            pass
        say(time.monotonic())


# Forks.


def fork_in_a_job(url: str, way: str) -> None:
    """Fork in the middle of a run; the child reports, and leaves in the way that is asked for."""
    job = job_at(url)
    with job.start("parent") as progress:
        progress.update(0.25).flush()
        child = os.fork()
        if child == 0:
            progress.update(0.75, message="from the child").flush()
            match way:
                case "sys.exit":
                    sys.exit(7)
                case "error":
                    raise ValueError("of the child")
                case "os._exit":
                    os._exit(7)
                case "complete":
                    progress.complete("of the child")
                case "fail":
                    progress.fail("of the child")
                case "cancel":
                    progress.cancel_and_exit()
                case "a run of its own":
                    with job.start("child") as own:
                        own.update(0.5, message="the child's own").flush()
                    os._exit(7)
        else:
            say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            hear()
            progress.update(message="the parent goes on")
    if child == 0:
        os._exit(7)  # it has left the run


def multiprocess_in_a_job(url: str) -> None:
    """Start children of `multiprocessing` in the middle of a run, by fork."""
    job = job_at(url)
    fork = multiprocessing.get_context("fork")
    with job.start("parent") as progress:
        progress.update(0.25).flush()
        children = [fork.Process(target=_run_child, args=(job, f"child {number}")) for number in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        say([child.exitcode for child in children])
        hear()


def _run_child(job: Job, id: str) -> None:
    with job.start(id) as progress:
        progress.update(0.5).flush()
        sys.exit(7)


def outlive_the_parent(url: str) -> None:
    """Fork in the middle of a run a child that lives on and reports, with the parent killed."""
    with job_at(url).start("parent") as progress:
        progress.update(0.25).flush()
        if os.fork() == 0:
            say("the child lives")
            while True:
                progress.update(random.random()).flush()
                time.sleep(0.05)
        hear()


def leave_at_once(url: str, times: int) -> None:
    """Fork children that run a job and leave by `os._exit` as soon as it has returned, as work horses do."""
    job = job_at(url)
    job.lock("in the parent")
    for number in range(int(times)):
        child = os.fork()
        if child == 0:
            with job.start(number) as progress:
                for item in progress.track(range(50)):
                    progress.set(item=item)
            os._exit(0)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def use_a_pool(method: str, kind: str) -> None:
    """Run jobs in processes of a pool, after one here."""
    square(100)
    context = multiprocessing.get_context(method)
    if kind == "Pool":
        with context.Pool(2) as pool:
            say(pool.map(square, range(8)))
            say(repr(pool.apply_async(_error_of, (99,)).get()))
    else:
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            say(list(executor.map(square, range(8))))
            say(repr(executor.submit(refuse, 99).exception()))


def _error_of(number: int) -> BaseException | None:
    try:
        refuse(number)
    except ValueError as error:
        return error
    return None
