"""Finds a Chromium for the tests and the pictures: an installed one, Playwright's own, or Debian's package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Playwright, sync_playwright

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # containers give it none of the rights that its sandbox needs
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HELP = "the browser tests need Chromium: install it, or run: python -m playwright install --with-deps chromium"


class NoBrowser(Exception):
    """There is none, and none could be had; the text says what to do."""


def chromium(playwright: Playwright) -> str:
    """The path of a Chromium; it is downloaded or installed if there is none.

    Raises:
        NoBrowser: Neither worked.
    """
    own = playwright.chromium.executable_path
    path = _installed() or _at(own)
    if path is None:
        _run(sys.executable, "-m", "playwright", "install", "chromium")
        path = _at(own)
    if path is None and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        _run("apt-get", "update")
        _run("apt-get", "install", "--yes", "--no-install-recommends", "chromium")
        path = _installed()
    if path is None:
        raise NoBrowser(HELP)
    return path


def _installed() -> str | None:
    found = (shutil.which(command) for command in COMMANDS)
    return next((path for path in (*found, *map(_at, APPLICATIONS)) if path), None)


def _at(path: str) -> str | None:
    return path if Path(path).is_file() else None


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":  # before the tests, which run several at a time
    with sync_playwright() as started:
        try:
            chromium(started)
        except NoBrowser as error:
            sys.exit(str(error))
