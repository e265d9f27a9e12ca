"""`@tracked`: a function whose calls are runs of a job."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from job_progress.asked import Call
from job_progress.calls import chooser, nobody, task_id
from job_progress.claims import LateName, claim
from job_progress.current import arunning, awaited, end_unrun, running
from job_progress.job import Job
from job_progress.run import Run
from job_progress.tracker import Tracker

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class TrackedFunction(Protocol[P, R_co]):
    """The function that was decorated, with its job."""

    job: Job
    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run it, tracked."""
        ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> TrackedFunction[P, R_co]: ...
    @overload
    def __get__(
        self: TrackedFunction[Concatenate[S, Q], R_co], instance: S, owner: type | None = None, /
    ) -> TrackedFunction[Q, R_co]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        """The same, bound, where it is a method."""
        ...


@overload
def tracked(function: Callable[P, R], /) -> TrackedFunction[P, R]: ...
@overload
def tracked(
    *,
    name: str | None = None,
    id: str | Callable[..., object] | None = None,
    owner: str | Callable[..., object] | None = None,
    cancellable: bool | float = False,
    ttl: float | None = None,
    stuck_after: float | None = None,
    tracker: Tracker | None = None,
    store_result: bool = False,
) -> Callable[[Callable[P, R]], TrackedFunction[P, R]]: ...
def tracked(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    id: str | Callable[..., object] | None = None,
    owner: str | Callable[..., object] | None = None,
    cancellable: bool | float = False,
    ttl: float | None = None,
    stuck_after: float | None = None,
    tracker: Tracker | None = None,
    store_result: bool = False,
) -> Any:
    """Make each call of a function, sync or async, a run of a job.

    It stays a plain function, under its own name and signature, with one more attribute, `job`.
    Call it, or let a queue's worker call it: the run is processing, reports through
    `current_progress()`, and ends as the function does. If it was cancelled, the call returns
    `None`, or ends as the queue wants cancelled tasks to. A call costs two round trips to the store
    (three, if its id was pending).

    Args:
        function: What to decorate, if there are no options.
        name: The job's name; by default the one that you have given it in the decorator of its queue, or else
            `module.qualname`. That is settled at its first use; where it is a name that other processes rely on,
            say it here.
        id: The name of the argument that is the id; or a function of the call's arguments that
            makes it; or nothing: then the running queue's task id, or else a fresh UUID. One of more
            than 200 characters is shortened by a hash, here as in `Job.get`.
        owner: Whom an execution belongs to: the name of the argument that says so, or a function of
            the call's arguments. `None` is nobody. What `lock` was given for the id comes first.
        cancellable: See `Job`.
        ttl: See `Job`.
        stuck_after: See `Job`.
        tracker: See `Job`.
        store_result: Publish what the function returns, as JSON; `None` leaves what was published before.
            What has no JSON form or is too large is left out, and `result_omitted` says why.

    Raises:
        TypeError: The function is a generator, or no function; or *id* or *owner* names none of its arguments.
        ValueError: Another function has this name; or an option is out of its range.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        from inspect import (  # not needed by those who only watch
            isasyncgenfunction,
            iscoroutinefunction,
            isgeneratorfunction,
            isroutine,
            signature,
        )

        if not isroutine(function):
            raise TypeError(
                f"@tracked goes on a function, not on {function!r}: put a queue's own decorator above it; "
                "for classes there is ProgressJob"
            )
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function: its call returns before the work begins, "
                "so there is no run to track"
            )
        job = Job(
            name or LateName(function, tracker),
            cancellable=cancellable,
            ttl=ttl,
            stuck_after=stuck_after,
            tracker=tracker,
            id_of=task_id if id is None else chooser(function, "id", id),
            owner_of=nobody if owner is None else chooser(function, "owner", owner),
        )
        if name:
            claim(name, function, tracker)

        @wraps(function)
        def run_tracked(*args: Any, **kwargs: Any) -> Any:
            with job.taken_up(Call(function, args, kwargs)) as task:
                run = job.begin(*job.called(*args, **kwargs))
                if isinstance(run, Run):
                    with running(run):
                        result = function(*args, **kwargs)
                        run.failure = task.failure_in(result)
                        if store_result and result is not None and run.failure is None:
                            run.hand_out_returned(result)
                        return result
                return end_unrun(task, run)

        @wraps(function)
        async def arun_tracked(*args: Any, **kwargs: Any) -> Any:
            with job.taken_up(Call(function, args, kwargs)) as task:
                run = await job.abegin(*job.called(*args, **kwargs))
                if isinstance(run, Run):
                    async with arunning(run):
                        result = await function(*args, **kwargs)
                        run.failure = task.failure_in(result)
                        if store_result and result is not None and run.failure is None:
                            run.hand_out_returned(result)
                        return result
                return await awaited(end_unrun(task, run))

        wrapper: Any = arun_tracked if iscoroutinefunction(function) else run_tracked
        # Some queues look at the code object, past what wraps() sets, unless they find this; others look for
        # types in it, and would take it as it is, postponed annotations and all.
        try:
            wrapper.__signature__ = signature(function, eval_str=True)
        except (NameError, AttributeError, TypeError):  # they are not known yet, or to type checkers only
            wrapper.__signature__ = signature(function)
        wrapper.job = job
        return wrapper

    return decorate if function is None else decorate(function)
