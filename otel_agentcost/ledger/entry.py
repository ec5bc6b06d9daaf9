"""Entry and Charge: what a span brings to the ledger, and what the ledger lets it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from otel_agentcost.pricing.bill import Bill
from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.records import maker

SpanId: TypeAlias = Any
"""A span's id (or a trace's): hexadecimal text, or the integer itself where making text would cost more than a lookup.
All ids of one ledger are of one kind; both order alike, because the text has a fixed width."""


def span_text(span_id: SpanId) -> str:
    """Write a span id the way traces are shown: 16 hexadecimal digits."""
    return f"{span_id:016x}" if isinstance(span_id, int) else str(span_id)


ChargeStatus = Literal[
    "",
    "partial",
    "unpriced",
    "free",
    "estimated",
    "mirror",
    "aggregate",
    "remainder",
    "correction",
    "invalid",
]
"""The value of `agentcost.cost.status`; empty when the span is simply priced."""

Pricer = Callable[[Reading, int], "Bill | None"]
"""Price a reading at a time (unix ns). None: nobody charges for such a thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ended span as the ledger sees it. `bill` is what it would cost if nothing else showed the same request."""

    span_id: SpanId
    parent_id: SpanId = ""
    """Empty for a root. A parent that never arrives makes this entry an orphan (accounting law 4)."""
    start: int
    end: int
    """Unix nanoseconds."""
    emitter: str = ""
    """Instrumentation scope name: who says so."""
    reading: Reading | None = None
    bill: Bill | None = None
    """None for a span nobody charges for (a plain span, a tool without a fee)."""
    failed: bool = False
    agent: str = ""
    window: float = 0.0
    """Share of the model's context window in use, 0 where unknown."""
    remote_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one span adds to the total: its bill, or 0 for a mirror, or a remainder, or a correction."""

    pico: int | None
    """Pico-units; None when no cost may be claimed. Negative only for a correction."""
    status: ChargeStatus = ""
    reason: str = ""
    bill: Bill | None = None
    """The bill behind the figure, for line items, source and price id."""
    usage: Usage | None = None
    """Inclusive usage this charge stands for; None for a mirror."""
    currency: str = "USD"

    @property
    def source(self) -> str:
        """provider, user, book or estimated; empty when nothing is claimed."""
        return self.bill.source if self.bill is not None and self.pico is not None else ""

    @property
    def counts(self) -> bool:
        """Tell whether this span stands for a request of its own (mirrors do not)."""
        return self.status not in ("mirror", "aggregate")


new_entry = maker(Entry)
new_charge = maker(Charge)

_UNCHARGED = Charge(pico=None)
_STATUS_OF_BILL: dict[str, ChargeStatus] = {
    "priced": "",
    "provider_reported": "",
    "estimated": "estimated",
    "partial": "partial",
    "free": "free",
    "not_billed": "free",
    "unpriced": "unpriced",
    "invalid": "invalid",
}


def charge_in_full(entry: Entry) -> Charge:
    """Charge a span its own bill."""
    bill, reading = entry.bill, entry.reading
    if bill is None:
        return new_charge(pico=None, usage=reading.usage if reading is not None else None)
    status, reason = _STATUS_OF_BILL[bill.status], bill.reason
    if not status and reading is not None and not reading.has_both_sides and bill.source != "provider":
        status, reason = "partial", "output_not_reported"
    return new_charge(
        pico=bill.total,
        status=status,
        reason=reason,
        bill=bill,
        usage=reading.usage if reading is not None else None,
        currency=bill.currency,
    )


def mirror_of(other: Entry, *, status: ChargeStatus = "mirror") -> Charge:
    """Charge nothing, because `other` shows the same request."""
    return new_charge(pico=0, status=status, reason=f"mirror_of:{span_text(other.span_id)}")
