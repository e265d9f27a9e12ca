"""What the demo's jobs work on: the definitions in Python source, and a full-text index of them."""

from __future__ import annotations

import ast
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Entry(NamedTuple):
    """A module, class or function, as the index holds it."""

    module: str
    name: str
    signature: str
    line: int
    doc: str
    source: str
    uses: str


class Hit(NamedTuple):
    """A search result; `users` is how many functions and methods mention a name like its own."""

    module: str
    name: str
    signature: str
    line: int
    doc: str
    users: int


def python_files(folder: Path) -> Iterator[Path]:
    """Every `.py` file below *folder*, without what was installed into it."""
    for path in folder.rglob("*.py"):
        if "site-packages" not in path.relative_to(folder).parts and path.is_file():
            yield path


def entries_of(path: Path, folder: Path) -> Iterator[Entry]:
    """The module at *path*, and all that is defined in it; nothing if it is no valid Python.

    Raises:
        OSError: The file cannot be read.
    """
    source = path.read_bytes()
    module = module_name(path, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code that is read, not about ours
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # the tests of the standard library have such files
        return
    yield Entry(module, "", "", 1, ast.get_docstring(tree) or "", "", "")
    yield from _definitions(tree, module, "", source.decode("utf-8", "replace").splitlines())


def module_name(path: Path, folder: Path) -> str:
    """Such as `email.mime.text`."""
    return ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")


def _definitions(node: ast.AST, module: str, outer: str, lines: Sequence[str]) -> Iterator[Entry]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{outer}{child.name}"
            doc = ast.get_docstring(child) or ""
            if isinstance(child, ast.ClassDef):
                yield Entry(module, name, "", child.lineno, doc, "", "")
            else:
                body = "\n".join(lines[child.lineno - 1 : child.end_lineno])
                yield Entry(module, name, f"({ast.unparse(child.args)})", child.lineno, doc, body, _names_in(child))
            yield from _definitions(child, module, f"{name}.", lines)
        elif not isinstance(child, ast.expr):
            yield from _definitions(child, module, outer, lines)


def _names_in(function: ast.AST) -> str:
    nodes = list(ast.walk(function))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return " ".join(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})


def create(database: Path) -> None:
    """Make an empty index.

    Raises:
        sqlite3.Error: This Python's SQLite has no full-text search, or the file cannot be made.
    """
    with closing(_connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE VIRTUAL TABLE entries USING fts5"
            "(module, name, signature, line UNINDEXED, doc, source, uses, tokenize = 'porter unicode61')"
        )


def add(database: Path, batches: Iterator[list[Entry]]) -> None:
    """Write each batch as soon as the other writers let it."""
    with closing(_connect(database)) as connection:
        for batch in batches:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", batch)
            connection.execute("COMMIT")


def merge(database: Path) -> Iterator[None]:
    """Bring the pieces that the writers left into one, a step at a time, so that searches are fast."""
    with closing(_connect(database)) as connection:
        pages = -500  # negative: all levels at once
        while True:
            before = connection.total_changes
            connection.execute("INSERT INTO entries(entries, rank) VALUES ('merge', ?)", (pages,))
            if connection.total_changes - before < 2:  # SQLite's way to say that nothing is left to merge
                return
            pages = 500
            yield


def count(database: Path) -> int:
    """How many entries there are."""
    with closing(_connect(database)) as connection:
        found: int = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
        return found


def search(database: Path, words: str, limit: int = 5) -> list[Hit]:
    """The entries that hold all *words*, best first; a word in a name or docstring counts more than one in code."""
    if not words.split():
        return []
    with closing(_connect(database)) as connection:
        rows = connection.execute(
            "SELECT module, name, signature, line, doc FROM entries WHERE entries MATCH ? "
            "ORDER BY bm25(entries, 2, 8, 1, 0, 4, 0.5, 0) LIMIT ?",
            (_phrases(words), limit),
        ).fetchall()
        return [Hit._make((*row, _users(connection, row[1]))) for row in rows]


def _users(connection: sqlite3.Connection, name: str) -> int:
    query = f"uses : {_phrases(name.rpartition('.')[2])}"
    found = connection.execute("SELECT count(*) FROM entries WHERE entries MATCH ?", (query,)) if name else None
    return found.fetchone()[0] if found else 0


def _phrases(words: str) -> str:
    """Each word as FTS5 takes it literally, whatever characters it has."""
    return " ".join('"{}"'.format(word.replace('"', '""')) for word in words.split())


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")  # it does not outlive the demo
    return connection
