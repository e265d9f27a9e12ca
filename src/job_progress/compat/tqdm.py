"""tqdm, whose bars report into the running job.

    from job_progress.compat.tqdm import tqdm, trange

in place of `from tqdm import tqdm`; and around libraries that use tqdm themselves

    with capture_tqdm():
        library.download(url)

The bar's total and count are the job's, and its description the message; a bar inside of another fills the
share of the item that the other is at; one after another each goes from 0 to 1. A terminal shows them as ever,
and a log has nothing of them. A bar with `disable=True` does not report, and outside of a job all is as with tqdm.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

try:
    from tqdm import auto, std  # type: ignore[import-untyped]
except ModuleNotFoundError as error:  # pragma: no cover - in tests it is there
    raise ModuleNotFoundError(f"{error}: pip install 'job-progress[tqdm]'", name=error.name) from None

from job_progress.compat.bars import Bar, is_log, is_seen
from job_progress.current import current_progress, within
from job_progress.progress import Progress
from job_progress.reentrant import LateLock
from job_progress.task import held

T = TypeVar("T")

_STD: Any = std.tqdm
if TYPE_CHECKING:  # of its types, one checker of ours has some and the other none
    _Of = Iterable
    _Base: TypeAlias = Any
    _Auto: TypeAlias = Any
else:
    _Of, _Base, _Auto = Generic, object, auto.tqdm


class _Nowhere:
    """Takes what a bar draws where nobody would look at it."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


_NOWHERE = _Nowhere()


class _Reporting(_Of[T], _Base):  # type: ignore[misc]
    """What makes a bar of tqdm report; goes in front of a class of its bars."""

    disable: bool
    fp: Any
    iterable: Iterable[T]
    n: Any
    total: Any

    _bar: Bar | None = None
    _is_seen = False
    _is_silent = False
    """Nobody looks, so that there is nothing to do but to count."""
    _is_behind = False
    """`n` is, as tqdm counts elsewhere while it iterates."""

    def __init__(self, *args: Any, **options: Any) -> None:
        progress = current_progress()
        self._is_seen = is_seen(progress)
        if self._is_seen and options.get("disable", False) is None:  # not to be drawn in a log, and none will be
            del options["disable"]
        super().__init__(*args, **options)
        if self._is_seen and not self.disable:
            self._bar = Bar(progress, self.n, self.total, self._description())
            methods = super().__iter__, super().update
            is_its_own = [getattr(method, "__func__", None) for method in methods] == [
                _STD.__iter__,
                _STD.update,
            ]
            self._is_silent = is_its_own and self.fp is _NOWHERE

    def status_printer(self, file: Any, *args: Any) -> Callable[..., None]:
        if self._is_seen and not args and is_log(file):
            self.fp = file = _NOWHERE
        printer: Callable[..., None] = super().status_printer(file, *args)
        return printer

    def __iter__(self) -> Iterator[T]:
        if self._bar is None or self.disable:
            return self._theirs()
        return self._counted(self._bar) if self._is_silent else self._drawn(self._bar)

    def _theirs(self) -> Iterator[T]:
        theirs: Any = super()
        items: Iterator[T] = theirs.__iter__()
        return items

    def _counted(self, bar: Bar) -> Iterator[T]:
        run, outermost, n = bar.run, bar.report(), self.n
        try:
            for item in self.iterable:
                yield item
                n += 1
                self.n = bar.done = n
                if run.followed is not outermost:
                    outermost = bar.report()
        finally:
            self.close()

    def _drawn(self, bar: Bar) -> Iterator[T]:
        run, outermost, n = bar.run, bar.report(), self.n
        self._is_behind = True
        for item in self._theirs():
            yield item
            n += 1
            bar.done = n
            if run.followed is not outermost:
                outermost = bar.report()

    def update(self, n: float = 1) -> bool | None:
        drawn: bool | None = None
        if self._is_silent and not self.disable:
            self.n += n
        else:
            drawn = super().update(n)
        bar = self._bar
        if bar is not None and not self._is_behind:
            bar.done, bar.whole = self.n, self.total
            if bar.run.followed is not bar.outermost:
                bar.report()
        return drawn

    def refresh(self, *args: Any, **options: Any) -> bool | None:
        drawn: bool | None = super().refresh(*args, **options)
        self._report()
        return drawn

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        super().set_description(desc, refresh)
        self._report()

    def set_description_str(self, desc: str | None = None, refresh: bool = True) -> None:
        super().set_description_str(desc, refresh)
        self._report()

    def close(self) -> None:
        self._is_behind = False
        self._report()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
        super().close()

    def _report(self) -> None:
        bar = self._bar
        if bar is not None:
            bar.whole = self.total
            if not self._is_behind:
                bar.done = self.n
            bar.report()
            bar.describe(self._description())

    def _description(self) -> str:
        return str(getattr(self, "desc", None) or "").removesuffix(": ")


class tqdm(_Reporting[T], _Auto):  # type: ignore[misc]  # noqa: N801 - its name
    """`tqdm.auto.tqdm`, with all that it takes and can do, whose bars report into the running job."""

    @overload
    def __init__(self: tqdm[Any], iterable: None = None, *args: Any, **options: Any) -> None: ...
    @overload
    def __init__(self, iterable: Iterable[T] | AsyncIterable[T], *args: Any, **options: Any) -> None: ...
    def __init__(self, iterable: Any = None, *args: Any, **options: Any) -> None:
        super().__init__(iterable, *args, **options)

    def __aiter__(self) -> AsyncIterator[T]:
        items: AsyncIterator[T] = super().__aiter__()
        return items


def trange(*args: int, **options: Any) -> tqdm[int]:
    """`tqdm(range(*args), **options)`."""
    return tqdm(range(*args), **options)


_captures: ContextVar[bool] = ContextVar("job_progress_captures_tqdm", default=False)


@contextmanager
def capture_tqdm(progress: Progress | None = None) -> Iterator[None]:
    """Inside a `with`, the bars of all code report into the running job, whichever class of tqdm they are of.

    That goes with the context, as `current_progress()` does: other threads, unless they were started with a
    copy of it, are left alone.

    Args:
        progress: Into what; by default `current_progress()`. Parts of it, as from `split`, give bars that
            come one after another a share each.
    """
    with _CAPTURING, held(_captures, True), nullcontext() if progress is None else within(progress):
        yield


class _Capturing:
    """While anybody is inside, the classes of tqdm make bars that report for those who want that."""

    def __init__(self) -> None:
        self._lock = LateLock()
        self._inside = 0
        self._make = _STD.__dict__["__new__"]

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._make = _STD.__dict__["__new__"]
                _STD.__new__ = staticmethod(self._new)

    def __exit__(self, *_: object) -> None:
        self._lock.do(self._leave)

    def _leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            _STD.__new__ = self._make

    def _new(self, bar_class: Any, *args: Any, **options: Any) -> Any:
        if _captures.get() and not issubclass(bar_class, _Reporting):
            bar_class = _reporting(bar_class)
        return self._make.__func__(bar_class, *args, **options)


_CAPTURING = _Capturing()


@cache
def _reporting(bar_class: type) -> type:
    return type(bar_class.__name__, (_Reporting, bar_class), {"__module__": bar_class.__module__})
