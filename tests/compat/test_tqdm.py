"""Bars of tqdm that report into a run."""

from __future__ import annotations

import asyncio
import gc
import io
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pooch  # type: ignore[import-untyped]
import pytest
import tqdm as original  # type: ignore[import-untyped]
import tqdm.asyncio  # type: ignore[import-untyped]
import tqdm.auto  # type: ignore[import-untyped]
import tqdm.contrib.concurrent  # type: ignore[import-untyped]
from tqdm.std import tqdm as standard  # type: ignore[import-untyped]

from job_progress import Job, Progress, current_progress, tracked
from job_progress.compat.tqdm import capture_tqdm, trange
from job_progress.compat.tqdm import tqdm as bar_of
from job_progress.testing import run_job
from tests.compat.conftest import is_seen, on_terminal, seen
from tests.waiting import eventually


def test_a_loop_is_counted(progress: Progress) -> None:
    """The items are the job's, each once its turn is over, and the description is the message."""
    found = []
    for item in bar_of(["a", "b", "c", "d"], desc="reading"):
        found.append((item, *seen(progress)))
    assert found == [("a", 0, 4, 0.0), ("b", 1, 4, 0.25), ("c", 2, 4, 0.5), ("d", 3, 4, 0.75)]
    assert seen(progress) == (4, 4, 1.0)
    assert progress.state.message == "reading"


def test_a_log_has_nothing_of_it(progress: Progress, capfd: pytest.CaptureFixture[str]) -> None:
    """Where standard output and error are no terminal nothing is drawn, whoever asks for which."""
    for file in (None, sys.stderr, sys.stdout):
        for _ in bar_of(range(3), file=file):
            pass
    with bar_of(total=3) as bar:
        bar.update(3)
    assert capfd.readouterr() == ("", "")
    assert seen(progress) == (3, 3, 1.0)


def test_a_file_of_ones_own_is_drawn_into(progress: Progress) -> None:
    """What is drawn where somebody wants it is left alone, and counts all the same."""
    file = io.StringIO()
    for number in bar_of(range(3), file=file, mininterval=0, desc="x"):
        assert seen(progress)[0] == number
    assert "x: 100%" in file.getvalue()
    assert file.getvalue().endswith("\n")


TERMINAL = """
from job_progress import Job, configure
from job_progress.compat.tqdm import capture_tqdm, tqdm
from tqdm import tqdm as original

configure(store="memory://")
job = Job("compat")
with job.start("1"):
    for _ in tqdm(range(3), desc="our"):
        pass
    for _ in tqdm(range(3), desc="none", disable=True):
        pass
    for _ in tqdm(range(3), desc="perhaps", disable=None):
        pass
    with capture_tqdm():
        for _ in original(range(3), desc="their"):
            pass
        tqdm.write("a word")
assert job.get("1").completed == 3
"""


def test_a_terminal_shows_it(tmp_path: Path) -> None:
    """There a person sees what tqdm draws, whether it was captured or not."""
    text = on_terminal(TERMINAL, tmp_path)
    for word in ("our: 100%", "3/3", "perhaps: 100%", "their: 100%", "a word"):
        assert word in text
    assert "none" not in text


def test_outside_of_a_run_it_is_tqdm(capfd: pytest.CaptureFixture[str]) -> None:
    """It draws where tqdm would draw, and with `disable=None` no more than tqdm would."""
    for _ in bar_of(range(3), desc="alone"):
        pass
    with capture_tqdm():
        for _ in original.tqdm(range(3), desc="captured"):
            pass
    assert list(bar_of(range(3), desc="silent", disable=None)) == [0, 1, 2]
    drawn = capfd.readouterr().err
    assert "alone: 100%" in drawn
    assert "captured: 100%" in drawn
    assert "silent" not in drawn


@pytest.mark.parametrize("file", [None, io.StringIO()])
def test_the_store_learns_of_it_after_a_quiet_time(file: Any, job: Job) -> None:
    """An item that was long in coming is seen at once, as the first one was, whether it is drawn or not."""
    with job.start("2"):
        run = current_progress().share()[0]
        for expected in trange(3, file=file, mininterval=1000):
            is_seen(job, "2", expected)
            eventually(lambda: run.quiet)
        with bar_of(total=3, file=file, mininterval=1000) as bar:
            for expected in (1, 2, 3):
                bar.update()
                is_seen(job, "2", expected)
                eventually(lambda: run.quiet)


