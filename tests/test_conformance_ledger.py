"""Run tests/conformance/ledger: every vector, in every order, duplicated, streamed; unknown keys fail."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.ledger.accounting import Accounts, SpanRecord, account, entry_of
from otel_agentcost.ledger.entry import Entry
from otel_agentcost.ledger.settle import settle
from otel_agentcost.ledger.trace import TraceLedger
from otel_agentcost.pricing.bill import Bill, LineItem, Rate
from otel_agentcost.usage.dialects import read_labels
from otel_agentcost.usage.names import model_family
from otel_agentcost.usage.reading import Reading, Usage

FOLDER = Path(__file__).parent / "conformance" / "ledger"
VECTORS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
KEYS = {"about", "cites", "prices", "spans", "expect"}
SPAN_KEYS = {"id", "parent", "start", "end", "scope", "kind", "name", "attributes", "failed", "reading"}
EXPECT_KEYS = {
    "total", "own", "reasons", "root", "calls", "tokens", "unpriced", "errors", "failed", "complete", "labels",
    "attributes",
}  # fmt: skip
TRACE = "0" * 31 + "1"


class VectorBook:
    """Prices a reading by the vector's own table: leaf quantities times rates, nothing else."""

    def __init__(self, prices: dict[str, dict[str, str]]) -> None:
        self._prices = prices

    def price(self, reading: Reading, *, at: int) -> Bill | None:
        if reading.kind in ("tool", "api", "compute"):
            return self._fee(reading)
        family = model_family(reading.model or reading.request_model or "")
        tier = reading.context.get("service_tier", "")
        rates = self._prices.get(f"{family}@{tier}") or self._prices.get(family)
        if reading.status in ("error", "not_billed"):
            return Bill(status="not_billed", total=0, reasons=(reading.reason,))
        if reading.usage is None or rates is None:
            return Bill(status="unpriced", total=None, reasons=("unknown_model" if rates is None else reading.reason,))
        items = tuple(
            LineItem(unit, quantity, Rate(rates[unit], 1_000_000), Rate(rates[unit], 1_000_000).cost(quantity))
            for unit, quantity in reading.usage.leaves(frozenset(rates)).items()
            if quantity
        )
        total = sum(item.pico for item in items)
        return Bill(status="priced", total=total, items=items, source="book", price_id=f"vector/{family}")

    @property
    def fee_attributes(self) -> frozenset[str]:
        return frozenset()

    def _fee(self, reading: Reading) -> Bill | None:
        rates = self._prices.get(f"{reading.kind}:{reading.tool}")
        if rates is None:
            return None
        items = tuple(
            LineItem(unit, quantity, Rate(rates[unit], 1_000_000), Rate(rates[unit], 1_000_000).cost(quantity))
            for unit, quantity in reading.billable.items()
        )
        total = sum(item.pico for item in items)
        return Bill(status="priced", total=total, items=items, source="book", price_id=f"vector/{reading.tool}")

    def context_window(self, provider: str | None, model: str) -> int | None:
        return None


