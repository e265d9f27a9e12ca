"""The demo, to its end and through whatever may happen on the way."""

from __future__ import annotations

import os
import re
import signal
import sysconfig
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from job_progress import JobNotCancellable, JobState, Tracker
from job_progress.cli.demo import index
from tests.cli.command import Command, Started
from tests.waiting import eventually

LARGE = Path(sysconfig.get_path("stdlib"))
SMALL = str(LARGE / "json")
SLOW = str(LARGE / "test")
"""Long enough at work to be interrupted in the middle of it."""


def states(tracker: Tracker) -> list[JobState]:
    """Those of the demo, the scan first."""
    return tracker.list()[::-1]


def processing(tracker: Tracker) -> list[JobState]:
    """The shards that are being worked on, once there are two that have got somewhere."""

    def found() -> list[JobState]:
        busy = [one for one in tracker.list("demo.index", "processing") if one.completed]
        return busy if len(busy) >= 2 else []

    return eventually(found, 30)


def cancel_all(tracker: Tracker) -> None:
    """What has not ended yet."""
    for state in states(tracker):
        with suppress(JobNotCancellable):
            state.cancel()


def all_gone(demo: Started) -> None:
    """Neither a process nor a file of the demo is left."""
    eventually(demo.is_gone, 20)
    folders = Path(demo.environment["TMPDIR"])
    eventually(lambda: not list(folders.glob("job-progress-demo-*")), 20)


def address_in(demo: Started) -> str:
    """What it says to open in a browser."""
    [address] = re.findall(r"^or in a browser: (\S+)$", demo.prints("demo.scan"), re.MULTILINE)
    return str(address)


@pytest.fixture
def temporary(tmp_path: Path) -> str:
    """Where the demo makes its files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return str(folder)


@pytest.mark.parametrize("columns", [None, 80])
def test_it_runs_to_its_end_and_answers_a_search(
    command: Command, tracker: Tracker, temporary: str, columns: int | None
) -> None:
    """Plain lines or live bars, a search in the index at the end, nothing left behind, and 0."""
    demo = command.start("demo", SMALL, "--search", "decode document", columns=columns, TMPDIR=temporary)
    assert demo.ends() == 0
    assert "decoder.JSONDecoder.decode(self, s, _w=WHITESPACE.match), line" in demo.text
    assert "Return the Python representation of" in demo.text
    assert ("\x1b" in demo.text) == (columns is not None)
    assert all(state.is_completed for state in states(tracker))
    assert [states(tracker)[at].job for at in (0, 1, -1)] == ["demo.scan", "demo.index", "demo.merge"]
    all_gone(demo)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("heap push", ["heappush"]),
        ("heappush", ["heappush", "caller"]),
        ('"heap', ["heappush"]),
        ("heap AND (", []),
        ("no such thing", []),
        ("", []),
    ],
)
def test_any_words_can_be_searched_for(tmp_path: Path, words: str, names: list[str]) -> None:
    """They are words, and not a query language; names count more than code, and users are counted."""
    source, database = tmp_path / "stack.py", tmp_path / "index.db"
    source.write_text('def heappush(heap):\n    "Push on a heap."\n\ndef caller():\n    heappush([])\n')
    index.create(database)
    index.add(database, iter([list(index.entries_of(source, tmp_path))]))
    hits = index.search(database, words)
    assert [hit.name for hit in hits] == names
    assert all(hit.users == (hit.name == "heappush") for hit in hits)


def test_files_that_are_no_python_are_passed_over(tmp_path: Path) -> None:
    """The standard library's tests hold some, in every way to be broken."""
    for name, content in {"syntax.py": b"def (", "nul.py": b"\0", "encoding.py": b"# coding: x\n\xff"}.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert list(index.entries_of(path, tmp_path)) == []