@pytest.mark.parametrize("closed", [True, False])
def test_a_process_without_standard_streams(closed: bool, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    """As services may be: there is nowhere to draw, and all is counted."""
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream if closed else None)
    for number in trange(3):
        assert seen(progress) == (number, 3, round(number / 3, 6))


def test_whoever_tests_a_job_sees_each_item() -> None:
    """`run_job` leaves nothing out."""

    @tracked(name="compat.tested")
    def work() -> None:
        for _ in bar_of("abcd", desc="letters"):
            pass

    assert [state.completed for state in run_job(work).states if state.total] == [0, 0, 1, 2, 3, 4, 4]


def test_all_else_that_a_bar_can_do_is_left_to_it(progress: Progress, capfd: pytest.CaptureFixture[str]) -> None:
    """Also where nobody looks; what is written goes out."""
    with bar_of(total=4, desc="x", position=0, ncols=80) as bar:
        bar.update(2)
        bar.clear()
        bar.unpause()
        bar.display()
        bar.set_postfix_str("y")
        assert "x:  50%" in str(bar)
        assert (bar.format_dict["n"], len(bar), bool(bar)) == (2, 4, True)
        bar_of.write("a word")
    with bar_of.wrapattr(io.BytesIO(b"abcd"), "read", total=4) as file:
        file.read(3)
        assert seen(progress) == (3, 4, 0.75)
    assert capfd.readouterr() == ("a word\n", "")


