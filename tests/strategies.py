"""Hypothesis strategies for spans of one trace: nested and sibling calls, wrappers, aggregates, tools, duplicates."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from otel_agentcost.ledger.entry import Entry
from otel_agentcost.pricing.bill import Bill, LineItem, Rate
from otel_agentcost.usage.reading import Reading, Usage

MODELS = ("gpt-4o", "gpt-4o-2024-08-06", "claude-sonnet-4-5", "router/auto")
EMITTERS = ("scope-a", "scope-b", "scope-c")


def toy_price(reading: Reading, at: int) -> Bill | None:
    """3 pico an input token, 5 an output token, 7 a tool call: round numbers a reader can add up."""
    usage = reading.billable
    items = []
    for unit, pico in (("input_tokens", 3), ("output_tokens", 5), ("tool_calls", 7)):
        quantity = usage.get(unit, 0)
        if quantity:
            items.append(LineItem(unit, quantity, Rate(str(pico), 10**12), int(quantity) * pico))
    return Bill(status="priced", total=sum(i.pico for i in items), items=tuple(items), source="book", price_id="toy")


@dataclass(frozen=True)
class Shape:
    """One span to be: the index of its parent, and what it tells."""

    parent: int
    kind: str
    model: str
    tokens: tuple[int, int]
    emitter: str
    identity: str
    window: tuple[int, int]


shapes = st.builds(
    Shape,
    parent=st.integers(-1, 12),
    kind=st.sampled_from(["call", "call", "call", "aggregate", "tool", "plain", "plain", "fetch", "silent"]),
    model=st.sampled_from(MODELS),
    tokens=st.sampled_from([(10, 2), (10, 2), (20, 4), (7, 0), (100, 50)]),
    emitter=st.sampled_from(EMITTERS),
    identity=st.sampled_from(["", "", "", "r1", "r2", "r3"]),
    window=st.sampled_from([(0, 10), (2, 4), (5, 9), (0, 100)]),
)


def entries_of(many: list[Shape], *, lost_parents: bool = True) -> list[Entry]:
    """Turn shapes into entries; a parent index past the end is a span that was never exported."""
    result = []
    for i, shape in enumerate(many):
        parent = ""
        if 0 <= shape.parent < i:
            parent = f"s{shape.parent:02d}"
        elif shape.parent > i and lost_parents:
            parent = f"lost{shape.parent}"
        reading = _reading(shape)
        result.append(
            Entry(
                span_id=f"s{i:02d}",
                parent_id=parent,
                start=shape.window[0],
                end=shape.window[1],
                emitter=shape.emitter,
                reading=reading,
                bill=toy_price(reading, 0) if reading is not None and shape.kind != "silent" else None,
            )
        )
    return result


def _reading(shape: Shape) -> Reading | None:
    if shape.kind == "plain":
        return None
    if shape.kind == "tool":
        return Reading(kind="tool", usage=Usage(tool_calls=1), tool=shape.model)
    identity = (shape.identity,) if shape.identity else ()
    usage = Usage(input_tokens=shape.tokens[0], output_tokens=shape.tokens[1])
    if shape.kind == "aggregate":
        return Reading(kind="aggregate", usage=usage, model=shape.model)
    if shape.kind == "silent":
        return Reading(kind="call", status="no_usage", model=shape.model, identity=identity)
    operation = "fetch_response" if shape.kind == "fetch" else "chat"
    return Reading(kind="call", usage=usage, model=shape.model, identity=identity, operation=operation)


traces = st.lists(shapes, min_size=1, max_size=14)
