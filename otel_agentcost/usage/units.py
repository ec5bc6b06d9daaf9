"""The billable units and how they nest: a poset read from semconv/units.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from otel_agentcost._data import load


@dataclass(frozen=True, slots=True)
class Unit:
    """One billable thing. Unit A contains unit B when A's dimensions are a proper subset of B's."""

    key: str
    per: int
    """The block a price is quoted for, e.g. 1 000 000 tokens or 3 600 seconds."""
    dimensions: frozenset[tuple[str, str]]
    component: str
    """Rollup bucket: llm, tool, api or compute."""
    detail: str
    """The attribute `agentcost.cost.<detail>` that shows this unit's money."""
    without_rate: str
    """What a bill says when this unit has no rate of its own: inherit, estimated, partial or free."""
    ancestors: tuple[str, ...]
    """Units that contain this one, nearest (most dimensions) first."""


def _build() -> Mapping[str, Unit]:
    raw = load("units")["units"]
    dims = {key: frozenset((k, str(v)) for k, v in u["dimensions"].items()) for key, u in raw.items()}
    built: dict[str, Unit] = {}
    for key, u in raw.items():
        above = [other for other in raw if dims[other] < dims[key]]
        above.sort(key=lambda k: (-len(dims[k]), k))
        built[key] = Unit(
            key=key,
            per=u["per"],
            dimensions=dims[key],
            component=u["component"],
            detail=u["detail"],
            without_rate=u["without_rate"],
            ancestors=tuple(above),
        )
    return MappingProxyType(built)


UNITS: Mapping[str, Unit] = _build()
"""Every unit by its key."""


@lru_cache(maxsize=4096)
def specific_first(keys: frozenset[str]) -> tuple[str, ...]:
    """Order unit keys so that every unit comes after all units it contains (most dimensions first)."""
    return tuple(sorted(keys, key=lambda k: (-len(UNITS[k].dimensions), k)))


@lru_cache(maxsize=4096)
def exclusive_order(units: tuple[str, ...]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return how quantities in this order become exclusive ones: (place, places of the units it contains).

    Contained units come first, so subtracting can be done in place. Units that contain no other are left out.
    """
    place = {unit: i for i, unit in enumerate(units)}
    order = []
    for unit in specific_first(frozenset(units)):
        outer = UNITS[unit].dimensions
        inside = tuple(place[other] for other in units if outer < UNITS[other].dimensions)
        if inside:
            order.append((place[unit], inside))
    return tuple(order)


def contains(outer: str, inner: str) -> bool:
    """Tell whether `inner` is part of `outer` (proper containment)."""
    return UNITS[outer].dimensions < UNITS[inner].dimensions
