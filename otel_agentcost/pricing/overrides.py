"""The price part of agentcost.yaml: own models and prices, discounts, fees, machines, aliases, currency.

A user's rates stand above the book's, unit by unit; of several entries that name the same unit the last one wins.
A discount is taken off whatever rate then holds; discounts never stack, the last entry that matches a unit wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from otel_agentcost.errors import ConfigError
from otel_agentcost.pricing import fields
from otel_agentcost.pricing.calendar import Constraint, day_number
from otel_agentcost.pricing.clauses import glob_matches, when_holds
from otel_agentcost.pricing.fees import Rule
from otel_agentcost.pricing.rules import read_fees, read_machines
from otel_agentcost.pricing.tariff import Dated, Tariff, UnitRate, read_rate
from otel_agentcost.usage.providers import canonical_provider
from otel_agentcost.usage.units import UNITS

PRICE_KEYS = ("prices", "discounts", "fees", "compute", "aliases", "currency", "rates")
"""The top-level keys of agentcost.yaml that `Overrides.from_mapping` reads."""
BOOK_CURRENCY = "USD"
_CONDITIONS = ("from", "to", "windows", "weekdays")
_PRICE_FIELDS = (
    *("provider", "model", "units", "variants", "free", "tier_mode", "context_window", "currency", "note"),
    *_CONDITIONS,
)
_MODES = ("whole_request", "graduated")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrice:
    """One entry of `prices:`."""

    key: str
    provider: str
    model: str
    standard: Dated
    variants: tuple[Dated, ...] = ()
    free: bool = False
    mode: str = ""
    window: int | None = None
    currency: str

    def matches(self, provider: str, names: tuple[str, ...]) -> bool:
        """Tell whether the entry is meant for a model under any of its names."""
        return _provider_matches(self.provider, provider) and any(glob_matches(self.model, name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """One entry of `discounts:`; `factor` is what remains to be paid."""

    key: str
    provider: str
    model: str
    units: frozenset[str]
    factor: Fraction
    percent: str
    constraint: Constraint


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A deployment name, ARN or own name, and the model it stands for."""

    model: str
    provider: str | None
    constraint: Constraint


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Everything about prices a user may say; immutable and compiled."""

    prices: tuple[UserPrice, ...] = ()
    discounts: tuple[Discount, ...] = ()
    fees: tuple[Rule, ...] = ()
    machines: tuple[Rule, ...] = ()
    aliases: Mapping[str, tuple[Alias, ...]] = field(default_factory=dict)
    currency: str = BOOK_CURRENCY
    rates: Mapping[str, tuple[tuple[int, Fraction], ...]] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, d: Mapping[str, object]) -> Overrides:
        """Read and check the price part of an already parsed agentcost.yaml.

        Raises:
            ConfigError: names the dotted key (`prices[0].units.input_tokens.price`), the value and what to do.
        """
        fields.known_keys("", d, PRICE_KEYS)
        currency = fields.currency("currency", d.get("currency", BOOK_CURRENCY))
        rates = _rates(fields.mapping("rates", d.get("rates") or {}))
        if currency != BOOK_CURRENCY and BOOK_CURRENCY not in rates:
            hint = f"say how much {currency} one dollar is: rates: {{USD: 0.92}}"
            raise ConfigError("rates.USD", f"is missing, but currency is {currency}", hint=hint)
        made = cls(
            prices=tuple(_price(f"prices[{i}]", p, currency) for i, p in _entries(d, "prices")),
            discounts=tuple(_discount(f"discounts[{i}]", p) for i, p in _entries(d, "discounts")),
            fees=read_fees(_entries(d, "fees"), currency=currency, by_user=True),
            machines=read_machines(_entries(d, "compute"), currency=currency, by_user=True),
            aliases=_aliases(fields.mapping("aliases", d.get("aliases") or {})),
            currency=currency,
            rates=rates,
        )
        for price in made.prices:
            made.exchange(price.currency, 0, key=f"{price.key}.currency")
        return made

    def exchange(self, source: str, day: int, *, key: str = "rates") -> Fraction:
        """Return how much of `currency` one unit of another currency is worth on a day.

        Raises:
            ConfigError: there is no rate for the currency.
        """
        if source == self.currency:
            return Fraction(1)
        steps = self.rates.get(source)
        if not steps:
            raise ConfigError(key, f"no rate for {source}", hint=f"add rates: {{{source}: ...}}")
        worth = steps[0][1]
        for first, rate in steps:
            if first <= day:
                worth = rate
        return worth

    def alias(self, name: str, provider: str | None, day: int) -> Alias | None:
        """Return what an own name stands for on a day; the last entry that holds wins."""
        found = None
        for alias in self.aliases.get(name.strip().lower(), ()):
            if alias.constraint.on_day(day):
                found = alias
        return found

    def apply(self, tariff: Tariff, provider: str, names: tuple[str, ...], day: int, minute: int) -> str:
        """Lay the user's rates, discounts and currency over a tariff; return the key of the price entry used, or ""."""
        used = ""
        worth = self.exchange(BOOK_CURRENCY, day)
        if worth != 1:
            note = f"1 {BOOK_CURRENCY} = {float(worth):g} {self.currency}"
            tariff.rates = {unit: rate.times(worth, note) for unit, rate in tariff.rates.items()}
        for price in self.prices:
            if not price.matches(provider, names) or not price.standard.constraint.holds(day, minute):
                continue
            used = price.key
            tariff.mode = price.mode or tariff.mode
            tariff.free = price.free
            if price.free:
                tariff.reasons.clear()
            variants = [
                v for v in price.variants if when_holds(v.when, tariff.context) and v.constraint.holds(day, minute)
            ]
            rates: dict[str, UnitRate] = {}
            for dated in (*variants, price.standard):
                for unit, rate in dated.rates.items():
                    rates.setdefault(unit, rate)
            if variants:
                told = {value for v in variants for value in v.when.values()}
                tariff.reasons = [r for r in tariff.reasons if r.partition(":")[2] not in told]
            exchange = self.exchange(price.currency, day)
            for unit, rate in rates.items():
                note = f"{price.key} {rate.note}".strip()
                tariff.rates[unit] = replace(rate, by_user=True, factor=rate.factor * exchange, note=note)
        for unit, rate in tariff.rates.items():
            discount = self._discount(unit, provider, names, day, minute)
            if discount is not None:
                note = f"discount {discount.percent}% {discount.key}"
                tariff.rates[unit] = replace(rate.times(discount.factor, note), by_user=True)
        return used

    def _discount(self, unit: str, provider: str, names: tuple[str, ...], day: int, minute: int) -> Discount | None:
        found = None
        for discount in self.discounts:
            if (
                (not discount.units or unit in discount.units)
                and _provider_matches(discount.provider, provider)
                and any(glob_matches(discount.model, name) for name in names)
                and discount.constraint.holds(day, minute)
            ):
                found = discount
        return found

    @property
    def timed(self) -> bool:
        """Tell whether any entry depends on the time of day."""
        dated = [d for p in self.prices for d in (p.standard, *p.variants)]
        return any(d.constraint.windows for d in dated) or any(d.constraint.windows for d in self.discounts)


