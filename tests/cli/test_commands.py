"""What each command prints and exits with, run as a user runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from job_progress import Job, Tracker
from job_progress.events import Enqueue
from job_progress.task import QueueTask, queue_task
from job_progress.testing import frozen_clock
from tests.cli.command import PROGRAM, Command
from tests.waiting import eventually

NASTY = "\x1b]0;owned\x07\x1b[31mred\x1b[0m [bold]not bold[/bold]\r\n\x9b2J\u202edrow"


def fail(job: Job, id: str, error: str) -> None:
    """A run of *job* that fails."""
    with job.start(id) as progress:
        progress.fail(error)


@pytest.mark.parametrize("name", ["demo", "watch", "list", "show", "cancel", "prune", "doctor"])
def test_help_teaches_each_command(command: Command, name: str) -> None:
    """It explains the command, with an example."""
    answer = command(name, "--help")
    assert answer.returncode == 0
    assert f"Usage: job-progress {name}" in answer.stdout
    assert "Example" in answer.stdout


def test_help_lists_the_exit_codes(command: Command) -> None:
    """Scripts find what they can rely on, with --help or without any argument."""
    for answer in (command("--help"), command()):
        assert answer.returncode == 0
        assert "Exit codes" in answer.stdout
        assert "3: the store does not answer" in answer.stdout


def test_version(command: Command) -> None:
    """--version prints the distribution's."""
    assert command("--version").stdout.startswith("job-progress 0.")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["watch", "--bogus"], 2, "No such option"),
        (["bogus"], 2, "No such command"),
        (["cancel"], 2, "Missing argument"),
        (["list", "--status", "done"], 2, "'pending', 'processing'"),
        (["list", "--limit", "0"], 2, "--limit"),
        (["list", "--limit", "999999"], 2, "--limit"),
        (["prune", "--older-than", "-1"], 2, "--older-than"),
        (["show", "a\tb"], 2, "printable"),
        (["--store", "nonsense", "list"], 2, "sqlite:///progress.db"),
        (["--store", "foo://bar", "list"], 2, "unknown store scheme"),
        (["--prefix", "", "list"], 2, "prefix"),
        (["--store", "memory://", "demo"], 2, "one process's own"),
        (["--store", "sqlite:////proc/no/such.db", "list"], 3, "cannot use the SQLite file"),
        (["--store", "sqlite:////proc/no/such.db", "watch"], 3, "cannot use the SQLite file"),
        (["--store", "sqlite:////proc/no/such.db", "demo"], 3, "cannot use the SQLite file"),
        (["show", "nobody"], 4, "there is no nobody"),
        (["cancel", "shop.import", "nobody"], 4, "there is no shop.import nobody"),
    ],
)
def test_an_error_is_one_line(command: Command, args: list[str], code: int, says: str) -> None:
    """It says what is wrong on the standard error, without a traceback, and the exit code says which kind it is."""
    answer = command(*args)
    assert answer.returncode == code, answer
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert says in answer.stderr
    assert answer.stdout == ""


