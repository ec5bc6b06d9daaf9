"""Price quantities: a plan is the compiled arithmetic for one tariff and one set of reported units.

Each reported unit's exclusive quantity is priced at its own rate, or at that of the nearest unit that contains it
(the dearest, where two are equally near: an upper bound). Rates are integers, pico-units per quantity as a fraction
in lowest terms, and every line is rounded once, half to even.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd
from operator import mul
from typing import Any, NamedTuple

from otel_agentcost.pricing.bill import Bill, BillStatus, LineItem, Lines, Rate, Source, new_bill
from otel_agentcost.pricing.clauses import when_holds
from otel_agentcost.pricing.money import MAX_PICO, PICO, TOO_LARGE, divide_half_even
from otel_agentcost.pricing.tariff import Tariff, UnitRate
from otel_agentcost.usage.reading import MAX_QUANTITY, Quantity, Usage
from otel_agentcost.usage.units import UNITS, exclusive_order

_new = object.__new__
_item = tuple.__new__
"""Makes a LineItem without the detour over its keyword constructor."""
_BASIS = "input_tokens"
"""Tiers look at all input of the request, cached and written tokens included (rule 10)."""


class _Line(NamedTuple):
    unit: str
    parts: tuple[int, ...]
    """Whose exclusive quantities are priced here: the unit's own and those of unpriced units inside it."""
    numerator: int
    denominator: int
    rate: Rate
    bands: tuple[tuple[int, int, int], ...] = ()
    """Graduated tiers: (from quantity, numerator, denominator), ascending; empty for one price."""


class _Exact(NamedTuple):
    """The lines of one tier, where each is a product of integers: the frequent case, added up at once."""

    level: Any
    lines: tuple[_Line, ...]
    weights: tuple[int, ...]
    """Pico-units per exclusive quantity, by position; 0 for what is priced nowhere."""


class _Gap(NamedTuple):
    part: int
    partial: bool
    lost: bool
    """No unit that has a rate contains it, so its money is missing altogether."""
    reason: str


