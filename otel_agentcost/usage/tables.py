"""Dialect tables, compiled once: which spans a dialect speaks for, and where it keeps what. Data: semconv/dialects/."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

    @property
    def unconditional(self) -> bool:
        """Tell whether keys and scope are all that is asked for."""
        return not (self.names or self.attributes or self.resource)

    def holds(self, name: str, attributes: Attributes, resource: Attributes) -> bool:
        """Tell whether the parts that depend on values hold (keys and scope are the index's business)."""
        if self.names and not name.startswith(self.names):
            return False
        for key, wanted in self.attributes:
            if attributes.get(key) != wanted:
                return False
        for key, wanted in self.resource:  # noqa: SIM110 - a generator here costs more than the rest of the check
            if resource.get(key) != wanted:
                return False
        return True


@dataclass(frozen=True, slots=True)
class KindRule:
    """One step in deciding a span's kind: a value of an attribute or of the name, a present key, or usage."""

    slot: str
    """Where `gather` put the value; empty for the span's name."""
    values: Mapping[str, Outcome]
    prefixes: tuple[tuple[str, Outcome], ...]
    present: bool
    usage: bool
    outcome: Outcome | None

    def decide(self, name: str, found: Gathered) -> Outcome | None:
        """Return kind and operation, or None when this rule has nothing to say."""
        if self.present:
            return self.outcome if self.slot in found.fields else None
        if self.usage:
            return self.outcome if found.usage or found.aggregate_usage else None
        if self.outcome is not None:
            return self.outcome
        value = found.fields.get(self.slot) if self.slot else name
        if not isinstance(value, str):
            return None
        plain = value.lower()
        known = self.values.get(plain)
        if known is None:
            for prefix, outcome in self.prefixes:
                if plain.startswith(prefix):
                    return outcome
        return known


class Gathered:
    """What one span has of what its dialect looks for, found in one pass over the attributes."""

    __slots__ = ("aggregate_usage", "context", "fields", "groups", "identity", "plus", "usage")

    def __init__(self) -> None:
        self.groups: tuple[dict[str, object], ...] = ({}, {}, {}, {}, {}, {})
        self.fields, self.usage, self.aggregate_usage, self.plus, self.context, self.identity = self.groups


GROUPS = ("fields", "usage", "aggregate_usage", "plus", "context", "identity")
Place = tuple[int, str, int, "tuple[str, ...] | None"]
"""One attribute's part in a dialect: number of the group and slot it can fill, how much it is preferred there (0 most),
and the path inside a JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Everything a reader needs to know about one way of writing spans."""

    name: str
    detect: tuple[Detect, ...]
    kinds: tuple[KindRule, ...]
    keys: frozenset[str]
    """Every attribute key this dialect reads."""
    places: Mapping[str, tuple[Place, ...]]
    usage_prefix: str
    rule: InputRule
    output_exclusive: bool
    additive_input: tuple[str, ...]
    additive_output: tuple[str, ...]
    aggregate: AggregateMode
    provider_is: str
    cost_by_provider: str
    tool_names: tuple[str, ...]
    server: bool

    def gather(self, attributes: Attributes) -> Gathered:
        """Return the best value for each thing the dialect knows; null and empty text count as absent."""
        found = Gathered()
        groups = found.groups
        ranks: dict[tuple[int, str], int] | None = None
        documents: Documents | None = None
        places = self.places
        for key in self.keys.intersection(attributes):
            value = attributes[key]
            if value is None or value == "":
                continue
            for group, slot, rank, path in places[key]:
                told: object = value
                if path is not None:
                    if documents is None:
                        documents = {}
                    told = _dig(key, value, path, documents)
                    if told is None or told == "":
                        continue
                target = groups[group]
                if slot in target and (ranks is None or ranks.get((group, slot), 0) <= rank):
                    continue
                target[slot] = told
                if rank or ranks:
                    if ranks is None:
                        ranks = {}
                    ranks[(group, slot)] = rank
        return found


Documents = dict[str, Any]
"""JSON texts of one span, parsed when first needed."""


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


def _outcome(value: Any) -> Outcome:
    kind, operation = value if isinstance(value, list) else (value, "")
    return kind, operation


FIELDS = (
    "provider",
    "response_model",
    "request_model",
    "host",
    "tool",
    "agent",
    "aggregate_agent",
    "error",
    "inclusive_when",
)


class _Places:
    """Collects the places of one dialect while its table is compiled."""

    def __init__(self) -> None:
        self.by_key: dict[str, list[Place]] = {}

    def add(self, group: str, slot: str, texts: list[str]) -> None:
        """Let the sources of a slot compete, the first one preferred."""
        for rank, (key, path) in enumerate(_sources(texts)):
            self.by_key.setdefault(key, []).append((GROUPS.index(group), slot, rank, path))

    def kind_rule(self, number: int, raw: Mapping[str, Any]) -> KindRule:
        """Compile one rule of `kind`, and remember what it looks at."""
        slot = f"kind{number}"
        if "present" in raw:
            self.add("fields", slot, raw["present"])
        elif raw.get("from", "$name") != "$name":
            self.add("fields", slot, [raw["from"]])
        else:
            slot = ""
        values = {k: _outcome(v) for k, v in raw.get("values", {}).items()}
        prefixes = sorted(((k[:-1], v) for k, v in values.items() if k.endswith("*")), key=lambda p: -len(p[0]))
        return KindRule(
            slot=slot,
            values={k: v for k, v in values.items() if not k.endswith("*")},
            prefixes=tuple(prefixes),
            present="present" in raw,
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
    places = _Places()
    for field in FIELDS:
        places.add("fields", field, raw.get(field, []))
    for group in ("usage", "aggregate_usage", "plus", "context"):
        for slot, texts in raw.get(group, {}).items():
            places.add(group, slot, texts)
    for rank, text in enumerate(raw.get("identity", [])):
        places.add("identity", f"{rank:02}", [text])
    cost = raw.get("reported_cost", {})
    by = cost.get("provider_when", {"from": [], "is": ""})
    places.add("fields", "cost", cost.get("amount", []))
    places.add("fields", "currency", cost.get("currency", []))
    places.add("fields", "cost_by", by["from"])
    kinds = tuple(places.kind_rule(number, rule) for number, rule in enumerate(raw["kind"]))
    return Dialect(
        name=raw["dialect"],
        detect=tuple(_detect(rule) for rule in raw["detect"]),
        kinds=kinds,
        keys=frozenset(places.by_key),
        places={key: tuple(found) for key, found in places.by_key.items()},
        usage_prefix=raw.get("usage_prefix", ""),
        rule=raw.get("input", "inclusive"),
        output_exclusive=raw.get("output", "inclusive") == "exclusive",
        additive_input=tuple(raw.get("additive_input", ("cache_read_tokens", "cache_write_tokens"))),
        additive_output=tuple(raw.get("additive_output", ("output_reasoning_tokens",))),
        aggregate=raw.get("aggregate", "sum"),
        provider_is=raw.get("provider_is", ""),
        cost_by_provider=by["is"],
        tool_names=tuple(raw.get("tool_names", ())),
        server=bool(raw.get("server")),
    )


_RAW: dict[str, Any] = load("dialects")
DIALECTS: tuple[Dialect, ...] = tuple(_dialect(raw) for raw in _RAW["dialects"])
"""Every dialect, most specific first."""
LABELS: Mapping[str, tuple[str, ...]] = {label: tuple(keys) for label, keys in _RAW["labels"].items()}
"""Identity labels: canonical key, and where dialects keep it, best first."""
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
        if any(rule.unconditional for rule in rules):
            break
    return tuple(found)


def _in_scope(scope: str, wanted: tuple[str, ...]) -> bool:
    return any(scope.startswith(w[:-1]) if w.endswith("*") else scope == w for w in wanted)
