"""Rollup: exact totals of a subtree, a trace or a session; addition is all there is, so every split merges alike."""

from __future__ import annotations

from operator import add, sub

from otel_agentcost.ledger.entry import Charge, Entry
from otel_agentcost.usage.units import UNITS

COMPONENTS = ("llm", "tool", "api", "compute")
MAX_DRIVERS = 64
"""Distinct models and tools a rollup tells apart; the rest is `other`."""


COUNTED = (
    *COMPONENTS,
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "llm_calls",
    "tool_calls",
    "api_calls",
    "errors",
    "failed",
    "unpriced",
    "late",
    "model",
)
"""The figures that add up, in the order they are kept: money in pico-units, tokens, calls, and what is not known."""

_AT = {name: place for place, name in enumerate(COUNTED)}
_UNPRICED = _AT["unpriced"]
_MODEL = _AT["model"]
_BUCKET = {key: _AT[unit.component] for key, unit in UNITS.items()}
_TOKENS = (
    (_AT["input_tokens"], "input_tokens"),
    (_AT["output_tokens"], "output_tokens"),
    (_AT["cache_read_tokens"], "cache_read_tokens"),
    (_AT["cache_write_tokens"], "cache_write_tokens"),
    (_AT["reasoning_tokens"], "output_reasoning_tokens"),
)
_NOTHING = [0] * len(COUNTED)


class _Figure:
    """One counted figure of a rollup, by name; the figures themselves stand in a list, so that adding is one step."""

    __slots__ = ("_place",)

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, rollup: Rollup, owner: type | None = None) -> int:
        return rollup.counts[self._place]

    def __set__(self, rollup: Rollup, value: int) -> None:
        counts = rollup.counts.copy()  # a copy of this rollup may share them
        counts[self._place] = value
        rollup.counts = counts


