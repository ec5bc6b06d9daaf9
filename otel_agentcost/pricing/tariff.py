"""Which rates hold: from a model's dated tariffs, variants and multipliers to one rate per unit for one moment.

    standard tariff of the day -> dated amendments -> variants (tier, batch, size ...) -> region multiplier
      -> the user's own rates -> the user's discount -> currency

Each step works unit by unit, so a component can be dated, or be the user's, on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple

from otel_agentcost.pricing.calendar import Constraint, day_text
from otel_agentcost.pricing.clauses import applies_to, when_holds
from otel_agentcost.usage.units import UNITS

ONE = Fraction(1)
TOKEN_LIKE = frozenset({"tokens", "search_block", "characters", "durations"})
"""Families a tier or a region makes cheaper or dearer; fees per search, call, image or page stay as they are."""
STANDARD_TIERS = frozenset({"default", "standard", "on_demand", "standard_only", "none"})
KNOWN_TIERS = frozenset(
    {"flex", "priority", "fast", "batch", "scale", "reserved", "provisioned", "provisioned_throughput"}
)
_TIER_KEYS = frozenset({"processing", "service_tier", "speed"})
_ORDINARY_SPEEDS = frozenset({"standard", "normal", "default"})
_ORDINARY_PROCESSING = frozenset({"standard", "online", "sync", "realtime", "default"})


def family(unit: str) -> str:
    """Return the family of a unit, e.g. tokens or provider_tools."""
    return next(value for key, value in UNITS[unit].dimensions if key == "family")


class Tier(NamedTuple):
    """From `threshold` on (beyond it, or including it) the price is another."""

    threshold: int
    inclusive: bool
    price: str


@dataclass(frozen=True, slots=True)
class UnitRate:
    """The rate of one unit for one moment and context."""

    price: str
    per: int
    tiers: tuple[Tier, ...] = ()
    factor: Fraction = ONE
    note: str = ""
    inherited: bool = False
    """A variant was chosen that says nothing about this unit, so the standard rate is a guess."""
    by_user: bool = False

    def times(self, factor: Fraction, note: str) -> UnitRate:
        """Return the rate multiplied by an exact fraction."""
        return replace(self, factor=self.factor * factor, note=f"{self.note} {note}".strip())


def read_rate(unit: str, raw: Any) -> UnitRate:
    """Read a rate of the book: a decimal string per the unit's own block, or {price, per, tiers}."""
    if isinstance(raw, str):
        return UnitRate(raw, UNITS[unit].per)
    tiers = tuple(
        Tier(t["gte"], True, t["price"]) if "gte" in t else Tier(t["gt"], False, t["price"])
        for t in raw.get("tiers", ())
    )
    return UnitRate(raw["price"], raw.get("per", UNITS[unit].per), tiers)


class Dated:
    """Rates with their dates, and for a variant its conditions."""

    __slots__ = ("constraint", "rates", "when")

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.constraint = Constraint(entry)
        self.when: Mapping[str, Any] = entry.get("when", {})
        self.rates = {unit: read_rate(unit, raw) for unit, raw in entry["rates"].items()}


class ModelTariff:
    """All tariffs of one model of the book, compiled once."""

    __slots__ = ("amendments", "free", "id", "mode", "standards", "timed", "unpriced", "variants", "window")

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.id: str = model["id"]
        self.window: int | None = model.get("window")
        self.free: bool = model.get("free", False)
        self.unpriced: bool = model.get("unpriced", False)
        self.mode: str = model.get("tier_mode", "whole_request")
        entries = [{"rates": model["rates"]}] if "rates" in model else model.get("prices", [])
        self.standards = [Dated(entry) for entry in entries]
        self.amendments = [Dated(entry) for entry in model.get("amend", ())]
        self.variants = [Dated(entry) for entry in model.get("variants", ())]
        dated = (*self.standards, *self.amendments, *self.variants)
        self.timed = any(entry.constraint.windows for entry in dated)

    def standard(self, day: int, minute: int) -> dict[str, UnitRate] | None:
        """Return the ordinary rates of a moment; None when no tariff holds then."""
        for entry in reversed(self.standards):
            if entry.constraint.holds(day, minute):
                rates = dict(entry.rates)
                break
        else:
            return None
        for entry in self.amendments:
            if entry.constraint.holds(day, minute):
                rates.update((unit, rate) for unit, rate in entry.rates.items() if unit in rates)
        return rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model found in the book: its tariffs, the rules of its seller, and how it was found."""

    provider: str
    tariff: ModelTariff
    rules: Mapping[str, Any]
    resold: str = ""
    """The maker whose list price stands in, when the seller has no own one."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What the name itself told (`eu/` data zones)."""
    reasons: tuple[str, ...] = ()
    """Why this match is a guess: `family_of:gpt-4o`, `provider_guessed:openai`."""
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Tariff:
    """One rate per unit for one moment and context, and what is uncertain about it."""

    rates: dict[str, UnitRate]
    label: str = "default"
    mode: str = "whole_request"
    free: bool = False
    reasons: list[str] = field(default_factory=list)
    """Each makes the bill an estimate."""
    notes: list[str] = field(default_factory=list)
    measures: Sequence[Mapping[str, Any]] = ()
    covered: frozenset[str] = frozenset()
    context: Mapping[str, str] = field(default_factory=dict)