class Plan:
    """Prices one set of units under one tariff; made once, used for every reading of that shape."""

    __slots__ = (
        "_basis",
        "_component",
        "_exact",
        "_gap_parts",
        "_gaps",
        "_levels",
        "_measures",
        "_order",
        "_price_id",
        "_tariff",
        "_units",
        "currency",
        "notes",
        "reasons",
        "source",
    )  # fmt: skip

    def __init__(self, tariff: Tariff, units: tuple[str, ...], *, price_id: str, currency: str) -> None:
        self._tariff = tariff
        self._price_id = price_id
        self.currency = currency
        self.reasons = tuple(dict.fromkeys(tariff.reasons))
        self._measures, measured = _compile_measures(tariff, units)
        rates = dict(tariff.rates)
        if tariff.free:
            rates = {u: UnitRate("0", UNITS[u].per, note="free") for u in measured if not _above(u, measured)}
        self._units = measured
        index = {unit: i for i, unit in enumerate(measured)}
        self._order = exclusive_order(measured)
        home = {unit: _home(unit, rates) for unit in measured}
        self._gaps = tuple(_gaps(tariff, rates, home, index))
        self._gap_parts = tuple(gap.part for gap in self._gaps)
        self._basis = index.get(_BASIS, -1)
        thresholds = sorted(
            {(t.threshold, not t.inclusive) for unit in home.values() if unit for t in rates[unit].tiers}
        )
        graduated = tariff.mode == "graduated"
        levels = [None] if graduated else [None, *thresholds]
        self._levels = tuple(
            (level, tuple(_line(u, home, index, rates[u], level, graduated) for u in _printed(home)))
            for level in levels
        )
        components = {UNITS[line.unit].component for _, lines in self._levels for line in lines}
        self._component = components.pop() if len(components) == 1 else ""
        self._exact = self._without_special_cases()
        used = [rates[unit] for unit in home.values() if unit]
        self.source: Source = "user" if any(rate.by_user for rate in used) else "book"
        self.notes = tuple(tariff.notes)

    def _without_special_cases(self) -> tuple[_Exact, ...]:
        """Return the tiers when every line of every tier is one product of integers, else nothing."""
        if self._measures or self.reasons:
            return ()
        found = []
        for level, lines in self._levels:
            weights = [0] * len(self._units)
            for line in lines:
                if line.denominator != 1 or line.bands:
                    return ()
                for part in line.parts:
                    weights[part] = line.numerator
            found.append(_Exact(level, lines, tuple(weights)))
        return tuple(found)

    def bill(self, usage: Usage, *, estimated: str = "", model: str = "") -> Bill:
        """Return the bill of a usage with exactly this plan's units; `estimated` is why the counts are guesses."""
        # The plan belongs to the key order of this very mapping, so its values can be read by position.
        values: list[Quantity] = [*usage._quantities.values()]
        for value in values:
            if type(value) is not int or not 0 <= value <= MAX_QUANTITY:
                return self._carefully(usage, estimated, model)
        exact = self._exact
        if not exact or estimated:
            return self._price(values, usage, estimated, model)
        _, lines, weights = exact[0] if len(exact) == 1 else exact[self._tier(values)]
        for i, inside in self._order:  # parts come before what contains them, so this can be done in place
            quantity = values[i]
            for j in inside:
                quantity -= values[j]
            if quantity < 0:
                return self._carefully(usage, estimated, model)
            values[i] = quantity
        total: int = sum(map(mul, values, weights))
        if not 0 < total <= MAX_PICO:
            return self._carefully(usage, estimated, model)
        for part in self._gap_parts:
            if values[part]:
                return self._carefully(usage, estimated, model)
        items = _new(Lines)
        items.rates = lines
        items.leaves = values
        items.model = model
        items.component = self._component
        items.made = None
        return new_bill(
            status="priced",
            total=total,
            items=items,
            source=self.source,
            price_id=self._price_id,
            currency=self.currency,
            notes=self.notes,
        )

    def _tier(self, values: list[Quantity]) -> int:
        """Return which tier the whole input reaches (rule 10)."""
        reached = 0
        if self._basis >= 0:
            basis = values[self._basis]
            for place, (level, _) in enumerate(self._levels):
                if level is not None and (basis < level[0] or (level[1] and basis == level[0])):
                    break
                reached = place
        return reached

    def _carefully(self, usage: Usage, estimated: str, model: str) -> Bill:
        problem = usage.contradiction()
        if problem is not None:
            return invalid(problem)
        return self._price(list(usage._quantities.values()), usage, estimated, model)

    def _price(self, values: list[Quantity], usage: Usage, estimated: str, model: str) -> Bill:
        if self._measures:
            problem = usage.contradiction()
            if problem is not None:
                return invalid(problem)
            values = self._measured(values)
            for unit, value in zip(self._units, values, strict=False):
                if value > MAX_QUANTITY:
                    return invalid(f"too_large:{unit}")
        leaves = values.copy()
        for i, inside in self._order:
            quantity = values[i]
            for j in inside:
                quantity -= leaves[j]
            if quantity < 0:
                return invalid(usage.contradiction() or f"subsets_exceed_total:{self._units[i]}={values[i]}")
            leaves[i] = quantity
        lines = self._levels[self._tier(values)][1]
        items: list[LineItem] = []
        total = 0
        for unit, parts, numerator, denominator, rate, bands in lines:
            quantity = leaves[parts[0]] if len(parts) == 1 else sum(leaves[i] for i in parts)
            if not quantity:
                continue
            if bands:
                pico = _graduated(quantity, bands)
            elif type(quantity) is not int:
                num, den = quantity.as_integer_ratio()
                pico = divide_half_even(num * numerator, den * denominator)
            elif denominator == 1:
                pico = quantity * numerator
            else:
                pico = divide_half_even(quantity * numerator, denominator)
            total += pico
            items.append(_item(LineItem, (unit, quantity, rate, pico, model)))
        return self._status(total, items, leaves, estimated)

    def _status(self, total: int, items: list[LineItem], leaves: list[Quantity], estimated: str) -> Bill:
        if total > MAX_PICO:
            return invalid(TOO_LARGE)
        status: BillStatus = "priced"
        reasons = self.reasons
        source = self.source
        if estimated:
            reasons, source = (*reasons, estimated), "estimated"
        if reasons:
            status = "estimated"
        lost = False
        for part, partial, without_home, reason in self._gaps:
            if leaves[part]:
                reasons = reasons if reason in reasons else (*reasons, reason)
                lost = lost or without_home
                if partial:
                    status = "partial"
                elif status == "priced":
                    status = "estimated"
        if lost and not items:
            return unpriced(reasons, self.notes)
        if status == "priced" and not total and items and all(item.rate.price == "0" for item in items):
            status = "free"
        return new_bill(
            status=status,
            total=total,
            items=tuple(items),
            reasons=reasons,
            source=source,
            price_id=self._price_id,
            currency=self.currency,
            notes=self.notes,
        )

    def _measured(self, values: list[Quantity]) -> list[Quantity]:
        result = [values[i] if i >= 0 else 0 for i in self._measures[0]]
        for target, kind, argument, origin in self._measures[1]:
            if kind == "at_least":
                result[target] = max(result[target], argument) if result[target] else 0
            elif kind == "once":
                other = result[origin] if origin >= 0 else 0
                prompts, queries = (result[target], other) if argument else (other, result[target])
                result[target] = prompts or min(queries, 1)
            elif kind == "block":
                result[target] = argument * result[origin]
            else:
                result[target] = 1
        return result


