"""The words of docs/accounting.md as functions of one span, for the oracle; no word knows of other spans."""

from __future__ import annotations

from collections.abc import Iterable

from otel_agentcost.ledger.entry import Entry
from otel_agentcost.usage.names import model_family
from otel_agentcost.usage.reading import Usage

Verdict = tuple["int | None", str]
"""Pico-units, or None when nothing may be claimed; and the status."""
Request = frozenset[str]
"""Span ids that show one request."""

STATUS = {"priced": "", "provider_reported": "", "not_billed": "free"}
"""Status of a span that is charged its own bill, where it differs from the bill's."""


def kind(entry: Entry) -> str:
    return entry.reading.kind if entry.reading is not None else ""


def mode(entry: Entry) -> str:
    return entry.reading.aggregate if entry.reading is not None else ""


def fetches(entry: Entry) -> bool:
    return entry.reading is not None and entry.reading.operation == "fetch_response"


def shows_usage(entry: Entry) -> bool:
    reading = entry.reading
    if reading is None:
        return False
    return reading.reported_cost is not None or (reading.usage is not None and reading.status == "usage")


def carries_usage(entry: Entry) -> bool:
    return kind(entry) == "aggregate" and shows_usage(entry)


def estimated(entry: Entry) -> bool:
    return entry.reading is not None and entry.reading.estimated


def knows_output(entry: Entry) -> bool:
    return entry.reading is None or entry.reading.has_both_sides


def ids(entry: Entry) -> set[str]:
    return set(entry.reading.identity) if entry.reading is not None else set()


def agent(entry: Entry) -> str:
    return entry.agent or (entry.reading.agent if entry.reading is not None else None) or ""


def tokens(entry: Entry) -> tuple[int, int]:
    usage = entry.reading.billable if entry.reading is not None else Usage()
    return (usage.input_tokens, usage.output_tokens)


def family(entry: Entry) -> str:
    assert entry.reading is not None
    name = entry.reading.model or entry.reading.request_model
    return model_family(name) if name else ""


def has_price(entry: Entry) -> bool:
    return entry.bill is not None and entry.bill.total is not None


def in_compute(entry: Entry) -> bool:
    return entry.bill is not None and entry.bill.component == "compute"


def own_bill(entry: Entry) -> Verdict:
    if entry.bill is None:
        return (None, "")
    status = STATUS.get(entry.bill.status, entry.bill.status)
    half = not status and not knows_output(entry) and entry.bill.source != "provider"
    return (entry.bill.total, "partial" if half else status)


def says_more(entry: Entry) -> tuple[object, ...]:
    billed = entry.bill.total if has_price(entry) and entry.bill is not None else -1
    return (entry.reading is not None, billed, len(entry.reading.billable) if entry.reading is not None else 0)


def may_be_twins(a: Entry, b: Entry) -> bool:
    assert a.reading is not None
    assert b.reading is not None
    if a.emitter == b.emitter or (ids(a) and ids(b) and not ids(a) & ids(b)):
        return False
    together = (a.start < b.end and b.start < a.end) or (a.start, a.end) == (b.start, b.end)
    if shows_usage(a) and shows_usage(b):
        sides = 2 if knows_output(a) and knows_output(b) else 1
        return together and tokens(a)[:sides] == tokens(b)[:sides] and a.failed == b.failed
    return together


def is_weaker(inner: Entry, outer: Entry) -> bool:
    assert inner.reading is not None
    assert outer.reading is not None
    if shows_usage(inner) != shows_usage(outer):
        return shows_usage(outer)
    if knows_output(inner) != knows_output(outer):
        return knows_output(outer)
    if inner.reading.estimated != outer.reading.estimated:
        return inner.reading.estimated
    if inner.reading.server and not outer.reading.server:
        return not in_compute(inner)
    return has_price(outer) and not has_price(inner)


def is_same_fee(outer: Entry, inner: Entry) -> bool:
    assert outer.reading is not None
    assert inner.reading is not None
    different = ids(outer) and ids(inner) and not ids(outer) & ids(inner)
    same = (outer.reading.kind, outer.reading.tool) == (inner.reading.kind, inner.reading.tool)
    return same and inner.bill is not None and not different


def add(many: Iterable[tuple[int, int]]) -> tuple[int, int]:
    pairs = list(many)
    return (sum(i for i, _ in pairs), sum(o for _, o in pairs))


def rest(total: tuple[int, int], explained: tuple[int, int], guess: bool) -> tuple[int, int]:
    left = [max(0, t - e) for t, e in zip(total, explained, strict=True)]
    if guess:
        left = [0 if 50 * part <= whole else part for part, whole in zip(left, total, strict=True)]
    return (left[0], left[1])


def distinct(requests: Iterable[Request]) -> list[Request]:
    return list(dict.fromkeys(requests))
