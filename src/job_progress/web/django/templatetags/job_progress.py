"""`{% load job_progress %}`."""

from __future__ import annotations

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from job_progress.state import JobState
from job_progress.web.django.links import url_of
from job_progress.web.links import DAY

register = template.Library()


@register.simple_tag
def job_progress(
    state: JobState | None, cancel: bool = True, expires: float | None = DAY, bind: bool = True
) -> SafeString:
    """A live bar of *state*, for everybody who sees the page: the link in it is signed. No I/O.

    Args:
        state: Which.
        cancel: May they cancel it?
        expires: In how many seconds the bar of a page that is still open can be reloaded no more.
        bind: `False`: it goes on with whatever run the id ever has, whoever it belongs to.

    Raises:
        TypeError: *state* is none.
    """
    if not isinstance(state, JobState):
        raise TypeError(f"{{% job_progress %}} takes a state, as job.lock(id) or job.get(id) gives, not {state!r}")
    script = reverse("job_progress:live_view", args=["static/job-progress.js"])
    source = url_of(state, cancel=cancel, expires=expires, bind=bind)
    return format_html('<script type="module" src="{}"></script><job-progress src="{}"></job-progress>', script, source)
