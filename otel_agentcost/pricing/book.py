"""PriceBook: one reading in, one bill out.

    provider-reported > user (stated, prices, discounts) > overlay > book > emitter's own figure > unpriced

Never raises, never reads a clock, keeps bounded caches of what it found and of what it did not find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from otel_agentcost._data import load
from otel_agentcost.errors import ConfigError, PriceBookError
from otel_agentcost.pricing.bill import Bill, BillStatus, LineItem, Source
from otel_agentcost.pricing.calendar import DAY_NS, day_of, minute_of
from otel_agentcost.pricing.catalogue import Catalogue
from otel_agentcost.pricing.fees import NO_CHARGE, FeeBook
from otel_agentcost.pricing.money import MAX_PICO, TOO_LARGE, divide_half_even, pico_of
from otel_agentcost.pricing.overrides import Overrides
from otel_agentcost.pricing.plan import Plan, invalid, unpriced
from otel_agentcost.pricing.rules import read_fees, read_machines
from otel_agentcost.pricing.tariff import Entry, Tariff, resolve, settle_tier
from otel_agentcost.usage.names import bare_model
from otel_agentcost.usage.providers import canonical_provider
from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.units import UNITS

__all__ = ["NO_CHARGE", "PriceBook"]

FORMAT = "agentcost-prices/1"
_PLANS = 4096
_MATCHES = 8192
_MAX_SIZE = 40
"""How large or small a stated amount may be, as a power of ten; beyond it an emitter is mistaken."""
_COMPONENT = {"tool": "tool", "api": "api", "compute": "compute"}
_MODEL_KINDS = frozenset({"call", "aggregate"})
_RANK: dict[BillStatus, int] = {"priced": 0, "free": 0, "estimated": 1, "partial": 2, "unpriced": 3, "invalid": 4}
_BASE_KEYS = frozenset(
    {"service_tier", "request_service_tier", "speed", "processing", "host", "region", "inference_geo", "data_zone"}
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A model's entry, or the user's own price without one; None of both is a miss, which is remembered too."""

    entry: Entry | None
    provider: str
    names: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_Shape = tuple["str | None", "str | None", "str | None", tuple[tuple[str, str], ...], tuple[str, ...], int]
"""What decides which plan prices a usage: provider, models, relevant context, units in their order, day."""