def spans_of(vector: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Write out chains and repetitions."""
    for span in vector["spans"]:
        if "chain" in span:
            below = span["below"]
            for i in range(span["chain"]):
                yield {**span, "id": f"{span['id']}-{i}", "parent": below, "name": "link", "kind": "internal"}
                below = f"{span['id']}-{i}"
        elif "repeat" in span:
            for i in range(span["repeat"]):
                moved = {"start": span["start"] + i * span["step"], "end": span["end"] + i * span["step"]}
                yield {**span["span"], **moved, "id": f"{span['id']}-{i}", "parent": span["below"]}
        else:
            assert set(span) <= SPAN_KEYS, set(span) - SPAN_KEYS
            yield span


def record(span: dict[str, Any]) -> SpanRecord:
    return SpanRecord(
        trace_id=TRACE,
        span_id=span["id"],
        parent_id=span["parent"],
        name=span["name"],
        kind=span["kind"],
        scope=span.get("scope", ""),
        start_ns=span["start"],
        end_ns=span["end"],
        attributes=dict(span.get("attributes", {})),
        failed=span.get("failed", False),
    )


def entries_of(vector: dict[str, Any]) -> list[Entry]:
    book = VectorBook(vector["prices"])
    result = []
    for span in spans_of(vector):
        entry = entry_of(record(span), book)
        if "reading" in span:
            given = dict(span["reading"])
            given["usage"] = Usage(given["usage"]) if "usage" in given else None
            given["identity"] = tuple(given.get("identity", ()))
            reading = Reading(**given)
            entry = Entry(
                span_id=span["id"],
                parent_id=span["parent"],
                start=span["start"],
                end=span["end"],
                emitter=span["scope"],
                reading=reading,
                bill=book.price(reading, at=0),
                failed=span.get("failed", False),
            )
        result.append(entry)
    return result


def orders(entries: list[Entry]) -> Iterator[list[Entry]]:
    if len(entries) <= 5:
        yield from (list(p) for p in permutations(entries))
        return
    rng = random.Random(len(entries))
    count = 40 if len(entries) < 100 else 2
    for _ in range(count):
        shuffled = entries[:]
        rng.shuffle(shuffled)
        yield shuffled
    yield entries[::-1]


def pricer(vector: dict[str, Any]):
    book = VectorBook(vector["prices"])
    return lambda reading, at: book.price(reading, at=at)


def test_the_folder_has_vectors() -> None:
    """An empty folder would make every check below true."""
    assert len(VECTORS) >= 35


@pytest.mark.parametrize("name", VECTORS)
def test_own_costs_hold_in_every_order_and_twice(name: str) -> None:
    """Laws 1 to 7: the charges are those the vector states, whatever the order."""
    vector = VECTORS[name]
    assert set(vector) == KEYS
    assert set(vector["expect"]) <= EXPECT_KEYS
    entries = entries_of(vector)
    for order in orders(entries):
        settlement = settle(order + order[: len(order) // 2], pricer(vector))
        assert vector["expect"]["total"] == settlement.total
        for span_id, (pico, status) in vector["expect"].get("own", {}).items():
            charge = settlement.charges[span_id]
            assert (pico, status) == (charge.pico, charge.status), span_id
        for span_id, reason in vector["expect"].get("reasons", {}).items():
            assert reason == settlement.charges[span_id].reason, span_id


@pytest.mark.parametrize("name", VECTORS)
def test_streamed_charges_add_up_in_every_order(name: str) -> None:
    """Laws 1 and 8: what is written as spans end adds up to the same total."""
    vector = VECTORS[name]
    entries = entries_of(vector)
    for order in orders(entries):
        ledger = TraceLedger(pricer(vector), max_entries=10_000)
        written = sum(ledger.post(entry).charge.pico or 0 for entry in order)
        assert vector["expect"]["total"] == written
        if len(entries) > 1000:
            break


@pytest.mark.parametrize("name", VECTORS)
def test_rollups_and_attributes(name: str) -> None:
    """The root shows the session; spans show their own cost under names of their own."""
    vector = VECTORS[name]
    expect = vector["expect"]
    if any("reading" in span for span in vector["spans"]):
        assert "attributes" not in expect
        return
    accounts: Accounts = account([record(s) for s in spans_of(vector)], VectorBook(vector["prices"]))
    assert len(accounts.sessions) == 1
    session = accounts.sessions[0]
    rollup = session.rollup
    assert expect["total"] == rollup.total
    if "root" in expect:
        assert session.root is not None
        assert expect["root"] == session.root.span_id
        written = accounts.attributes[(TRACE, expect["root"])]
        assert expect["total"] == written["agentcost.session.cost.pico"]
        assert expect["total"] == round(float(written["agentcost.session.cost.total"]) * 1e12)
    actual = {
        "calls": rollup.llm_calls,
        "tokens": [rollup.input_tokens, rollup.output_tokens],
        "unpriced": rollup.unpriced,
        "errors": rollup.errors,
        "failed": rollup.failed,
        "complete": session.complete,
    }
    for key, value in actual.items():
        if key in expect:
            assert expect[key] == value, key
    for span_id, attributes in expect.get("attributes", {}).items():
        written = accounts.attributes[(TRACE, span_id)]
        assert attributes == {k: written.get(k) for k in attributes}
    for span_id, labels in expect.get("labels", {}).items():
        span = next(s for s in vector["spans"] if s["id"] == span_id)
        assert labels == {k: read_labels(span["attributes"], {}).get(k) for k in labels}
