"""Which call records show one and the same billed request (accounting laws 2, 3, 5, 6, 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_agentcost.ledger.entry import Entry
from otel_agentcost.usage.names import model_family
from otel_agentcost.usage.reading import Reading

Totals = tuple[int, int]
"""Inclusive input and output tokens."""

ESTIMATE_TOLERANCE = 0.02
"""Share by which text-estimated counts may differ before a remainder is charged."""


def is_call(entry: Entry) -> bool:
    """Tell whether the entry records a model call (or the re-reading of one)."""
    return entry.reading is not None and entry.reading.kind == "call"


def shows_usage(entry: Entry) -> bool:
    """Tell whether the entry says how much was consumed, or what was billed."""
    reading = entry.reading
    return reading is not None and (
        (reading.status == "usage" and reading.usage is not None) or reading.reported_cost is not None
    )


def is_fetch(entry: Entry) -> bool:
    """Tell whether the entry re-reads a stored response, which consumes nothing."""
    return entry.reading is not None and entry.reading.operation == "fetch_response"


def totals(reading: Reading) -> Totals:
    """Inclusive input and output tokens of a reading."""
    usage = reading.billable
    return usage.input_tokens, usage.output_tokens


def family(reading: Reading) -> str:
    """Model family of a reading: aliases, dates and gateway prefixes removed."""
    name = reading.model or reading.request_model
    return model_family(name) if name else ""


def richness(entry: Entry, nesting: int = 0) -> tuple[object, ...]:
    """Order records of one request: the greatest decides the money.

    A billed figure beats detail (cache, modality, tier, parts), detail beats totals, a record of input and output
    beats one of input alone, an exact count beats an estimate, a caller's record beats the model server's. `nesting` counts the records of the request above it.
    Ties go to the innermost, then the earliest, then the smallest span id, so that every order of arrival elects
    the same record.
    """
    reading = entry.reading
    bill = entry.bill
    if reading is None:
        return (False,)
    usage = reading.billable
    detail = sum(1 for unit, q in usage.items() if q and unit not in ("input_tokens", "output_tokens"))
    detail += len(reading.parts) + len(reading.context)
    return (
        shows_usage(entry),
        reading.reported_by in ("provider", "user") and reading.reported_cost is not None,
        reading.has_both_sides,
        not reading.estimated,
        bill is not None and bill.total is not None,
        not reading.server or (bill is not None and bill.component == "compute"),
        detail,
        usage.input_tokens + usage.output_tokens,
        nesting,
        -entry.start,
        _inverse(entry.span_id),
    )


def _inverse(span_id: str) -> tuple[int, ...]:
    """Sort key that makes the smallest span id the greatest."""
    return tuple(-ord(c) for c in span_id)


def overlap(a: Entry, b: Entry) -> bool:
    """Tell whether two spans share a moment (touching ends do not count, instants inside do)."""
    return (a.start < b.end and b.start < a.end) or (a.start, a.end) == (b.start, b.end)


def may_be_twins(a: Entry, b: Entry) -> bool:
    """Tell whether two sibling calls can be two instrumentations' records of one call (law 5)."""
    if a.emitter == b.emitter or a.reading is None or b.reading is None:
        return False
    if a.reading.identity and b.reading.identity and not set(a.reading.identity) & set(b.reading.identity):
        return False
    if not overlap(a, b):
        return False
    if family(a.reading) != family(b.reading):
        return False
    # A record without usage says nothing against being the twin of one with usage.
    return (not (shows_usage(a) and shows_usage(b)) or totals(a.reading) == totals(b.reading)) and not (
        a.failed != b.failed and shows_usage(a) and shows_usage(b)
    )


def same_request(wrapper: Reading, visible: Sequence[tuple[Reading, Totals]]) -> list[int]:
    """Return which visible inner calls are the wrapper's own request (law 3).

    The same model family, or equal inclusive totals in sum (a router's name over the model it chose). Other inner
    calls are other work.
    """
    if not visible:
        return []
    own = family(wrapper)
    matching = [i for i, (reading, _) in enumerate(visible) if own and family(reading) == own]
    if matching:
        return matching
    everything = add_totals(t for _, t in visible)
    if everything == totals(wrapper) and any(everything):
        return list(range(len(visible)))
    equal = [i for i, (_, t) in enumerate(visible) if t == totals(wrapper) and any(t)]
    if equal:
        return equal
    return [i for i, (reading, _) in enumerate(visible) if not own or not family(reading)]


def add_totals(many: Iterable[Totals]) -> Totals:
    """Add input and output tokens."""
    tokens_in = tokens_out = 0
    for i, o in many:
        tokens_in += i
        tokens_out += o
    return tokens_in, tokens_out


def remainder(shown: Totals, covered: Totals, *, estimated: bool) -> Totals:
    """Return what `shown` has beyond `covered`, per input and output, never below zero.

    With estimated counts on either side a difference within the tolerance is no remainder.
    """
    left = [max(0, s - c) for s, c in zip(shown, covered, strict=True)]
    if estimated:
        left = [0 if d <= s * ESTIMATE_TOLERANCE else d for d, s in zip(left, shown, strict=True)]
    return left[0], left[1]
