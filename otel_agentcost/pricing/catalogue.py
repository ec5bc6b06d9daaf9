"""Find a model: from the many ways people write provider and model to one entry of the book, or none.

Order: the provider of a known host, the one that is named, the makers each resells, the prefix of the name (`openai/`
under a router), a guess from the name alone. At each: whole names first (a dated snapshot before its
family), then clauses in the book's order, then the name without address, then another way to write the date. Last the
family of an unknown snapshot. Everything after the seller's own entry is told in `Entry.notes` or `Entry.reasons`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from otel_agentcost.pricing.calendar import Constraint
from otel_agentcost.pricing.clauses import Test, compile_clause, named_exactly
from otel_agentcost.pricing.tariff import Entry, ModelTariff
from otel_agentcost.usage.names import bare_model, model_family, routed_provider
from otel_agentcost.usage.providers import canonical_provider, host_facts, provider_kind

_COMPACT_DATE = re.compile(r"-(20\d{2})(\d{2})(\d{2})$")
_ROUTER_TAG = re.compile(r":(?:nitro|floor|online|exacto|extended|thinking|beta)$")
_MAX_NAME = 512
LOCAL = "local"
_SELLERS_OWN = frozenset({"tiers", "regions", "multipliers"})


class _Seller:
    """One provider of the book, indexed on first use."""

    __slots__ = ("aliases", "clauses", "exact", "models", "rules")

    def __init__(self, provider: Mapping[str, Any]) -> None:
        self.rules = {key: value for key, value in provider.items() if key != "models"}
        self.models: list[Any] = list(provider["models"])
        self.exact: dict[str, int] = {}
        self.clauses: list[tuple[Test, int]] = []
        self.aliases: dict[str, list[tuple[Constraint, str]]] = {}
        for alias in provider.get("aliases", ()):
            self.aliases.setdefault(alias["name"], []).append((Constraint(alias), alias["model"]))
        for number, model in enumerate(self.models):
            match = model.get("match", (model["id"],))
            if isinstance(match, Mapping):
                names, rest = named_exactly(match)
                self.clauses += [(compile_clause(part), number) for part in rest]
            else:
                names = match
            for name in names:
                self.exact.setdefault(name.lower(), number)

    def tariff(self, number: int) -> ModelTariff:
        model = self.models[number]
        if not isinstance(model, ModelTariff):
            model = self.models[number] = ModelTariff(model)
        return model

    def find(self, name: str, day: int) -> ModelTariff | None:
        for constraint, target in self.aliases.get(name, ()):
            if constraint.on_day(day):
                name = target
        number = self.exact.get(name)
        if number is None:
            number = next((n for test, n in self.clauses if test(name)), None)
        return None if number is None else self.tariff(number)


class _Way(NamedTuple):
    """One place to look: whose models, sold by whom, and whether that was only guessed from the model's name."""

    maker: str
    seller: str
    guessed: bool


def _reasons(way: _Way, named: str | None) -> tuple[str, ...]:
    """A provider guessed against a stated one makes the figure an estimate; gateways and frameworks state none."""
    if not way.guessed or named is None or provider_kind(named) in ("gateway", "framework"):
        return ()
    return (f"provider_guessed:{way.maker}",)