def _provider_matches(pattern: str, provider: str) -> bool:
    return not pattern or glob_matches(pattern, provider)


def _entries(d: Mapping[str, object], section: str) -> list[tuple[int, Mapping[str, object]]]:
    items = fields.sequence(section, d.get(section) or [])
    return [(i, fields.mapping(f"{section}[{i}]", item)) for i, item in enumerate(items)]


def _provider(key: str, entry: Mapping[str, object]) -> str:
    if "provider" not in entry:
        return ""
    name = fields.text(f"{key}.provider", entry["provider"])
    return name.lower() if "*" in name or "?" in name else canonical_provider(name) or ""


def _price(key: str, entry: Mapping[str, object], currency: str) -> UserPrice:
    fields.known_keys(key, entry, _PRICE_FIELDS)
    if "model" not in entry:
        raise ConfigError(f"{key}.model", "is missing", hint='name a model or a pattern, e.g. "acme-*"')
    free = fields.flag(f"{key}.free", entry.get("free", False))
    if not free and not entry.get("units"):
        hint = "give at least one unit, e.g. units: {input_tokens: 1.5}, or free: true"
        raise ConfigError(f"{key}.units", "is missing", hint=hint)
    mode = entry.get("tier_mode", "")
    if mode and mode not in _MODES:
        raise ConfigError(f"{key}.tier_mode", f"{fields.shown(mode)} is unknown", hint=f"one of {', '.join(_MODES)}")
    own = entry.get("currency", currency)
    window = entry.get("context_window")
    return UserPrice(
        key=key,
        provider=_provider(key, entry),
        model=fields.text(f"{key}.model", entry["model"]),
        standard=_dated(key, entry),
        variants=tuple(
            _variant(f"{key}.variants[{i}]", fields.mapping(f"{key}.variants[{i}]", v))
            for i, v in enumerate(fields.sequence(f"{key}.variants", entry.get("variants") or []))
        ),
        free=free,
        mode=str(mode),
        window=None if window is None else fields.positive_integer(f"{key}.context_window", window),
        currency=fields.currency(f"{key}.currency", own),
    )


def _dated(key: str, entry: Mapping[str, object], when: Mapping[str, Any] | None = None) -> Dated:
    units = fields.mapping(f"{key}.units", entry.get("units") or {})
    rates = {unit: _unit(f"{key}.units.{unit}", unit, raw) for unit, raw in units.items()}
    return Dated({**fields.when(entry, key), "rates": rates, "when": when or {}})


