"""Shapes: what the keys and names of a span decide is decided once, so that a further span like it costs little.

An instrumentation writes the same attribute keys on every call, and the texts among them that decide anything
(operation, provider, models, host, tool) come from a handful. So the reader's decisions are remembered by scope, keys
and those texts; of the next span only the counts and the ids are read. Whatever is unusual about a span (a count that
is no whole number, an empty text, a stated cost, JSON inside an attribute) is left to the reader in `dialects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from otel_agentcost.usage.quantities import COMMON, SIMPLE
from otel_agentcost.usage.reading import EMPTY, MAX_QUANTITY, Reading, new_reading, new_usage
from otel_agentcost.usage.tables import DIALECTS, Attributes, Detect, Dialect
from otel_agentcost.usage.units import exclusive_order

MAX_KEYS = 64
"""Spans with more attributes are not remembered."""
MAX_TEXT = 256
"""Texts longer than this are not remembered."""
MAX_SHAPES = 512
"""Sets of keys remembered; past it all are forgotten and learned again."""
MAX_KNOWN = 128
"""Combinations of texts remembered of one set of keys; further ones are read the long way."""
RESOURCE_KEYS = tuple(sorted({key for dialect in DIALECTS for rule in dialect.detect for key, _ in rule.resource}))
"""Resource attributes by which a dialect is recognised."""
Candidates = tuple[tuple[Dialect, tuple[Detect, ...]], ...]

_USAGE = 1
_TEXTS = (0, 4)
_UNKNOWN: Any = object()
_UNUSUAL = frozenset({"cost", "currency", "cost_by"})


class Known:
    """What is the same for all spans with the same keys and texts: a whole reading, or one without its numbers."""

    __slots__ = ("ids", "like", "order", "read_counts", "read_id", "tool", "units")

    def __init__(self, like: Reading) -> None:
        self.like = like
        self.tool: Reading | None = None
        self.units: tuple[str, ...] = ()
        self.read_counts: Any = None
        self.order: tuple[tuple[int, tuple[int, ...]], ...] = ()
        self.ids = 0
        self.read_id: Any = None


class Shape:
    """The attribute keys of a span, in their order, and what they leave open."""

    __slots__ = ("known", "prefixes", "texts")

    def __init__(self, texts: tuple[str, ...], prefixes: tuple[str, ...]) -> None:
        self.texts: Any = itemgetter(*texts) if texts else _nothing
        self.prefixes = prefixes
        """Beginnings of names that lead to another dialect."""
        self.known: dict[tuple[Any, ...], Known | None] = {}
        """By texts and span kind; None there when the name decides as well, and is part of the key."""

    def read(self, name: str, kind: str, attributes: Attributes) -> Reading | None:
        """Return what a span says that is like one read before; None when it has to be read the long way."""
        if self.prefixes and name.startswith(self.prefixes):
            return None
        try:
            texts = self.texts(attributes)
            known = self.known.get((texts, kind), _UNKNOWN)
            if known is None:
                known = self.known.get((texts, kind, name), _UNKNOWN)
        except TypeError:  # a list where a text is expected
            return None
        if known is _UNKNOWN or known is None:
            return None
        return known.tool if known.tool is not None else _call(known, attributes)


def _nothing(attributes: Attributes) -> tuple[()]:
    return ()


def _call(known: Known, attributes: Attributes) -> Reading | None:
    values = known.read_counts(attributes)
    if len(known.units) == 1:
        values = (values,)
    for value in values:
        if type(value) is not int or not 0 <= value <= MAX_QUANTITY:
            return None
    left = [*values]
    for i, inside in known.order:  # parts may not be more than what contains them
        rest = left[i]
        for j in inside:
            rest -= left[j]
        if rest < 0:
            return None
        left[i] = rest
    if not any(values):
        return None
    identity: tuple[str, ...] = ()
    if known.ids:
        only = known.read_id(attributes)
        if type(only) is not str or not only or len(only) > MAX_TEXT or only != only.strip():
            return None
        identity = (only,)
    like = known.like
    return new_reading(
        kind="call",
        usage=new_usage(dict(zip(known.units, values, strict=True))),
        provider=like.provider,
        model=like.model,
        request_model=like.request_model,
        operation=like.operation,
        context=like.context,
        identity=identity,
        dialect=like.dialect,
        aggregate=like.aggregate,
        server=like.server,
        agent=like.agent,
    )


class Shapes:
    """Everything remembered about spans; bounded, and only ever a shorter way to the same reading."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    def find(self, scope: str, attributes: Attributes, resource: Attributes) -> Shape | None:
        """Return what is remembered about spans with these keys."""
        return self._shapes.get((scope, tuple(attributes), _told(resource) if resource else ()))

    def learn(
        self,
        candidates: Candidates,
        dialect: Dialect,
        reading: Reading,
        *,
        name: str,
        kind: str,
        scope: str,
        attributes: Attributes,
        resource: Attributes,
    ) -> None:
        """Remember how one span was read, if others like it can be read the same way."""
        keys = tuple(attributes)
        if len(keys) > MAX_KEYS:
            return
        texts = _deciding(candidates, keys)
        prefixes = tuple(prefix for _, rules in candidates for rule in rules for prefix in rule.names)
        values = [attributes[key] for key in texts]
        if name.startswith(prefixes) or any(type(value) is not str or len(value) > MAX_TEXT for value in values):
            return
        known = _known(dialect, reading, attributes)
        if known is None:
            return
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes = {}
        of_resource = _told(resource) if resource else ()
        shape = self._shapes.setdefault((scope, keys, of_resource), Shape(texts, prefixes))
        if len(shape.known) >= MAX_KNOWN:
            return
        place: tuple[Any, ...] = (shape.texts(attributes), kind)
        if _name_decides(dialect, name, attributes, tool=reading.kind == "tool"):
            shape.known[place] = None
            place = (*place, name)
        shape.known[place] = known