def test_without_its_extra_it_says_what_to_install(command: Command, tmp_path: Path) -> None:
    """A missing library is one line with the command that installs it."""
    tmp_path.joinpath("typer.py").write_text("raise ModuleNotFoundError('gone', name='typer')")
    answer = command("list", PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2
    assert answer.stderr == "error: the command line needs typer: pip install 'job-progress[cli]'\n"


def test_list_prints_a_line_for_each_state(command: Command, tracker: Tracker) -> None:
    """Piped: newest first, with tabs between; the filters filter."""
    job = Job("shop.import", tracker=tracker)
    fail(job, "1", "ValueError: no price")
    Job("other", tracker=tracker).lock("2")
    assert command("list").stdout == (
        "other\t2\tpending\t\t\t\t\nshop.import\t1\tfailed\t0%\t\t0:00\tValueError: no price\n"
    )
    assert command("list", "--job", "other").stdout.startswith("other\t2")
    assert command("list", "--status", "failed", "--status", "cancelled").stdout.startswith("shop.import\t1")
    assert command("list", "--limit", "1").stdout.count("\n") == 1


def test_list_of_nothing(command: Command) -> None:
    """Nothing for a pipe, a hint for a person, an empty array as JSON."""
    answer = command("list")
    assert (answer.returncode, answer.stdout) == (0, "")
    assert "no such states" in answer.stderr
    assert json.loads(command("list", "--json").stdout) == []


def test_json_is_the_stable_format(command: Command, tracker: Tracker) -> None:
    """list gives an array of to_dict(), and show one, with nothing raw in it that a terminal might obey."""
    job = Job("shop.import", tracker=tracker)
    with job.start("1") as progress:
        progress.update(message=NASTY, result={"rows": 3})
    state = job.get("1")
    assert state is not None
    assert json.loads(command("list", "--json").stdout) == [state.to_dict()]
    assert json.loads(command("show", "1", "--json").stdout) == state.to_dict()
    assert command("show", "1", "--json").stdout.isascii()


def test_list_on_a_terminal_is_a_table(command: Command, tracker: Tracker) -> None:
    """It has a heading, and ids are whole, however narrow the terminal."""
    Job("shop.import", tracker=tracker).lock("a-rather-long-id-that-somebody-will-copy")
    listing = command.start("list", columns=120)
    assert listing.ends() == 0
    assert "status" in listing.text
    assert "a-rather-long-id-that-somebody-will-copy" in listing.text


def test_a_closed_pipe_is_no_error(command: Command, tracker: Tracker) -> None:
    """`job-progress list | head -1` prints one line, and no complaint."""
    job = Job("shop.import", tracker=tracker)
    for id in range(300):
        job.lock(f"{id:0100}")
    script = f"{' '.join(PROGRAM)} list --limit 300 | head -1"
    answer = subprocess.run(
        script, shell=True, env=command.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.count("\n") == 1
    assert answer.stderr == ""


def test_show_prints_what_is_known(command: Command, tracker: Tracker) -> None:
    """`key: value`, by id alone or by job and id, without what is empty."""
    fail(Job("shop.import", tracker=tracker), "1", "ValueError: no price")
    by_id, by_both = command("show", "1"), command("show", "shop.import", "1")
    assert by_id.stdout == by_both.stdout
    lines = by_id.stdout.splitlines()
    assert {"job: shop.import", "id: 1", "status: failed", "error: ValueError: no price", "attempt: 1"} <= {*lines}
    assert not any(line.startswith("message") for line in lines)


@pytest.mark.parametrize("args", [["list"], ["show", "1"], ["watch", "1"]])
@pytest.mark.parametrize("columns", [None, 80])
def test_a_jobs_text_cannot_touch_the_terminal(
    command: Command, tracker: Tracker, args: list[str], columns: int | None
) -> None:
    """Escapes, control characters, direction marks and markup in messages and errors are text at most."""
    fail(Job("shop.import", tracker=tracker), "1", NASTY)
    shown = command.start(*args, columns=columns)
    shown.ends()
    assert "red [bold]not bold[/bold]" in shown.text
    for hostile in ("\x1b]0", "\x1b[31mred", "\x07", "\x9b", "\u202e"):
        assert hostile not in shown.text


def test_cancel_of_what_waits_is_at_once(command: Command, tracker: Tracker) -> None:
    """It says so, and saying it twice is harmless; what has ended otherwise cannot be cancelled any more."""
    job = Job("shop.import", tracker=tracker)
    job.lock("1")
    with job.start("2"):
        pass
    answer = command("cancel", "shop.import", "1")
    assert (answer.returncode, answer.stdout) == (0, "shop.import 1: cancelled\n")
    assert command("cancel", "1").returncode == 0
    late = command("cancel", "2")
    assert late.returncode == 4
    assert late.stderr == "error: cannot cancel shop.import '2': it is completed\n"


def test_cancel_of_what_runs_asks_it_to_stop(command: Command, tracker: Tracker) -> None:
    """It says so, and the run learns of it at its next checkpoint."""
    job = Job("shop.import", cancellable=True, tracker=tracker)
    with job.start("1") as progress:
        assert not progress.cancel_requested
        answer = command("cancel", "shop.import", "1")
        assert answer.returncode == 0
        assert "asked to stop" in answer.stdout
        eventually(lambda: progress.cancel_requested)


def test_cancel_goes_on_after_one_that_cannot_be(command: Command, tracker: Tracker) -> None:
    """Of several ids, each gets its answer, and the exit code remembers the refusal."""
    job = Job("shop.import", tracker=tracker)
    job.lock("2")
    with job.start("1"):
        answer = command("cancel", "shop.import", "1", "2")
    assert answer.returncode == 4
    assert "not declared cancellable" in answer.stderr
    assert answer.stdout == "shop.import 2: cancelled\n"


def test_watch_waits_for_an_id_and_its_end(command: Command, tracker: Tracker) -> None:
    """An unknown id is waited for; each situation is a line, without control codes; all completed is 0."""
    watching = command.start("watch", "1")
    watching.prints("any job 1  unknown")
    job = Job("shop.import", tracker=tracker)
    job.lock("1")
    watching.prints("shop.import 1  pending")
    with job.start("1") as progress:
        progress.update_with_steps(1, 2, message="halfway")
        watching.prints("shop.import 1  processing  50%  1/2")
    assert watching.ends() == 0
    assert "shop.import 1  completed  100%" in watching.text
    assert "\x1b" not in watching.text


@pytest.mark.parametrize("columns", [None, 80])
def test_watch_tells_of_failure_in_words(command: Command, tracker: Tracker, columns: int | None) -> None:
    """With a terminal or without: what failed and why, and the exit code 1."""
    job = Job("shop.import", tracker=tracker)
    with job.start("1"):
        pass
    fail(job, "2", "ValueError: row 156 has no price")
    watching = command.start("watch", "shop.import", "1", "2", columns=columns)
    assert watching.ends() == 1
    assert "completed" in watching.text
    assert "failed" in watching.text
    assert "ValueError: row 156 has no price" in watching.text
    assert ("\x1b[" in watching.text) == (columns is not None)


def test_watch_gives_up_in_time(command: Command, tracker: Tracker) -> None:
    """After --timeout it says what has not ended, and exits with 5."""
    Job("shop.import", tracker=tracker).lock("1")
    answer = command("watch", "1", "--timeout", "0.2")
    assert answer.returncode == 5
    assert answer.stderr == "error: not finished after 0.2 s: 1 pending\n"


@pytest.mark.parametrize("columns", [None, 80])
def test_watch_without_ids_shows_all_that_runs(command: Command, tracker: Tracker, columns: int | None) -> None:
    """What runs, what starts later and how it ends, until Ctrl-C."""
    job = Job("shop.import", tracker=tracker)
    fail(job, "old", "ValueError")
    job.lock("1")
    watching = command.start("watch", columns=columns)
    watching.prints("import 1")
    with job.start("2"):
        watching.prints("import 2")
    watching.prints("completed")
    assert "old" not in watching.text
    watching.signal(signal.SIGINT)
    assert watching.ends() == 130
    assert "Traceback" not in watching.text


def test_doctor_finds_all_well(command: Command, tracker: Tracker) -> None:
    """Which store, from where, how fast, and versions; it leaves no state behind."""
    answer = command("doctor")
    assert answer.returncode == 0
    assert "from JOB_PROGRESS_STORE" in answer.stdout
    assert "ms to write" in answer.stdout
    assert "msgspec" in answer.stdout
    assert tracker.list() == []


def test_doctor_knows_what_to_put_right(command: Command, sqlite_url: str) -> None:
    """A dead worker, a store that nobody shares and one that is not there each come with advice."""
    dying = f"""
import os
from job_progress import Job, Tracker
from job_progress.testing import frozen_clock
with Job("shop.import", tracker=Tracker({sqlite_url!r}, heartbeat=0.01, stalled_after=0.02)).start("1"):
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", dying], check=True)
    stalled = command("doctor")
    assert stalled.returncode == 1
    assert "1 stalled, such as shop.import 1" in stalled.stdout
    unshared = command("--store", "memory://", "doctor")
    assert unshared.returncode == 1
    assert "from --store" in unshared.stdout
    away = command("--store", "sqlite:////proc/no/such.db", "doctor")
    assert away.returncode == 3
    assert "does not answer" in away.stdout


def test_doctor_finds_clocks_that_differ(command: Command, tracker: Tracker) -> None:
    """A state that was written an hour from now."""
    with frozen_clock(datetime.now(UTC) + timedelta(hours=1)):
        Job("shop.import", tracker=tracker).lock("7")
    answer = command("doctor")
    assert answer.returncode == 1
    assert re.search(r"a state comes from 3[56]\d\d s in the future", answer.stdout)
    assert "NTP" in answer.stdout


@pytest.mark.parametrize(
    ("waits", "runs", "found"),
    [
        (("tasks.load", "a"), ("pkg.tasks.load", "b"), True),  # the same last part
        (("tasks.load", "a"), ("import", "a"), True),  # the same task of the queue
        (("tasks.load", "a"), ("import", "b"), False),
    ],
)
def test_doctor_tells_of_twins(
    command: Command, tracker: Tracker, waits: tuple[str, str], runs: tuple[str, str], found: bool
) -> None:
    """Two jobs, of which one only waits and the other only runs, if they look like one under two names."""
    job, task = waits
    with queue_task(QueueTask(id=task)):
        blank = Job(job).blank_of_task(task)
        tracker.apply(blank, Enqueue(blank), likely_new=True)
    job, task = runs
    with queue_task(QueueTask(id=task)), Job(job, tracker=tracker).start(task):
        pass
    answer = command("doctor")
    assert answer.returncode == (1 if found else 0)
    assert ("they look like one job under two names" in " ".join(answer.stdout.split())) == found


def test_serving_says_what_it_needs(command: Command) -> None:
    """One line with the extra to install."""
    program = """
import sys
class Missing:
    def find_spec(self, name, *rest):
        if name == "uvicorn": raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Missing())
from job_progress.cli import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0"],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "serving needs uvicorn: pip install 'job-progress[web]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_it_starts(command: Command) -> None:
    """However soon it comes, it leaves no traceback."""
    program = """
import sys
class Interrupted:
    def find_spec(self, name, *rest):
        if name == "typer": raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from job_progress.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], env=command.environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_prune_forgets_what_has_ended(command: Command, tracker: Tracker) -> None:
    """All of it, or a job's, or what ended long ago; and says how much that was."""
    job = Job("shop.import", tracker=tracker)
    for id in ("7", "8"):
        with job.start(id):
            pass
    job.lock("9")
    assert command("prune", "--older-than", "1000").stdout == "0 states forgotten\n"
    assert command("prune", "--job", "other").stdout == "0 states forgotten\n"
    assert command("prune", "--job", "shop.import").stdout == "2 states forgotten\n"
    assert [state.id for state in tracker.list()] == ["9"]
