"""The command group: exit codes, errors in one line, closed pipes, what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_agentcost.cli.app import COMMANDS
from tests.cli.conftest import Agentcost


def shell(*arguments: str, **extra: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from otel_agentcost.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **extra,  # type: ignore[call-overload]
    )


def test_version_names_the_installed_package(agentcost: Agentcost) -> None:
    """--version prints one line."""
    result = agentcost("--version")
    assert result.exit_code == 0
    assert result.output.startswith("agentcost ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_and_the_shared_options(name: str, agentcost: Agentcost) -> None:
    """Help says what a command does, how it is used, and offers --json and --config."""
    result = agentcost(name, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"$ agentcost {name}" in result.output or f"agentcost {name}" in result.output
    assert "--json" in result.output
    assert "--config" in result.output


def test_an_unknown_command_names_the_nearest_one(agentcost: Agentcost) -> None:
    """A typo is a usage error (2) with a suggestion."""
    result = agentcost("pric")
    assert result.exit_code == 2
    assert "Did you mean 'price'?" in result.stderr


def test_an_unknown_option_is_a_usage_error(agentcost: Agentcost) -> None:
    """Exit code 2 for wrong usage."""
    assert agentcost("price", "--nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("detial: full\n", ("detial", "detail")),
        ("limits:\n  open_sessions: none\n", ("limits.open_sessions", "costs.yaml:2", "none")),
        ("prices: 5\n", ("prices",)),
        ("a: [unclosed\n", ("costs.yaml", "not YAML")),
    ],
)
def test_a_broken_setting_names_file_and_key(
    yaml: str, words: tuple[str, ...], agentcost: Agentcost, tmp_path: Path
) -> None:
    """A wrong agentcost.yaml is one clear line and exit code 2, with every command that reads it."""
    file = tmp_path / "costs.yaml"
    file.write_text(yaml)
    for arguments in (("prices",), ("price", "-m", "gpt-4o", "-u", '{"input_tokens": 1}')):
        result = agentcost(*arguments, "--config", str(file))
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert all(word in result.stderr for word in words)


def test_settings_are_found_in_the_folder_the_variable_and_the_option(
    agentcost: Agentcost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config wins over AGENTCOST_CONFIG wins over ./agentcost.yaml."""

    def total() -> str:
        result = agentcost("price", "-m", "gpt-4o", "-u", '{"input_tokens": 1000}', "--json", *more)
        return str(json.loads(result.stdout)["total"])

    def own_price(name: str, price: str) -> Path:
        file = tmp_path / name
        file.write_text(f'prices:\n  - provider: openai\n    model: gpt-4o\n    units: {{input_tokens: "{price}"}}\n')
        return file

    more: list[str] = []
    assert total() == "0.0025"
    own_price("agentcost.yaml", "1")
    assert total() == "0.001"
    monkeypatch.setenv("AGENTCOST_CONFIG", str(own_price("variable.yaml", "3")))
    assert total() == "0.003"
    more = ["--config", str(own_price("option.yaml", "4"))]
    assert total() == "0.004"


def test_a_settings_file_that_is_not_there_is_named(agentcost: Agentcost) -> None:
    """--config with a wrong path is an error, never silently the defaults."""
    result = agentcost("prices", "--config", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    """Where click is missing, the command names otel-agentcost[cli] and exits 2."""
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('No module named click', name='click')\n")
    result = shell("--help", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert result.stdout == ""
    assert "otel-agentcost[cli]" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error(exchanges_file: Path) -> None:
    """`agentcost read ... | head -1` ends quietly."""
    exchanges_file.write_text(exchanges_file.read_text() * 3000)
    command = f"{sys.executable} -c 'from otel_agentcost.cli import main; main()' read {exchanges_file} | head -1"
    script = f"{command}; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 141
    assert result.stdout.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert "Broken" not in result.stderr


def test_output_for_pipes_has_no_colour_and_does_not_depend_on_the_terminal(trace_file: Path) -> None:
    """Two runs under different terminals give the same bytes."""
    outputs = {
        shell("replay", str(trace_file), env={**os.environ, **terminal}).stdout
        for terminal in ({"COLUMNS": "40", "TERM": "dumb"}, {"COLUMNS": "200", "TERM": "xterm-256color"})
    }
    assert len(outputs) == 1
    assert "\x1b" not in outputs.pop()


def test_a_terminal_that_knows_no_unicode_gets_ascii(trace_file: Path) -> None:
    """The tree is drawn with |- and - where the encoding has no lines."""
    result = shell("replay", str(trace_file), env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert "|- chat gpt-4o" in result.stdout


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(name: str, agentcost: Agentcost) -> None:
    """Each shell gets its own script."""
    result = agentcost("completion", name)
    assert result.exit_code == 0
    assert "_AGENTCOST_COMPLETE" in result.stdout
    assert json.loads(agentcost("completion", name, "--json").stdout)["shell"] == name


def test_completion_completes_commands() -> None:
    """The completion protocol of click works with commands that are imported late."""
    environment = {
        **os.environ,
        "_AGENTCOST_COMPLETE": "bash_complete",
        "COMP_WORDS": "agentcost pri",
        "COMP_CWORD": "1",
    }
    result = shell(env=environment)
    assert result.stdout.split() == ["plain,price", "plain,prices"]


def test_help_is_quick() -> None:
    """`agentcost --version` imports no OpenTelemetry SDK and no SDK of a provider."""
    code = (
        "import sys; from otel_agentcost.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'opentelemetry.sdk.trace', 'openai', 'anthropic', 'yaml', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.splitlines()[-1] == "[]"
