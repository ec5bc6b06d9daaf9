"""Captured spans are what a backend would have received, not what the span objects became later."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer

from otel_agentcost.testing import CapturedSpans, CountingIds, TickingClock
from otel_agentcost.testing.spans import read_payload


@pytest.fixture
def spans() -> CapturedSpans:
    return CapturedSpans()


@pytest.fixture
def tracer(spans: CapturedSpans) -> Tracer:
    provider = TracerProvider(id_generator=CountingIds(), resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(spans.processor())
    return provider.get_tracer("my.scope")


def test_attributes_written_after_the_export_are_not_seen(spans: CapturedSpans, tracer: Tracer) -> None:
    """The snapshot is taken at export: a later private write reaches no backend."""
    span = tracer.start_span("call", attributes={"kept": 1})
    span.end()
    late = span._attributes  # type: ignore[attr-defined]
    late._immutable = False
    late["late"] = True

    assert spans.find("call").attributes == {"kept": 1}


def test_a_span_reads_back_whole(spans: CapturedSpans, tracer: Tracer) -> None:
    """Kind, times, typed attributes, events, links, status and scope survive the wire."""
    with TickingClock(start=50, step=1).driving_sdk():
        other = tracer.start_span("other")
        link = Link(other.get_span_context())
        with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, links=[link]) as span:
            span.set_attributes({"text": "a", "flag": True, "count": 7, "cost": 0.5, "list": ["x", "y"]})
            span.add_event("noted", {"n": 1})
            span.set_status(Status(StatusCode.ERROR, "went wrong"))

    assert {
        "name": "call",
        "kind": "client",
        "trace_id": f"{2:032x}",
        "span_id": f"{2:016x}",
        "parent_id": "",
        "start": 51,
        "end": 53,
        "scope": "my.scope",
        "attributes": {"text": "a", "flag": True, "count": 7, "cost": 0.5, "list": ["x", "y"]},
        "status": "error",
        "message": "went wrong",
        "events": [{"name": "noted", "time": 52, "attributes": {"n": 1}}],
        "links": [[f"{1:032x}", f"{1:016x}"]],
    } == spans.find("call").as_dict()
    assert spans.find("call").resource["service.name"] == "shop"


def test_the_tree_shows_parents_first_and_siblings_by_start(spans: CapturedSpans, tracer: Tracer) -> None:
    """Order of export does not matter for the tree."""
    with tracer.start_as_current_span("session"):
        with tracer.start_as_current_span("agent"), tracer.start_as_current_span("chat"):
            pass
        with tracer.start_as_current_span("tool"):
            pass

    assert str(spans.tree()) == "session\n  agent\n    chat\n  tool"
    assert [span.name for span in spans.tree()] == ["session", "agent", "chat", "tool"]
    assert [span["name"] for span in spans.as_dicts()] == ["session", "agent", "chat", "tool"]
    assert [span.name for span in spans.spans] == ["chat", "agent", "tool", "session"]
    assert spans.root().name == "session"


def test_a_span_without_captured_parent_is_a_root(spans: CapturedSpans, tracer: Tracer) -> None:
    """A trace whose root was not exported is still shown."""
    parent = tracer.start_span("never ends")
    from opentelemetry.trace import set_span_in_context

    tracer.start_span("orphan", context=set_span_in_context(parent)).end()

    assert spans.root().name == "orphan"


def test_looking_for_what_is_not_there_says_what_is(spans: CapturedSpans, tracer: Tracer) -> None:
    """find, root and tree raise LookupError with the names that were captured."""
    with pytest.raises(LookupError, match="none at all"):
        spans.find("call")
    for _ in range(2):
        tracer.start_span("call").end()

    with pytest.raises(LookupError, match="2 spans are named 'call'"):
        spans.find("call")
    with pytest.raises(LookupError, match="captured: call"):
        spans.find("chat")
    with pytest.raises(LookupError, match="2 roots: call, call"):
        spans.root()
    with pytest.raises(LookupError, match="2 trees"):
        spans.tree()


def test_payloads_are_the_requests_on_the_wire(spans: CapturedSpans, tracer: Tracer) -> None:
    """Whatever would leave the process is in the payload bytes, and they can be parsed again."""
    tracer.start_span("call", attributes={"secret": "sk-very-secret"}).end()

    assert len(spans.payloads) == 1
    assert b"sk-very-secret" in spans.payloads[0]
    assert [span.name for span in spans.spans] == [span.name for span in read_payload(spans.payloads[0])]
    spans.clear()
    assert spans.payloads == ()