class TestNesting:
    def test_an_inner_bar_fills_the_item_of_the_outer(self, progress: Progress) -> None:
        """The outer one is counted; the inner one moves the progress from item to item."""
        found = []
        for _ in bar_of(range(2), desc="files"):
            for _ in bar_of(range(4), desc="lines", leave=False):
                found.append(seen(progress))
                assert progress.state.message == "lines"
            assert progress.state.message == "files"
        assert [fraction for _, _, fraction in found] == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
        assert {(completed, total) for completed, total, _ in found} == {(0, 2), (1, 2)}
        assert seen(progress) == (2, 2, 1.0)

    def test_three_deep(self, progress: Progress) -> None:
        """Each fills its share of the one around it."""
        found = []
        for _ in trange(2):
            for _ in trange(2):
                for _ in trange(2):
                    found.append(seen(progress)[2])
        assert found == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]

    def test_the_progress_does_not_fall_between_items(self, progress: Progress) -> None:
        """What an inner bar has filled stays until the outer one counts the item."""
        with bar_of(total=2) as outer:
            for _ in trange(4):
                pass
            assert seen(progress) == (0, 2, 0.5)
            outer.update()
            assert seen(progress) == (1, 2, 0.5)

    def test_the_second_of_two_in_one_item_begins_anew(self, progress: Progress) -> None:
        """As bars do that come one after another."""
        for _ in trange(2):
            for _ in trange(2):
                pass
            assert seen(progress)[2] in (0.5, 1.0)
            inner = bar_of(total=4)
            assert seen(progress)[2] in (0.0, 0.5)
            inner.update(4)
            inner.close()
        assert seen(progress) == (2, 2, 1.0)

    def test_one_after_another(self, progress: Progress) -> None:
        """Each goes from 0 to 1, with its own items and message."""
        for description, many in (("download", 2), ("unpack", 4)):
            bar = bar_of(total=many, desc=description)
            assert seen(progress) == (0, many, 0.0)
            assert progress.state.message == description
            bar.update(many)
            bar.close()
            assert seen(progress) == (many, many, 1.0)

    def test_parts_give_those_that_come_one_after_another_a_share_each(self, progress: Progress) -> None:
        """As weights say; the items and the message are those of the bar, too."""
        load, convert = progress.split([1, 3])
        with capture_tqdm(load):
            for _ in bar_of(range(2)):
                assert seen(progress)[2] in (0.0, 0.125)
        assert seen(progress)[2] == 0.25
        with capture_tqdm(convert):
            for _ in original.tqdm(range(3)):
                assert seen(progress)[2] in (0.25, 0.5, 0.75)
        assert seen(progress) == (3, 3, 1.0)
        assert current_progress() is progress

    def test_an_inner_bar_of_a_part_does_not_leave_it(self, progress: Progress) -> None:
        """A part within an item of a bar is not the bar's business."""
        for _ in trange(4):
            with capture_tqdm(progress.part(0.5, 0.5)):
                bar = bar_of(total=2)
                bar.update()
                assert seen(progress) == (1, 2, 0.75)
                bar.close()

    def test_those_that_are_left_by_an_exception_are_closed(self, progress: Progress) -> None:
        """What comes after them is not inside of them."""
        with pytest.raises(ZeroDivisionError):
            for _ in trange(10):
                for _ in trange(10):
                    raise ZeroDivisionError
        for _ in trange(10):
            break
        for number in trange(4):
            assert seen(progress) == (number, 4, number / 4)

    def test_one_that_nobody_closed_ends_with_its_last_reference(self, progress: Progress) -> None:
        """A bar is not kept alive to be reported."""
        bar = bar_of(total=10)
        bar.update(3)
        bar = bar_of(total=4)  # the first one is around it until this assignment
        gc.collect()
        bar.update(1)
        assert seen(progress) == (1, 4, 0.25)

    def test_an_outer_one_that_is_closed_first_leaves_the_inner_ones_to_themselves(self, progress: Progress) -> None:
        """They go on: the oldest becomes the one that is counted."""
        outer, middle, inner = bar_of(total=2), bar_of(total=4), bar_of(total=2)
        inner.update()
        outer.close()
        assert seen(progress) == (0, 4, 0.125)
        middle.close()
        inner.update()
        assert seen(progress) == (2, 2, 1.0)

    def test_of_several_inside_the_oldest_takes_the_place_of_the_outer(self, progress: Progress) -> None:
        """When that is closed first, the others are inside of it."""
        outer = bar_of(total=2)
        contexts = [copy_context() for _ in range(3)]
        first, second, _third = inner = [context.run(bar_of, total=4) for context in contexts]
        second.update(2)
        outer.close()
        first.update()
        assert seen(progress) == (1, 4, 0.375)
        for bar in inner:
            bar.close()

    def test_one_that_is_closed_elsewhere_is_closed(self, progress: Progress) -> None:
        """Whatever the context that it was opened in still has of it."""
        outer, inner = bar_of(total=2), bar_of(total=2)
        copy_context().run(inner.close)
        with bar_of(total=4) as bar:
            bar.update()
            assert seen(progress) == (0, 2, 0.125)
        copy_context().run(outer.close)
        with bar_of(total=4) as bar:
            assert seen(progress) == (0, 4, 0.0)

    def test_a_job_within_has_its_own(self, job: Job, progress: Progress) -> None:
        """Bars in a run that a run has begun are that one's."""
        for _ in trange(2):
            with job.start("inner") as inner:
                for number in trange(4):
                    assert seen(inner) == (number, 4, number / 4)
        assert seen(progress) == (2, 2, 1.0)


