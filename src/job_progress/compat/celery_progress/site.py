"""The endpoint that celery-progress's script asks, whichever framework stands in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from job_progress.claims import claimed
from job_progress.job import Job
from job_progress.names import check_name
from job_progress.state import JobState
from job_progress.tracker import Tracker
from job_progress.web.messages import NOT_FOUND, Request, Response, json_answer, refusal
from job_progress.web.site import Site
from job_progress.web.view import ShowError
from job_progress.web.ways import Way

_AGES_AGO = datetime.min.replace(tzinfo=UTC)
_ALL_OF_IT = {"pending": False, "current": 100, "total": 100, "percent": 100}


class CeleryProgressSite(Site):
    """Answers `/<task id>/` with what is known of that task, in celery-progress's own words.

    Args:
        authorize: Who may see what; see `create_app`. What is asked for is always to `"view"`.
        tracker: Gives the tracker whose states are served; asked at each request.
        way: How to wait, and to call what blocks.
        jobs: In which jobs to look for the task; see `names_of`. By default all that this process knows.
        show_error: Makes the text that is shown of a state's error; see `create_app`.

    Raises:
        TypeError: *authorize* is no rule, one of *jobs* is none, or *show_error* no function.
    """

    def __init__(
        self,
        authorize: object,
        tracker: Callable[[], Tracker],
        way: Way,
        jobs: Iterable[object] | None = None,
        show_error: ShowError | None = None,
    ) -> None:
        super().__init__(authorize, tracker, way, max_watchers=1, show_error=show_error)  # nobody watches
        self._names = None if jobs is None else names_of(jobs)

    async def _routed(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "this address does not take that method", Allow="GET, HEAD")
        try:
            id = check_name(request.path.strip("/"), "id")
        except ValueError:
            return NOT_FOUND
        tracker = self._tracker()
        # Read first, then ask: for what is unknown as much is done as for what is not allowed.
        state = await self._way.call(self._found, tracker, id)
        if not await self._allows(request, "view", state):
            return NOT_FOUND
        if state is None:
            return json_answer(200, answer_about(None))
        sees_all = self._errors.differ(state) and await self._sees_all(request)
        return json_answer(200, answer_about(state, self._errors.shown(state, sees_all=sees_all)))

    def _found(self, tracker: Tracker, id: str) -> JobState | None:
        """The newest execution with this id, of any of the jobs. One round trip."""
        names = claimed(tracker) if self._names is None else self._names
        states = [state for state in tracker.get_many([(name, id) for name in names]) if state]
        return max(states, key=lambda state: state.created_at or _AGES_AGO, default=None)


def names_of(jobs: Iterable[object]) -> list[str]:
    """The names of *jobs*: given by name, as tracked functions, or as Celery's tasks.

    Raises:
        TypeError: One of them is neither, or they are none of several.
    """
    if isinstance(jobs, str):
        raise TypeError(f"jobs= takes several names or tracked functions, not {jobs!r}: put it into a list")
    return [check_name(job, "job name") if isinstance(job, str) else Job.of(job).name for job in jobs]


def answer_about(state: JobState | None, error: str | None = None) -> dict[str, Any]:
    """What celery-progress 0.5 answers about a task in this *state*; what is unknown is waiting, as with Celery.

    *error* is what to show of its error.

    Its source is `celery_progress.backend.Progress.get_info`.
    """
    if state is None or (state.is_pending and not state.error):
        return _going_on("PENDING", {"pending": True, "current": 0, "total": 100, "percent": 0})
    if state.is_processing:
        return _going_on("PROGRESS", _progress_of(state))
    if state.is_completed:
        return _ended("SUCCESS", success=True, result=state.result)
    if state.is_cancelled:
        return _ended("REVOKED", success=False, result="Task cancelled")
    error = error or ""
    if state.is_failed:
        return _ended("FAILURE", success=False, result=error)
    message = f"{error[:50]}..."
    return _ended("RETRY", success=False, result={"next_retry_seconds": "Unknown", "message": message})


def _going_on(state: str, progress: dict[str, Any]) -> dict[str, Any]:
    return {"state": state, "complete": False, "success": None, "progress": progress}


def _ended(state: str, *, success: bool, result: Any) -> dict[str, Any]:
    return {"state": state, "complete": True, "success": success, "progress": _ALL_OF_IT, "result": result}


def _progress_of(state: JobState) -> dict[str, Any]:
    percent = round((state.progress or 0.0) * 100, 2)
    current, total = (percent, 100) if state.completed is None else (state.completed, state.total or 0)
    return {
        "pending": False,
        "current": current,
        "total": total,
        "percent": percent,
        "description": state.message or "",
    }
