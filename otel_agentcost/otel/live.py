"""Find the running ledger of a span, for `session.cost()`: no registry, the span's own provider knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.trace import Span

from otel_agentcost.pricing.money import Money


def live_total(span: Span, session_id: str) -> Money | None:
    """Return the cost so far of the session a span belongs to; None where no ledger sees the span."""
    for processor in _processors(getattr(span, "_span_processor", None)):
        ask = getattr(processor, "live_total", None)
        if callable(ask):
            total = ask(span.get_span_context().trace_id, session_id)
            return total if isinstance(total, Money) else None
    return None


def _processors(processor: Any) -> Iterator[Any]:
    """Walk a span's processors: the SDK keeps a group of them, and groups may stand in groups."""
    if processor is None:
        return
    yield processor
    for inner in getattr(processor, "_span_processors", ()):
        yield from _processors(inner)
