"""The documented rules by which other systems turn spans into a figure, as small functions over the same spans.

A peer is named by the rule its own documentation, source or issue states (the `source` beside each); nothing else is
claimed about it. Every rule of adding up is given *our* reading and *our* price of every span, so it is seen at its
best: what differs is only which spans it adds. The rules of arithmetic in the second part get one span's attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from otel_agentcost.ledger.entry import Entry

Rule = Callable[[Sequence[Entry]], int]


@dataclass(frozen=True)
class Peer:
    """A rule, who states it, and where."""

    name: str
    states: str
    source: str
    total: Rule


def cost(entry: Entry) -> int:
    """What the span would cost if it stood alone; nothing where it has no price."""
    return entry.bill.total if entry.bill is not None and entry.bill.total is not None else 0


def shows_data(entry: Entry) -> bool:
    """Tell whether a span carries usage or money of a model."""
    reading = entry.reading
    return reading is not None and reading.kind in ("call", "aggregate") and reading.usage is not None


def is_model_call(entry: Entry) -> bool:
    """Tell whether a span is of the LLM kind."""
    return entry.reading is not None and entry.reading.kind == "call"


def fees(entries: Iterable[Entry]) -> int:
    """What tools and APIs cost: no rule below says anything about them, so all get them."""
    return sum(cost(e) for e in entries if e.reading is not None and e.reading.kind in ("tool", "api", "compute"))


def sum_of_everything(entries: Sequence[Entry]) -> int:
    """Add up every span that has a cost."""
    return sum(cost(e) for e in entries)


def sum_of_model_calls(entries: Sequence[Entry]) -> int:
    """Add up spans of the LLM kind, whatever stands above or below them."""
    return sum(cost(e) for e in entries if is_model_call(e)) + fees(entries)


def sum_without_agent_operations(entries: Sequence[Entry]) -> int:
    """Add up everything except spans whose operation is `invoke_agent` or `agent_step`."""
    gated = ("invoke_agent", "agent_step")
    return sum(cost(e) for e in entries if e.reading is None or e.reading.operation not in gated)


def topmost_with_data(entries: Sequence[Entry]) -> int:
    """Walk down from the roots; the first span on the way that has data speaks for everything below it.

    A span whose parent is missing is a root of its own.
    """
    known = {e.span_id for e in entries}
    below: dict[str, list[Entry]] = {}
    for entry in entries:
        below.setdefault(entry.parent_id if entry.parent_id in known else "", []).append(entry)
    total, stack, seen = fees(entries), list(below.get("", ())), set[str]()
    while stack:
        entry = stack.pop()
        if entry.span_id in seen:
            continue
        seen.add(entry.span_id)
        if shows_data(entry):
            total += cost(entry)
        else:
            stack.extend(below.get(entry.span_id, ()))
    return total


def flag_of_the_trace(entries: Sequence[Entry]) -> int:
    """Once any model call of the trace has usage, spans of agents are not priced; everything else is added up."""
    flag = any(is_model_call(e) and shows_data(e) for e in entries)
    return sum(cost(e) for e in entries if not (flag and e.reading is not None and e.reading.kind == "aggregate"))


def walk_over_open_parents(entries: Sequence[Entry]) -> int:
    """Each call that ends adds its cost to the ancestors that are open at that moment: what the root holds."""
    by_id = {e.span_id: e for e in entries}
    roots = [e for e in entries if e.parent_id not in by_id]
    if not roots:
        return 0
    root = min(roots, key=lambda e: (e.parent_id != "", e.start, e.span_id))
    total = 0
    for entry in entries:
        if not (is_model_call(entry) or (entry.reading is not None and entry.reading.kind in ("tool", "api"))):
            continue
        here, steps = entry, 0
        while here.parent_id in by_id and here is not root and steps < len(entries):
            here, steps = by_id[here.parent_id], steps + 1
        if here is root and entry.end <= root.end:
            total += cost(entry)
    return total


PEERS = (
    Peer(
        "sum of all spans",
        "the total of a trace or dashboard is the sum over every span with a cost",
        "OpenLIT dashboards `SUM(gen_ai.usage.cost)`; AgentOps `sum()` over all spans; Opik trace total; "
        "harness-sdk#1267, opik#4695, pydantic-ai#3995",
        sum_of_everything,
    ),
    Peer(
        "LLM kind only",
        "only spans of the LLM kind are priced, and added up",
        "Phoenix `should_calculate_span_cost`; MLflow over OTLP (AGENT not priced); traceroot#1480",
        sum_of_model_calls,
    ),
    Peer(
        "all but agent operations",
        "spans with the operation `invoke_agent` or `agent_step` have no model, usage or cost; the rest is summed",
        "Langfuse PR #14808",
        sum_without_agent_operations,
    ),
    Peer(
        "topmost with data",
        "walking down from the root, the first span with data speaks for all below it",
        "MLflow 3.18 `tracing/utils/__init__.py:_aggregate_from_nodes`",
        topmost_with_data,
    ),
    Peer(
        "flag of the trace",
        "agent spans are not priced once the trace has model usage; all others are summed",
        "genai-otel-instrument 1.42.0 `CostEnrichingSpanExporter`",
        flag_of_the_trace,
    ),
    Peer(
        "open parents",
        "a call adds its figures to the ancestors that are open in the same process when it ends",
        "Logfire `_internal/tracer.py:213-236`",
        walk_over_open_parents,
    ),
)


Rates = dict[str, float]
"""USD per million tokens: input, cached, output."""


@dataclass(frozen=True)
class Shortcut:
    """A rule of arithmetic: what it makes of one span's attributes, in USD."""

    name: str
    source: str
    cost: Callable[[dict[str, Any], Rates], float]