class PriceBook:
    """Dated prices of models, tools, APIs and machines, with the user's own laid over them.

    Thread-safe: nothing changes after construction but bounded caches.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        *,
        overrides: Overrides | None = None,
        fees: Iterable[Mapping[str, Any]] = (),
        machines: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        if content.get("format") != FORMAT:
            raise PriceBookError(f"price book: format {content.get('format')!r} is not {FORMAT!r}")
        self.version: str = content["version"]
        self._content = content
        self._fee_entries = tuple(fees)
        self._machine_entries = tuple(machines)
        self.overrides = overrides or Overrides()
        self.currency = self.overrides.currency
        self._catalogue = Catalogue(content["providers"])
        self._relevant = _relevant_keys(content["providers"], self.overrides)
        self._fees = FeeBook(
            (*self.overrides.fees, *read_fees(enumerate(self._fee_entries))),
            (*self.overrides.machines, *read_machines(enumerate(self._machine_entries))),
            version=self.version,
            currency=self.currency,
            exchange=self.overrides.exchange,
        )
        self._find = lru_cache(maxsize=_MATCHES)(self._find_uncached)
        self._plans: dict[_Shape, Plan | Bill | _Clock] = {}

    @classmethod
    def bundled(cls) -> PriceBook:
        """Return the book that is shipped; read on first use, then shared."""
        return _bundled()

    def with_overrides(self, overrides: Overrides) -> PriceBook:
        """Return the same book under a user's prices, discounts, fees, aliases and currency."""
        return PriceBook(self._content, overrides=overrides, fees=self._fee_entries, machines=self._machine_entries)

    @property
    def priced_tools(self) -> Any:
        """`name in book.priced_tools`: does any rule have a fee for this tool?"""
        return self._fees.priced_tools

    @property
    def priced_hosts(self) -> Any:
        """`host in book.priced_hosts`: does any rule have a fee for this host?"""
        return self._fees.priced_hosts

    @property
    def fee_attributes(self) -> frozenset[str]:
        """Attributes (`http.response.header.<name>` for headers) a reading's context must carry to count units."""
        return self._fees.attributes

    @property
    def catalogue(self) -> Catalogue:
        """Return the models of the book, for look-up by hand."""
        return self._catalogue

    def context_window(self, provider: str | None, model: str) -> int | None:
        """Return how many tokens fit into a model's context, or None when nobody says."""
        names = _names(model)
        for price in reversed(self.overrides.prices):
            if price.window is not None and price.matches(canonical_provider(provider) or "", names):
                return price.window
        found = self._find(provider, model, None, None, 0)
        return None if found is None or found.entry is None else found.entry.tariff.window

    def price(self, reading: Reading, *, at: int) -> Bill:
        """Return what a reading costs; `at` is the start of its span in Unix nanoseconds.

        Never raises: a fault of ours becomes an unpriced bill that names it.
        """
        try:
            usage = reading.usage
            if (
                usage is None
                or reading.reported_cost is not None
                or reading.parts
                or reading.status == "invalid"
                or reading.kind not in _MODEL_KINDS
            ):
                return self._priced(reading, at)
            if not reading.context and not reading.estimated:  # the shortest way to a plan that is known
                units = tuple(usage._quantities)
                plan = self._plans.get(
                    (reading.provider, reading.model, reading.request_model, (), units, at // DAY_NS)
                )
                if type(plan) is Plan:
                    return plan.bill(usage)
            return self._usage_bill(reading, reading.model, usage, at, "")
        except Exception as fault:
            return unpriced((f"pricing_error:{type(fault).__name__}",))

    def _priced(self, reading: Reading, at: int) -> Bill:
        if reading.reported_cost is not None and reading.reported_by != "emitter":
            stated = self._stated(reading, at)
            if stated is not None:
                return stated
        if reading.status == "invalid":
            return invalid(reading.reason or "invalid_usage")
        kind = reading.kind
        if kind in _MODEL_KINDS:
            bill = self._model_call(reading, at)
        elif kind == "tool":
            bill = self._fees.tool(reading, at)
        elif kind == "api":
            bill = self._fees.api(reading, at)
        else:
            bill = self._fees.machine(reading, at)
        if bill.status == "unpriced" and reading.reported_cost is not None:
            return self._emitted(reading, at, bill)
        return bill

    def _stated(self, reading: Reading, at: int) -> Bill | None:
        """The figure of the provider (or of the user, through our API) wins over every table (rule 24)."""
        total = self._reported(reading, at)
        if total is None:
            return None
        by_user = reading.reported_by == "user"
        return Bill(
            status="priced" if by_user else "provider_reported",
            total=total,
            source="user" if by_user else "provider",
            currency=self.currency,
            component=_COMPONENT.get(reading.kind, "llm"),
            notes=("stated by the application" if by_user else "stated in the provider's response",),
        )

    def _emitted(self, reading: Reading, at: int, bill: Bill) -> Bill:
        """The figure an instrumentation computed is the last resort, and an estimate."""
        total = self._reported(reading, at)
        if total is None:
            return bill
        return Bill(
            status="estimated",
            total=total,
            reasons=("reported_by_emitter", *bill.reasons),
            source="estimated",
            currency=self.currency,
            component=_COMPONENT.get(reading.kind, "llm"),
            notes=bill.notes,
        )

    def _reported(self, reading: Reading, at: int) -> int | None:
        """Return a stated amount in the book's currency: rounded as it was stated, and once more when changed.

        None when no rate is known for its currency, or the amount is beyond belief.
        """
        stated = reading.reported_cost
        if stated is None or not stated.is_finite() or abs(stated.adjusted()) > _MAX_SIZE:
            return None
        try:
            worth = self.overrides.exchange(reading.reported_currency, day_of(at))
        except ConfigError:
            return None
        total = divide_half_even(pico_of(stated) * worth.numerator, worth.denominator)
        return total if abs(total) <= MAX_PICO else None

    def _model_call(self, reading: Reading, at: int) -> Bill:
        if reading.parts:
            return self._parts(reading, at)
        usage = reading.usage
        if usage is None:
            return _without_usage(reading)
        return self._usage_bill(reading, reading.model, usage, at, "")

    def _usage_bill(self, reading: Reading, model: str | None, usage: Usage, at: int, label: str) -> Bill:
        context = reading.context
        relevant = self._relevant
        key = tuple([item for item in context.items() if item[0] in relevant]) if context else ()
        shape = (reading.provider, model, reading.request_model, key, tuple(usage._quantities), at // DAY_NS)
        plan = self._plans.get(shape)
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()  # rare, and cheaper than to keep an order for every price
            plan = self._plans[shape] = self._new_plan(*shape)
        if type(plan) is _Clock:
            plan = plan.at(minute_of(at))
        if type(plan) is Bill:
            return plan
        estimated = (reading.reason or "estimated_usage") if reading.estimated else ""
        return plan.bill(usage, estimated=estimated, model=label)  # type: ignore[union-attr]

    def _parts(self, reading: Reading, at: int) -> Bill:
        """Price each model's part at its own rates: the sum is the bill."""
        bills = [self._usage_bill(reading, p.model or reading.model, p.usage, at, p.model or "") for p in reading.parts]
        return _merged(bills, self.currency)

    def _new_plan(
        self,
        provider: str | None,
        model: str | None,
        request_model: str | None,
        context: tuple[tuple[str, str], ...],
        units: tuple[str, ...],
        day: int,
    ) -> Plan | Bill | _Clock:
        if not units:
            return unpriced(("no_usage",))
        if not model and not request_model:
            return unpriced(("no_model",))
        strange = next((unit for unit in units if unit not in UNITS), None)
        if strange is not None:
            return invalid(f"unknown_unit:{strange}")
        told = {key: value for key, value in context if value}
        found = self._find(provider, model, request_model, told.get("host"), day)
        if found is None:
            return unpriced(
                ("unknown_model",), (f"no entry for {provider or 'any provider'}/{model or request_model}",)
            )
        timed = self.overrides.timed or (found.entry is not None and found.entry.tariff.timed)
        if timed:
            return _Clock(lambda minute: self._plan_at(found, told, units, day, minute))
        return self._plan_at(found, told, units, day, 0)

    def _plan_at(
        self, found: _Found, context: Mapping[str, str], units: tuple[str, ...], day: int, minute: int
    ) -> Plan | Bill:
        entry = found.entry
        if entry is None:
            settled, reasons = settle_tier(context, {})
            asked = [settled[k] for k in ("processing", "service_tier", "speed") if k in settled]
            tariff = Tariff(rates={}, context=settled)
            tariff.reasons += [*reasons, *(f"no_tier_rate:{value}" for value in asked)]
        else:
            tariff = resolve(entry, context, day, minute)
        tariff.reasons += found.reasons
        tariff.notes += found.notes
        used = self.overrides.apply(tariff, found.provider, found.names, day, minute)
        if entry is not None and entry.tariff.unpriced and not used:
            return unpriced(("no_price",), (f"{entry.provider}/{entry.tariff.id} is listed without a price",))
        if entry is None and not used:
            return unpriced(("unknown_model",), found.notes)
        origin = f"{self.version}/{entry.provider}/{entry.tariff.id}" if entry is not None else f"agentcost.yaml/{used}"
        if used and entry is not None:
            origin = f"{origin}+{used}"
        return Plan(tariff, units, price_id=f"{origin}#{tariff.label}", currency=self.currency)

    def _find_uncached(
        self, provider: str | None, model: str | None, request_model: str | None, host: str | None, day: int
    ) -> _Found | None:
        """Find the model that answered, else the one that was asked for; the user's aliases come first."""
        named = canonical_provider(provider) or ""
        candidates = [name for name in (model, request_model) if name]
        for name in candidates:
            alias = self.overrides.alias(name, provider, day)
            if alias is not None:
                seller = alias.provider or provider
                entry = self._catalogue.find(seller, alias.model, None if alias.provider else host, day)
                names = (*_names(alias.model), *_names(name))
                found_at = entry.provider if entry is not None else canonical_provider(seller) or named
                return _Found(entry, found_at, names, notes=(f"alias {name} -> {alias.model}",))
        for position, name in enumerate(candidates):
            entry = self._catalogue.find(provider, name, host, day)
            names = _names(name)
            seller_name = entry.provider if entry is not None else named
            if entry is None and not any(p.matches(seller_name, names) for p in self.overrides.prices):
                continue
            reasons = (f"model_as_requested:{name}",) if position and model else ()
            if entry is not None:
                names = tuple(dict.fromkeys((*names, entry.tariff.id)))
            return _Found(entry, seller_name, names, reasons)
        return None


class _Clock:
    """Plans of a day on which the time of day matters: one per minute asked for, at most 1 440."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[int], Plan | Bill]) -> None:
        self._make = lru_cache(maxsize=1440)(make)

    def at(self, minute: int) -> Plan | Bill:
        """Return the plan of a minute."""
        return self._make(minute)


def _names(model: str) -> tuple[str, ...]:
    """Return the names a user's pattern may mean: as written, and without address."""
    return tuple(dict.fromkeys((model.strip().lower(), bare_model(model))))


def _without_usage(reading: Reading) -> Bill:
    """Say what a reading without usage costs: a failed request nothing, anything else nobody knows (rule 39)."""
    if reading.status in ("error", "not_billed"):
        return Bill(status="not_billed", total=0, reasons=(reading.reason,) if reading.reason else ())
    return unpriced((reading.reason or "no_usage",))


def _merged(bills: list[Bill], currency: str) -> Bill:
    items: list[LineItem] = [item for bill in bills for item in bill.items]
    worst = max(bills, key=lambda bill: _RANK.get(bill.status, 0))
    reasons = tuple(dict.fromkeys(reason for bill in bills for reason in bill.reasons))
    if worst.status == "invalid" or all(bill.total is None for bill in bills):
        return replace(worst, reasons=reasons)
    total = sum(bill.total for bill in bills if bill.total is not None)
    if total > MAX_PICO:
        return invalid(TOO_LARGE)
    status: BillStatus = worst.status if worst.status != "unpriced" else "partial"
    if status == "free" and any(bill.status == "priced" for bill in bills):
        status = "priced"
    sources = {bill.source for bill in bills if bill.total is not None}
    order: tuple[Source, ...] = ("estimated", "user", "book", "")
    source = next(s for s in order if s in sources)
    return Bill(
        status=status,
        total=total,
        items=tuple(items),
        reasons=reasons,
        source=source,
        price_id="+".join(dict.fromkeys(bill.price_id for bill in bills if bill.price_id)),
        currency=currency,
        notes=tuple(note for bill in bills for note in bill.notes),
    )


def _relevant_keys(providers: list[dict[str, Any]], overrides: Overrides) -> frozenset[str]:
    """Return the context keys any price depends on; nothing else may widen the cache."""
    keys = set(_BASE_KEYS)
    for provider in providers:
        for rule in provider.get("multipliers", ()):
            keys.update(rule["when"])
        for rule in provider.get("measures", ()):
            keys.update(rule.get("unless", ()))
        for model in provider["models"]:
            for variant in model.get("variants", ()):
                keys.update(variant["when"])
    for price in overrides.prices:
        for dated in price.variants:
            keys.update(dated.when)
    return frozenset(keys)


@lru_cache(maxsize=1)
def _bundled() -> PriceBook:
    return PriceBook(load("prices"), fees=load("fees")["fees"], machines=load("compute")["compute"])
