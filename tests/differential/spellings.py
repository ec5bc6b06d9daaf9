"""How each dialect would write one call, aggregate or tool: made from the dialect tables, so that none is forgotten.

A spelling is found by trial: a way of the table's `detect`, a rule of its `kind`, one of the first sources of each
field. It is kept when the reader of the Python side says that the span is what it was meant to be.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from otel_agentcost._data import load
from otel_agentcost.usage.dialects import read_span

Attributes = dict[str, Any]
KINDS = ("call", "aggregate", "tool")
_PER_KIND = 6
"""Spellings kept of each dialect and kind."""
_TRIALS = 60
_PROBE = {"input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 300, "cache_write_tokens": 50}
_UNITS = (*_PROBE, "output_reasoning_tokens", "cache_write_1h_tokens", "total_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What happened, before anybody wrote it down."""

    provider: str = ""
    model: str = ""
    request_model: str = ""
    response_id: str = ""
    agent: str = ""
    tool: str = ""
    tier: str = ""
    cost: float | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    """Inclusive totals and subsets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """One way to write a span of a kind."""

    dialect: str
    kind: str
    name: str
    scope: str
    span_kind: str
    fixed: tuple[tuple[str, Any], ...]
    resource: tuple[tuple[str, Any], ...]
    places: tuple[tuple[str, str], ...]
    """Fact -> source (`key` or `key#path/in/json`)."""
    exclusive: bool

    def write(self, facts: Facts) -> Attributes:
        """Write the attributes of a span that tells these facts."""
        attributes: Attributes = dict(self.fixed)
        documents: dict[str, Any] = {}
        for fact, source in self.places:
            value = self._value(fact, facts)
            if value in (None, ""):
                continue
            key, sharp, path = source.partition("#")
            if not sharp:
                attributes[key] = value
                continue
            inside = documents.setdefault(key, {})
            *way, last = path.split("/")
            for step in way:
                inside = inside.setdefault(step, {})
                if not isinstance(inside, dict):
                    break
            else:
                inside[last] = value
        for key, document in documents.items():
            attributes[key] = json.dumps(document)
        return attributes

    def _value(self, fact: str, facts: Facts) -> object:
        if not fact.endswith("_tokens"):
            return getattr(facts, fact)
        usage = facts.usage
        if fact == "total_tokens":
            return usage.get("input_tokens", 0) + usage.get("output_tokens", 0) if usage else None
        if fact == "input_tokens" and self.exclusive and fact in usage:
            return max(0, usage[fact] - usage.get("cache_read_tokens", 0) - usage.get("cache_write_tokens", 0))
        return usage.get(fact)


@lru_cache(maxsize=1)
def spellings() -> Mapping[str, tuple[Spelling, ...]]:
    """All spellings by kind. Fixed: the same in every process."""
    rng = random.Random(20261120)
    found: dict[str, list[Spelling]] = {kind: [] for kind in KINDS}
    for table in load("dialects")["dialects"]:
        for kind in KINDS:
            kept: dict[Spelling, None] = {}
            for _ in range(_TRIALS):
                if len(kept) >= _PER_KIND:
                    break
                spelling = _try(table, kind, rng)
                if spelling is not None and _is_read_as(spelling):
                    kept[spelling] = None
            found[kind].extend(kept)
    return {kind: tuple(many) for kind, many in found.items()}


def _is_read_as(spelling: Spelling) -> bool:
    facts = Facts(provider="openai", model="gpt-4o", response_id="r", tool="search", usage=_PROBE)
    if spelling.kind == "tool":
        facts = Facts(tool="search")
    reading = read_span(
        name=spelling.name,
        kind=spelling.span_kind,
        scope=spelling.scope,
        attributes=spelling.write(facts),
        resource=dict(spelling.resource),
    )
    if reading is None or reading.kind != spelling.kind or reading.dialect != spelling.dialect:
        return False
    return spelling.kind == "tool" or reading.status == "usage"


def _try(table: dict[str, Any], kind: str, rng: random.Random) -> Spelling | None:
    way = rng.choice(table["detect"])
    scope = rng.choice(way["scopes"]).replace("*", ".x") if "scopes" in way else f"lib.{table['dialect']}"
    fixed: Attributes = {}
    names = [n + "x" for n in way.get("names", ())]
    choice = _kind_choice(table, kind, rng)
    if choice is None:
        return None
    source, text = choice
    name = rng.choice(names) if names else f"{kind} x"
    if source == "$name":
        name = text
    elif source:
        fixed[source] = text
    places = dict(_places(table, kind, rng))
    sources = {s.partition("#")[0] for s in places.values()}
    if "keys" in way and not (set(way["keys"]) & (sources | fixed.keys())):
        key = rng.choice(way["keys"])
        fixed[key] = 12 if "usage" in key or "latency" in key else "x"
    fixed.update(way.get("attributes", {}))
    return Spelling(
        dialect=table["dialect"],
        kind=kind,
        name=name,
        scope=scope,
        span_kind=rng.choice(("client", "internal")) if kind == "call" else "internal",
        fixed=tuple(fixed.items()),
        resource=tuple(way.get("resource", {}).items()),
        places=tuple(places.items()),
        exclusive=table.get("input") == "exclusive",
    )


def _kind_choice(table: dict[str, Any], kind: str, rng: random.Random) -> tuple[str, str] | None:
    """A source and text that make the table decide for a kind; ("", "") where nothing needs to be said."""
    choices: list[tuple[str, str]] = []
    for rule in table["kind"]:
        if "values" in rule:
            for text, outcome in rule["values"].items():
                if (outcome if isinstance(outcome, str) else outcome[0]) == kind:
                    choices.append((rule["from"], text.replace("*", "x")))
        elif (rule["is"] if isinstance(rule["is"], str) else rule["is"][0]) == kind:
            choices.append(("", "") if "present" not in rule else (rng.choice(rule["present"]), "x"))
    return rng.choice(choices) if choices else None


def _places(table: dict[str, Any], kind: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    usage = table.get("usage", {})
    if kind == "aggregate" and table.get("aggregate_usage") and rng.random() < 0.5:
        usage = table["aggregate_usage"]
    if kind != "tool":
        for unit in _UNITS:
            if usage.get(unit):
                yield unit, _early(usage[unit], rng)
    for fact, name in (
        ("provider", "provider"),
        ("model", "response_model"),
        ("request_model", "request_model"),
        ("response_id", "identity"),
        ("agent", "agent"),
        ("tool", "tool"),
    ):
        if table.get(name) and (fact != "tool" or kind == "tool"):
            yield fact, _early(table[name], rng)
    if "service_tier" in table.get("context", {}):
        yield "tier", _early(table["context"]["service_tier"], rng)
    if "reported_cost" in table and rng.random() < 0.3:
        yield "cost", _early(table["reported_cost"]["amount"], rng)


def _early(sources: list[str], rng: random.Random) -> str:
    return sources[0] if rng.random() < 0.6 else rng.choice(sources)