def invalid(problem: str) -> Bill:
    """Return the bill of usage that contradicts itself: no lines, no total."""
    return Bill(status="invalid", total=None, reasons=(problem,))


def unpriced(reasons: Sequence[str], notes: Sequence[str] = ()) -> Bill:
    """Return the bill of what nobody can price: no cost is claimed."""
    return Bill(status="unpriced", total=None, reasons=tuple(reasons), notes=tuple(notes))


def _above(unit: str, units: tuple[str, ...]) -> bool:
    return any(other in units for other in UNITS[unit].ancestors)


def _home(unit: str, rates: Mapping[str, UnitRate]) -> str | None:
    """Return the unit at whose rate a unit is priced: itself, else the nearest containing unit that has one."""
    if unit in rates:
        return unit
    priced = [above for above in UNITS[unit].ancestors if above in rates]
    if not priced:
        return None
    nearest = len(UNITS[priced[0]].dimensions)
    close = [above for above in priced if len(UNITS[above].dimensions) == nearest]
    if len(close) == 1:
        return close[0]
    return max(close, key=lambda above: (Fraction(rates[above].price) / rates[above].per, above))


def _printed(home: Mapping[str, str | None]) -> list[str]:
    """Return the units that get a line: input before output before fees, a total before its parts."""
    return sorted({unit for unit in home.values() if unit is not None}, key=reading_order)


def reading_order(unit: str) -> tuple[int, int, int, str]:
    """Sort key of a unit's place on a bill; lines and reasons stand in this order, whatever was reported first."""
    dimensions = dict(UNITS[unit].dimensions)
    token_first = 0 if dimensions["family"] == "tokens" else 1
    direction = {"input": 0, "output": 1}.get(dimensions.get("direction", ""), 2)
    return token_first, direction, len(dimensions), unit


def _line(
    unit: str, home: Mapping[str, str | None], index: Mapping[str, int], rate: UnitRate, level: Any, graduated: bool
) -> _Line:
    parts = tuple(index[reported] for reported, priced_as in home.items() if priced_as == unit)
    price, note = rate.price, rate.note
    if level is not None:
        for tier in rate.tiers:
            if (tier.threshold, not tier.inclusive) <= level:
                price = tier.price
                note = f"{rate.note} tier{'>=' if tier.inclusive else '>'}{tier.threshold}".strip()
    bands: tuple[tuple[int, int, int], ...] = ()
    if graduated and rate.tiers:
        steps = [(0, rate.price), *((t.threshold, t.price) for t in rate.tiers)]
        bands = tuple((start, *_pico(text, rate)) for start, text in steps)
        note = f"{note} graduated from {', '.join(f'{start}: {text}' for start, text in steps)}".strip()
    numerator, denominator = _pico(price, rate)
    shown = Rate(price, rate.per, rate.factor.numerator, rate.factor.denominator, note)
    return _Line(unit, parts, numerator, denominator, shown, bands)