def _usage(attributes: dict[str, Any]) -> tuple[int, int, int, int]:
    read = ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read")
    cached = next((attributes[k] for k in read if k in attributes), 0)
    tokens_in = attributes.get("gen_ai.usage.input_tokens", attributes.get("llm.token_count.prompt", 0))
    tokens_out = attributes.get("gen_ai.usage.output_tokens", attributes.get("llm.token_count.completion", 0))
    detail = ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning")
    reasoning = next((attributes[k] for k in detail if k in attributes), 0)
    return tokens_in, cached, tokens_out, reasoning


def without_cache(attributes: dict[str, Any], rates: Rates) -> float:
    """Prompt times price plus completion times price."""
    tokens_in, _, tokens_out, _ = _usage(attributes)
    return (tokens_in * rates["input"] + tokens_out * rates["output"]) / 1e6


def cached_on_top(attributes: dict[str, Any], rates: Rates) -> float:
    """Input at its full price and cached input once more, as if the two were disjoint."""
    return without_cache(attributes, rates) + _usage(attributes)[1] * rates["cached"] / 1e6


def subtract_and_clamp(attributes: dict[str, Any], rates: Rates) -> float:
    """What was not cached is input less cached, and never below zero, even where the input was exclusive."""
    tokens_in, cached, tokens_out, _ = _usage(attributes)
    fresh = max(0, tokens_in - cached)
    return (fresh * rates["input"] + cached * rates["cached"] + tokens_out * rates["output"]) / 1e6


def nothing_uncached_is_nothing(attributes: dict[str, Any], rates: Rates) -> float:
    """No uncached input and no output: no cost."""
    tokens_in, cached, tokens_out, _ = _usage(attributes)
    return subtract_and_clamp(attributes, rates) if tokens_in - cached or tokens_out else 0.0


def reasoning_on_top(attributes: dict[str, Any], rates: Rates) -> float:
    """Reasoning tokens are added to the output they are part of."""
    return subtract_and_clamp(attributes, rates) + _usage(attributes)[3] * rates["output"] / 1e6


SHORTCUTS = {
    "without_cache": Shortcut("prompt x price + completion x price", "AgentOps collector transform", without_cache),
    "cached_on_top": Shortcut("cached input is added to inclusive input", "litellm#9812, Agenta#5711", cached_on_top),
    "subtract_and_clamp": Shortcut(
        "input less cached, clamped at 0", "langsmith-sdk#2519; Phoenix `calculate_details`", subtract_and_clamp
    ),
    "nothing_uncached_is_nothing": Shortcut(
        "all cached and no output costs nothing", "genai-otel-instrument 1.42.0", nothing_uncached_is_nothing
    ),
    "reasoning_on_top": Shortcut("reasoning is added to output", "langfuse#11244", reasoning_on_top),
}
