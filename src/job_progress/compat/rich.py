"""`rich.progress.track`, whose bar reports into the running job.

    from job_progress.compat.rich import track

in place of `from rich.progress import track`. Total, count and description are the job's, and a bar inside of
another fills the share of the item that the other is at. A terminal shows it as ever, and a log has nothing of it.
With `disable=True` nothing is reported, and outside of a job all is as with rich.

rich's `Progress` is left as it is: of its many tasks at a time none is the job's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any, TypeVar

try:
    import rich
    import rich.progress
    from rich.console import Console
    from rich.text import Text
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[cli]'", name=error.name) from None

from job_progress.compat.bars import Bar, is_log, is_seen
from job_progress.current import current_progress

T = TypeVar("T")


def track(
    sequence: Iterable[T], description: str = "Working...", total: float | None = None, **options: Any
) -> Iterator[T]:
    """Iterate over *sequence*, show a bar, and report into the running job.

    Args:
        sequence: What to go through.
        description: What the job is doing.
        total: How many items there are; by default as many as *sequence* says.
        options: All else that `rich.progress.track` takes.
    """
    progress = current_progress()
    if not is_seen(progress) or options.get("disable"):
        yield from rich.progress.track(sequence, description, total, **options)
        return
    done = options.get("completed", 0)
    whole = (length_hint(sequence) or None) if total is None else total
    items = (
        sequence if _is_log(options.get("console")) else rich.progress.track(sequence, description, total, **options)
    )
    bar = Bar(progress, done, whole, Text.from_markup(description).plain)
    run, outermost = bar.run, bar.outermost
    try:
        for item in items:
            yield item
            done += 1
            bar.done = done
            if run.followed is not outermost:
                outermost = bar.report()
    finally:
        bar.close()


def _is_log(console: Console | None) -> bool:
    console = console or rich.get_console()
    return not console.is_terminal and not console.is_jupyter and is_log(console.file)
