"""The demo's own program: lock, dispatch, show, cancel, search."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sqlite3
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from errno import EIO
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from time import perf_counter
from types import FrameType
from typing import Any

from job_progress.cli import SERVED_BY, words
from job_progress.cli.bars import Show, display, say
from job_progress.cli.demo import index, jobs
from job_progress.cli.demo.workers import PENDING_TTL, Names, Setup, Worker, Workers, cancel_all
from job_progress.default import configure
from job_progress.job import Job
from job_progress.stores.memory import MemoryStore
from job_progress.stores.sqlite import SQLiteStore
from job_progress.tracker import States, Tracker

PROCESSES = min(max(2, os.cpu_count() or 2), 4)
SHARDS = 3 * PROCESSES
"""More than processes, so that some wait while others are worked on."""
INTERVAL = 0.1
"""Seconds between two frames."""


def run_demo(store: str | None, prefix: str, folder: Path | None, words_to_find: str, *, with_page: bool = True) -> int:
    """Run the demo to its end; see `job-progress demo --help`.

    Args:
        store: The URL of a store that processes share; `None` for the default.
        prefix: Of the states in it.
        folder: Source to index; `None` for the standard library.
        words_to_find: What to search for at the end.
        with_page: Show the jobs in a web page as well, where the extra that serves it is installed.

    Returns:
        0 if all jobs completed, 1 if not, 2 for a store that will not do, 130 after Ctrl-C.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    tracker = configure(store, prefix=prefix, pending_ttl=PENDING_TTL)
    if isinstance(tracker.store, MemoryStore):
        print("error: the demo has several processes, and memory:// is one process's own", file=sys.stderr)
        return 2
    about = "Python's standard library" if folder is None else f"the Python source in {folder}"
    folder = (folder or Path(sysconfig.get_path("stdlib"))).resolve()
    began = perf_counter()
    with TemporaryDirectory(prefix="job-progress-demo-", ignore_cleanup_errors=True) as temporary, _stops() as stops:
        database = Path(temporary) / "index.db"
        try:
            index.create(database)
        except sqlite3.Error as error:
            print(f"error: the demo needs an SQLite with full-text search (FTS5): {error}", file=sys.stderr)
            return 1
        names = _lock_all()
        workers = Workers(PROCESSES, Setup(store, prefix, names, Path(temporary)))  # first, as they take a moment
        say(f"Indexing {folder} with {PROCESSES} processes. Meanwhile, in another terminal:\n")
        for command in ("watch", f"cancel {' '.join(names[2])}"):
            say(f"  {_command(tracker, store, prefix)} {command}")
        say("")
        with _page(names, about, stops) if with_page else nullcontext():
            with workers, display() as show:
                states = _Driver(tracker, names, workers, show, stops).run(folder, database)
            say("")
            completed = all(state.is_completed for state in states)
            if stops:
                say(f"Interrupted: {words.tally(states)}. No process is left.")
                return 130
            if not completed:
                say(f"{words.tally(states)}: the index is not complete.")
            _show_hits(database, words_to_find, perf_counter() - began)
            return 0 if completed else 1


@contextmanager
def _page(names: Names, source: str, stops: Sequence[int]) -> Iterator[None]:
    """A web page with the bars, while inside and until whoever looks has seen the end; or why there is none."""
    about = f"{len(names)} jobs in {PROCESSES} processes make a full-text index of {source}."
    with ExitStack() as stack:
        try:
            from job_progress.cli.demo.page import web_page

            say(f"or in a browser: {stack.enter_context(web_page(names, about, stops))}\n")
        except ModuleNotFoundError as error:
            if error.name not in SERVED_BY:
                raise
            say("or in a browser, after: pip install 'job-progress[web]'\n")
        except OSError as error:
            say(f"There is no page for a browser: {error.strerror or error}.\n")
        yield


def _lock_all() -> Names:
    """A short id that is free, taken for all jobs of this demo, so that they show as pending from the start."""
    while True:
        run = token_hex(2)
        if jobs.scan.job.lock(run) is not None:
            break
    shards = [f"{run}-{shard}" for shard in range(1, SHARDS + 1)]
    for shard in shards:
        jobs.index_shard.job.lock(shard)
    jobs.merge.job.lock(run)
    indexing = [(jobs.index_shard.job.name, shard) for shard in shards]
    return [(jobs.scan.job.name, run), *indexing, (jobs.merge.job.name, run)]


