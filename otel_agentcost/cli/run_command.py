"""`agentcost run`: any Python program, instrumented without a change, with its cost at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

import click

from otel_agentcost.cli import tree
from otel_agentcost.cli.app import shared_options
from otel_agentcost.cli.console import Console
from otel_agentcost.cli.settings import load_config
from otel_agentcost.cli.traces import read_traces
from otel_agentcost.errors import InputError

NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""What shells, env and timeout return for a command that cannot be run or is not there."""
BY_SIGNAL = 128
FORWARDED = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
RAISED_AGAIN = ("SIGINT", "SIGTERM", "SIGHUP")
"""A program that one of these ended makes us end by it, too, so that shell loops and supervisors see the truth."""


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the local record (OTLP JSON lines). Default: agentcost-runs/<time>.",
)
@click.option("--all", "everything", is_flag=True, help="Show spans without cost, too.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@shared_options
def command(console: Console, record: Path | None, everything: bool, program: tuple[str, ...]) -> int:
    """Run any Python program, unchanged, and show what it cost.

    Every process of it that runs Python is instrumented. Spans are kept in a local record, and exported as well where
    OTEL_EXPORTER_OTLP_ENDPOINT is set. Output, input, signals and the exit code are the program's own; the summary goes
    to stderr (with --json to stdout, after the program's output).

    \b
    Examples:
      $ agentcost run -- python app.py
      $ agentcost run --record runs/today -- python -m my_agent --fast
      $ agentcost run --json -- python app.py
    """
    load_config(console)  # a broken file is told now, not by the program's first span
    directory = record or _new_folder()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--record: {directory} cannot be made ({error.strerror})") from error
    before = {path: path.stat().st_size for path in directory.glob("*.jsonl")}
    environment = _environment(console, directory)
    try:
        code = _run(program, environment)
    except FileNotFoundError:
        console.note(f"agentcost: {program[0]}: command not found")
        return NOT_FOUND
    except PermissionError:
        console.note(f"agentcost: {program[0]}: cannot be executed")
        return NOT_EXECUTABLE
    _summary(console, directory, before, everything=everything)
    if code < 0:
        _end_like(-code)
        return BY_SIGNAL - code
    return code


def _new_folder() -> Path:
    """Name a folder after the moment; runs that begin in one second get a number."""
    stem = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 1000):
        folder = Path("agentcost-runs") / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists():
            return folder
    raise InputError("agentcost-runs holds a thousand runs of this second; name a folder with --record")


def _environment(console: Console, directory: Path) -> dict[str, str]:
    from otel_agentcost.otel.auto import bootstrap_environment

    environment = dict(os.environ)
    if console.config_file is not None:
        environment["AGENTCOST_CONFIG"] = str(console.config_file.resolve())
    return bootstrap_environment(environment, record_dir=str(directory.resolve()))


def _run(program: Sequence[str], environment: dict[str, str]) -> int:
    """Run the program to its end and return its code, negative for the signal that ended it."""
    sys.stdout.flush()
    with subprocess.Popen(program, env=environment) as child, _signals_passed_to(child):
        return child.wait()


@contextmanager
def _signals_passed_to(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand signals on. Ctrl-C reaches the whole foreground group of a terminal by itself; then it is only ignored."""

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    def ignore(number: int, frame: FrameType | None) -> None:
        return

    changed = {}
    try:
        for name in FORWARDED:
            number = getattr(signal, name, None)
            if number is not None:
                changed[number] = signal.signal(number, forward)
        changed[signal.SIGINT] = signal.signal(signal.SIGINT, ignore if _in_foreground() else forward)
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Tell whether a terminal sends its Ctrl-C to our process group."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def _end_like(number: int) -> None:
    """End by the signal that ended the program, where that is the polite thing to do."""
    if any(getattr(signal, name, None) == number for name in RAISED_AGAIN):
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _summary(console: Console, directory: Path, before: dict[Path, int], *, everything: bool) -> None:
    """Show the sessions this run added to the record; never a reason to change the exit code."""
    files = [str(path) for path in sorted(directory.glob("*.jsonl")) if path.stat().st_size != before.get(path, 0)]
    traces = read_traces(files, Console(as_json=True))
    for problem in traces.problems:
        console.note(f"agentcost: {problem}")
    sessions = tree.sessions(traces.records)
    if console.as_json:
        console.document({"record": str(directory), "sessions": [tree.as_json(s) for s in sessions]})
        return
    for session in sessions:
        console.note("")
        for line in tree.lines(session, everything=everything):
            console.note(line)
    if len(sessions) > 1:
        console.note(f"\n{tree.total_line(sessions)}")
    if sessions:
        console.note(f"\nrecorded in {directory}; figures: agentcost explain SPAN {directory}")
    else:
        console.note(
            f"agentcost: no span was recorded in {directory}; is it a Python program, and did it call a model?"
        )