def _told(resource: Attributes) -> tuple[object, ...]:
    return tuple([str(resource.get(key)) for key in RESOURCE_KEYS])


def _deciding(candidates: Candidates, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys whose values decide how a span is read."""
    deciding: set[str] = set()
    for dialect, rules in candidates:
        deciding.update(key for key, places in dialect.places.items() if any(p[0] in _TEXTS for p in places))
        deciding.update(key for rule in rules for key, _ in rule.attributes)
    return tuple(key for key in keys if key in deciding)


def _name_decides(dialect: Dialect, name: str, attributes: Attributes, *, tool: bool) -> bool:
    """Tell whether the name was looked at to find the kind of a span, or the name of a tool."""
    found = dialect.gather(attributes)
    if tool and dialect.tool_names and "tool" not in found.fields:
        return True
    for rule in dialect.kinds:
        if not (rule.slot or rule.usage or rule.outcome):
            return True
        if rule.decide(name, found) is not None:
            return False
    return False


def _known(dialect: Dialect, reading: Reading, attributes: Attributes) -> Known | None:
    """Return what is worth remembering about a reading; None when its like may be read differently."""
    present = dialect.keys.intersection(attributes)
    found: dict[tuple[int, str], tuple[int, str]] = {}
    for key in present:
        for group, slot, rank, path in dialect.places[key]:
            if path is not None:
                return None
            best = found.get((group, slot))
            if best is None or rank < best[0]:
                found[(group, slot)] = (rank, key)
    slots = {group: {slot: key for (g, slot), (_, key) in found.items() if g == group} for group in range(6)}
    counts, ids = slots[_USAGE], slots[5]
    if slots[2] or slots[3] or dialect.usage_prefix or not _UNUSUAL.isdisjoint(slots[0]):
        return None
    if reading.kind == "tool" and not counts:
        known = Known(reading)
        known.tool = reading
        return known
    if reading.kind != "call" or reading.status != "usage" or reading.usage is None or len(ids) > 1:
        return None
    if tuple(sorted(reading.usage)) != tuple(sorted(counts)) or not _adds_up_as_stated(dialect, reading, counts):
        return None
    known = Known(_frozen(reading))
    known.units = tuple(counts)
    known.read_counts = itemgetter(*counts.values())
    known.order = exclusive_order(known.units)
    known.ids = len(ids)
    known.read_id = itemgetter(*ids.values()) if ids else None
    return known


def _adds_up_as_stated(dialect: Dialect, reading: Reading, counts: Mapping[str, str]) -> bool:
    """Tell whether counts with these units are totals with their parts as they stand, whatever the numbers are.

    Parts whose total is absent, and emitters that may have left the parts out of the total, need the longer look.
    """
    units = counts.keys()
    if units <= SIMPLE:
        return True
    if not units <= COMMON or dialect.rule != "inclusive" or dialect.output_exclusive:
        return False
    if "cache_write_5m_tokens" in units or "cache_write_1h_tokens" in units:
        return False
    if not units.isdisjoint(dialect.additive_input) and "input_tokens" not in units:
        return False
    return units.isdisjoint(dialect.additive_output) or "output_tokens" in units


def _frozen(reading: Reading) -> Reading:
    """Return the reading with a context that several can share."""
    context = MappingProxyType(dict(reading.context)) if reading.context else EMPTY
    return replace(reading, context=context, usage=None, identity=())


SHAPES = Shapes()
"""What this process has learned."""
