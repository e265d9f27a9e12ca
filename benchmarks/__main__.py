"""Runs all benchmarks, prints the table, and writes `benchmarks/RESULTS.md`. Takes about eight minutes."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    growth,
    hot_path,
    imports,
    latency,
    peers,
    queues,
    round_trips,
    tick,
    valkey,
    web_latency,
    web_watchers,
)
from benchmarks.measure import Row

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADINGS = ("measure", "ours", "peer", "ratio", "goal", "met")
BENCHMARKS = (hot_path, peers, queues, imports, round_trips, tick, valkey, latency, growth, web_latency, web_watchers)


def main() -> None:
    """Measure, print, write. A goal that is missed is a line in the table, not an error."""
    machine = _machine()
    rows: list[Row] = []
    for benchmark in BENCHMARKS:
        print(f"{benchmark.__name__} ...", file=sys.stderr, flush=True)
        rows += benchmark.measure()
    cells = [_cells(row) for row in rows]
    print(_plain(cells))
    RESULTS.write_text(_markdown(cells, machine), encoding="utf-8")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.measure,
        _figure(row.ours, row.unit),
        "–" if row.peer is None else f"{_figure(row.peer, row.unit)} ({row.peer_name})",
        "–" if row.ratio is None else _ratio(row.ratio),
        _goal(row),
        "–" if row.met is None else "yes" if row.met else "no",
    )


def _goal(row: Row) -> str:
    if row.limit is not None:
        return f"≤ {row.limit:g} {row.unit}"
    if row.goal is None:
        return "–"
    return f"{row.goal:g}" if row.ratio is None else f"≤ {row.goal:g}"


def _figure(value: float, unit: str) -> str:
    return f"{value:g} {unit}" if value == int(value) else f"{value:.{1 if value >= 10 else 2}f} {unit}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.2g}"


def _plain(rows: Sequence[Sequence[str]]) -> str:
    table = [HEADINGS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def _markdown(rows: Sequence[Sequence[str]], machine: Sequence[str]) -> str:
    table = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    return "\n".join(
        [
            "# Benchmark results",
            "",
            "Written by `python -m benchmarks`; how each figure is taken stands in the modules of this folder.",
            "A ratio is ours ÷ the peer's, so less is better, and goals are upper limits.",
            "",
            *(f"| {' | '.join(row)} |" for row in table),
            "",
            *(f"- {line}" for line in machine),
            "",
        ]
    )


def _machine() -> list[str]:
    info = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (info.read_text(encoding="utf-8") if info.exists() else "").splitlines()
        if line.startswith("model name")
    ]
    lines = [
        f"CPU: {models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        f"Python: {platform.python_implementation()} {platform.python_version()}",
        f"System: {platform.system()} {platform.release()}",
        f"Date: {datetime.now(UTC).date()}",
    ]
    if hasattr(os, "getloadavg"):
        lines.append(f"Load of the machine when the run began: {os.getloadavg()[0]:.2f}")
    return lines


if __name__ == "__main__":
    main()
