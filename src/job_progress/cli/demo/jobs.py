"""The demo's jobs: ordinary tracked functions, as any program has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path

from job_progress import Progress, current_progress, tracked
from job_progress.cli.demo import index

BATCH = 250
"""Entries written in one transaction: short enough that the other writers hardly wait."""


@tracked(name="demo.scan", id="id", cancellable=True)
def scan(id: str, folder: Path, shards: int) -> list[list[Path]]:
    """Find every file, and deal them out so that each shard has about as much to read."""
    progress = current_progress()
    found = progress.track(index.python_files(folder), message=f"looking through {folder.name}", checkpoint=True)
    files = sorted(((path.stat().st_size, path) for path in found), reverse=True)
    dealt: list[list[Path]] = [[] for _ in range(shards)]
    lightest = [(0, shard) for shard in range(shards)]
    for size, path in files:
        load, shard = heappop(lightest)
        dealt[shard].append(path)
        heappush(lightest, (load + size, shard))
    progress.update(message=f"{sum(size for size, _ in files) / 1e6:.1f} MB of source")
    return dealt


@tracked(name="demo.index", id="id", cancellable=True)
def index_shard(id: str, files: Sequence[Path], folder: Path, database: Path) -> None:
    """Parse a shard's files, then write what they define into the index."""
    parse, write = current_progress().split([5, 1])
    entries: list[index.Entry] = []
    for path in parse.track(files, checkpoint=True):
        parse.update(message=index.module_name(path, folder))
        entries.extend(index.entries_of(path, folder))
    write.total = len(entries)
    write.update(message="writing to the index")
    index.add(database, _batches(write, entries))
    write.update(message=f"{len(entries):,} definitions")


def _batches(progress: Progress, entries: list[index.Entry]) -> Iterator[list[index.Entry]]:
    for start in range(0, len(entries), BATCH):
        progress.exit_if_cancelled()
        batch = entries[start : start + BATCH]
        yield batch
        progress.advance(len(batch))


@tracked(name="demo.merge", id="id", cancellable=True)
def merge(id: str, database: Path) -> None:
    """Make one index of the pieces; SQLite does not say how many steps that takes."""
    progress = current_progress().update(None)
    for _ in progress.track(index.merge(database), message="merging the pieces", checkpoint=True):
        pass
    progress.update(message=f"{index.count(database):,} definitions in one index")
