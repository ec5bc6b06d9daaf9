"""Price a vector: a call that carries its own prices, so that arithmetic and accounting are tested, not price data.

Form `pricing-vectors/1`: {id, provider, model, timestamp, usage_dialect, usage, prices: {unit: {price, per, tiers}},
multiplier?, tier_mode?, context?, normalized_leaf_quantities}. The vector's prices become a book of one entry; what
a seller measures and covers (minimum lengths, search blocks, grounding per prompt) is taken from the bundled book.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

from otel_agentcost.pricing.bill import Bill
from otel_agentcost.pricing.book import FORMAT, PriceBook
from otel_agentcost.pricing.calendar import day_of, minute_of
from otel_agentcost.pricing.clauses import applies_to
from otel_agentcost.pricing.tariff import KNOWN_TIERS, STANDARD_TIERS, Entry, resolve, settle_tier
from otel_agentcost.usage.fragments import read_usage
from otel_agentcost.usage.reading import Quantity, Reading, Usage
from otel_agentcost.usage.units import UNITS

_SELLER = "vector"


def price_vector(vector: Mapping[str, Any]) -> dict[str, Any]:
    """Return {id, status, pico, lines: [{unit, quantity, pico}], reason} of one vector, `note` when usage was derived.

    Quantities are exclusive. A line of quantity 0 is shown when `normalized_leaf_quantities` names the unit with 0.
    """
    leaves: Mapping[str, Any] = vector.get("normalized_leaf_quantities") or {}
    reading, note = read_vector(vector)
    at = nanoseconds(vector["timestamp"])
    bill = _book(vector, reading, at).price(_sold_by_vector(reading), at=at)
    result: dict[str, Any] = {
        "id": vector.get("id"),
        "status": bill.status,
        "pico": bill.total,
        "lines": _lines(bill, leaves),
        "reason": bill.reason,
    }
    if note:
        result["note"] = note
    return result


def read_vector(vector: Mapping[str, Any]) -> tuple[Reading, str]:
    """Return the reading of a vector's usage, and how it was derived when nobody reads its dialect."""
    context = {key: str(value) for key, value in (vector.get("context") or {}).items()}
    provider, model = vector.get("provider"), vector.get("model")
    dialect, usage = str(vector.get("usage_dialect", "normalized")), vector.get("usage") or {}
    reading = read_usage(dialect, usage, model=model, provider=provider, context=context)
    leaves = vector.get("normalized_leaf_quantities") or {}
    if reading.usage is None and reading.reason == "no_known_unit" and leaves:
        quantities = inclusive({unit: _quantity(value) for unit, value in leaves.items()})
        made = Reading(
            kind="call", provider=provider, model=model, context=context, usage=Usage(quantities), dialect=dialect
        )
        return made, f"nobody reads {dialect}: usage taken from normalized_leaf_quantities"
    return reading, ""


def inclusive(leaves: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return inclusive totals of exclusive quantities: each unit and everything it contains that was given."""
    return {
        outer: quantity + sum((q for unit, q in leaves.items() if UNITS[outer].dimensions < UNITS[unit].dimensions), 0)
        for outer, quantity in leaves.items()
    }


def nanoseconds(timestamp: str) -> int:
    """Return an ISO 8601 time as Unix nanoseconds; without an offset it is UTC."""
    moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def _sold_by_vector(reading: Reading) -> Reading:
    """Return the reading as sold by the one seller of the vector's book."""
    context = {key: value for key, value in reading.context.items() if key != "host"}
    return replace(reading, kind="call", provider=_SELLER, context=context)


def _book(vector: Mapping[str, Any], reading: Reading, at: int) -> PriceBook:
    prices: Mapping[str, Mapping[str, Any]] = vector.get("prices") or {}
    bundled = PriceBook.bundled().catalogue.find(vector.get("provider"), reading.model or "", None, day_of(at))
    rules = bundled.rules if bundled is not None else {}
    models = []
    if prices or _is_free(vector, bundled):
        model: dict[str, Any] = {"id": str(vector.get("model")), "match": {"contains": ""}}
        model["tier_mode"] = vector.get("tier_mode", "whole_request")
        if prices:
            model["rates"] = dict(prices)
            model["variants"] = _variants(prices, reading, bundled, at)
        else:
            model["free"] = True
        models.append(model)
    seller: dict[str, Any] = {"id": _SELLER, "models": models}
    if bundled is not None:
        for key in ("measures", "covers"):
            seller[key] = _for_any_model(rules.get(key, ()), bundled)
    if "tiers" in rules:
        seller["tiers"] = rules["tiers"]
    if vector.get("multiplier"):
        seller["multipliers"] = [{"when": {}, **vector["multiplier"]}]
    return PriceBook({"format": FORMAT, "version": _SELLER, "providers": [seller]})


def _is_free(vector: Mapping[str, Any], bundled: Entry | None) -> bool:
    return str(vector.get("model", "")).endswith(":free") or (
        bundled is not None and (bundled.tariff.free or bundled.rules.get("free", False))
    )


def _for_any_model(rules: Any, bundled: Entry) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in rule.items() if key not in ("models", "except")}
        for rule in rules
        if applies_to(rule, bundled.tariff.id)
    ]


def _variants(
    prices: Mapping[str, Mapping[str, Any]], reading: Reading, bundled: Entry | None, at: int
) -> list[dict[str, Any]]:
    """The vector's prices are those of the tier that was billed, if anybody knows such a tier.

    A price is the standard one, inherited, when our own book has no rate of that tier for the unit and its standard
    rate is the vector's: then the bill is an estimate (rule 14).
    """
    settled, _ = settle_tier(reading.context, bundled.rules if bundled is not None else {})
    asked = {key: settled[key] for key in ("processing", "service_tier", "speed") if key in settled}
    if not asked or not KNOWN_TIERS.union(STANDARD_TIERS).issuperset(asked.values()):
        return []
    own = resolve(bundled, reading.context, day_of(at), minute_of(at)).rates if bundled is not None else {}
    stated = {}
    for unit, price in prices.items():
        ours = own.get(unit)
        same = ours is not None and Fraction(ours.price) / ours.per == Fraction(price["price"]) / price["per"]
        if ours is None or not (ours.inherited and same):
            stated[unit] = price
    return [{"when": asked, "rates": stated}]


def _quantity(value: Any) -> Quantity:
    return value if isinstance(value, int) else Decimal(str(value))


def _lines(bill: Bill, leaves: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_unit: dict[str, list[Any]] = {}
    for item in bill.items:
        line = by_unit.setdefault(item.unit, [0, 0])
        line[0] += item.quantity
        line[1] += item.pico
    if bill.total is not None and bill.status != "provider_reported":
        for unit, quantity in leaves.items():
            if not quantity:
                by_unit.setdefault(unit, [0, 0])
    order = [unit for unit in leaves if unit in by_unit]
    order += [unit for unit in by_unit if unit not in leaves]
    return [{"unit": unit, "quantity": _plain(by_unit[unit][0]), "pico": by_unit[unit][1]} for unit in order]


def _plain(quantity: Quantity) -> int | float:
    """Write a quantity as a JSON number; measured ones have few decimals, and a quantity is not money."""
    return int(quantity) if quantity == int(quantity) else float(quantity)
