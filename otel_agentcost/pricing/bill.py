"""Bill: priced line items plus what could not be priced and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, overload

from otel_agentcost.pricing.money import PICO, decimal_text, divide_half_even
from otel_agentcost.usage.reading import Quantity
from otel_agentcost.usage.records import maker
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


class Lines(Sequence[LineItem]):
    """The line items of a bill, made when somebody looks at them: most bills are only added up.

    Equal to the tuple of its items. Nobody changes it after the plan that priced the usage has filled it.
    """

    __slots__ = ("component", "leaves", "made", "model", "rates")

    rates: Sequence[Any]
    """Rows of (unit, parts, pico-units per quantity, 1, rate, ...)."""
    leaves: Sequence[Quantity]
    """Exclusive quantities; the parts of a row are places in here."""
    model: str
    component: str
    """The component all lines belong to; empty when they belong to several."""
    made: tuple[LineItem, ...] | None

    def _made(self) -> tuple[LineItem, ...]:
        if self.made is None:
            leaves = self.leaves
            found = []
            for unit, parts, numerator, _, rate, *_more in self.rates:
                quantity = sum(leaves[part] for part in parts)
                if quantity:
                    found.append(LineItem(unit, quantity, rate, int(quantity * numerator), self.model))
            self.made = tuple(found)
        return self.made

    @overload
    def __getitem__(self, place: int) -> LineItem: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[LineItem, ...]: ...
    def __getitem__(self, place: int | slice) -> LineItem | tuple[LineItem, ...]:
        return self._made()[place]

    def __len__(self) -> int:
        return len(self._made())

    def __iter__(self) -> Iterator[LineItem]:
        return iter(self._made())

    def __bool__(self) -> bool:
        return True  # a bill with lines of its own has a total, and so at least one line

    def __eq__(self, other: object) -> bool:
        return self._made() == (other._made() if isinstance(other, Lines) else other)

    def __hash__(self) -> int:
        return hash(self._made())

    def __repr__(self) -> str:
        return repr(self._made())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one reading costs, and why."""

    status: BillStatus
    total: int | None
    """Pico-units, or None when no cost may be claimed (unpriced, invalid)."""
    items: Sequence[LineItem] = ()
    reasons: tuple[str, ...] = ()
    """Machine-readable: `no_rate:<unit>`, `unknown_model`, `unknown_tier:turbo`, `stream_without_usage` ..."""
    source: Source = ""
    price_id: str = ""
    """Book version + entry, e.g. `2026-11-20/openai/gpt-5#default`."""
    currency: str = "USD"
    component: str = "llm"
    """Bucket for money without line items (a provider-reported figure); with line items `only_component` tells."""
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

    @property
    def only_component(self) -> str:
        """The one rollup bucket all the money belongs to; empty when it is not known without looking at the lines."""
        items = self.items
        if type(items) is Lines:
            return items.component
        return "" if items else self.component

    def by_component(self) -> dict[str, int]:
        """Money by rollup bucket; sums to the total."""
        only = self.only_component
        return {only: self.total} if only and self.total is not None else self._by("component")

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


new_bill = maker(Bill)
"""Makes a bill in a third of its constructor's time; arguments may be given by position, in the order of the fields."""


def total_of(items: Iterable[LineItem]) -> int:
    """Add line items: an integer sum, so any grouping gives the same total."""
    return sum(item.pico for item in items)