def test_the_commands_it_prints_work(command: Command) -> None:
    """What it tells to type in another terminal can be typed there."""
    demo = command.start("demo", SLOW)
    demo.prints("cancel demo.index")
    line = re.search(r"^  (.* cancel demo\.index \S+)", demo.text, re.MULTILINE)
    assert line
    assert os.system(f"cd / && env -u JOB_PROGRESS_STORE {line[1]} >/dev/null") == 0
    demo.signal(signal.SIGTERM)
    demo.ends()


def test_a_job_cancelled_from_outside_leaves_the_others_alone(
    command: Command, tracker: Tracker, temporary: str
) -> None:
    """The rest goes on, is searched, and the exit code is 1."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    eventually(lambda: tracker.list("demo.merge"))  # it is the last to be locked
    waiting = tracker.list("demo.index", "pending")[:4]
    assert command("cancel", "demo.index", *(state.id for state in waiting)).returncode == 0
    assert demo.ends() == 1
    assert ": the index is not complete." in demo.text
    assert {str(state.status) for state in states(tracker)} == {"completed", "cancelled"}
    assert states(tracker)[-1].is_completed
    assert "Searching them" in demo.text
    all_gone(demo)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_all_jobs(command: Command, tracker: Tracker, temporary: str, number: int) -> None:
    """Running jobs acknowledge, pending ones never start, no process is left, and the exit code is 130."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    processing(tracker)
    os.kill(demo.process.pid, number)
    assert demo.ends(20) == 130
    assert {str(state.status) for state in states(tracker)} == {"completed", "cancelled"}
    assert states(tracker)[-1].is_cancelled
    assert "Interrupted: " in demo.text
    all_gone(demo)


def test_a_terminal_that_is_closed_cancels_all_jobs(command: Command, tracker: Tracker, temporary: str) -> None:
    """Nobody sees how it ends; nothing is left of it all the same."""
    demo = command.start("demo", SLOW, columns=100, TMPDIR=temporary)
    processing(tracker)
    demo.close_terminal()
    demo.signal(signal.SIGHUP)
    assert demo.process.wait(30) == 130
    assert {str(state.status) for state in states(tracker)} == {"completed", "cancelled"}
    assert states(tracker)[-1].is_cancelled
    all_gone(demo)


def test_a_closed_terminal_that_nobody_tells_of_is_no_error(command: Command, tracker: Tracker, temporary: str) -> None:
    """The signal comes later than the first word to the terminal fails, or never: until then, the demo goes on."""
    demo = command.start("demo", SMALL, columns=100, TMPDIR=temporary)
    demo.prints("another terminal")
    demo.close_terminal()
    assert demo.process.wait(60) == 0
    assert all(state.is_completed for state in states(tracker))
    all_gone(demo)


def test_ctrl_c_in_its_first_moment(command: Command, tracker: Tracker, temporary: str) -> None:
    """Workers that are still starting die quietly, too."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    demo.prints("another terminal")
    demo.signal(signal.SIGINT)
    assert demo.ends(20) == 130
    assert "Traceback" not in demo.text
    all_gone(demo)


def test_a_second_ctrl_c_kills(command: Command, tracker: Tracker, temporary: str) -> None:
    """For a job that would not stop: here, one whose process is stopped."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    processing(tracker)
    for worker in demo.workers():
        os.kill(worker, signal.SIGSTOP)
    demo.signal(signal.SIGINT)
    demo.prints("Ctrl-C once more kills")
    demo.signal(signal.SIGINT)
    assert demo.ends(30) == 130
    all_gone(demo)


def test_a_killed_worker_is_noticed_at_once(command: Command, tracker: Tracker, temporary: str) -> None:
    """The demo says which job it was at, goes on with the others, and exits with 1."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    busy = processing(tracker)
    os.kill(demo.workers()[0], signal.SIGKILL)
    demo.prints("was killed by SIGKILL while it ran demo.index")
    for state in tracker.list("demo.index", "pending"):
        state.cancel()  # one to go on with is enough
    assert demo.ends() == 1
    assert len(tracker.list("demo.index", "completed")) == 1
    lost = [state for state in states(tracker) if state.is_processing]
    assert len(lost) == 1
    assert lost[0].id in {state.id for state in busy}
    all_gone(demo)


def test_without_any_worker_it_ends(command: Command, tracker: Tracker, temporary: str) -> None:
    """Nothing waits for processes that are gone: what they have not begun is cancelled."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    processing(tracker)
    for worker in demo.workers():
        os.kill(worker, signal.SIGKILL)
    assert demo.ends(20) == 1
    assert not any(state.is_pending for state in states(tracker))
    all_gone(demo)