class TestThreads:
    def test_a_pool_is_one_bar_and_those_of_its_threads_are_parts(self, progress: Progress) -> None:
        """Each item that is at work fills its share, however many are, and what is done stays done."""
        at_half, go_on = threading.Barrier(3), threading.Event()

        def work(context: Any, number: int) -> int:
            def inside() -> None:
                with bar_of(total=2, desc="one") as bar:
                    bar.update()
                    if number < 2:
                        at_half.wait(30)
                        go_on.wait(30)
                    bar.update()

            context.run(inside)
            return number

        # thread_map hands the work to its threads before it opens its bar.
        opened = threading.Event()
        context = [copy_context() for _ in range(4)]
        started = partial(lambda context, number: (opened.wait(30), work(context, number))[1])

        class Opened(bar_of[Any]):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                opened.set()

        with ThreadPoolExecutor(1) as watcher:

            def watch() -> tuple[Any, ...]:
                at_half.wait(30)
                found = seen(progress)
                go_on.set()
                return found

            halfway = watcher.submit(watch)
            result = tqdm.contrib.concurrent.thread_map(
                started, context, range(4), tqdm_class=Opened, max_workers=2, desc="all"
            )
        assert result == [0, 1, 2, 3]
        assert halfway.result() == (0, 4, 0.25)
        assert seen(progress) == (4, 4, 1.0)

    def test_updates_from_threads_count(self, progress: Progress) -> None:
        """A bar that was opened in the job's own thread may be moved from any other."""
        with bar_of(total=100) as bar, ThreadPoolExecutor(4) as pool:
            lock = threading.Lock()

            def one(_: int) -> None:
                with lock:
                    bar.update()

            list(pool.map(one, range(50)))
            assert seen(progress) == (50, 100, 0.5)

    def test_a_thread_without_the_context_is_none_of_the_job(self, progress: Progress) -> None:
        """As with `current_progress`, whose rule it is; there the bar is tqdm's."""
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: list(bar_of(range(3), file=io.StringIO()))).result()
        assert seen(progress) == (None, None, 0.0)