class _Driver:
    """Brings the jobs of a demo to their end, and shows them."""

    def __init__(self, tracker: Tracker, names: Names, workers: Workers, show: Show, stops: Sequence[int]) -> None:
        self._tracker = tracker
        self._names = names
        self._workers = workers
        self._show = show
        self._stops = stops
        self._stopped = 0

    def run(self, folder: Path, database: Path) -> States:
        """Scan, index, merge. Returns how all of it ended."""
        (_, scan), *shards, (_, merge) = self._names
        dealt = self._call((jobs.scan, scan, folder, len(shards)))[0]
        if dealt is not None:
            self._call(
                *((jobs.index_shard, id, files, folder, database) for (_, id), files in zip(shards, dealt, strict=True))
            )
            self._call((jobs.merge, merge, database))
        # What waits by now, waits for workers that have died, or for a scan that did not end well.
        cancel_all([(state.job, state.id) for state in self._look() if state.is_pending])
        return self._look()

    def _call(self, *calls: tuple[Callable[..., Any], *tuple[Any, ...]]) -> list[Any]:
        """Have each function called with its arguments. Returns the results, as they come; `None` for none."""
        self._workers.results.clear()
        for function, *args in calls:
            self._workers.submit(function, *args)
        while self._workers.busy:
            for worker in self._workers.wait(INTERVAL):
                _report_loss(worker)
            self._look()
            self._stop_if_asked()
        return self._workers.results or [None]

    def _look(self) -> States:
        states = [state for state in self._tracker.get_many(self._names) if state is not None]
        self._show(states)
        return states

    def _stop_if_asked(self) -> None:
        """The first Ctrl-C cancels, the second one kills."""
        before, self._stopped = self._stopped, len(self._stops)
        if self._stopped and not before:
            print("Cancelling; Ctrl-C once more kills.", file=sys.stderr)
            cancel_all(self._names)
        if self._stopped > max(before, 1):
            self._workers.kill()


@contextmanager
def _stops() -> Iterator[list[int]]:
    """The signals to stop that have come since; words to a terminal that was closed go nowhere meanwhile."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    with ExitStack() as stack:
        if hasattr(signal, "SIGHUP"):
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
                before[signal.SIGHUP] = signal.signal(signal.SIGHUP, note)
            for stream, redirected in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
                if isinstance(stream, TextIOWrapper) and stream.isatty():
                    terminal = BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
                    patient = TextIOWrapper(terminal, stream.encoding, stream.errors, line_buffering=True)
                    stack.enter_context(redirected(patient))
        try:
            yield seen
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


class _Terminal(FileIO):
    """A terminal that may be closed: its signal comes later than the first error, or never."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != EIO:
                raise
            return len(data)


def _report_loss(worker: Worker) -> None:
    code = worker.process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
    busy = "" if worker.call is None else f" while it ran {Job.of(worker.call.function).name} {worker.call.args[0]}"
    print(f"Worker {worker.process.pid} {how}{busy}.", file=sys.stderr)


def _command(tracker: Tracker, store: str | None, prefix: str) -> str:
    """How to call this very command on this very store, from anywhere."""
    called = Path(sys.argv[0]).absolute()
    if called.suffix == ".py":
        command = [sys.executable, "-m", "job_progress.cli"]
    else:
        command = ["job-progress" if shutil.which("job-progress") == str(called) else str(called)]
    if store is not None:
        url = f"sqlite:///{tracker.store.path.as_posix()}" if isinstance(tracker.store, SQLiteStore) else store
        command += ["--store", url]
    if prefix != "job-progress":
        command += ["--prefix", prefix]
    return shlex.join(command)


def _show_hits(database: Path, words_to_find: str, seconds: float) -> None:
    say(f"{index.count(database):,} modules, classes and functions indexed in {seconds:.1f} s.")
    began = perf_counter()
    hits = index.search(database, words_to_find)
    took = (perf_counter() - began) * 1000
    say(f"Searching them for {words_to_find!r}: {f'the best {len(hits)}' if hits else 'nothing'} in {took:.1f} ms\n")
    for hit in hits:
        name = f"{hit.module}.{hit.name}{hit.signature}" if hit.name else hit.module
        say(f"  {name}, line {hit.line}{f', used in {hit.users:,} functions' if hit.users else ''}")
        if hit.doc:
            say(f"    {words.clean(hit.doc.splitlines()[0])}")
