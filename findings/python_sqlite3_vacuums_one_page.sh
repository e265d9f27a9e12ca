#!/usr/bin/env bash
# Python's sqlite3 (3.11 to 3.13, SQLite 3.40) and aiosqlite 0.22.1: PRAGMA incremental_vacuum(500) frees one page.
#
# Expected: it frees 500 pages, as in the sqlite3 shell.
# Seen: execute() frees 1 of 2,506 free pages, without an error; executescript() frees 500. The pragma gives a page
#   back with each step, and execute() takes one step. Python 3.12 and later take the others in fetchall(); 3.11 does not.
# Meaning: our `prune` calls executescript().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiosqlite==0.22.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import asyncio
import sqlite3
import sys

import aiosqlite

PRAGMA = "PRAGMA incremental_vacuum(500)"


def with_free_pages(name):
    """A file with a few thousand of them."""
    path = f"{sys.argv[1]}/{name}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("CREATE TABLE rows (value TEXT)")
    connection.executemany("INSERT INTO rows VALUES (?)", [("x" * 2000,)] * 5000)
    connection.execute("DELETE FROM rows")
    return path, connection


def free(path):
    return sqlite3.connect(path).execute("PRAGMA freelist_count").fetchone()[0]


def freed(how):
    path, connection = with_free_pages(how.__name__)
    before = free(path)
    how(connection, path)
    connection.close()
    return before - free(path)


def execute(connection, path):
    connection.execute(PRAGMA)


def execute_and_fetch(connection, path):
    connection.execute(PRAGMA).fetchall()


def executescript(connection, path):
    connection.executescript(PRAGMA)


def through_aiosqlite(connection, path):
    async def main():
        async with aiosqlite.connect(path, isolation_level=None) as database:
            await database.execute(PRAGMA)

    asyncio.run(main())


pages = {how.__name__: freed(how) for how in (execute, execute_and_fetch, executescript, through_aiosqlite)}
print("Python", sys.version.split()[0], "SQLite", sqlite3.sqlite_version, "pages freed:", pages)
assert pages["execute"] == pages["through_aiosqlite"] == 1, pages
assert pages["execute_and_fetch"] == (1 if sys.version_info < (3, 12) else 500), pages
assert pages["executescript"] == 500, pages
PYTHON
