"""`agentcost run`: any Python program, unchanged, with its cost at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.cli.console import Console
from otel_agentcost.cli.traces import Traces, read_traces

REPOSITORY = Path(__file__).parents[2]
MAIN = [sys.executable, "-c", "from otel_agentcost.cli import main; main()"]

PROGRAM = """
import httpx
from otel_agentcost.testing import ProviderEmulator

with ProviderEmulator() as emulator:
    for _ in range(2):
        answer = httpx.post(
            f"{emulator.url}/v1/chat/completions",
            json={"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello [[input 1000]] [[output 500]]"}]},
            headers={"authorization": "Bearer secret-key"},
        )
        print(answer.json()["usage"]["prompt_tokens"])
    print("billed", emulator.total_pico)
"""
"""A program that knows nothing of telemetry: two calls of 0.0075 each."""


def agentcost_run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "AGENTCOST_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    return subprocess.run(
        [*MAIN, "run", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**environment, "PYTHONPATH": str(REPOSITORY), "PATH": path, **more.pop("env", {})},
        **more,
    )


def recorded(folder: Path) -> Traces:
    return read_traces([str(f) for f in sorted(folder.rglob("*.jsonl"))], Console())


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A program `app.py` in the current folder."""
    file = tmp_path / "app.py"
    file.write_text(PROGRAM)
    return file


def test_a_program_is_priced_without_a_change(app: Path) -> None:
    """Its output is untouched, the summary stands on stderr, the record holds what was billed."""
    result = agentcost_run("--", "python", "app.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["1000", "1000", "billed 15000000000"]
    assert result.stderr.count("$0.0075") >= 2
    assert "$0.015  in 2 sessions" in result.stderr
    assert "recorded in agentcost-runs" in result.stderr
    traces = recorded(Path("agentcost-runs"))
    amounts = [r.attributes["agentcost.cost.amount"] for r in traces.records if "agentcost.cost.amount" in r.attributes]
    assert amounts == [0.0075, 0.0075]
    payload = "".join(f.read_text() for f in Path("agentcost-runs").rglob("*.jsonl"))
    assert "secret-key" not in payload
    assert "Hello" not in payload


def test_json_is_printed_after_the_programs_output(app: Path) -> None:
    """--json: one document on stdout behind what the program wrote."""
    result = agentcost_run("--json", "--", "python", "app.py")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.partition("billed 15000000000\n")[2])
    assert sum(session["pico"] for session in found["sessions"]) == 15_000_000_000
    assert Path(found["record"]).is_dir()


def test_the_record_can_be_named_and_holds_the_next_run_too(tmp_path: Path) -> None:
    """--record FOLDER; a module with options of its own; the summary shows this run only."""
    package = tmp_path / "my_agent"
    package.mkdir()
    (package / "__main__.py").write_text("import sys\nassert sys.argv[1:] == ['--fast'], sys.argv\n" + PROGRAM)
    for _ in range(2):
        result = agentcost_run("--record", "runs/today", "--", "python", "-m", "my_agent", "--fast")
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("$0.0075  chat gpt-4o") == 2
    assert len([r for r in recorded(Path("runs/today")).records if r.name == "chat gpt-4o"]) == 4


@pytest.mark.parametrize("code", [0, 77])
def test_the_exit_code_is_the_programs(code: int) -> None:
    """Whatever the program says."""
    result = agentcost_run("--", "python", "-c", f"import sys; sys.exit({code})")
    assert result.returncode == code
    assert "no span was recorded" in result.stderr


def test_standard_input_reaches_the_program() -> None:
    """The program reads what we were given."""
    result = agentcost_run("--", "python", "-c", "print(input()[::-1])", input="abc\n")
    assert result.stdout == "cba\n"


def test_a_program_that_is_not_there_is_told() -> None:
    """127 for a missing command, 126 for one that cannot be executed, as shells have it."""
    result = agentcost_run("--", "no-such-program-here")
    assert result.returncode == 127
    assert "no-such-program-here: command not found" in result.stderr
    Path("data.txt").write_text("x")
    assert agentcost_run("--", "./data.txt").returncode == 126
    assert agentcost_run().returncode == 2


def test_broken_settings_stop_before_the_program_runs(tmp_path: Path) -> None:
    """A mistake in agentcost.yaml is told at once; the program is not started."""
    (tmp_path / "bad.yaml").write_text("detail: much\n")
    result = agentcost_run("--config", "bad.yaml", "--", "python", "-c", "print('ran')")
    assert result.returncode == 2
    assert "bad.yaml:1" in result.stderr
    assert "ran" not in result.stdout


def test_settings_reach_the_program(app: Path, tmp_path: Path) -> None:
    """--config FILE holds for the program, wherever it changes to."""
    (tmp_path / "costs.yaml").write_text("discounts:\n  - {model: 'gpt-4o*', percent: '50'}\n")
    result = agentcost_run("--json", "--config", "costs.yaml", "--", "python", "app.py")
    found = json.loads(result.stdout.partition("billed 15000000000\n")[2])
    assert sum(session["pico"] for session in found["sessions"]) == 7_500_000_000


SLEEPER = """
import signal, sys, time
def stop(number, frame):
    print("got", number, flush=True)
    sys.exit(7)
if sys.argv[1:] == ["polite"]:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
else:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
print("ready", flush=True)
time.sleep(30)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("polite", [True, False])
def test_signals_are_passed_through(number: signal.Signals, polite: bool, tmp_path: Path) -> None:
    """A program that handles a signal decides its exit code; one that dies of it makes us die of it."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    arguments = [sys.executable, "sleeper.py", *(["polite"] if polite else [])]
    with subprocess.Popen(
        [*MAIN, "run", "--", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == (7 if polite else -number), errors
    assert rest == (f"got {int(number)}\n" if polite else "")


def test_a_crash_is_reported_as_shells_do() -> None:
    """A program that a fault ended gives 128 + the signal."""
    result = agentcost_run("--", "python", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert result.returncode == 128 + signal.SIGKILL
