"""The door is small, sorted and lazy, and the pure rooms stay pure when they run."""

from __future__ import annotations

import subprocess
import sys

import pytest

import otel_agentcost


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the modules it loaded."""
    script = code + "\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_door_is_sorted_small_and_complete() -> None:
    """At most 25 names; every one of them can be had, and nothing else is promised."""
    names = otel_agentcost.__all__

    assert names == sorted(names)
    assert len(names) <= 25
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(otel_agentcost, name).__module__.startswith("otel_agentcost.")
    assert set(names) <= set(dir(otel_agentcost))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """Lazy loading behaves as a module does."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = otel_agentcost.nothing


def test_type_checkers_and_the_lazy_door_know_the_same_names() -> None:
    """What is imported for type checking is what is loaded at run time."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(otel_agentcost.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert typed == otel_agentcost._HOME
    assert sorted(typed) == otel_agentcost.__all__


def test_importing_the_package_loads_neither_sdk_nor_prices_nor_clients() -> None:
    """An import costs nothing until something is used."""
    loaded = loaded_after("import otel_agentcost")
    heavy = {name for name in loaded if name.split(".")[0] in ("opentelemetry", "httpx", "httpx2", "yaml")}

    assert heavy == set()
    assert not any(name.startswith("otel_agentcost.") for name in loaded)


@pytest.mark.parametrize("room", ["usage.dialects", "usage.exchange", "pricing.book", "ledger.accounting"])
def test_a_pure_room_runs_without_telemetry_clients_or_files(room: str) -> None:
    """Usage, pricing and ledger can be used where no OpenTelemetry is installed."""
    loaded = loaded_after(f"import otel_agentcost.{room}")
    foreign = {name for name in loaded if name.split(".")[0] in ("opentelemetry", "httpx", "httpx2", "yaml", "asyncio")}

    assert foreign == set()


def test_the_session_api_needs_no_sdk() -> None:
    """A library may use it; whether the SDK is there is the application's choice."""
    loaded = loaded_after("from otel_agentcost import session, step, tool, compute, charge\nwith session(): pass")

    assert not any(name.startswith("opentelemetry.sdk") for name in loaded)
    assert "otel_agentcost.pricing.book" not in loaded


def test_the_processor_reads_no_price_before_the_first_span_needs_one() -> None:
    """Start-up is light: the price book is parsed when there is something to price."""
    code = (
        "from otel_agentcost import AgentCostSpanProcessor\n"
        "AgentCostSpanProcessor()\n"
        "from otel_agentcost.pricing.book import PriceBook\n"
        "import otel_agentcost._data as d\n"
        "read = d.load.cache_info().misses\n"
        "PriceBook.bundled()\n"
        "assert d.load.cache_info().misses > read, 'the book had been read before'\n"
    )
    loaded_after(code)
