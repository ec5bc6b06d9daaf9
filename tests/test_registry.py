"""The registry: one place for every name, and nothing generated is out of date."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

import otel_agentcost._semconv as semconv
from otel_agentcost.ledger.annotate import charge_attributes, rollup_attributes
from otel_agentcost.ledger.entry import Charge, ChargeStatus
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.pricing.bill import Bill, LineItem, Rate
from tests.registry_check import findings, metric_findings, span_findings
from tools import generate
from tools.generators import registry

FILES = {"agentcost.yaml", "agentcost.schema", "agentcost.doctor"}
"""Literals that look like names: our settings file, its schema, and the scope of `agentcost doctor`."""


def test_generated_files_are_current() -> None:
    """`make generate` would change nothing. The price step needs genai-prices, which old Pythons do not have."""
    missing = () if find_spec("genai_prices") else ("prices", "collector_data")

    assert generate.differences(generate.run(step for step in generate.steps() if step not in missing)) == []


def test_a_changed_source_is_reported_with_a_diff(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--check` names the file and shows what differs."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "made.json").write_bytes(b"old\n")

    assert generate.differences({tmp_path / "made.json": b"old\n"}) == []
    (report,) = generate.differences({tmp_path / "made.json": b"new\n"})

    assert "made.json" in report
    assert "-old" in report
    assert "+new" in report


def test_every_attribute_has_its_constant() -> None:
    """What the registry defines, code can name."""
    known = registry.load()

    values = {value for name, value in vars(semconv).items() if name.isupper()}
    for item in known["attributes"]:
        key = item["key"]
        assert key in values or f"{key}." in values
    assert {metric["name"] for metric in known["metrics"]} <= values
    assert {event["name"] for event in known["events"]} <= values


def test_registered_attributes_pass() -> None:
    """The names of the contract are registered with the types they are written with."""
    assert (
        findings(
            {
                semconv.AGENTCOST_COST_AMOUNT: 0.5,
                semconv.AGENTCOST_COST_STATUS: "mirror",
                semconv.AGENTCOST_SESSION_COST_PICO: 5,
                semconv.AGENTCOST_SUBTREE_COMPLETE: True,
                f"{semconv.AGENTCOST_USAGE_PREFIX}gpu_seconds": 1.5,
                "http.method": object(),
            }
        )
        == []
    )
    assert findings(None) == []


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"agentcost.cost.amuont": 0.5}, "unregistered"),
        ({"agentcost.cost.amount": 1}, "type double"),
        ({"agentcost.cost.amount": "1"}, "type double"),
        ({"agentcost.cost.status": "fine"}, "none of"),
        ({"agentcost.session.calls.llm": True}, "type int"),
        ({"agentcost.usage.gpu_seconds": "1"}, "type template"),
    ],
)
def test_a_wrong_attribute_is_found(attributes: dict[str, object], problem: str) -> None:
    """Unknown names, wrong types and unknown values are findings."""
    (found,) = findings(attributes)

    assert problem in found


def test_spans_and_metrics_are_checked_by_name() -> None:
    """Events and metrics need a registered name, metrics also their unit and their own attributes."""
    event = SimpleNamespace(name="agentcost.surprise", attributes={})
    span = SimpleNamespace(name="run", attributes={"agentcost.x": 1}, events=[event])

    assert span_findings([span]) == [
        "run: unregistered attribute agentcost.x",
        "run: unregistered event agentcost.surprise",
    ]
    assert metric_findings("agentcost.client.cost", "{currency}", {"agentcost.component": "llm"}) == []
    assert len(metric_findings("agentcost.client.cost", "USD", {"user.id": "u"})) == 2
    assert metric_findings("agentcost.client.price", "1") == ["unregistered metric agentcost.client.price"]


def test_everything_the_ledger_writes_is_registered() -> None:
    """Rollups and charges of any content use registered names, with their types."""
    numbers = dict.fromkeys(("llm", "tool", "api", "compute", "failed", "late"), 10**9)
    counts = dict.fromkeys(
        (
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "reasoning_tokens",
            "llm_calls",
            "tool_calls",
            "api_calls",
            "errors",
            "unpriced",
        ),
        3,
    )
    rollup = Rollup(**numbers, **counts)
    rollup.window, rollup.drivers = 0.5, {"model:gpt-5": 7}
    bill = Bill(status="priced", total=5, source="book", price_id="2026/openai/gpt-5#default", currency="EUR")
    items = tuple(
        LineItem(unit=unit, quantity=1, rate=Rate("1", 1), pico=1)
        for unit in ("input_tokens", "output_tokens", "gpu_seconds")
    )

    for prefix in ("session", "subtree"):
        assert findings(rollup_attributes(rollup, prefix, complete=True)) == []
    for status in get_args(ChargeStatus):
        charge = Charge(pico=5, status=status, reason="r", bill=replace(bill, items=items, total=3), currency="EUR")
        assert findings(charge_attributes(charge, full=True)) == []


def test_every_name_spelled_out_in_the_source_is_registered() -> None:
    """A literal that looks like a name of ours is one, so no module invents one in passing."""
    known = registry.load()
    names = set(known["known"]) | {item["name"] for item in known["metrics"] + known["events"]}
    prefixes = {f"{name}." for name in names} | {
        name[: cut + 1] for name in names for cut, letter in enumerate(name) if letter == "."
    }
    package = Path(semconv.__file__).parent

    unknown = {
        f"{path.relative_to(package)}: {literal}"
        for path in package.rglob("*.py")
        for literal in re.findall(r'"(agentcost\.[a-z_0-9.]+)"', path.read_text(encoding="utf-8"))
        if literal not in names and literal not in prefixes and literal not in FILES
    }

    assert unknown == set()