def settle_tier(context: Mapping[str, str], rules: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return the context with the tier that was billed, and why it is uncertain.

    The response decides, the request is a fallback, `auto` never selects (rule 16). Ordinary tiers fall away.
    """
    settled = {k: v for k, v in context.items() if k not in ("service_tier", "request_service_tier", "speed")}
    if settled.get("processing", "").lower() in _ORDINARY_PROCESSING:
        del settled["processing"]
    reasons: list[str] = []
    ordinary = STANDARD_TIERS.union(rules.get("tiers", {}).get("standard", ()))
    tier = context.get("service_tier", "").lower()
    if not tier or tier == "auto":
        asked = context.get("request_service_tier", "").lower() or tier
        tier = ""
        if asked == "auto":
            reasons.append("tier_unknown:auto")
        elif asked and asked not in ordinary:
            tier = asked
            reasons.append(f"tier_as_requested:{asked}")
    if tier == "batch":
        settled["processing"] = "batch"
    elif tier and tier not in ordinary:
        settled["service_tier"] = tier
    speed = context.get("speed", "").lower()
    if speed and speed not in _ORDINARY_SPEEDS:
        settled["speed"] = speed
    return settled, reasons


def resolve(entry: Entry, context: Mapping[str, str], day: int, minute: int) -> Tariff:
    """Return the rates of a found model for a moment and a context, before anything of the user's."""
    told = {**entry.context, **{k: v for k, v in context.items() if v}}
    settled, reasons = settle_tier(told, entry.rules)
    model = entry.tariff
    tariff = Tariff(rates={}, mode=model.mode, free=model.free or entry.rules.get("free", False), context=settled)
    tariff.reasons += (*entry.reasons, *reasons)
    tariff.notes += entry.notes
    tariff.measures = [rule for rule in entry.rules.get("measures", ()) if applies_to(rule, model.id)]
    tariff.covered = frozenset(
        unit for rule in entry.rules.get("covers", ()) if applies_to(rule, model.id) for unit in rule["units"]
    )
    standard = model.standard(day, minute)
    if standard is None:
        if not tariff.free:
            tariff.reasons.append(f"no_price_on:{day_text(day)}")
        return tariff
    tariff.rates = standard
    _apply_variants(tariff, model, entry, day, minute)
    _apply_regions(tariff, model, entry)
    return tariff


def _apply_variants(tariff: Tariff, model: ModelTariff, entry: Entry, day: int, minute: int) -> None:
    context = tariff.context
    asked = {key: context[key] for key in _TIER_KEYS if key in context}
    chosen: dict[str, UnitRate] = {}
    tier_found = same_as_standard = False
    later: list[Dated] = []
    for variant in model.variants:
        if not when_holds(variant.when, context):
            continue
        is_tier = not _TIER_KEYS.isdisjoint(variant.when)
        if not variant.constraint.holds(day, minute):
            if is_tier and day < variant.constraint.first:
                later.append(variant)
            continue
        if is_tier:
            tier_found = True
            same_as_standard |= not variant.rates
        for unit, rate in variant.rates.items():
            chosen.setdefault(unit, replace(rate, note=_when_text(variant.when)))
    if asked and not tier_found and later:
        tier_found = _backdate(tariff, model, later, chosen, minute)
    if asked:
        tariff.label = "+".join(sorted(asked.values()))
        if not tier_found and not tariff.free:
            tariff.reasons += (
                f"{'no_tier_rate' if value in KNOWN_TIERS else 'unknown_tier'}:{value}"
                for value in sorted(asked.values())
            )
        elif tier_found and entry.resold:
            tariff.reasons.append(f"tier_rates_of:{entry.resold}")
    elif chosen:
        tariff.label = _when_text({k: v for k, v in context.items() if any(k in v2.when for v2 in model.variants)})
    if tier_found and not same_as_standard:
        for unit, rate in tariff.rates.items():
            if unit not in chosen and family(unit) in TOKEN_LIKE:
                tariff.rates[unit] = replace(rate, inherited=True)
    tariff.rates.update(chosen)


def _backdate(
    tariff: Tariff, model: ModelTariff, later: Iterable[Dated], chosen: dict[str, UnitRate], minute: int
) -> bool:
    """Use a tier's first known rates for an earlier day on which the ordinary rates were the same: an estimate."""
    for variant in later:
        first = variant.constraint.first
        if model.standard(first, minute) != tariff.rates:
            continue
        for unit, rate in variant.rates.items():
            chosen.setdefault(unit, replace(rate, note=_when_text(variant.when)))
        tariff.reasons.append(f"tier_rates_since:{day_text(first)}")
        return True
    return False


def _when_text(when: Mapping[str, Any]) -> str:
    return "+".join(f"{key}={value}" for key, value in sorted(when.items()))


def _apply_regions(tariff: Tariff, model: ModelTariff, entry: Entry) -> None:
    context = tariff.context
    regions = entry.rules.get("regions", {"key": "", "base": ()})
    region = context.get(regions["key"], "")
    if region and region in regions["base"]:
        return
    known = not region
    for rule in entry.rules.get("multipliers", ()):
        if not when_holds(rule["when"], context):
            continue
        known = True
        if applies_to(rule, model.id):
            scale(tariff, Fraction(rule["factor"]), f"x{rule['factor']} {_when_text(_told(rule, context))}", rule)
    if not known and not tariff.free:
        tariff.reasons.append(f"unknown_region:{region}")


def _told(rule: Mapping[str, Any], context: Mapping[str, str]) -> dict[str, str]:
    return {key: context[key] for key in rule["when"]}


def scale(tariff: Tariff, factor: Fraction, note: str, rule: Mapping[str, Any]) -> None:
    """Multiply the rates of the rule's units, or of all token-like ones."""
    units = rule.get("units")
    for unit, rate in tariff.rates.items():
        if unit in units if units is not None else family(unit) in TOKEN_LIKE:
            tariff.rates[unit] = rate.times(factor, note)
