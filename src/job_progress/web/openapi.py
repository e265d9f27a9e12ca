"""The routes as an OpenAPI document."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from job_progress.state import JobStatus
from job_progress.web.routes import MAX_PAGE, MAX_WAIT


def openapi_document() -> dict[str, Any]:
    """The routes of the live view, below the mount, as an OpenAPI 3.1 document."""
    state_query = [
        _query("wait", {"type": "number", "minimum": 0, "maximum": MAX_WAIT}),
        _query("after_version", {"type": "integer", "minimum": -1}),
    ]
    list_query = [
        _query("job", {"type": "string", "maxLength": 200}),
        _query("status", {"type": "string", "enum": list(JobStatus)}),
        _query("after", {"type": "string", "maxLength": 2000}),
        _query("q", {"type": "string", "maxLength": 200}),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}),
    ]
    seen = _answers(200, 304, 400, 404, 405, 503)
    events = _answers(200, 204, 304, 400, 404, 405, 501, 503)
    cancelled = _answers(202, 400, 403, 404, 405, 409, 413, 503)
    paths: dict[str, Any] = {
        "/": {"get": {"summary": "The dashboard", "responses": _answers(200, 404, 405)}},
        "/states": {"get": {"summary": "A page of the list", "parameters": list_query, "responses": seen}},
        "/events": {"get": {"summary": "What changes in the list", "responses": events}},
        "/static/{name}": {
            "parameters": [_path("name")],
            "get": {"summary": "The component's files", "responses": _answers(200, 304, 404, 405)},
        },
    }
    for address, names in (("/s/{token}", ["token"]), ("/states/{job}/{id}", ["job", "id"])):
        parameters = [_path(name) for name in names]
        state = {"summary": "A state", "parameters": state_query, "responses": seen}
        paths[address] = {"parameters": parameters, "get": state}
        paths[f"{address}/events"] = {"parameters": parameters, "get": {"summary": "Its events", "responses": events}}
        paths[f"{address}/cancel"] = {"parameters": parameters, "post": {"summary": "Cancel", "responses": cancelled}}
    info = {"title": "Job progress", "version": version("job-progress")}
    return {"openapi": "3.1.0", "info": info, "paths": paths}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _answers(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": _MEANINGS[status]} for status in statuses}


_MEANINGS = {
    200: "It is here",
    202: "Asked to stop",
    204: "It has ended, and that was seen",
    304: "Nothing has changed",
    400: "A value is out of its bounds",
    403: "Asked by a page of another site",
    404: "Unknown, or not allowed",
    405: "Not by this method",
    409: "It cannot be cancelled (any more)",
    413: "The body is too large",
    501: "This server does not stream",
    503: "No place, or no store; try again",
}
