"""The commands of `job-progress`: what they take, print, and exit with."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from importlib.metadata import version as version_of
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from job_progress.cli import SERVED_BY, words
from job_progress.cli.bars import display, on_terminal, say, table
from job_progress.cli.watching import Chosen, NotFound, Running, follow, found
from job_progress.default import configure, default_tracker
from job_progress.errors import JobNotCancellable, StoreUnavailable
from job_progress.names import check_name
from job_progress.state import JobStatus
from job_progress.tracker import MAX_LIMIT, STORE_VARIABLE

PREFIX = "job-progress"
"""Below which the library puts states, unless told otherwise."""


class Exit(IntEnum):
    """What the command exits with."""

    DONE = 0
    NOT_WELL = 1
    WRONG_USAGE = 2
    NO_STORE = 3
    REFUSED = 4
    TIMEOUT = 5
    INTERRUPTED = 130


EXIT_CODES = """
**Exit codes**

- 0: done; what was watched has completed
- 1: something watched has failed or was cancelled; the doctor found something to put right
- 2: wrong usage
- 3: the store does not answer
- 4: no such state, or it cannot be cancelled
- 5: not finished within --timeout
- 130: interrupted by Ctrl-C
"""

# Newer versions of typer bring their own click along, and older ones need the other: this is either's.
UsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False, epilog=EXIT_CODES)


def run() -> int:
    """Run the command line on `sys.argv`.

    Returns:
        The exit code. Whatever went wrong has been said, in one line on the standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a message may have letters that this terminal has not
            stream.reconfigure(errors="replace")
    try:
        return app(prog_name="job-progress", standalone_mode=False) or Exit.DONE
    except UsageError as error:
        where = error.ctx.command_path if error.ctx else "job-progress"
        return _fail(f"{error.format_message()} (see {where} --help)", Exit.WRONG_USAGE)
    except StoreUnavailable as error:
        return _fail(error, Exit.NO_STORE)
    except (NotFound, JobNotCancellable) as error:
        return _fail(error, Exit.REFUSED)
    except TimeoutError as error:
        return _fail(error, Exit.TIMEOUT)
    except (typer.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED


def _fail(error: object, code: Exit) -> Exit:
    print(f"error: {words.clean(str(error))}", file=sys.stderr)
    return code


def _names(args: list[str] | None) -> list[str]:
    try:
        return [check_name(arg, "a job name or id") for arg in args or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"job-progress {version_of('job-progress')}")
        raise typer.Exit


JobAndIds = Annotated[
    list[str],
    typer.Argument(metavar="[JOB] ID", help="One word: an id, of whichever job. More: a job and ids.", callback=_names),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, in the stable format of JobState.to_dict().")]


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar=STORE_VARIABLE, help="Where the states are; by default a file of yours."),
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Which application's states in that store.")] = PREFIX,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """See, watch and cancel background jobs.

    A job is named by its kind and its id, as in `shop.import 7`. No code of the job is needed
    here, only the store that its workers write to: the default file, or --store, or JOB_PROGRESS_STORE.

    Start with `job-progress demo`, and `job-progress watch` in a second terminal.
    """
    try:
        configure(store or None, prefix=prefix)
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error)) from None
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Python source to index; by default the standard library.", exists=True, file_okay=False),
    ] = None,
    search: Annotated[str, typer.Option(metavar="WORDS", help="What to look up at the end.")] = "priority queue",
    no_web: Annotated[bool, typer.Option("--no-web", help="Serve no page with the bars.")] = False,
) -> int:
    """Index Python's standard library, as an example of jobs at work.

    Several processes parse every file and fill a full-text index, as tracked jobs that this
    terminal and a web page show, and that a second terminal can watch and cancel; then the index is searched.
    Ctrl-C cancels what is left. It exits with 1 if a job was cancelled or failed.

    Example: `job-progress demo --search "heap queue"`
    """
    from job_progress.cli.demo.run import run_demo

    options = context.parent.params if context.parent else {}
    return run_demo(options["store"] or None, options["prefix"], folder, search, with_page=not no_web)


@app.command()
def watch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB] ID", help="One word: an id. More: a job and ids.", callback=_names),
    ] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up after this time.", min=0)] = None,
) -> int:
    """Show live bars until all of it has ended; without arguments, all that runs, until Ctrl-C.

    Ids that nobody has started yet are waited for. Without a terminal, a line is printed for
    each state that changes noticeably.

    Examples: `job-progress watch`, `job-progress watch 7`,
    `job-progress watch shop.import 7 8 --timeout 60`
    """
    tracker = default_tracker()
    with display() as show:
        if not names:
            follow(Running(tracker).look, show, to_the_end=False, timeout=timeout)
        states = follow(Chosen(tracker, names or []).look, show, to_the_end=True, timeout=timeout)
    return Exit.DONE if all(state.is_completed for state in states) else Exit.NOT_WELL


@app.command("list")
def list_(
    job: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this job.")] = None,
    status: Annotated[list[JobStatus] | None, typer.Option(help="Only with this status; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List states, newest first.

    Piped, it prints a line for each: job, id, situation, percent, items, time and message, with tabs between.

    Examples: `job-progress list --status failed`,
    `job-progress list --job shop.import --json`
    """
    states = default_tracker().list(job, status, limit)
    if as_json:
        say(json.dumps([state.to_dict() for state in states], indent=2))
    elif not states:
        print(f"no such states in {default_tracker().store.describe()}", file=sys.stderr)
    elif on_terminal():
        Console().print(table(states))
    else:
        for state in states:
            say("\t".join(words.row(state)))


@app.command()
def show(names: JobAndIds, as_json: AsJson = False) -> None:
    """Show all that is known of a state.

    Examples: `job-progress show shop.import 7`, `job-progress show 7 --json`
    """
    states = found(default_tracker(), names)
    if as_json:
        say(json.dumps([state.to_dict() for state in states] if len(states) > 1 else states[0].to_dict(), indent=2))
    else:
        say("\n\n".join("\n".join(words.facts(state)) for state in states))


@app.command()
def cancel(names: JobAndIds) -> int:
    """Cancel jobs: at once if they are pending; else they are asked to stop at their next checkpoint.

    Examples: `job-progress cancel shop.import 7`, `job-progress cancel 7`
    """
    code = Exit.DONE
    for state in found(default_tracker(), names):
        try:
            after = state.cancel()
        except JobNotCancellable as error:
            code = _fail(error, Exit.REFUSED)
        else:
            asked = "asked to stop; it is cancelled when it reaches a checkpoint"
            say(f"{words.name(after)}: {asked if after.is_processing else 'cancelled'}")
    return code


@app.command()
def prune(
    job: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this job.")] = None,
    older_than: Annotated[float, typer.Option(metavar="SECONDS", help="Only what ended so long ago.", min=0)] = 0.0,
) -> None:
    """Forget finished states before their time, and free the space of those that have expired.

    Nobody needs to run this: stores forget by themselves. It helps after a flood of jobs.

    Example: `job-progress prune --job shop.import --older-than 60`
    """
    forgotten = default_tracker().prune(job, older_than)
    say(f"{forgotten:,} {'state' if forgotten == 1 else 'states'} forgotten")


@app.command()
def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is a free one.")] = 8000,
) -> None:
    """Serve the dashboard: all jobs live, in a browser.

    It prints an address with a new key in it, which alone lets a browser in.

    Example: `job-progress serve --port 0`
    """
    try:
        from job_progress.cli.serve import listen
        from job_progress.cli.serve import serve as serve_on
    except ModuleNotFoundError as error:
        if error.name not in SERVED_BY:
            raise
        raise typer.BadParameter(f"serving needs {error.name}: pip install 'job-progress[web]'") from None
    try:
        listening = listen(host, port)
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
    with listening:
        serve_on(listening)


@app.command()
def doctor(context: typer.Context) -> int:
    """Check the store: which it is, whether it answers, how fast, and what should be put right.

    Example: `job-progress --store sqlite:////srv/jobs.db doctor`
    """
    from job_progress.cli.doctor import examine

    source = context.parent and context.parent.get_parameter_source("store")
    code = Exit.DONE
    try:
        for finding in examine(default_tracker(), _SOURCES[source.name if source else "DEFAULT"]):
            say(f"{'!!' if finding.advice else 'ok'}  {finding.text}")
            if finding.advice:
                say(f"    {finding.advice}")
                code = Exit.NOT_WELL
    except StoreUnavailable:
        say("!!  the store does not answer")
        say("    see that its server runs, or that its file and folder are yours to write")
        raise
    return code


_SOURCES = {
    "COMMANDLINE": "from --store",
    "ENVIRONMENT": f"from {STORE_VARIABLE}",
    "DEFAULT": f"the default; --store and {STORE_VARIABLE} change it",
}
