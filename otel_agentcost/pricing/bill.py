"""Bill: priced line items plus what could not be priced and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from otel_agentcost.pricing.money import PICO, decimal_text, divide_half_even
from otel_agentcost.usage.reading import Quantity
from otel_agentcost.usage.units import UNITS

BillStatus = Literal["priced", "estimated", "partial", "provider_reported", "free", "not_billed", "unpriced", "invalid"]
"""priced: every unit has its rate. estimated: a labelled guess took part. partial: something has no rate of its own.
provider_reported: the figure is the provider's. free: surely costs nothing. not_billed: the request failed unbilled.
unpriced: no cost is claimed. invalid: the usage contradicts itself. Only the first five (and not_billed: 0) have a
total."""

Source = Literal["", "provider", "user", "book", "estimated"]


@dataclass(frozen=True, slots=True)
class Rate:
    """Price of one unit: `price` (decimal text) per `per` units, times an exact fraction."""

    price: str
    per: int
    factor_num: int = 1
    factor_den: int = 1
    note: str = ""
    """Which rule chose it, e.g. `tier>200000`, `processing=batch`, `x1.1 region=us`, `discount 10%`."""

    def cost(self, quantity: Quantity) -> int:
        """Return pico-units for a quantity: one half-even rounding (accounting law 10)."""
        price_num, price_den = _ratio(self.price)
        qty_num, qty_den = quantity.as_integer_ratio()
        return divide_half_even(
            qty_num * price_num * PICO * self.factor_num, qty_den * price_den * self.per * self.factor_den
        )


def _ratio(price: str) -> tuple[int, int]:
    from fractions import Fraction

    fraction = Fraction(price)
    return fraction.numerator, fraction.denominator


class LineItem(NamedTuple):
    """unit x quantity x rate = money, in pico-units. A named tuple: a bill has several, on the hot path."""

    unit: str
    quantity: Quantity
    rate: Rate
    pico: int
    model: str = ""

    @property
    def component(self) -> str:
        """Rollup bucket of the unit: llm, tool, api or compute."""
        return UNITS[self.unit].component

    @property
    def detail(self) -> str:
        """Name of the attribute `agentcost.cost.<detail>` for the unit."""
        return UNITS[self.unit].detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one reading costs, and why."""

    status: BillStatus
    total: int | None
    """Pico-units, or None when no cost may be claimed (unpriced, invalid)."""
    items: tuple[LineItem, ...] = ()
    reasons: tuple[str, ...] = ()
    """Machine-readable: `no_rate:<unit>`, `unknown_model`, `unknown_tier:turbo`, `stream_without_usage` ..."""
    source: Source = ""
    price_id: str = ""
    """Book version + entry, e.g. `2026-11-20/openai/gpt-5#default`."""
    currency: str = "USD"
    component: str = "llm"
    """Bucket for money without line items (a provider-reported figure)."""
    notes: tuple[str, ...] = field(default=())
    """For `agentcost explain`: what was matched, chosen, skipped, in order."""

    @property
    def reason(self) -> str:
        """All reasons in one attribute value."""
        return ",".join(self.reasons)

    @property
    def text(self) -> str | None:
        """The total as a decimal string, or None."""
        return None if self.total is None else decimal_text(self.total)

    def by_component(self) -> dict[str, int]:
        """Money by rollup bucket; sums to the total."""
        return self._by("component")

    def by_detail(self) -> dict[str, int]:
        """Money by `agentcost.cost.<detail>` attribute (line items only)."""
        return self._by("detail")

    def _by(self, key: str) -> dict[str, int]:
        if self.total is None:
            return {}
        if not self.items:
            return {self.component: self.total} if key == "component" else {}
        result: dict[str, int] = {}
        for item in self.items:
            name = getattr(item, key)
            result[name] = result.get(name, 0) + item.pico
        return result


_NEW = object.__new__
_SET = {name: getattr(Bill, name).__set__ for name in Bill.__slots__}
_STATUS, _TOTAL, _ITEMS, _REASONS = _SET["status"], _SET["total"], _SET["items"], _SET["reasons"]
_SOURCE, _PRICE_ID, _CURRENCY = _SET["source"], _SET["price_id"], _SET["currency"]
_COMPONENT, _NOTES = _SET["component"], _SET["notes"]


def itemised_bill(
    status: BillStatus,
    total: int,
    items: tuple[LineItem, ...],
    reasons: tuple[str, ...],
    source: Source,
    price_id: str,
    currency: str,
    notes: tuple[str, ...],
) -> Bill:
    """Make a bill of line items, as `Bill(...)` does, in a third of its time (a frozen dataclass pays per field)."""
    bill: Bill = _NEW(Bill)
    _STATUS(bill, status)
    _TOTAL(bill, total)
    _ITEMS(bill, items)
    _REASONS(bill, reasons)
    _SOURCE(bill, source)
    _PRICE_ID(bill, price_id)
    _CURRENCY(bill, currency)
    _COMPONENT(bill, "llm")
    _NOTES(bill, notes)
    return bill


def total_of(items: Iterable[LineItem]) -> int:
    """Add line items: an integer sum, so any grouping gives the same total."""
    return sum(item.pico for item in items)
