"""The door of the public test tools."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import otel_agentcost.testing as testing

ROOM = Path(testing.__file__).parent


def test_the_door_is_sorted_and_every_name_opens() -> None:
    """__all__ equals what the module gives, in order."""
    assert sorted(testing.__all__) == testing.__all__
    for name in testing.__all__:
        assert name == getattr(testing, name).__name__
    assert set(testing.__all__) <= set(dir(testing))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Typos are told in Python's own words."""
    with pytest.raises(AttributeError, match="no attribute 'Emulator'"):
        testing.Emulator  # noqa: B018


def test_the_example_of_the_docstring_runs() -> None:
    """What the door shows is what happens."""
    result = doctest.testmod(testing)

    assert (result.failed, result.attempted > 0) == (0, True)


def test_servers_and_clients_are_imported_only_when_used() -> None:
    """Importing the emulator imports no server, no HTTP client and no SDK."""
    code = (
        "import sys; from otel_agentcost.testing import ProviderEmulator, Reply; ProviderEmulator()\n"
        "print([m for m in ('uvicorn', 'starlette', 'httpx', 'httpx2', 'opentelemetry', 'openai') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_without_its_extra_the_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra; answering in the same process needs none."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    emulator = testing.ProviderEmulator()

    with pytest.raises(ImportError, match=r"otel-agentcost\[testing\]"):
        emulator.__enter__()
    assert emulator.respond("GET", "/nowhere").status == 404


def test_the_emulator_shares_no_arithmetic_with_the_product() -> None:
    """Agreement of the two bills is evidence only while the emulator imports nothing of usage, pricing or ledger."""
    for path in sorted((ROOM / "emulator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.startswith("otel_agentcost"):
                    assert name.startswith("otel_agentcost.testing.emulator"), f"{path.name} imports {name}"
