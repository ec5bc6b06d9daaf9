"""Foreign spans against the hand-written vectors of tests/conformance/usage/dialects, which Go runs too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.usage.dialects import read_http_client, read_labels, read_span, read_stated
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.tables import DIALECTS

USAGE = Path(__file__).parent / "conformance/usage"
FOLDER = USAGE / "dialects"
GIVEN = {"name", "kind", "scope", "attributes", "resource", "failed"}
COMPARED = {
    "kind",
    "usage",
    "status",
    "reason",
    "provider",
    "model",
    "request_model",
    "operation",
    "context",
    "identity",
    "reported_cost",
    "reported_by",
    "reported_currency",
    "aggregate",
    "tool",
    "agent",
    "server",
    "dialect",
}


def cases() -> Iterator[Any]:
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
            yield pytest.param(case, id=f"{path.stem}:{case['id']}")


def cases_of(name: str) -> list[Any]:
    found = json.loads((USAGE / name).read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case["given"], case["expect"], id=case["id"]) for case in found]


def plain(number: int | Decimal) -> int | str:
    return format(number.normalize(), "f") if isinstance(number, Decimal) else number


def told(reading: Reading, key: str) -> object:
    value = getattr(reading, key)
    if key == "usage":
        return None if value is None else {unit: plain(number) for unit, number in value.items()}
    if key == "reported_cost" and value is not None:
        return plain(value)
    if key == "identity":
        return list(value)
    return dict(value) if key == "context" else value


@pytest.mark.parametrize("case", list(cases()))
def test_dialect_vector(case: dict[str, Any]) -> None:
    """A span reads as its vector says, in everything the vector mentions."""
    assert set(case) == {"id", "why", "given", "expect"}
    given, expect = case["given"], case["expect"]
    assert set(given) <= GIVEN

    reading = read_span(**given)

    if expect is None:
        assert reading is None
        return
    assert {"kind", "usage"} <= set(expect) <= COMPARED
    assert reading is not None
    assert {key: told(reading, key) for key in expect} == expect
    assert reading.status == expect.get("status", "usage")


def test_every_dialect_has_vectors_that_reach_it() -> None:
    """No dialect goes untested, no file of vectors is about nothing."""
    files = {path.stem: json.loads(path.read_text(encoding="utf-8"))["cases"] for path in FOLDER.glob("*.json")}

    assert set(files) == {dialect.name for dialect in DIALECTS}
    for name, own in files.items():
        readings = [read_span(**case["given"]) for case in own]
        assert name in {reading.dialect for reading in readings if reading is not None}


@pytest.mark.parametrize(("given", "expect"), cases_of("http_spans.json"))
def test_http_span_vector(given: dict[str, Any], expect: dict[str, Any] | None) -> None:
    """An HTTP client span is the API call its vector says."""
    reading = read_http_client(**given)

    if expect is None:
        assert reading is None
        return
    assert reading is not None
    assert {key: told(reading, key) for key in expect} == expect
    assert reading.status == expect.get("status", "usage")


@pytest.mark.parametrize(("given", "expect"), cases_of("labels.json"))
def test_labels_vector(given: dict[str, Any], expect: dict[str, str]) -> None:
    """Identity labels come out as the vector says, nothing more."""
    assert dict(read_labels(**given)) == expect


@pytest.mark.parametrize(("given", "expect"), cases_of("stated.json"))
def test_stated_vector(given: dict[str, Any], expect: dict[str, Any] | None) -> None:
    """The cost a span carries is read back to the integer."""
    stated = read_stated(**given)

    assert (None if stated is None else asdict(stated)) == expect
