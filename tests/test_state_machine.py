"""Random lives of an id, on each store, against a model in plain words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from job_progress import Job, JobAlreadyProcessing, JobNotCancellable, Tracker
from job_progress.errors import JobCancelled
from job_progress.progress import Progress
from job_progress.queues.lifecycle import enqueued, given_up, requeued, revoked
from job_progress.run import Run
from job_progress.stores import open_store
from job_progress.task import QueueTask, queue_task
from job_progress.testing import frozen_clock
from tests.clocked_store import ClockedStore
from tests.stores.conftest import KINDS, memory_url

__all__ = ["memory_url"]

STALLED_AFTER = 30
TTL = 900
TASKS = st.sampled_from(["task-1", "task-2"])


class Life(RuleBasedStateMachine):
    """What may happen to one id, and what must then be seen.

    The model knows the status, which run (if any) and which task of a queue the state belongs to, when
    the run last gave a sign of life, and what is owed; it knows nothing of versions, tokens or stores.
    """

    url = "memory://"
    own_clock = False
    lives = count()

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = ExitStack()
        self.clock = self.cleanup.enter_context(frozen_clock())
        self.time = 0.0
        # Each life has a prefix of its own, as if the store were new.
        store = open_store(self.url, f"life {next(self.lives)}")
        self.tracker = Tracker(ClockedStore(store) if self.own_clock else store)
        self.cleanup.callback(self.tracker.close)
        self.job = Job("life", cancellable=True, tracker=self.tracker, id_of=lambda: "x")
        self.call = SimpleNamespace(job=self.job)
        self.runs: list[Run] = []
        self.status: str | None = None
        self.current: Run | None = None
        self.alive_at = 0.0
        self.ended_at = 0.0
        self.attempt = 0
        self.progress = 0.0
        self.cancelling = False
        self.start_owed = False
        self.task: str | None = None

    def teardown(self) -> None:
        self.cleanup.close()

    @property
    def dead(self) -> bool:
        return self.status == "processing" and self.time - self.alive_at > STALLED_AFTER

    def begin_life(self, task: str | None = None) -> None:
        self.status, self.current, self.attempt, self.progress = "pending", None, 0, 0.0
        self.cancelling = self.start_owed = False
        self.task = task

    def end_life(self, status: str) -> None:
        self.status, self.ended_at, self.cancelling = status, self.time, False

    def settle_the_dead(self) -> None:
        """Who reads a state that died while it was being cancelled finds it cancelled."""
        if self.dead and self.cancelling:
            self.current = None
            self.end_life("cancelled")

    @initialize()
    def nothing_yet(self) -> None:
        assert self.job.get("x") is None

    @rule()
    def lock(self) -> None:
        free = self.status not in ("pending", "processing") or self.dead
        state = self.job.lock("x")
        assert (state is not None) == free
        if free:
            self.begin_life()

    @rule()
    def enqueue(self) -> None:
        if self.status not in ("pending", "processing") or self.dead:
            self.begin_life()
        assert self.job.mark_as_pending("x").status == self.status

    @rule(task=TASKS, late=st.booleans())
    def task_is_enqueued(self, task: str, late: bool) -> None:
        enqueued(self.call, task, late=late)
        if late and task == self.task and self.status not in (None, "pending"):
            return
        if self.status not in ("pending", "processing") or self.dead:
            self.begin_life(task)
        elif self.status == "pending":
            self.task = self.task or task

    @rule(task=TASKS, what=st.sampled_from(["revoked", "given up", "requeued"]))
    def queue_speaks(self, task: str, what: str) -> None:
        tell: dict[str, Callable[..., None]] = {
            "revoked": revoked,
            "given up": partial(given_up, error="expired"),
            "requeued": partial(requeued, error="worker lost"),
        }
        tell[what](self.call, task)
        own = task == self.task
        if self.status == "pending" and what != "requeued" and (own or self.task is None):
            self.current = None
            self.end_life("cancelled" if what == "revoked" else "failed")
        elif self.status == "cancelled" and what != "requeued":
            self.start_owed = False
        elif self.status == "failed" and own and what == "revoked":
            self.current = None
            self.end_life("cancelled")
        elif self.status == "processing" and own:
            self.current = None
            if self.cancelling or what == "revoked":
                self.start_owed = what == "requeued"
                self.end_life("cancelled")
            elif what == "given up":
                self.end_life("failed")
            else:
                self.status = "pending"

    @rule(task=st.none() | TASKS)
    def start(self, task: str | None) -> None:
        with queue_task(QueueTask(id=task)):
            self.begin(task)

    def begin(self, task: str | None) -> None:
        if self.status == "processing" and not self.dead:
            with pytest.raises(JobAlreadyProcessing):
                self.job.begin("x")
            return
        run = self.job.begin("x")
        if self.start_owed:
            assert run is None
            self.start_owed = False
        elif self.dead and self.cancelling:
            assert run is None
            self.settle_the_dead()
        else:
            assert run is not None
            tried_again = self.status == "failed" and task is not None and task == self.task
            same_life = tried_again or self.status in ("pending", "processing")
            self.attempt = self.attempt + 1 if same_life else 1
            self.status, self.current, self.alive_at, self.progress = "processing", run, self.time, 0.0
            self.cancelling, self.task = False, task
            self.runs.append(run)

    @rule()
    def cancel(self) -> None:
        allowed = self.status in ("pending", "processing", "cancelled")
        if not allowed:
            with pytest.raises(JobNotCancellable):
                self.job.cancel("x")
            return
        state = self.job.cancel("x")
        if self.status == "pending":
            self.start_owed = True
            self.end_life("cancelled")
        elif self.dead:
            self.current = None
            self.end_life("cancelled")
        elif self.status == "processing":
            self.cancelling = True
        assert (state.status, state.is_cancelling) == (self.status, self.cancelling)

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0), fraction=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    def report(self, pick: int, fraction: float) -> None:
        run = self.runs[pick % len(self.runs)]
        run.position = fraction  # as update() does, without waking the thread, which has tests of its own
        Progress(run).flush()
        if run is self.current and self.status == "processing":
            self.alive_at, self.progress = self.time, fraction
            assert run.cancel_requested == self.cancelling
        elif run is not self.current:
            assert run.cancel_requested  # it has learnt that it lost the id

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0), how=st.sampled_from(["complete", "fail", "retry", "cancel"]))
    def finish(self, pick: int, how: str) -> None:
        run = self.runs.pop(pick % len(self.runs))
        error = {"complete": None, "cancel": JobCancelled()}.get(how, ValueError("boom"))
        with queue_task(QueueTask(will_retry=lambda _: how == "retry")):
            run.finish(error)
        if run is not self.current:
            return
        if how == "retry" and self.cancelling:
            self.start_owed = True
            self.end_life("cancelled")
            self.current = None
        elif how == "retry":
            self.status, self.current = "pending", None
        elif how == "complete":
            self.progress = 1.0
            self.end_life("completed")
        else:
            self.end_life({"fail": "failed", "cancel": "cancelled"}[how])

    @rule(seconds=st.sampled_from([1, 20, 31, TTL + 1]))
    def time_passes(self, seconds: int) -> None:
        self.time += seconds
        self.clock.tick(seconds)
        if self.status in ("completed", "failed", "cancelled") and self.time - self.ended_at >= TTL:
            # Forgotten. Runs that never learnt that they lost the id are left out from here on.
            self.begin_life()
            self.status = None
            self.runs.clear()

    @invariant()
    def what_is_seen(self) -> None:
        state = self.job.get("x")
        self.settle_the_dead()
        if state is None:
            assert self.status is None
            return
        assert state.status == self.status
        assert state.is_stalled == self.dead
        assert state.is_cancelling == self.cancelling
        assert state.attempt == self.attempt
        assert state.progress == self.progress
        assert state.is_locked == (self.status in ("pending", "processing") and not self.dead)


EXAMPLES = {"memory": 150, "sqlite": 150, "redis": 60, "postgresql": 30}
"""For the others, which are slower: 15."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_life_goes_as_the_model_says(kind: str, request: pytest.FixtureRequest) -> None:
    """Whatever the order of locks, starts, reports, ends, cancels and time, store and model agree."""
    store = KINDS[kind]
    url = request.getfixturevalue(store.url)
    machine = type("Life", (Life,), {"url": url, "own_clock": store.own_clock})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES.get(kind, 15),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
