"""Dialect tables, compiled once: which spans a dialect speaks for, and where it keeps what. Data: semconv/dialects/."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from otel_agentcost._data import load
from otel_agentcost.usage.quantities import InputRule
from otel_agentcost.usage.reading import AggregateMode

Sources = tuple[tuple[str, "tuple[str, ...] | None"], ...]
"""Where to look, in order: attribute key, and the path inside when the attribute is a JSON text or a map."""
Outcome = tuple[str, str]
"""Kind (call, aggregate, tool, compute, api, none) and operation."""
Attributes = Mapping[str, object]

MAX_JSON = 65_536
"""Longest JSON text that is looked into."""


@dataclass(frozen=True, slots=True)
class Detect:
    """One way to recognise a dialect; every stated part must hold."""

    keys: frozenset[str]
    scopes: tuple[str, ...]
    names: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    resource: tuple[tuple[str, str], ...]

    def holds(self, name: str, attributes: Attributes, resource: Attributes) -> bool:
        """Tell whether the parts that depend on values hold (keys and scope are the index's business)."""
        if self.names and not name.startswith(self.names):
            return False
        return all(attributes.get(k) == v for k, v in self.attributes) and all(
            resource.get(k) == v for k, v in self.resource
        )


@dataclass(frozen=True, slots=True)
class KindRule:
    """One step in deciding a span's kind: a value of an attribute or of the name, a present key, or usage."""

    source: Sources
    name: bool
    values: Mapping[str, Outcome]
    prefixes: tuple[tuple[str, Outcome], ...]
    present: Sources
    usage: bool
    outcome: Outcome | None

    def decide(
        self, name: str, attributes: Attributes, documents: Documents, has_usage: Callable[[], bool]
    ) -> Outcome | None:
        """Return kind and operation, or None when this rule has nothing to say."""
        if self.values or self.prefixes:
            value = name if self.name else look(attributes, self.source, documents)
            if not isinstance(value, str):
                return None
            plain = value.lower()
            found = self.values.get(plain)
            if found is not None:
                return found
            for prefix, outcome in self.prefixes:
                if plain.startswith(prefix):
                    return outcome
            return None
        if self.present:
            return self.outcome if look(attributes, self.present, documents) is not None else None
        if self.usage:
            return self.outcome if has_usage() else None
        return self.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Everything a reader needs to know about one way of writing spans."""

    name: str
    detect: tuple[Detect, ...]
    kinds: tuple[KindRule, ...]
    usage: tuple[tuple[str, Sources], ...]
    aggregate_usage: tuple[tuple[str, Sources], ...]
    plus: tuple[tuple[str, Sources], ...]
    usage_prefix: str
    rule: InputRule
    inclusive_when: Sources
    output_exclusive: bool
    additive_input: tuple[str, ...]
    additive_output: tuple[str, ...]
    aggregate: AggregateMode
    provider: Sources
    provider_is: str
    response_model: Sources
    request_model: Sources
    identity: Sources
    context: tuple[tuple[str, Sources], ...]
    host: Sources
    cost: Sources
    currency: Sources
    cost_by_provider: tuple[Sources, str]
    tool: Sources
    tool_names: tuple[str, ...]
    agent: Sources
    aggregate_agent: Sources
    error: Sources
    server: bool


Documents = dict[str, Any]
"""JSON texts of one span, parsed when first needed."""


def look(attributes: Attributes, sources: Sources, documents: Documents) -> object:
    """Return the first value that is there, or None."""
    for key, path in sources:
        value = attributes.get(key)
        if value is None:
            continue
        if path is None:
            return value
        inside = _dig(key, value, path, documents)
        if inside is not None:
            return inside
    return None


def _dig(key: str, value: object, path: tuple[str, ...], documents: Documents) -> object:
    found = documents.get(key, documents)
    if found is documents:
        found = documents[key] = parse(value) if isinstance(value, str) else value
    for step in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def parse(text: str) -> object:
    """Return the object a text holds as JSON, or as a Python literal with single quotes; None when it holds none."""
    if len(text) > MAX_JSON or not text.lstrip().startswith("{"):
        return None
    for attempt in (text, text.replace("'", '"').replace("None", "null")):
        try:
            return json.loads(attempt)
        except (ValueError, RecursionError):
            continue
    return None


def _source(text: str) -> tuple[str, tuple[str, ...] | None]:
    key, sharp, path = text.partition("#")
    return (key, tuple(path.split("/")) if sharp else None)


def _sources(texts: list[str] | None) -> Sources:
    return tuple(_source(text) for text in texts or ())


def _units(table: Mapping[str, list[str]]) -> tuple[tuple[str, Sources], ...]:
    return tuple((unit, _sources(texts)) for unit, texts in table.items())


def _outcome(value: Any) -> Outcome:
    kind, operation = value if isinstance(value, list) else (value, "")
    return kind, operation


def _kind_rule(raw: Mapping[str, Any]) -> KindRule:
    values = {k: _outcome(v) for k, v in raw.get("values", {}).items()}
    prefixes = tuple(sorted(((k[:-1], v) for k, v in values.items() if k.endswith("*")), key=lambda p: -len(p[0])))
    return KindRule(
        source=_sources([raw["from"]] if "from" in raw else []),
        name=raw.get("from") == "$name",
        values={k: v for k, v in values.items() if not k.endswith("*")},
        prefixes=prefixes,
        present=_sources(raw.get("present")),
        usage=bool(raw.get("usage")),
        outcome=_outcome(raw["is"]) if "is" in raw else None,
    )


def _detect(raw: Mapping[str, Any]) -> Detect:
    return Detect(
        keys=frozenset(raw.get("keys", ())),
        scopes=tuple(raw.get("scopes", ())),
        names=tuple(raw.get("names", ())),
        attributes=tuple(raw.get("attributes", {}).items()),
        resource=tuple(raw.get("resource", {}).items()),
    )


def _dialect(raw: Mapping[str, Any]) -> Dialect:
    cost = raw.get("reported_cost", {})
    by = cost.get("provider_when", {"from": [], "is": ""})
    return Dialect(
        name=raw["dialect"],
        detect=tuple(_detect(rule) for rule in raw["detect"]),
        kinds=tuple(_kind_rule(rule) for rule in raw["kind"]),
        usage=_units(raw.get("usage", {})),
        aggregate_usage=_units(raw.get("aggregate_usage", {})),
        plus=_units(raw.get("plus", {})),
        usage_prefix=raw.get("usage_prefix", ""),
        rule=raw.get("input", "inclusive"),
        inclusive_when=_sources(raw.get("inclusive_when")),
        output_exclusive=raw.get("output", "inclusive") == "exclusive",
        additive_input=tuple(raw.get("additive_input", ("cache_read_tokens", "cache_write_tokens"))),
        additive_output=tuple(raw.get("additive_output", ("output_reasoning_tokens",))),
        aggregate=raw.get("aggregate", "sum"),
        provider=_sources(raw.get("provider")),
        provider_is=raw.get("provider_is", ""),
        response_model=_sources(raw.get("response_model")),
        request_model=_sources(raw.get("request_model")),
        identity=_sources(raw.get("identity")),
        context=_units(raw.get("context", {})),
        host=_sources(raw.get("host")),
        cost=_sources(cost.get("amount")),
        currency=_sources(cost.get("currency")),
        cost_by_provider=(_sources(by["from"]), by["is"]),
        tool=_sources(raw.get("tool")),
        tool_names=tuple(raw.get("tool_names", ())),
        agent=_sources(raw.get("agent")),
        aggregate_agent=_sources(raw.get("aggregate_agent")),
        error=_sources(raw.get("error")),
        server=bool(raw.get("server")),
    )


_RAW: dict[str, Any] = load("dialects")
DIALECTS: tuple[Dialect, ...] = tuple(_dialect(raw) for raw in _RAW["dialects"])
"""Every dialect, most specific first."""
LABELS: tuple[tuple[str, Sources], ...] = _units(_RAW["labels"])
"""Identity labels: canonical key, and where dialects keep it."""
MARKERS: frozenset[str] = frozenset(key for d in DIALECTS for rule in d.detect for key in rule.keys)
"""Attribute keys at least one of which every readable span has, unless its name gives it away."""
NAME_PREFIXES: tuple[str, ...] = tuple(
    sorted({name for d in DIALECTS for rule in d.detect if not rule.keys for name in rule.names})
)
EXCLUSIVE_VENDORS: frozenset[str] = frozenset(_RAW["exclusive_vendors"])
"""Vendors whose own counts leave cached tokens out of the input."""


@lru_cache(maxsize=1024)
def candidates(markers: frozenset[str], scope: str) -> tuple[tuple[Dialect, tuple[Detect, ...]], ...]:
    """Return the dialects whose keys and scope fit, most specific first, with the rules left to check."""
    found = []
    for dialect in DIALECTS:
        rules = tuple(
            rule
            for rule in dialect.detect
            if (not rule.keys or rule.keys & markers) and (not rule.scopes or _in_scope(scope, rule.scopes))
        )
        if rules:
            found.append((dialect, rules))
    return tuple(found)


def _in_scope(scope: str, wanted: tuple[str, ...]) -> bool:
    return any(scope.startswith(w[:-1]) if w.endswith("*") else scope == w for w in wanted)