def _variant(key: str, entry: Mapping[str, object]) -> Dated:
    fields.known_keys(key, entry, ("when", "units", *_CONDITIONS))
    when = fields.mapping(f"{key}.when", entry.get("when"))
    if not when:
        raise ConfigError(f"{key}.when", "is empty", hint="e.g. when: {service_tier: flex}")
    return _dated(key, entry, {str(k): fields.text(f"{key}.when.{k}", v) for k, v in when.items()})


def _unit(key: str, unit: str, raw: object) -> Any:
    if unit not in UNITS:
        fields.known_keys(key.rpartition(".")[0], {unit: raw}, UNITS)
    if not isinstance(raw, Mapping):
        return fields.amount(key, raw)
    fields.known_keys(key, raw, ("price", "per", "tiers"))
    if "price" not in raw:
        raise ConfigError(f"{key}.price", "is missing")
    result: dict[str, Any] = {"price": fields.amount(f"{key}.price", raw["price"])}
    if "per" in raw:
        result["per"] = fields.positive_integer(f"{key}.per", raw["per"])
    tiers: list[dict[str, Any]] = []
    thresholds: list[int] = []
    for i, tier in enumerate(fields.sequence(f"{key}.tiers", raw.get("tiers") or [])):
        where = f"{key}.tiers[{i}]"
        step = fields.mapping(where, tier)
        fields.known_keys(where, step, ("gt", "gte", "price"))
        ops = [op for op in ("gt", "gte") if op in step]
        if len(ops) != 1:
            raise ConfigError(where, "needs `gt` or `gte`", hint="e.g. {gt: 200000, price: 2.5}")
        threshold = fields.positive_integer(f"{where}.{ops[0]}", step[ops[0]])
        thresholds.append(threshold)
        tiers.append({ops[0]: threshold, "price": fields.amount(f"{where}.price", step.get("price"))})
    if thresholds != sorted(thresholds):
        raise ConfigError(f"{key}.tiers", "are not in ascending order")
    if tiers:
        result["tiers"] = tiers
    read_rate(unit, result)
    return result


def _discount(key: str, entry: Mapping[str, object]) -> Discount:
    fields.known_keys(key, entry, ("provider", "model", "units", "percent", "note", *_CONDITIONS))
    if "percent" not in entry:
        raise ConfigError(f"{key}.percent", "is missing", hint="e.g. percent: 15")
    percent = fields.decimal(f"{key}.percent", entry["percent"])
    if not 0 <= percent <= 100:
        raise ConfigError(f"{key}.percent", f"{percent} is not between 0 and 100")
    units = fields.sequence(f"{key}.units", entry.get("units") or [])
    for i, unit in enumerate(units):
        fields.known_keys(f"{key}.units[{i}]", {str(unit): None}, UNITS)
    return Discount(
        key=key,
        provider=_provider(key, entry),
        model=fields.text(f"{key}.model", entry.get("model", "*")),
        units=frozenset(str(unit) for unit in units),
        factor=1 - Fraction(percent) / 100,
        percent=format(percent.normalize(), "f"),
        constraint=Constraint(fields.when(entry, key)),
    )


def _aliases(section: Mapping[str, object]) -> dict[str, tuple[Alias, ...]]:
    result: dict[str, tuple[Alias, ...]] = {}
    for name, value in section.items():
        key = f"aliases.{name}"
        steps = value if isinstance(value, list) else [value]
        result[str(name).strip().lower()] = tuple(_alias(key, step) for step in steps)
    return result


def _alias(key: str, step: object) -> Alias:
    if isinstance(step, str):
        return Alias(model=fields.text(key, step), provider=None, constraint=Constraint({}))
    entry = fields.mapping(key, step)
    fields.known_keys(key, entry, ("model", "provider", "from", "to"))
    if "model" not in entry:
        raise ConfigError(f"{key}.model", "is missing", hint="the model this name stands for")
    provider = _provider(key, entry) or None
    model = fields.text(f"{key}.model", entry["model"])
    return Alias(model=model, provider=provider, constraint=Constraint(fields.when(entry, key)))


def _rates(section: Mapping[str, object]) -> dict[str, tuple[tuple[int, Fraction], ...]]:
    result: dict[str, tuple[tuple[int, Fraction], ...]] = {}
    for code, value in section.items():
        key = f"rates.{code}"
        fields.currency(key, code)
        steps = []
        for i, step in enumerate(value if isinstance(value, list) else [{"rate": value}]):
            where = f"{key}[{i}]" if isinstance(value, list) else key
            entry = fields.mapping(where, step)
            fields.known_keys(where, entry, ("from", "rate"))
            worth = Fraction(fields.decimal(f"{where}.rate" if isinstance(value, list) else key, entry.get("rate")))
            if worth <= 0:
                raise ConfigError(key, f"{fields.shown(entry.get('rate'))} is not above 0")
            first = day_number(fields.day(f"{where}.from", entry["from"])) if "from" in entry else -(10**9)
            steps.append((first, worth))
        result[code] = tuple(sorted(steps))
    return result
