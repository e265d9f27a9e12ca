"""The component and the dashboard: files that are read once, and served by their known names only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
_KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}


@dataclass(frozen=True)
class Served:
    """A file's bytes, their kind, and an ETag."""

    body: bytes
    kind: str
    tag: str


@cache
def served_files() -> dict[str, Served]:
    """All files there are, by name. Read at the first call."""
    files = [path for path in sorted(FOLDER.iterdir()) if path.suffix in _KINDS]
    return {path.name: _served(path) for path in files}


def _served(path: Path) -> Served:
    body = path.read_bytes()
    return Served(body, _KINDS[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
