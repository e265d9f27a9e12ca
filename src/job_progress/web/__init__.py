"""The live view for web pages: states as JSON, HTML and events, cancelling, a component and a dashboard.

`create_app` makes an ASGI application; Django and Flask have faces of their own, in
`job_progress.web.django` and `job_progress.web.flask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_progress.web.links import Links
from job_progress.web.rules import Rule, allow_all

if TYPE_CHECKING:
    from job_progress.web.asgi import create_app

__all__ = ["Links", "Rule", "allow_all", "create_app"]


def __getattr__(name: str) -> object:
    # Django and Flask come here too, and need no Starlette.
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from job_progress.web.asgi import create_app
    except ModuleNotFoundError as error:
        if error.name != "starlette":
            raise
        raise ImportError(f"{error.name} is not installed: pip install 'job-progress[web]'") from error
    return create_app