class Catalogue:
    """The models of a book by the names people use. Not cached here: the book keeps a bounded cache of answers."""

    def __init__(self, providers: list[dict[str, Any]]) -> None:
        self._raw = {provider["id"]: provider for provider in providers}
        self._sellers: dict[str, _Seller] = {}
        self._guesses = [(compile_clause(p["guess"]), p["id"]) for p in providers if "guess" in p]

    def __contains__(self, provider: str) -> bool:
        return provider in self._raw

    def providers(self) -> tuple[str, ...]:
        """Return the ids of all providers of the book."""
        return tuple(self._raw)

    def models(self, provider: str) -> tuple[str, ...]:
        """Return the model ids of one provider."""
        return tuple(model["id"] for model in self._raw[provider]["models"])

    def rules(self, provider: str) -> Mapping[str, Any]:
        """Return the rules of one provider (empty when the book does not have it)."""
        return self._seller(provider).rules if provider in self._raw else {}

    def find(self, provider: str | None, model: str, host: str | None, day: int) -> Entry | None:
        """Return the entry of a model as sold by a provider, or None when nobody knows it."""
        named = canonical_provider(provider)
        facts = host_facts(host) if host else None
        at_host = facts.provider if facts is not None else None
        if LOCAL in (named, at_host):
            return self._local(model)
        model = model[:_MAX_NAME].strip().lower()
        names = tuple(_spellings(model))
        for way in self._ways(named, at_host, model):
            entry = self._at(way, names, day, named)
            if entry is not None:
                return entry
        if model.endswith(":free"):
            tariff = ModelTariff({"id": model, "free": True})
            return Entry(provider=named or "unknown", tariff=tariff, rules={}, notes=(":free",))
        family = model_family(model)
        for way in self._ways(named, at_host, model):
            found = self._seller(way.maker).find(family, day)
            if found is not None:
                return self._entry(way, found, {}, (f"family_of:{found.id}", *_reasons(way, named)))
        return None

    def _local(self, model: str) -> Entry:
        rules = self.rules(LOCAL) or {"free": True}
        return Entry(provider=LOCAL, tariff=ModelTariff({"id": bare_model(model), "free": True}), rules=rules)

    def _at(self, way: _Way, names: tuple[str, ...], day: int, named: str | None) -> Entry | None:
        seller = self._seller(way.maker)
        context: Mapping[str, str] = {}
        for prefix, told in self.rules(way.seller).get("name_context", {}).items():
            if names[0].startswith(prefix):
                context, names = told, (names[0][len(prefix) :], *names)
        for name in names:
            found = seller.find(name, day)
            if found is not None:
                return self._entry(way, found, context, _reasons(way, named))
        return None

    def _entry(self, way: _Way, found: ModelTariff, context: Mapping[str, str], reasons: tuple[str, ...]) -> Entry:
        rules = self.rules(way.maker)
        if way.maker == way.seller:
            return Entry(provider=way.seller, tariff=found, rules=rules, context=context, reasons=reasons)
        # A reseller's regions are its own; what the maker measures and covers stays true.
        rules = {k: v for k, v in rules.items() if k not in _SELLERS_OWN}
        rules.update((k, v) for k, v in self.rules(way.seller).items() if k in _SELLERS_OWN)
        return Entry(
            provider=way.seller,
            tariff=found,
            rules=rules,
            resold=way.maker,
            context=context,
            reasons=reasons,
            notes=(f"list price of {way.maker}, sold by {way.seller}",),
        )

    def _ways(self, named: str | None, at_host: str | None, model: str) -> Iterator[_Way]:
        """Yield who may sell the model, best first: a known host bills, whatever name a library writes."""
        tried: set[str] = set()
        for provider in (at_host, named):
            if provider is None or provider not in self._raw or provider in tried:
                continue
            tried.add(provider)
            yield _Way(provider, provider, False)
            for maker in self._raw[provider].get("fallback", ()):
                if maker in self._raw and maker not in tried:
                    tried.add(maker)
                    yield _Way(maker, provider, False)
        routed = routed_provider(model)
        if routed is not None and routed in self._raw and routed not in tried:
            tried.add(routed)
            yield _Way(routed, routed, False)
        for name in dict.fromkeys((model, bare_model(model))):
            for test, guess in self._guesses:
                if guess not in tried and test(name):
                    tried.add(guess)
                    yield _Way(guess, guess, True)

    def _seller(self, provider: str) -> _Seller:
        seller = self._sellers.get(provider)
        if seller is None:
            seller = self._sellers[provider] = _Seller(self._raw[provider])
        return seller


def _spellings(model: str) -> Iterator[str]:
    """Yield the ways a lower-cased model name may stand in the book, most literal first, each once."""
    seen = dict.fromkeys([model])
    rest = model
    while "/" in rest:
        rest = rest.partition("/")[2]
        if rest:
            seen.setdefault(rest)
    seen.setdefault(bare_model(model))
    for name in list(seen):
        seen.setdefault(_ROUTER_TAG.sub("", name))
    for name in list(seen):
        seen.setdefault(_COMPACT_DATE.sub(r"-\1-\2-\3", name))
    yield from seen