class TestCounting:
    def test_by_hand(self, progress: Progress) -> None:
        """What `update` says counts, backwards too; so does what is set and refreshed."""
        bar = bar_of(total=10, initial=2, desc="by hand")
        assert seen(progress) == (2, 10, 0.2)
        bar.update(4)
        assert seen(progress) == (6, 10, 0.6)
        bar.update(-1)
        assert (bar.n, *seen(progress)) == (5, 5, 10, 0.5)
        bar.n = 8
        bar.total = 16
        bar.refresh()
        assert seen(progress) == (8, 16, 0.5)
        bar.reset(total=4)
        assert seen(progress) == (0, 4, 0.0)
        bar.update()
        bar.close()
        bar.update()
        assert seen(progress) == (1, 4, 0.25)

    @pytest.mark.parametrize("silent", [True, False])
    def test_a_loop_can_read_the_bar(self, silent: bool, progress: Progress) -> None:
        """Its description may change on the way, and its own number is right at the end."""
        bar = bar_of("abcd", file=None if silent else io.StringIO(), mininterval=1000)
        for number, letter in enumerate(bar):
            bar.set_description(letter)
            bar.set_postfix(number=number)
            assert seen(progress) == (number, 4, number / 4)
            assert progress.state.message == letter
        assert bar.n == 4
        assert seen(progress) == (4, 4, 1.0)

    def test_a_description_counts_without_being_drawn(self, progress: Progress) -> None:
        """However it is set; an empty one leaves the message as it was."""
        bar = bar_of(total=1)
        bar.set_description("one", refresh=False)
        assert progress.state.message == "one"
        bar.set_description_str("two: ", refresh=False)
        assert progress.state.message == "two"
        bar.desc = "three"
        bar.refresh()
        assert progress.state.message == "three"
        bar.set_description()
        assert progress.state.message == "three"
        bar.close()

    def test_of_an_unknown_total_only_the_items_are_known(self, progress: Progress) -> None:
        """So that the progress is, too; until somebody tells."""
        bar = bar_of(iter("abc"))
        assert seen(progress) == (0, None, None)
        for number, _ in enumerate(bar):
            assert seen(progress) == (number, None, None)
        assert seen(progress) == (3, None, None)
        with bar_of(total=0) as bar:
            assert seen(progress) == (0, None, None)
            bar.total = 8
            bar.update(2)
            assert seen(progress) == (2, 8, 0.25)
        with bar_of(total=float("inf")) as bar:
            bar.update(2)
            assert seen(progress) == (2, None, None)

    def test_nothing_to_do_is_done(self, progress: Progress) -> None:
        """Of no items all are done, and a bar around goes on."""
        for _ in bar_of([]):
            pass
        assert seen(progress) == (0, None, 1.0)

    def test_an_inner_one_of_unknown_length_fills_nothing(self, progress: Progress) -> None:
        """And an outer one of unknown length leaves the progress unknown."""
        for _ in trange(2):
            for _ in bar_of(iter("ab")):
                assert seen(progress)[2] in (0.0, 0.5)
        for _ in bar_of(iter("ab")):
            for _ in trange(2):
                assert seen(progress)[2] is None

    def test_fractions_and_more_than_all(self, progress: Progress) -> None:
        """The progress is exact, and no more than 1; items are whole."""
        bar = bar_of(total=2.5)
        bar.update(0.5)
        assert seen(progress) == (0, 2, 0.2)
        bar.update(99)
        assert seen(progress) == (100, 2, 1.0)
        bar.close()

    @pytest.mark.parametrize("odd", [float("nan"), 10**400, "7x", -5, object()])
    def test_odd_numbers_do_not_break_the_job(self, odd: Any, progress: Progress) -> None:
        """Nor whatever reads them: what is no number is not known."""
        bar = bar_of(total=4)
        bar.n = odd
        bar._report()
        progress.flush()
        assert seen(progress)[2] in (None, 0.0, 1.0)
        bar.n = 1
        bar.total = odd
        bar._report()
        progress.flush()
        assert seen(progress)[2] in (None, 0.0)
        bar.n, bar.total = 4, 4
        bar.close()

    def test_a_disabled_one_does_not_report(self, progress: Progress) -> None:
        """Whoever disables a bar has nobody see it; whether it is around others, or inside."""
        for _ in bar_of(range(3), disable=True):
            for number in trange(2):
                assert seen(progress) == (number, 2, number / 2)
                assert list(bar_of("ab", disable=True)) == ["a", "b"]
        with bar_of(total=3, disable=True) as bar:
            bar.update(3)
            bar.set_description("nothing")
        assert progress.state.message is None

    def test_one_that_is_disabled_only_in_logs_reports(
        self, progress: Progress, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """`disable=None` is about terminals, and not about jobs."""
        for number in bar_of(range(3), disable=None):
            assert seen(progress) == (number, 3, round(number / 3, 6))
        assert capfd.readouterr().err == ""

    def test_a_bar_is_iterated_twice(self, progress: Progress) -> None:
        """The second time it is closed, as with tqdm, and all items come."""
        bar = bar_of("abc")
        assert [list(bar), list(bar)] == [["a", "b", "c"], ["a", "b", "c"]]
        assert seen(progress) == (3, 3, 1.0)

    def test_the_last_word_counts(self, progress: Progress) -> None:
        """A report of the job's own stands until the next item."""
        for number in trange(4):
            progress.update(0.9, message="almost")
            assert progress.state.progress == 0.9
            if number:
                break
        assert seen(progress)[2] == 0.25

    def test_a_cancelled_job_stops_in_a_loop(self, job: Job) -> None:
        """A checkpoint inside of a bar leaves it closed."""
        with job.start("2") as progress:
            for _ in trange(4):
                progress.cancel_and_exit()
        assert progress.state.is_cancelled
        with job.start("3") as progress, bar_of(total=2):
            assert seen(progress) == (0, 2, 0.0)


class TestAsync:
    async def test_async_for(self, job: Job) -> None:
        """Async and plain iterables are counted, in an async loop and in tasks."""

        async def letters() -> AsyncIterator[str]:
            for letter in "abcd":
                await asyncio.sleep(0)
                yield letter

        with job.start("2") as progress:
            found = [(letter, *seen(progress)) async for letter in bar_of(letters(), total=4)]
            assert found == [("a", 1, 4, 0.25), ("b", 2, 4, 0.5), ("c", 3, 4, 0.75), ("d", 4, 4, 1.0)]
            assert [item async for item in bar_of([1, 2])] == [1, 2]
            assert seen(progress) == (2, 2, 1.0)

    async def test_gather(self, job: Job) -> None:
        """What is gathered is one bar, and what its tasks show are its parts."""

        async def work(number: int) -> int:
            for _ in trange(2):
                await asyncio.sleep(0)
            return number

        with job.start("2") as progress:
            assert await bar_of.gather(*map(work, range(5))) == [0, 1, 2, 3, 4]
            assert seen(progress) == (5, 5, 1.0)
            for future in bar_of.as_completed([work(1), work(2)]):
                await future
            assert seen(progress) == (2, 2, 1.0)


class Own(standard):  # type: ignore[misc]
    """A library's own class of bars, with a constructor of its own."""

    def __init__(self, many: int) -> None:
        super().__init__(total=many)
        self.closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


class TestCapturing:
    @pytest.mark.parametrize(
        "make", [original.tqdm, tqdm.auto.tqdm, tqdm.asyncio.tqdm, standard, lambda many: original.trange(len(many))]
    )
    def test_all_classes_report(self, make: Any, progress: Progress, capfd: pytest.CaptureFixture[str]) -> None:
        """They are of the class that was asked for, and before and after they are as ever."""
        before = standard.__dict__["__new__"]
        with capture_tqdm():
            bar = make("abcd")
            assert isinstance(bar, original.tqdm)
            for number, _ in enumerate(bar):
                assert seen(progress) == (number, 4, number / 4)
            assert capfd.readouterr().err == ""
        assert standard.__dict__["__new__"] is before
        progress.update(0.5)
        for _ in make("ab"):
            assert progress.state.progress == 0.5
        assert "100%" in capfd.readouterr().err

    def test_classes_of_libraries_report(self, progress: Progress) -> None:
        """What they have added is as they want it."""
        with capture_tqdm():
            bar = Own(4)
            bar.update()
            assert seen(progress) == (1, 4, 0.25)
            bar.close()
        assert bar.closed
        assert isinstance(bar, Own)

    def test_a_class_that_counts_by_itself(self, progress: Progress) -> None:
        """A library's own way to iterate, or to update, is gone by."""
        updates = []

        class Doubling(standard):  # type: ignore[misc]
            def update(self, n: Any = 1) -> Any:
                updates.append(n)
                return super().update(2 * n)

        with capture_tqdm():
            bar = Doubling(total=4)
            bar.update()
            bar.close()
        assert updates == [1]
        assert seen(progress) == (2, 4, 0.5)

    def test_captures_nest(self, progress: Progress) -> None:
        """And may be left in any order."""
        before = standard.__dict__["__new__"]
        first, second = capture_tqdm(), capture_tqdm()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert standard.__dict__["__new__"] is before

    def test_other_threads_are_left_alone(self, progress: Progress) -> None:
        """Those without the context make bars as ever."""
        with capture_tqdm(), ThreadPoolExecutor(1) as pool:
            made = pool.submit(original.tqdm, "ab", file=io.StringIO()).result()
        assert type(made) is standard
        made.close()

    def test_our_own_class_is_no_other(self, progress: Progress) -> None:
        """What reports already is not made to do so twice."""
        with capture_tqdm():
            bar = bar_of("abc")
        assert type(bar) is bar_of
        bar.close()


@pytest.fixture
def download(tmp_path: Path) -> Iterator[str]:
    """The address of a large file."""
    (tmp_path / "hoses.bin").write_bytes(bytes(10_000_000))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hoses.bin"
        server.shutdown()
        thread.join()


def test_a_library_that_uses_tqdm(download: str, tmp_path: Path, job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    """pooch imported its class long before, and what it downloads is seen byte by byte."""
    fractions: list[float] = []
    with job.start("2") as progress:
        listening = threading.Event()

        def listen() -> None:
            for state in job.watch("2"):
                fractions.append(state.progress or 0.0)
                listening.set()

        watcher = threading.Thread(target=listen)
        watcher.start()
        listening.wait(30)
        with capture_tqdm():
            pooch.retrieve(download, None, fname="hoses.bin", path=tmp_path / "kept", progressbar=True)
        assert seen(progress) == (10_000_000, 10_000_000, 1.0)
    watcher.join(30)
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert "%" not in capfd.readouterr().err


def test_without_tqdm_it_says_what_to_install() -> None:
    """The extra is named where tqdm is missing."""
    program = "import sys; sys.modules['tqdm'] = None; import job_progress.compat.tqdm"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'job-progress[tqdm]'" in ran.stderr
