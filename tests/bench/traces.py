"""Traces: what an agent's session looks like, made of real SDK spans.

session > turn > 8 steps > a model call (20 attributes) and two tools; about 8.4 attributes a span
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

from tests.bench.floors import ATTRIBUTES_20

MODELS = (
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
)
STEPS = 8
TOOLS = ("web_search", "read_file")

Event = tuple[bool, Span]
"""True when the span starts, False when it ends."""


def call_attributes(number: int) -> dict[str, Any]:
    """The 20 attributes of a model call; every call has an id of its own."""
    provider, asked, answered = MODELS[number % len(MODELS)]
    return {
        **ATTRIBUTES_20,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": asked,
        "gen_ai.response.model": answered,
        "gen_ai.response.id": f"chatcmpl-{number:024d}",
        "gen_ai.usage.input_tokens": 1500 + number % 700,
        "gen_ai.usage.output_tokens": 100 + number % 300,
    }


def tool_attributes(number: int) -> dict[str, Any]:
    """The attributes of a tool call."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": TOOLS[number % 2],
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": f"call_{number:024d}",
    }


def plain_attributes(number: int) -> dict[str, Any]:
    """The attributes of a database span, as its instrumentation writes them."""
    return {
        "db.system.name": "postgresql",
        "db.namespace": "orders",
        "db.operation.name": "SELECT",
        "db.collection.name": "customers",
        "db.query.text": "SELECT name, city FROM customers WHERE id = $1",
        "server.address": "db.internal",
        "server.port": 5432,
        "app.row": number,
    }


class Session:
    """Make spans in the order an agent makes them; `visit(True, span)` at each start, with False at each end."""

    def __init__(self, provider: TracerProvider, visit: Callable[[bool, Span], object], *, marked: bool) -> None:
        self._tracer = provider.get_tracer("bench.agent", "1")
        self._visit = visit
        self._marked = marked
        self._made = 0

    def _start(self, name: str, parent: Span | None, kind: SpanKind, attributes: dict[str, Any]) -> Span:
        context = trace.set_span_in_context(parent) if parent is not None else Context()
        span = self._tracer.start_span(name, context=context, kind=kind, attributes=attributes)
        self._made += 1
        self._visit(True, span)  # type: ignore[arg-type]
        return span  # type: ignore[return-value]

    def _end(self, span: Span) -> None:
        span.end()
        self._visit(False, span)

    def _inner(self, name: str, parent: Span, number: int) -> Span:
        attributes: dict[str, Any] = {"app.step.name": name, "app.step.number": number, "app.step.try": 1}
        if self._marked:
            attributes["agentcost.kind"] = "step"
        return self._start(name, parent, SpanKind.INTERNAL, attributes)

    def run(self, spans: int) -> None:
        """Make one session of so many spans."""
        self._made = 0
        root = self._start("session", None, SpanKind.INTERNAL, {"session.id": "bench-1", "app.user": "u-77"})
        turns = 0
        while self._made < spans:
            turn = self._inner("turn", root, turns)
            turns += 1
            for step_number in range(STEPS):
                if self._made >= spans:
                    break
                step = self._inner("step", turn, step_number)
                for place in range(3):
                    if self._made >= spans:
                        break
                    self._leaf(place, step)
                self._end(step)
            self._end(turn)
        self._end(root)

    def _leaf(self, place: int, step: Span) -> None:
        number = self._made
        if place == 0:
            leaf = self._start("chat gpt-4o", step, SpanKind.CLIENT, call_attributes(number))
        else:
            tool = tool_attributes(number)
            leaf = self._start(f"execute_tool {tool['gen_ai.tool.name']}", step, SpanKind.INTERNAL, tool)
        self._end(leaf)


def recorded(spans: int, *, marked: bool = False, sessions: int = 1) -> list[Event]:
    """Make sessions without any processor and return their starts and ends in order."""
    events: list[Event] = []
    provider = TracerProvider(shutdown_on_exit=False)
    for _ in range(sessions):
        Session(provider, lambda starts, span: events.append((starts, span)), marked=marked).run(spans)
    return events


def plain(spans: int) -> list[Event]:
    """A trace of spans that have nothing to do with models."""
    events: list[Event] = []
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("bench.db", "1")
    root: Any = tracer.start_span("GET /orders", context=Context(), kind=SpanKind.SERVER)
    events.append((True, root))
    context = trace.set_span_in_context(root)
    for number in range(spans - 1):
        attributes = plain_attributes(number)
        span: Any = tracer.start_span("SELECT customers", context=context, kind=SpanKind.CLIENT, attributes=attributes)
        events.append((True, span))
        span.end()
        events.append((False, span))
    root.end()
    events.append((False, root))
    return events


def taking_turns(sessions: int, calls: int) -> tuple[list[Event], list[Event]]:
    """The starts of so many session roots, and model calls below them, one session after the other."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("bench.agent", "1")
    roots: list[Any] = [tracer.start_span("session", context=Context()) for _ in range(sessions)]
    events: list[Event] = []
    for number in range(calls):
        context = trace.set_span_in_context(roots[number % sessions])
        attributes = call_attributes(number)
        span: Any = tracer.start_span("chat gpt-4o", context=context, kind=SpanKind.CLIENT, attributes=attributes)
        events.append((True, span))
        span.end()
        events.append((False, span))
    return [(True, root) for root in roots], events


def play(processor: SpanProcessor, events: list[Event]) -> None:
    """Call a processor as the SDK does, and nothing else."""
    start, ending, end = processor.on_start, processor._on_ending, processor.on_end
    for starts, span in events:
        if starts:
            start(span, None)
        else:
            ending(span)
            end(span)


def spans_of(events: list[Event]) -> Iterator[Span]:
    """The spans of recorded events, each once, in the order of their ends."""
    return (span for starts, span in events if not starts)
