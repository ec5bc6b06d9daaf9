"""The tables of semconv/apis.yaml, compiled: how an API is recognised and how its usage object is counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from otel_agentcost._data import load

Path = tuple[str, ...]
"""A dotted path taken apart; `*` stands for every element of a list, a number for one of them."""
Terms = tuple[tuple[Path, ...], ...]
"""Terms to add up, each a choice of paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountList:
    """An array of {name, count}, such as tokens by modality."""

    path: Path
    name: str
    count: str
    units: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Where a provider states money, and the size of its unit in dollars."""

    path: Path
    scale: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How one usage object becomes units."""

    name: str
    units: tuple[tuple[str, Terms], ...]
    lists: tuple[CountList, ...]
    when_alone: tuple[tuple[str, str], ...]
    at_least: tuple[tuple[str, int], ...]
    context: tuple[tuple[str, tuple[Path, ...]], ...]
    cost: tuple[Cost, ...]
    quirks: tuple[str, ...]
    text_numbers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One place of an answer where usage may stand."""

    at: Path
    headers: bool
    has: tuple[str, ...]
    counts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """An array of the answer whose elements are tools the provider ran."""

    path: Path
    type: str
    units: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The end of a URL path, segment by segment from the right."""

    segments: tuple[str, ...]
    verb: str
    """What follows the colon of the last segment, e.g. `generateContent`."""

    def match(self, path: tuple[str, ...], verb: str) -> dict[str, str] | None:
        """Return the captured segments, or None when the path does not end like this."""
        if len(path) < len(self.segments) or verb != self.verb:
            return None
        found: dict[str, str] = {}
        for wanted, given in zip(reversed(self.segments), reversed(path), strict=False):
            if wanted[:1] == "{":
                found[wanted[1:-1]] = given
            elif wanted != given:
                return None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One HTTP API: see semconv/apis.yaml for the meaning of each field."""

    name: str
    operation: str
    patterns: tuple[Pattern, ...]
    methods: frozenset[str]
    hosts: frozenset[str]
    provider: str | None
    asks: tuple[frozenset[str], ...] | None
    """None: only on known hosts. Empty: the path alone is enough."""
    reads: tuple[Read, ...]
    by_provider: Mapping[str, str]
    unwrap: tuple[str, ...]
    merge: bool
    only: Mapping[str, str]
    final: re.Pattern[bytes] | None
    keep: tuple[bytes, ...]
    items: tuple[Items, ...]
    tells: tuple[Mapping[str, str | None], ...]
    quirks: tuple[str, ...]
    skim: bool
    rows: tuple[Path, ...]
    context: tuple[tuple[str, tuple[Path, ...]], ...]
    from_request: tuple[tuple[str, tuple[Path, ...]], ...]
    without_usage: str


def dotted(path: str) -> Path:
    """Take a dotted path apart; the empty path is the object itself."""
    return tuple(path.split(".")) if path else ()


def _paths(raw: Mapping[str, list[str]]) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    return tuple((key, tuple(dotted(path) for path in paths)) for key, paths in raw.items())


def _pattern(text: str) -> Pattern:
    path, _, verb = text.partition(":") if "}:" in text or ":" in text.rpartition("/")[2] else (text, "", "")
    return Pattern(segments=tuple(path.split("/")), verb=verb)


def _api(raw: Mapping[str, Any]) -> Api:
    asks = raw.get("asks")
    return Api(
        name=raw["api"],
        operation=raw["operation"],
        patterns=tuple(_pattern(path) for path in raw["paths"]),
        methods=frozenset(raw.get("methods", ("POST",))),
        hosts=frozenset(raw.get("hosts", ())),
        provider=raw.get("provider"),
        asks=None if asks is None else tuple(frozenset(keys) for keys in asks),
        reads=tuple(
            Read(
                at=() if read["at"] == "#headers" else dotted(read["at"]),
                headers=read["at"] == "#headers",
                has=tuple(read.get("has", ())),
                counts=read["counts"],
            )
            for read in raw["reads"]
        ),
        by_provider=raw.get("by_provider", {}),
        unwrap=tuple(raw.get("unwrap", ())),
        merge=raw.get("merge", False),
        only=raw.get("only", {}),
        final=re.compile(raw["final"].encode()) if raw.get("final") else None,
        keep=tuple(mark.encode() for mark in raw.get("keep", ())),
        items=tuple(
            Items(path=dotted(items["path"]), type=items["type"], units=items["units"])
            for items in raw.get("items", ())
        ),
        tells=tuple(raw.get("tells", ())),
        quirks=tuple(raw.get("quirks", ())),
        skim=raw.get("skim", False),
        rows=tuple(dotted(path) for path in raw.get("rows", ())),
        context=_paths(raw.get("context", {})),
        from_request=_paths(raw.get("from_request", {})),
        without_usage=raw.get("without_usage", ""),
    )


def _counts(name: str, raw: Mapping[str, Any]) -> Counts:
    return Counts(
        name=name,
        units=tuple(
            (unit, tuple(tuple(dotted(path) for path in term) for term in terms))
            for unit, terms in raw["units"].items()
        ),
        lists=tuple(
            CountList(path=dotted(one["path"]), name=one["name"], count=one["count"], units=one["units"])
            for one in raw.get("lists", ())
        ),
        when_alone=tuple(raw.get("when_alone", {}).items()),
        at_least=tuple(raw.get("at_least", {}).items()),
        context=_paths(raw.get("context", {})),
        cost=tuple(Cost(path=dotted(one["path"]), scale=Decimal(one.get("scale", "1"))) for one in raw.get("cost", ())),
        quirks=tuple(raw.get("quirks", ())),
        text_numbers=raw.get("text_numbers", False),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything of apis.json, compiled once."""

    apis: Mapping[str, Api]
    counts: Mapping[str, Counts]
    index: Mapping[tuple[str, str], tuple[tuple[Pattern, Api | None], ...]]
    """(last literal segment, verb) -> patterns, longest and most particular first; None marks a free path."""
    request_context: tuple[tuple[str, tuple[Path, ...]], ...]
    tool_types: Mapping[str, str]
    tool_fields: Mapping[str, str]
    include_usage: frozenset[str]


def _key(pattern: Pattern) -> tuple[str, str]:
    last = pattern.segments[-1]
    if last[:1] != "{" or pattern.verb:
        return ("" if pattern.verb and last[:1] == "{" else last, pattern.verb)
    return (pattern.segments[-2], "*")


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Return the compiled tables; made on first use, so importing costs nothing."""
    raw = load("apis")
    apis = {one["api"]: _api(one) for one in raw["apis"]}
    index: dict[tuple[str, str], list[tuple[Pattern, Api | None]]] = {}
    for api in apis.values():
        for pattern in api.patterns:
            index.setdefault(_key(pattern), []).append((pattern, api))
    for text in raw["free"]:
        pattern = _pattern(text)
        index.setdefault(_key(pattern), []).append((pattern, None))
    for found in index.values():
        # Longer paths first; of two equally long ones the one that names its hosts.
        found.sort(key=lambda one: (-len(one[0].segments), 0 if one[1] is not None and one[1].hosts else 1))
    return Tables(
        apis=MappingProxyType(apis),
        counts=MappingProxyType({name: _counts(name, one) for name, one in raw["counts"].items()}),
        index=MappingProxyType({key: tuple(found) for key, found in index.items()}),
        request_context=_paths(raw["request_context"]),
        tool_types=raw["request_tools"]["types"],
        tool_fields=raw["request_tools"]["fields"],
        include_usage=frozenset(raw["include_usage"]),
    )