class Rollup:
    """Money in pico-units by component, tokens, calls, and what is not known."""

    __slots__ = ("counts", "drivers", "incomplete", "window")

    llm = _Figure(_AT["llm"])
    tool = _Figure(_AT["tool"])
    api = _Figure(_AT["api"])
    compute = _Figure(_AT["compute"])
    input_tokens = _Figure(_AT["input_tokens"])
    output_tokens = _Figure(_AT["output_tokens"])
    cache_read_tokens = _Figure(_AT["cache_read_tokens"])
    cache_write_tokens = _Figure(_AT["cache_write_tokens"])
    reasoning_tokens = _Figure(_AT["reasoning_tokens"])
    llm_calls = _Figure(_AT["llm_calls"])
    tool_calls = _Figure(_AT["tool_calls"])
    api_calls = _Figure(_AT["api_calls"])
    errors = _Figure(_AT["errors"])
    failed = _Figure(_AT["failed"])
    """Pico-units spent on calls that failed."""
    unpriced = _Figure(_AT["unpriced"])
    """Calls with no cost claimed."""
    late = _Figure(_AT["late"])
    """Pico-units that arrived after the root was written."""

    model = _Figure(_AT["model"])
    """Pico-units of calls and aggregates, whatever bucket they are in; no part of the total of its own."""

    def __init__(self, **figures: int) -> None:
        self.counts: list[int] = _NOTHING.copy()
        for name, value in figures.items():
            self.counts[_AT[name]] = value
        self.drivers: dict[str, int] = {}
        """Pico-units by `model:<name>`, `tool:<name>`, `api:<host>`, `compute`."""
        self.incomplete = False
        self.window = 0.0
        """Largest share of a context window in use."""

    def __repr__(self) -> str:
        return f"Rollup({', '.join(f'{n}={v}' for n, v in zip(COUNTED, self.counts, strict=True) if v)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rollup):
            return NotImplemented
        return (self.counts, self.drivers, self.incomplete, self.window) == (
            other.counts, other.drivers, other.incomplete, other.window
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def total(self) -> int:
        """All money, in pico-units."""
        return sum(self.counts[:4])

    @property
    def empty(self) -> bool:
        """Tell whether nothing at all was counted."""
        return not any(self.counts)

    def merge(self, other: Rollup) -> None:
        """Add another rollup's figures to these."""
        self.counts = list(map(add, self.counts, other.counts))
        if other.incomplete:
            self.incomplete = True
        if other.window > self.window:
            self.window = other.window
        for name, pico in other.drivers.items():
            self._drive(name, pico)

    def copy(self) -> Rollup:
        """Return a rollup that goes its own way; the figures are shared until one of the two adds something."""
        twin = Rollup.__new__(Rollup)
        twin.counts, twin.drivers = self.counts, self.drivers.copy()
        twin.incomplete, twin.window = self.incomplete, self.window
        return twin

    def minus(self, other: Rollup) -> Rollup:
        """Return the difference of the counted figures; used for what one posting changed."""
        result = Rollup()
        result.counts = list(map(sub, self.counts, other.counts))
        for name in {**self.drivers, **other.drivers}:
            changed = self.drivers.get(name, 0) - other.drivers.get(name, 0)
            if changed:
                result.drivers[name] = changed
        result.window = self.window
        return result

    def _drive(self, name: str, pico: int) -> None:
        if name not in self.drivers and len(self.drivers) >= MAX_DRIVERS:
            name = "other"
        self.drivers[name] = self.drivers.get(name, 0) + pico

    @property
    def driver(self) -> str:
        """What costs most, with its share: `model:gpt-5 62%`; empty while nothing costs anything."""
        total = sum(v for v in self.drivers.values() if v > 0)
        if not total:
            return ""
        name, pico = min(self.drivers.items(), key=lambda item: (-item[1], item[0]))
        return f"{name} {(200 * pico + total) // (2 * total)}%"

    def include(self, entry: Entry, charge: Charge) -> None:
        """Count one span with what it was charged. Spans that only mirror another bring money 0 and no call."""
        reading = entry.reading
        pico = charge.pico
        if pico:
            self._spend(entry, charge, pico)
        if reading is None:
            return
        if charge.counts:
            self._count(entry, charge)
            if entry.window > self.window:
                self.window = entry.window
            if charge.status in ("unpriced", "invalid"):
                self.counts[_UNPRICED] += 1
        usage = charge.usage
        if usage:
            counts, get = self.counts, usage.get
            for place, unit in _TOKENS:
                quantity = get(unit)
                if quantity:
                    counts[place] += int(quantity)

    def _spend(self, entry: Entry, charge: Charge, pico: int) -> None:
        counts, bill = self.counts, charge.bill
        if bill is not None and bill.items and bill.total == pico:  # the usual case: every line has its bucket
            for item in bill.items:
                counts[_BUCKET[item.unit]] += item.pico
        else:
            for component, part in split(entry, charge, pico).items():
                counts[_AT[component]] += part
        if entry.reading is not None and entry.reading.kind in ("call", "aggregate"):
            counts[_MODEL] += pico
        if entry.failed and pico > 0:
            self.failed += pico
        self._drive(driver_name(entry), pico)

    def _count(self, entry: Entry, charge: Charge) -> None:
        reading = entry.reading
        assert reading is not None
        if reading.kind == "call" and charge.status not in ("correction", "remainder"):
            if charge.reason != "fetch_response":
                self.llm_calls += 1
        elif reading.kind == "tool":
            self.tool_calls += 1
        elif reading.kind == "api":
            self.api_calls += 1
        if entry.failed and reading.kind in ("call", "tool", "api"):
            self.errors += 1


def split(entry: Entry, charge: Charge, pico: int) -> dict[str, int]:
    """Share a charge out to the components of its bill; what differs from the bill goes to the kind's own bucket."""
    bill = charge.bill
    kind = entry.reading.kind if entry.reading is not None else "call"
    home = {"tool": "tool", "api": "api", "compute": "compute"}.get(kind, "llm")
    if bill is None or bill.total is None:
        return {home: pico}
    shares = dict(bill.by_component()) if bill.items else {home: bill.total}
    rest = pico - sum(shares.values())
    if rest:
        shares[home] = shares.get(home, 0) + rest
    return shares


def driver_name(entry: Entry) -> str:
    """Name what a span spends on: its model, tool, API host, or compute."""
    reading = entry.reading
    if reading is None:
        return "other"
    if reading.kind == "compute":
        return "compute"
    if reading.kind in ("tool", "api"):
        return f"{reading.kind}:{reading.tool or 'unnamed'}"
    return f"model:{reading.model or reading.request_model or 'unknown'}"