def _pico(price: str, rate: UnitRate) -> tuple[int, int]:
    whole, _, decimals = price.partition(".")
    numerator = int(whole + decimals) * PICO * rate.factor.numerator
    denominator = 10 ** len(decimals) * rate.per * rate.factor.denominator
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def _graduated(quantity: Quantity, bands: tuple[tuple[int, int, int], ...]) -> int:
    exact = Fraction(0)
    for position, (start, numerator, denominator) in enumerate(bands):
        end = bands[position + 1][0] if position + 1 < len(bands) else None
        upper = Fraction(quantity) if end is None else min(Fraction(quantity), Fraction(end))
        if upper > start:
            exact += (upper - start) * Fraction(numerator, denominator)
    return divide_half_even(exact.numerator, exact.denominator)


def _gaps(
    tariff: Tariff, rates: Mapping[str, UnitRate], home: Mapping[str, str | None], index: Mapping[str, int]
) -> list[_Gap]:
    """Say for every reported unit without a rate of its own what a bill must admit (units.yaml `without_rate`)."""
    gaps: list[_Gap] = []
    if tariff.free:
        return gaps
    for unit in sorted(home, key=reading_order):
        priced_as = home[unit]
        if priced_as is not None and rates[priced_as].inherited:
            gaps.append(_Gap(index[unit], False, False, f"no_{tariff.label}_rate:{priced_as}"))
        if priced_as == unit:
            continue
        blamed = _blamed(unit, rates, tariff.covered)
        if blamed is None:
            continue
        rule = UNITS[blamed].without_rate
        lost = priced_as is None
        gaps.append(_Gap(index[unit], rule == "partial" or lost, lost, f"no_rate:{blamed}"))
    return list(dict.fromkeys(gaps))


def _blamed(unit: str, rates: Mapping[str, UnitRate], covered: frozenset[str]) -> str | None:
    """Return the unit whose missing rate is to be told, or None: a unit that inherits asks the one around it."""
    while unit not in rates:
        rule = UNITS[unit].without_rate
        if rule == "free":
            return None
        if rule != "inherit" and unit not in covered:
            return unit
        if not UNITS[unit].ancestors:
            return None if unit in covered else unit
        unit = UNITS[unit].ancestors[0]
    return None


_Measures = tuple[tuple[int, ...], tuple[tuple[int, str, Any, int], ...]]


def _compile_measures(tariff: Tariff, units: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Return how reported quantities become billed ones, and the units of the result."""
    result = list(units)
    steps: list[tuple[str, str, Any, str]] = []
    for rule in tariff.measures:
        if "unless" in rule and when_holds(rule["unless"], tariff.context):
            continue
        if "at_least" in rule:
            steps += ((unit, "at_least", least, "") for unit, least in rule["at_least"].items() if unit in units)
        elif "once" in rule:
            pair = (rule["once"], rule["prompts"])
            if not set(pair).isdisjoint(units):
                # One of the two is billed, the prompts where they have a price of their own.
                by_prompt = rule["prompts"] in tariff.rates
                other, billed = pair if by_prompt else pair[::-1]
                steps.append((billed, "once", by_prompt, other))
                result = [u for u in result if u not in pair] + [billed]
        elif "block" in rule:
            if rule["per"] in units and rule["block"] not in units and rule["block"] in tariff.rates:
                result.append(rule["block"])
                steps.append((rule["block"], "block", rule["quantity"], rule["per"]))
        elif "each_call" in rule and rule["each_call"] not in units and rule["each_call"] in tariff.rates:
            result.append(rule["each_call"])
            steps.append((rule["each_call"], "each_call", None, ""))
    if not steps:
        return (), units
    # `once` reads the other number too, which is not billed, so that stays at the end without a line.
    helpers = [origin for _, kind, _, origin in steps if kind == "once" and origin in units and origin not in result]
    slots = [*result, *helpers]
    position = {unit: i for i, unit in enumerate(slots)}
    source = {unit: i for i, unit in enumerate(units)}
    program = tuple((position[u], kind, arg, position.get(origin, -1)) for u, kind, arg, origin in steps)
    return (tuple(source.get(unit, -1) for unit in slots), program), tuple(result)
