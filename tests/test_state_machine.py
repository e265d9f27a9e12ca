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
from job_progress.state import JobState
from job_progress.stores import open_store
from job_progress.task import QueueTask, current_task, queue_task
from job_progress.testing import frozen_clock
from tests.clocked_store import ClockedStore
from tests.stores.conftest import KINDS, memory_url

__all__ = ["memory_url"]

STALLED_AFTER = 30
TTL = 900
PENDING_TTL = 86400
TASKS = st.sampled_from(["task-1", "task-2"])


class Life(RuleBasedStateMachine):
    """What may happen to one id, and what must then be seen.

    The model knows the status, which run (if any) and which tasks of a queue the state belongs to, when
    the run's last heartbeat was, and which starts are refused; it knows nothing of versions, tokens or stores.
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
        self.other_tasks: set[str] = set()
        self.refused: set[str] = set()

    def teardown(self) -> None:
        self.cleanup.close()

    @property
    def dead(self) -> bool:
        return self.status == "processing" and self.time - self.alive_at > STALLED_AFTER

    def begin_life(self, task: str | None = None) -> None:
        self.status, self.current, self.attempt, self.progress = "pending", None, 0, 0.0
        self.cancelling = self.start_owed = False
        self.task, self.other_tasks = task, set()
        self.refused -= {task}

    def end_life(self, status: str) -> None:
        self.status, self.ended_at, self.cancelling = status, self.time, False
        if status == "cancelled":
            self.refused |= {task for task in (self.task, *self.other_tasks) if task}

    def settle_the_dead(self) -> None:
        """Who reads a state that died while it was being cancelled finds it cancelled."""
        if self.dead and self.cancelling:
            self.current = None
            self.end_life("cancelled")

    @property
    def free(self) -> bool:
        return self.status not in ("pending", "processing") or self.dead

    @property
    def first_task_is_refused(self) -> bool:
        """Locked and cancelled, so that the next that is enqueued or started is the one that was meant."""
        return self.status == "cancelled" and self.start_owed and self.task is None

    @initialize()
    def nothing_yet(self) -> None:
        assert self.job.get("x") is None

    @rule()
    def lock(self) -> None:
        free = self.free
        state = self.job.lock("x")
        assert (state is not None) == free
        if free:
            self.begin_life()

    @rule()
    def enqueue(self) -> None:
        if self.free and not self.first_task_is_refused:
            self.begin_life()
        assert self.job.mark_as_pending("x").status == self.status

    @rule(task=TASKS, late=st.booleans())
    def task_is_enqueued(self, task: str, late: bool) -> None:
        enqueued(self.call, task, late=late)
        if late and (task == self.task or task in self.refused) and self.status not in (None, "pending"):
            return
        if self.first_task_is_refused:
            self.task = task
            self.refused.add(task)
            self.ended_at = self.time
        elif self.free:
            self.begin_life(task)
        elif self.status == "pending" and self.task is None:
            self.task = task
        elif self.status == "pending" and task != self.task:
            self.other_tasks.add(task)

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
            self.refused |= {task} if what == "revoked" else set()
        elif self.status == "cancelled" and what != "requeued":
            self.refused |= {task} if self.start_owed else set()
            self.start_owed, self.ended_at = False, self.time
        elif self.status == "failed" and own and what == "revoked":
            self.current = None
            self.end_life("cancelled")
        elif self.status == "failed" and own and what == "requeued":
            self.status, self.current = "pending", None
        elif self.status == "completed" and own and what == "given up":
            self.current = None
            self.end_life("failed")
        elif self.status == "processing" and own:
            self.current = None
            if self.cancelling or what == "revoked":
                self.start_owed = what == "requeued"
                self.end_life("cancelled")
            elif what == "given up":
                self.end_life("failed")
            else:
                self.status = "pending"

    @rule(task=st.none() | TASKS, repeat=st.booleans(), asked=st.booleans())
    def start(self, task: str | None, repeat: bool, asked: bool) -> None:
        """*repeat*: the task's own function has run before in the same delivery. *asked*: no integration is there."""
        with queue_task(QueueTask(id=task, asked=asked)):
            current_task().delivery.has_begun = repeat
            self.begin(task, repeat, asked)

    def begin(self, task: str | None, repeat: bool, asked: bool) -> None:
        own = task is not None and task == self.task
        refused = task in self.refused and (not asked or self.start_owed)
        if self.status == "processing" and not self.dead and not refused:
            with pytest.raises(JobAlreadyProcessing):
                self.begin_at_once()
            return
        begun = self.begin_at_once()
        if refused:
            assert isinstance(begun, JobState)
            self.start_owed = False
        elif self.first_task_is_refused:
            assert isinstance(begun, JobState)
            self.start_owed, self.ended_at = False, self.time
            self.refused |= {task} if task else set()
        elif self.status == "completed" and own and not repeat and not asked:
            assert isinstance(begun, JobState)
        elif self.dead and self.cancelling and (own or self.task is None):
            assert isinstance(begun, JobState)
            self.settle_the_dead()
        else:
            assert isinstance(begun, Run)
            tried_again = own and (self.status == "failed" or (self.status == "completed" and repeat))
            same_life = tried_again or self.status in ("pending", "processing")
            self.attempt = self.attempt + 1 if same_life else 1
            self.other_tasks = self.other_tasks - {task} if same_life else set()
            self.refused = self.refused if same_life else self.refused - {task}
            self.status, self.current, self.alive_at, self.progress = "processing", begun, self.time, 0.0
            self.cancelling = self.start_owed = False
            self.task = task
            self.runs.append(begun)

    def begin_at_once(self) -> Run | JobState:
        """As `Job.begin` does, but another delivery of a task does not wait."""
        return self.tracker.begin(self.job.blank_of_task("x"), current_task())

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

    @rule(seconds=st.sampled_from([1, 20, 31, TTL + 1, PENDING_TTL + 1]))
    def time_passes(self, seconds: int) -> None:
        self.time += seconds
        self.clock.tick(seconds)
        is_cancelled_task = self.status == "cancelled" and (self.start_owed or self.task is not None)
        is_short_lived = self.status in ("completed", "failed", "cancelled") and not is_cancelled_task
        if seconds > PENDING_TTL or (is_short_lived and self.time - self.ended_at >= TTL):
            # Forgotten. Runs that never learnt that they lost the id are left out from here on.
            self.begin_life()
            self.status = None
            self.refused.clear()
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
