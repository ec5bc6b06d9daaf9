"""tests/conformance/pricing/*.json: the hand-written vectors every implementation of the price engine must hold."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.pricing.book import FORMAT, NO_CHARGE, PriceBook
from otel_agentcost.pricing.overrides import Overrides
from otel_agentcost.pricing.vectors import nanoseconds
from otel_agentcost.usage.reading import Part, Quantity, Reading, Usage

FOLDER = Path(__file__).parent / "conformance" / "pricing"
FILE_KEYS = {"format", "topic", "book", "fees", "machines", "vectors"}
VECTOR_KEYS = {"name", "at", "overrides", "reading", "expect"}
READING_KEYS = {
    "kind", "provider", "model", "request_model", "context", "usage", "status", "reason", "estimated",
    "reported_cost", "reported_by", "reported_currency", "parts", "tool",
}  # fmt: skip
EXPECT_KEYS = {"status", "total", "lines", "reasons", "source", "price_id", "component", "currency", "no_charge"}
NOON = "2026-11-21T12:00:00Z"


def vectors() -> list[Any]:
    """Return every vector of every file as a parameter with a readable id."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        content = json.loads(path.read_text())
        assert content["format"] == "agentcost-conformance/pricing/1", path.name
        only_known(path.name, content, FILE_KEYS)
        for vector in content["vectors"]:
            found.append(pytest.param(content, vector, id=f"{path.stem}: {vector['name']}"))
    return found


def only_known(where: str, mapping: dict[str, Any], known: set[str]) -> None:
    """A key the runner does not read is a test that does not test."""
    assert set(mapping) <= known, f"{where}: unknown keys {set(mapping) - known}"


def quantity(value: Any) -> Quantity:
    """Counts are numbers, measured amounts are decimal text."""
    return Decimal(value) if isinstance(value, str) else value


def usage(raw: dict[str, Any] | None) -> Usage | None:
    return None if raw is None else Usage({unit: quantity(value) for unit, value in raw.items()})


def reading(raw: dict[str, Any]) -> Reading:
    """Make the reading a vector describes."""
    only_known("reading", raw, READING_KEYS)
    values = {key: value for key, value in raw.items() if key not in ("usage", "parts", "reported_cost")}
    parts = tuple(Part(model=p["model"], usage=usage(p["usage"]) or Usage()) for p in raw.get("parts", ()))
    cost = Decimal(raw["reported_cost"]) if "reported_cost" in raw else None
    return Reading(**{"kind": "call", **values}, usage=usage(raw.get("usage")), parts=parts, reported_cost=cost)


def book(content: dict[str, Any], overrides: dict[str, Any] | None) -> PriceBook:
    made = PriceBook(
        {"format": FORMAT, "version": "test", "providers": json.loads(json.dumps(content["book"]))},
        fees=content.get("fees", ()),
        machines=content.get("machines", ()),
    )
    return made if overrides is None else made.with_overrides(Overrides.from_mapping(overrides))


@pytest.mark.parametrize(("content", "vector"), vectors())
def test_vector(content: dict[str, Any], vector: dict[str, Any]) -> None:
    """A reading and a book give one bill: status, total, every line, every reason."""
    only_known("vector", vector, VECTOR_KEYS)
    expected = vector["expect"]
    only_known("expect", expected, EXPECT_KEYS)
    priced_by = book(content, vector.get("overrides"))
    at = nanoseconds(vector.get("at", NOON))
    evidence = reading(vector["reading"])
    bill = priced_by.price(evidence, at=at)
    again = priced_by.price(evidence, at=at)
    assert bill == again, "a cached answer differs from the first"
    if expected.get("no_charge"):
        assert bill is NO_CHARGE
        return
    actual = {
        "status": bill.status,
        "total": bill.total,
        "lines": [(item.unit, item.quantity, item.pico) for item in bill.items],
        "reasons": list(bill.reasons),
        **{key: getattr(bill, key) for key in ("source", "price_id", "component", "currency") if key in expected},
    }
    wanted = {
        "reasons": [],
        **expected,
        "lines": [(unit, quantity(q), pico) for unit, q, pico in expected["lines"]],
    }
    assert wanted == actual
    if bill.total is not None and bill.items:
        assert sum(item.pico for item in bill.items) == bill.total
        if "graduated" not in json.dumps(content):
            assert [item.rate.cost(item.quantity) for item in bill.items] == [item.pico for item in bill.items]


def test_every_rule_file_is_run() -> None:
    """No file of the folder is left out."""
    assert {path.stem for path in FOLDER.glob("*.json")} == {
        "leaves", "tiers", "variants", "seller_rules", "dates", "names", "robustness", "user_prices",
        "fees_and_machines",
    }  # fmt: skip
