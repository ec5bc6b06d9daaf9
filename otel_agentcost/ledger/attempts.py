"""Several readings of one span: attempts of one SDK call, or the span's own words beside the exact exchange (law 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from otel_agentcost.pricing.bill import Bill, LineItem
from otel_agentcost.usage.reading import Part, Reading


def distinct(readings: Sequence[Reading]) -> list[Reading]:
    """Keep each billed request once (the later record of an id wins); attempts without usage only if none has any."""
    with_usage = [r for r in readings if r.usage is not None and r.status == "usage"]
    if not with_usage:
        return [readings[-1]] if readings else []
    kept: list[Reading] = []
    for reading in with_usage:
        same = [i for i, k in enumerate(kept) if set(k.identity) & set(reading.identity)]
        if same:
            kept[same[0]] = reading
        else:
            kept.append(reading)
    return kept


def strongest(own: Reading | None, seen: Sequence[Reading]) -> list[Reading]:
    """Choose between what a span says and the exchanges seen while it was open.

    An exchange that carried usage is exact and wins; without one the span's own figures stand.
    """
    exact = distinct(seen)
    if exact and (own is None or exact[0].status == "usage" or own.usage is None):
        if own is None:
            return exact
        return [replace(r, agent=r.agent or own.agent, identity=_joined(r, own)) for r in exact]
    return [own] if own is not None else []


def _joined(exact: Reading, own: Reading) -> tuple[str, ...]:
    return exact.identity if exact.identity else own.identity


def combined(readings: Sequence[Reading], bills: Sequence[Bill | None]) -> tuple[Reading, Bill | None]:
    """Make one reading and one bill of several billed attempts: quantities and money add up."""
    if len(readings) == 1:
        return readings[0], bills[0]
    usage = readings[0].billable
    parts: list[Part] = []
    identity: list[str] = []
    for i, reading in enumerate(readings):
        usage = usage + reading.billable if i else usage
        parts.extend(reading.parts or (Part(model=reading.model, usage=reading.billable),))
        identity.extend(n for n in reading.identity if n not in identity)
    last = replace(
        readings[-1],
        usage=usage,
        parts=tuple(parts),
        identity=tuple(identity),
        reported_cost=None,
        reported_by="",
        estimated=any(r.estimated for r in readings),
    )
    return last, _sum([b for b in bills if b is not None])


def _sum(bills: Sequence[Bill]) -> Bill | None:
    priced = [b for b in bills if b.total is not None]
    if not priced:
        return bills[-1] if bills else None
    items: list[LineItem] = []
    reasons: list[str] = []
    for bill in bills:
        items.extend(bill.items)
        reasons.extend(r for r in bill.reasons if r not in reasons)
    itemised = all(b.items or not b.total for b in priced)
    complete = len(priced) == len(bills) and not any(b.status == "partial" for b in bills)
    guessed = any(b.status == "estimated" for b in bills)
    return replace(
        priced[-1],
        status="partial" if not complete else "estimated" if guessed else priced[-1].status,
        total=sum(b.total for b in priced if b.total is not None),
        items=tuple(items) if itemised else (),
        reasons=tuple(reasons),
    )
