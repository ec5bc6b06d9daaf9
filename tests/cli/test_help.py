"""The help texts: what docs/cli.md shows is what the program says, and every example in it works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from otel_agentcost.cli.app import COMMANDS
from tests.cli.conftest import EXCHANGE, TWO_CALLS, Agentcost
from tools.generators import cli

EXAMPLES = sorted(
    {line.strip()[2:] for name in ("agentcost", *COMMANDS) for line in cli.help_of(name).splitlines()
     if line.strip().startswith("$ ")}
)  # fmt: skip
ELSEWHERE = {
    "agentcost demo": "test_demo.py",
    "agentcost demo --json --out demo.json": "test_demo.py",
    "agentcost run -- python app.py": "test_run.py",
    "agentcost run --record runs/today -- python -m my_agent --fast": "test_run.py",
    "agentcost run --json -- python app.py": "test_run.py",
}
"""Examples that need a process of their own are run there, word for word."""


def test_the_page_shows_the_help_of_now() -> None:
    """docs/cli.md is generated from the program; `make generate` mends it."""
    for file, content in cli.outputs().items():
        assert file.read_bytes() == content


def test_every_command_has_examples() -> None:
    """At least one for each command, and those left to other tests are really run there."""
    for name in COMMANDS:
        assert any(re.search(rf"\bagentcost {name}\b", example) for example in EXAMPLES), name
    for example, file in ELSEWHERE.items():
        assert example in EXAMPLES
        arguments = shlex.split(example)[2:]
        text = (Path(__file__).parent / file).read_text()
        assert all(f'"{argument}"' in text for argument in arguments), example


@pytest.fixture
def example_folder(tmp_path: Path) -> Path:
    """A folder with the files that the examples name."""
    (tmp_path / "trace.json").write_text(json.dumps(TWO_CALLS))
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "trace.json").write_text(json.dumps(TWO_CALLS))
    (tmp_path / "exchanges.jsonl").write_text(json.dumps(EXCHANGE) + "\n")
    (tmp_path / "exchanges.jsonl.gz").write_text(json.dumps(EXCHANGE) + "\n")
    (tmp_path / "usage.json").write_text('{"promptTokenCount": 10, "candidatesTokenCount": 5}')
    (tmp_path / "agentcost.yaml").write_text("detail: full\n")
    vector = {
        "id": "one", "provider": "openai", "model": "m", "timestamp": "2026-11-21T12:00:00Z",
        "usage": {"input_tokens": 1}, "prices": {"input_tokens": {"price": "1", "per": 1000000}},
    }  # fmt: skip
    (tmp_path / "vectors.json").write_text(json.dumps([vector]))
    return tmp_path


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e not in ELSEWHERE])
def test_every_example_works(example: str, agentcost: Agentcost, example_folder: Path) -> None:
    """Run as written, in a folder with the files it names: exit code 0 and something on stdout."""
    command, _, target = example.partition(" > ")
    source = None
    if command.startswith("cat "):
        before, _, command = command.partition(" | ")
        source = (example_folder / before.split()[1]).read_bytes()
    program, *arguments = shlex.split(command)
    assert program == "agentcost"
    result = agentcost(*arguments, input=source)
    assert result.exit_code == 0, result.output
    assert result.stdout
    if "--out" in arguments and arguments[arguments.index("--out") + 1] != "-":
        assert (example_folder / arguments[arguments.index("--out") + 1]).stat().st_size
    assert not target or "." in target
