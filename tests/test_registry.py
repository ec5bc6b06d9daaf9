"""The registry: one place for every name, and nothing generated is out of date."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import otel_agentcost._semconv as semconv
from tests.registry_check import findings, metric_findings, span_findings
from tools import generate
from tools.generators import registry


def test_generated_files_are_current() -> None:
    """`make generate` would change nothing."""
    assert generate.differences(generate.run()) == []


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
