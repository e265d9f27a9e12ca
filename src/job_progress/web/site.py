"""The web application itself, whichever framework stands in front of it: it takes requests and answers them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from random import uniform
from time import monotonic

from job_progress.errors import JobNotCancellable, StoreUnavailable
from job_progress.state import JobState
from job_progress.tracker import Tracker
from job_progress.web.files import served_files
from job_progress.web.headers import MAX_BODY, announced, has, is_foreign, wants_events, wants_html
from job_progress.web.listing import page_of
from job_progress.web.live import NOBODYS, Full, Live, Share
from job_progress.web.live_list import LiveList
from job_progress.web.messages import (
    HTML,
    JSON,
    NOT_FOUND,
    SAFE,
    STREAM,
    Request,
    Response,
    Stream,
    answer,
    json_answer,
    refusal,
)
from job_progress.web.origins import Origins
from job_progress.web.routes import (
    BadQuery,
    ByLink,
    ByName,
    File,
    Listing,
    Page,
    Query,
    address_of,
    query_of,
    target_of,
)
from job_progress.web.rules import Action, Link, Question, as_rule
from job_progress.web.view import Errors, ShowError, event, fragment, shown, tag_of
from job_progress.web.ways import Way

logger = logging.getLogger("job_progress")
LIFE = 900.0
"""A stream lasts from half as long to so long, in seconds: then the viewer comes back, and is asked for anew."""
NOT_FOUND_AFTER = 0.02
"""Seconds that each 404 of a state takes at least, so that its time does not tell what it hides."""
AGAIN = "5"
"""Seconds after which to ask again where there was no place, or no store."""

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_RETRY = b"retry: 1000\n\n"
_STREAM_HEADERS = {**SAFE, "Content-Type": STREAM, "X-Accel-Buffering": "no"}  # the latter for nginx


class Site:
    """Answers requests by the rule *authorize*.

    Args:
        authorize: Who may do what; see `create_app`.
        tracker: Gives the tracker whose states are served; asked at each request.
        way: How to wait, and to call what blocks.
        max_watchers: So many streams and held-back answers at a time.
        show_error: Makes the text that is shown of a state's error; see `create_app`.
        origins: Where browsers find this site; see `create_app`.

    Raises:
        TypeError: *authorize* is no rule, *show_error* no function, or *origins* are no strings.
        ValueError: *max_watchers* is below 1, or one of *origins* is none.
    """

    def __init__(
        self,
        authorize: object,
        tracker: Callable[[], Tracker],
        way: Way,
        max_watchers: int,
        show_error: ShowError | None = None,
        origins: Collection[str] = (),
    ) -> None:
        if max_watchers < 1:
            raise ValueError(f"max_watchers must be at least 1, not {max_watchers}")
        self._rule = as_rule(authorize)
        self._origins = Origins(origins)
        self._tracker = tracker
        self._way = way
        self._errors = Errors(show_error)
        self._live = Live(way, max_watchers, self._errors)
        self._list = LiveList(tracker, self._errors)

    @property
    def watchers(self) -> int:
        """How many streams and held-back answers there are now."""
        return self._live.watchers

    def close(self) -> None:
        """Have all streams and held-back answers end, and begin no more."""
        self._live.close()

    async def answer(self, request: Request) -> Response:
        """The answer to *request*. A stream in it must be closed by whoever sends it."""
        began = monotonic()
        try:
            response = await self._routed(request)
        except BadQuery as error:
            response = refusal(400, str(error))
        except Full:
            response = refusal(503, "too many are watching; try again", Retry_After=AGAIN)
        except StoreUnavailable as error:
            logger.warning("a viewer is sent away: %s", error)
            response = refusal(503, "the states cannot be read at present; try again", Retry_After=AGAIN)
        if response is NOT_FOUND:
            await self._way.pause(max(began + NOT_FOUND_AFTER - monotonic(), 0.0))
        return response

    async def _routed(self, request: Request) -> Response:
        target = target_of(request.path, request.raw_path)
        may_post = isinstance(target, ByLink | ByName) and target.verb == "cancel"
        if request.method not in (("POST",) if may_post else ("GET", "HEAD")):
            return refusal(405, "this address does not take that method", Allow="POST" if may_post else "GET, HEAD")
        if announced(request) > MAX_BODY:
            return refusal(413, "no body is needed here, and none so large is taken")
        match target:
            case None:
                return NOT_FOUND
            case Page(has_slash):
                return await self._page(request, has_slash)
            case File(name):
                return _file(request, name)
            case Listing(live):
                return await self._listing(request, live)
            case ByLink() | ByName():
                return await self._state(request, target)

    async def _page(self, request: Request, has_slash: bool) -> Response:
        if not await self._allows(request, "list", None):
            return NOT_FOUND
        if not has_slash:
            # Relative, so that it is right behind a proxy that mounts this elsewhere.
            return answer(307, b"", HTML, Location=request.mount.rpartition("/")[2] + "/")
        page = served_files().get("dashboard.html")
        if page is None:
            return NOT_FOUND
        return answer(
            200, page.body, HTML, Content_Security_Policy=_PAGE_POLICY, X_Frame_Options="SAMEORIGIN", ETag=page.tag
        )

    async def _listing(self, request: Request, live: bool) -> Response:
        if not await self._allows(request, "list", None):
            return NOT_FOUND
        query = query_of(request.query)
        if not live:
            states, cursor = await self._way.call(page_of, self._tracker(), query)
            listed = [shown(state, self._errors.shown(state, sees_all=True)) for state in states]
            return json_answer(200, {"states": listed, "next": cursor})
        return await self._streamed(request, self._list_events())

    async def _state(self, request: Request, target: ByLink | ByName) -> Response:
        link = self._rule.opened(target.token) if isinstance(target, ByLink) else None
        by_link_only = target.verb == "cancel" and is_foreign(request, self._origins)
        if by_link_only and (link is None or "cancel" not in link.actions):
            return refusal(403, "a job can be cancelled only from pages of this site, or by a link that says so")
        if isinstance(target, ByLink):
            if link is None:
                return NOT_FOUND
            job, id = link.job, link.id
        else:
            job, id = target.job, target.id
        shares = self._live.shares_of(job, id, request.address) if link else NOBODYS
        query = query_of(request.query)
        asked: Action = "cancel" if target.verb == "cancel" else "view"
        # Read first, then ask: for what is unknown as much is done as for what is not allowed.
        state = await self._way.call(self._tracker().get, job, id)
        allowed = await self._allows(request, asked, state, link, by_link_only=by_link_only)
        if state is None or not allowed:
            return NOT_FOUND
        if asked == "cancel":
            return await self._cancelled(request, target, state)
        if target.verb == "":
            state = await self._newer(request, query, state, link, shares)
            if state is None:
                return NOT_FOUND
        actions = ["view"]
        if not state.is_finished and await self._allows(request, "cancel", state, link):
            actions.append("cancel")
        if target.verb == "events" and not (self._way.streams or wants_events(request)):
            return await self._shown(request, target, state, actions, 200)  # not an error, which browsers complain of
        if target.verb == "events":
            last_seen = request.headers.get("last-event-id", "")
            if state.is_finished and last_seen == str(state.version):
                return Response(204, SAFE)  # which keeps browsers from coming back
            sees_all = await self._sees_all(request)
            events = self._state_events(state, actions, last_seen, shares, sees_all=sees_all)
            return await self._streamed(request, events)
        return await self._shown(request, target, state, actions, 200)

    async def _newer(
        self, request: Request, query: Query, state: JobState, link: Link | None, shares: Mapping[Share, int]
    ) -> JobState | None:
        """*state*, or a newer one if that is asked for and comes in time; `None` if this viewer may not see it."""
        until = monotonic() + query.wait
        if state.version > query.after_version or state.is_finished or not query.wait or not self._way.waits:
            return state
        with self._live.watching(self._tracker(), state, shares) as (topic, _):
            while True:
                heard = topic.bell.rings
                newest = topic.newest
                left = until - monotonic()
                if newest.version > query.after_version or left <= 0 or self._live.closing:
                    break
                await topic.bell.rung(heard, left)
        if _is_same_life(newest, state) or await self._allows(request, "view", newest, link):
            return newest
        return None

    async def _state_events(
        self, state: JobState, actions: list[str], last_seen: str, shares: Mapping[Share, int], *, sees_all: bool
    ) -> Stream:
        ends = monotonic() + uniform(LIFE / 2, LIFE)
        with self._live.watching(self._tracker(), state, shares) as (topic, place):
            yield place.sends(_RETRY)
            told: JobState | None = None
            while place.is_kept() and not self._live.closing and monotonic() < ends:
                heard = topic.bell.rings
                newest = topic.newest
                if not _is_same_life(newest, state):
                    return  # whoever comes back is asked for anew
                if newest is not told:
                    known = told is None and last_seen == str(newest.version) and not newest.is_stalled
                    told = newest
                    if not known or newest.is_finished:
                        yield place.sends(topic.event(newest, actions, sees_all=sees_all))
                    if newest.is_finished:
                        yield place.sends(event("end", id=newest.version))
                        return
                    continue
                await topic.bell.rung(heard, self._way.keep_alive)
                if topic.bell.rings == heard:
                    yield place.sends(b": \n\n")

    async def _list_events(self) -> Stream:
        ends = monotonic() + uniform(LIFE / 2, LIFE)
        bell = self._way.bell()
        with self._live.place(bell) as place, self._list.viewing(bell) as number:
            yield place.sends(_RETRY)
            while place.is_kept() and not self._live.closing and monotonic() < ends:
                heard = bell.rings
                number, events = self._list.after(number)
                if events:
                    yield place.sends(events)
                    continue
                await bell.rung(heard, self._way.keep_alive)
                if bell.rings == heard:
                    yield place.sends(b": \n\n")

    async def _streamed(self, request: Request, stream: Stream) -> Response:
        if not self._way.streams:
            await stream.aclose()
            return refusal(501, "this server does not stream: ask for the state with ?wait=")
        if request.method == "HEAD":
            await stream.aclose()
            return Response(200, _STREAM_HEADERS)
        # Begun here, so that a refusal is an answer of its own, and the end of it always tidies up.
        return Response(200, _STREAM_HEADERS, await anext(stream), stream)

    async def _cancelled(self, request: Request, target: ByLink | ByName, state: JobState) -> Response:
        actions = ["view", "cancel"]
        try:
            state = await self._way.call(self._tracker().cancel, state.job, state.id)
        except JobNotCancellable as refused:
            if refused.state is None or not refused.state.version:
                return NOT_FOUND
            return await self._shown(request, target, refused.state, actions, 409, str(refused))
        return await self._shown(request, target, state, actions, 202)

    async def _shown(
        self,
        request: Request,
        target: ByLink | ByName,
        state: JobState,
        actions: list[str],
        status: int,
        reason: str = "",
    ) -> Response:
        sees_all = self._errors.differ(state) and await self._sees_all(request)
        error = self._errors.shown(state, sees_all=sees_all)
        kind = HTML if wants_html(request) else JSON
        tag = tag_of(state, actions, kind.rpartition("/")[2], sees_all=sees_all)
        headers = {"Vary": "Accept"} if status != 200 else {"Vary": "Accept", "ETag": tag}
        if status == 200 and has(request, tag):
            return Response(304, {**SAFE, **headers})
        if kind == HTML:
            address = f"{request.mount}/{address_of(target)}"
            body = fragment(state, error, actions, address, reason)
            return answer(status, body, HTML, **headers)
        seen = shown(state, error, actions)
        return json_answer(status, {"error": reason, "state": seen} if reason else seen, **headers)

    async def _allows(
        self,
        request: Request,
        action: Action,
        state: JobState | None,
        link: Link | None = None,
        *,
        by_link_only: bool = False,
    ) -> bool:
        question = Question(request.native, action, state, link)
        return self._rule.allows_by_link(question) if by_link_only else await self._rule.allows(question, self._way)

    async def _sees_all(self, request: Request) -> bool:
        """May this viewer see all of an error? Those may who may list: they see all states."""
        try:
            return await self._allows(request, "list", None)
        except Exception:  # a refusal by the framework's own exception, say: no reason not to show the state
            logger.debug("whether a viewer may list was not answered, so no error's text is shown", exc_info=True)
            return False


def _is_same_life(newest: JobState, state: JobState) -> bool:
    """Is it the execution that was asked for, and not a later one that has taken its id?"""
    return (newest.created_at, newest.owner) == (state.created_at, state.owner)


def _file(request: Request, name: str) -> Response:
    file = served_files().get(name)
    if file is None:
        return NOT_FOUND
    headers = {"ETag": file.tag, "Cache-Control": "public, max-age=3600, must-revalidate"}
    if has(request, file.tag):
        return Response(304, {**SAFE, **headers})
    return answer(200, file.body, file.kind, **headers)