def test_workers_do_not_outlive_a_killed_demo(command: Command, tracker: Tracker, temporary: str) -> None:
    """They cancel its jobs, stop at the next checkpoint, and remove its files."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    processing(tracker)
    demo.process.kill()
    demo.process.wait()
    all_gone(demo)
    assert all(state.is_finished for state in states(tracker))


def test_its_page_has_a_link_for_each_job(command: Command, tracker: Tracker, temporary: str) -> None:
    """It is for those who have the address; its links show and cancel the jobs; nothing of it outlives Ctrl-C."""
    demo = command.start("demo", SLOW, TMPDIR=temporary)
    address = address_in(demo)
    with httpx.Client(base_url=address.partition("?")[0], follow_redirects=True, timeout=30) as browser:
        assert [browser.get(path).status_code for path in ("/", "/here", "/?key=wrong")] == [404] * 3
        page = browser.get(address)
        assert (page.status_code, page.url.query) == (200, b"")
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        links = re.findall(r'<job-progress src="(jobs/s/[^"]+)" label="[\w ]+">', page.text)
        shown = [browser.get(link).json() for link in links]
        assert {(state["job"], state["id"]) for state in shown} == {(one.job, one.id) for one in states(tracker)}
        assert browser.post(f"{links[-1]}/cancel").status_code == 202
    eventually(lambda: states(tracker)[-1].is_cancelled)
    demo.signal(signal.SIGINT)
    assert demo.ends(20) == 130
    all_gone(demo)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{urlsplit(address).netloc}")


def test_it_waits_until_a_browser_has_seen_the_end(command: Command, tracker: Tracker) -> None:
    """Whoever watches learns how all jobs ended, and then it is gone."""
    demo = command.start("demo", SLOW)
    address = address_in(demo)
    with httpx.Client(base_url=address.partition("?")[0], follow_redirects=True, timeout=30) as browser:
        [viewer] = re.findall(r"here\?viewer=(\d+)", browser.get(address).text)
        cancel_all(tracker)
        eventually(lambda: browser.get(f"/here?viewer={viewer}&left=1").json()["over"], 60)
        assert demo.process.poll() is None
        assert browser.get(f"/here?viewer={viewer}&left=0").json() == {"over": True}
        assert demo.ends(20) == 1


def test_it_waits_for_no_browser_that_has_left(command: Command, tracker: Tracker) -> None:
    """Nor for one that never sees the end: a few seconds, and it is gone."""
    demo = command.start("demo", SLOW)
    assert httpx.get(address_in(demo), follow_redirects=True).status_code == 200
    cancel_all(tracker)
    assert demo.ends(60) == 1


@pytest.mark.parametrize("gone", ["starlette", "uvicorn", "itsdangerous"])
def test_without_what_serves_it_there_is_no_page(command: Command, tmp_path: Path, gone: str) -> None:
    """It says what to install, and runs to its end."""
    tmp_path.joinpath(f"{gone}.py").write_text(f"raise ModuleNotFoundError('gone', name='{gone}')")
    answer = command("demo", SMALL, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 0
    assert "\nor in a browser, after: pip install 'job-progress[web]'\n" in answer.stdout
    assert answer.stderr == ""


def test_the_page_can_be_done_without(command: Command) -> None:
    """No word of it."""
    answer = command("demo", SMALL, "--no-web")
    assert (answer.returncode, "browser" in answer.stdout) == (0, False)
