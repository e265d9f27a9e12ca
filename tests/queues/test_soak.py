"""Thousands of tasks for each queue, in the worst of weathers: `make soak`, with `SOAK_QUEUE=Celery` for one of them.

Workers are killed at random, the broker stops answering for seconds, tasks are delivered twice, cancelled, retried
and left to fail. At the end every state says what the queue and a ledger of effects say.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from job_progress import JobNotCancellable, JobState
from tests.queues.conftest import Brokers, Queue
from tests.queues.driver import Point, Worker

pytestmark = [pytest.mark.environment("main", "arq", "django6", "saq"), pytest.mark.soak, pytest.mark.timeout(3600)]

TASKS = int(os.environ.get("SOAK_TASKS", "10000"))
ONLY = os.environ.get("SOAK_QUEUE")
WORKERS = 2
KILL_EVERY = 4.0
CUT_EVERY = 15.0
CUT_FOR = 2.0
QUIET = 5.0
"""Seconds without any change after which the workers have nothing left to do."""


class Ledger:
    """What the jobs have done: each writes a line as it begins, and one as it has done its work."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger"
        self.path.touch()

    def count(self, what: str) -> Counter[int]:
        """How often each number has *begun*, or is *done*."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        return Counter(int(number) for number, word in lines if word == what)


def kind_of(number: int) -> str:
    """What becomes of a task, if nothing comes between."""
    return {0: "fails", 1: "flaky"}.get(number % 10, "works")


class Storm:
    """The tasks of a queue, and all that happens to them."""

    def __init__(self, queue: Queue, brokers: Brokers) -> None:
        self.queue = queue
        self.server = brokers.server(queue.driver.name)
        self.ledger = Ledger(queue.folder)
        self.ids: dict[str, int] = {}
        self.twice: set[str] = set()
        self.redelivered: Counter[str] = Counter()
        self.refused = 0
        self.kills = 0
        self.workers: list[Worker] = []
        self.random = random.Random(20301)
        self.can_repeat = Point.REPEATS not in queue.driver.cannot

    def hire(self) -> None:
        """Have as many workers as there should be."""
        while len(self.workers) < WORKERS:
            log = self.queue.folder / f"worker-{self.kills}-{len(self.workers)}.log"
            self.workers.append(self.queue.driver.worker(log, self.queue.pool))

    def kill_one(self) -> None:
        """A worker dies, with all its processes, and another takes its place."""
        worker = self.workers.pop(self.random.randrange(len(self.workers)))
        worker.kill()
        self.kills += 1
        self.hire()

    def send_all(self) -> None:
        """Send the tasks, and cancel some of them at once, some later; have some delivered twice."""
        job = self.queue.job("effect")
        for number in range(TASKS):
            kind = kind_of(number)
            arguments = (str(self.ledger.path), number, kind)
            try:
                id = self.queue.driver.send("effect", *arguments, retries=2 if kind == "flaky" else 0)
            except Exception:
                self.refused += 1
                continue
            self.ids[id] = number
            if number % 10 == 2:
                self.cancel(job.name, id)
            if number % 10 == 3 and number > 30:
                self.cancel(job.name, self.random.choice(list(self.ids)[-30:]))
            if number % 50 == 4 and self.can_repeat:
                with suppress(Exception):  # it may have ended already, or the broker is away
                    self.queue.driver.send_again(id, "effect", *arguments)
                    self.twice.add(id)

    def cancel(self, job: str, id: str) -> None:
        """Somebody thinks better of it."""
        with suppress(JobNotCancellable):
            self.queue.job("effect").tracker.cancel(job, id)

    @contextmanager
    def raging(self) -> Iterator[None]:
        """Inside a `with`, workers are killed, and the broker is cut off."""
        over = Event()

        def rage() -> None:
            next_cut = time.monotonic() + CUT_EVERY
            while not over.wait(KILL_EVERY * self.random.uniform(0.5, 1.5)):
                self.kill_one()
                if time.monotonic() > next_cut:
                    self.server.freeze()
                    over.wait(CUT_FOR)
                    self.server.thaw()
                    next_cut = time.monotonic() + CUT_EVERY

        thread = Thread(target=rage)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def states(self) -> dict[str, JobState]:
        """The states of all tasks."""
        job = self.queue.job("effect")
        found = job.tracker.get_many([(job.name, id) for id in self.ids])
        return {state.id: state for state in found if state is not None}

    def until_quiet(self, deadline: float) -> dict[str, JobState]:
        """Wait until nothing changes any more."""
        states, since, last = self.states(), time.monotonic(), -1
        while time.monotonic() - since < QUIET:
            assert time.monotonic() < deadline, Counter(str(state.status) for state in states.values())
            states = self.states()
            newest = max(state.version for state in states.values() if not state.is_processing or state.is_stalled)
            live = any(state.is_processing and not state.is_stalled for state in states.values())
            if newest != last or live:
                last, since = newest, time.monotonic()
            time.sleep(0.2)
        return states

    def settle(self) -> dict[str, JobState]:
        """Wait until the workers have nothing left; what dead ones took along is delivered again, as by an operator."""
        deadline = time.monotonic() + 1800
        while True:
            states = self.until_quiet(deadline)
            left = [state for state in states.values() if not state.is_finished or self.is_held(state)]
            if not left:
                return states
            for state in left:
                number = self.ids[state.id]
                self.redelivered[state.id] += 1
                self.queue.driver.redeliver(state.id, "effect", str(self.ledger.path), number, kind_of(number))

    def is_held(self, state: JobState) -> bool:
        """Its worker died after the end of its run, and before the queue had a word of that."""
        return not state.is_cancelled and self.queue.driver.outcome(state.id) is None

    def close(self) -> None:
        """Nobody works any more."""
        for worker in self.workers:
            worker.kill()


def test_every_state_says_what_has_happened(queue: Queue, brokers: Brokers) -> None:
    """Of thousands of tasks, through crashes, cuts, copies, cancels and retries."""
    if ONLY not in (None, queue.driver.name):
        pytest.skip("another queue was asked for")
    if Point.REPEATS in queue.driver.cannot:
        pytest.skip("its workers are the process that sends")
    queue.stop_working()
    storm = Storm(queue, brokers)
    try:
        storm.hire()
        with storm.raging():
            storm.send_all()
            # What died with its worker may be delivered again by an operator only, who comes when all is quiet.
            storm.until_quiet(time.monotonic() + 1800)
        states = storm.settle()
    finally:
        storm.close()
    begun, done = storm.ledger.count("begun"), storm.ledger.count("done")
    wrong: list[str] = []
    for id, number in storm.ids.items():
        state, outcome = states[id], queue.driver.outcome(id)
        word = {"completed": "done", "failed": "failed", "cancelled": "cancelled"}[state.status]
        # A queue need not have a word for what was cancelled, and its worker may have died while it refused it.
        agrees = outcome == word or state.is_cancelled
        facts = f"{id}, {kind_of(number)}: {state!r}, {outcome=}, begun {begun[number]}, done {done[number]}"
        if not agrees:
            wrong.append(f"the queue says otherwise: {facts}")
        if state.is_completed and not done[number]:
            wrong.append(f"completed without its effect: {facts}")
        if state.is_cancelled and done[number]:
            wrong.append(f"cancelled with its effect: {facts}")
        if begun[number] > state.attempt:
            wrong.append(f"a run that no attempt counts: {facts}")
    doubled = [id for id, number in storm.ids.items() if done[number] > 1]
    print(
        f"{queue.driver.name}: {len(storm.ids)} tasks, {storm.refused} refused, {storm.kills} workers killed, "
        f"{len(storm.twice)} delivered twice, {sum(storm.redelivered.values())} delivered again after a crash, "
        f"{len(doubled)} done twice, {dict(Counter(str(state.status) for state in states.values()))}"
    )
    assert not wrong, "\n".join([f"{len(wrong)} of {len(storm.ids)}", *wrong[:20]])
