"""Shapes: what was learned from one span never changes how another one is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agentcost.usage import dialects, shapes
from otel_agentcost.usage.dialects import read_span
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.shapes import MAX_KNOWN, MAX_SHAPES, Shapes

FOLDER = Path(__file__).parent / "conformance/usage/dialects"
SPANS: list[dict[str, Any]] = [
    case["given"]
    for path in sorted(FOLDER.glob("*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**60),
    st.floats(),
    st.sampled_from(["", " ", "7", "gpt-4o", "openai", "anthropic", "chat", "execute_tool", "strands-agents", "LLM"]),
    st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=2),
)
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
}


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "SHAPES", Shapes())


def read_afresh(**span: Any) -> Reading | None:
    """Read a span as a process does that has seen nothing yet."""
    learned, dialects.SHAPES = dialects.SHAPES, Shapes()
    try:
        return read_span(**span)
    finally:
        dialects.SHAPES = learned


def told(reading: Reading | None) -> dict[str, str]:
    """Everything a reading says, so that 1 and True and 1.0 are different things."""
    if reading is None:
        return {}
    usage = None if reading.usage is None else sorted(reading.usage.items())
    fields = {name: repr(getattr(reading, name)) for name in Reading.__slots__}
    return {**fields, "context": repr(sorted(reading.context.items())), "usage": repr(usage)}


def test_every_vector_reads_the_same_after_all_of_them_were_read() -> None:
    """Learning is only ever a shorter way: also from spans of other dialects, and in another order."""
    afresh = [read_afresh(**span) for span in SPANS]
    for order in (SPANS, SPANS[::-1], SPANS):
        found = {id(span): read_span(**span) for span in order}
        assert [found[id(span)] for span in SPANS] == afresh


@settings(max_examples=300)
@given(st.data())
def test_a_changed_span_reads_as_if_nothing_had_been_learned(data: st.DataObject) -> None:
    """Any value of any attribute may be odd in the second span, and its name, kind and outcome different."""
    span = data.draw(st.sampled_from(SPANS))
    read_span(**span)
    attributes = dict(span["attributes"])
    for key in data.draw(st.lists(st.sampled_from(sorted(attributes)), max_size=3)) if attributes else ():
        attributes[key] = data.draw(ODD)
    other = {
        **span,
        "attributes": attributes,
        "name": data.draw(st.sampled_from([span["name"], "chat x", "execute_tool x", "claude_code.tool"])),
        "kind": data.draw(st.sampled_from([span["kind"], "server", "internal"])),
        "failed": data.draw(st.booleans()),
        "resource": data.draw(st.sampled_from([span.get("resource", {}), {"telemetry.sdk.name": "openlit"}, {}])),
    }
    expected = told(read_afresh(**other))
    assert told(read_span(**other)) == expected
    assert told(read_span(**other)) == expected


def test_counts_and_ids_are_each_spans_own() -> None:
    """Two calls alike in everything but their numbers and ids are not taken for each other."""
    first = read_span(name="chat", kind="client", scope="s", attributes={**CALL, "gen_ai.response.id": "a"})
    more = {**CALL, "gen_ai.response.id": "b", "gen_ai.usage.input_tokens": 11}
    second = read_span(name="chat", kind="client", scope="s", attributes=more)
    assert first is not None
    assert second is not None
    assert (first.identity, second.identity) == (("a",), ("b",))
    assert (first.billable.input_tokens, second.billable.input_tokens) == (10, 11)


def test_what_is_remembered_is_bounded() -> None:
    """Neither ever new keys nor ever new texts make the memory grow without end."""
    for number in range(2 * MAX_SHAPES):
        read_span(name="chat", kind="client", scope="s", attributes={**CALL, f"k{number}": 1})
    assert len(dialects.SHAPES._shapes) <= MAX_SHAPES
    for number in range(2 * MAX_KNOWN):
        read_span(name="chat", kind="client", scope="s", attributes={**CALL, "gen_ai.request.model": f"m{number}"})
    assert max(len(shape.known) for shape in dialects.SHAPES._shapes.values()) <= MAX_KNOWN + 1
    read_span(name="chat", kind="client", scope="s", attributes={**CALL, **{f"a{n}": 1 for n in range(100)}})
    assert max(len(keys) for _, keys, _ in dialects.SHAPES._shapes) <= shapes.MAX_KEYS


def test_a_context_is_shared_and_therefore_read_only() -> None:
    """A reading that shares its context with others cannot be changed through it."""
    for _ in range(2):
        reading = read_span(name="c", kind="client", scope="s", attributes={**CALL, "server.address": "api.openai.com"})
    assert reading is not None
    assert dict(reading.context)["host"] == "api.openai.com"
    with pytest.raises(TypeError):
        reading.context["host"] = "x"  # type: ignore[index]
