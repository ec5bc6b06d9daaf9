"""Rollup: exact totals of a subtree, a trace or a session; addition is all there is, so every split merges alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_agentcost.ledger.entry import Charge, Entry

COMPONENTS = ("llm", "tool", "api", "compute")
MAX_DRIVERS = 64
"""Distinct models and tools a rollup tells apart; the rest is `other`."""


@dataclass(slots=True)
class Rollup:
    """Money in pico-units by component, tokens, calls, and what is not known."""

    llm: int = 0
    tool: int = 0
    api: int = 0
    compute: int = 0
    model: int = 0
    """Pico-units of calls and aggregates in whatever component: what an authoritative total of a run speaks of."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    api_calls: int = 0
    errors: int = 0
    failed: int = 0
    """Pico-units spent on calls that failed."""
    unpriced: int = 0
    """Calls with no cost claimed."""
    late: int = 0
    """Pico-units that arrived after the root was written."""
    incomplete: bool = False
    window: float = 0.0
    """Largest share of a context window in use."""
    drivers: dict[str, int] = field(default_factory=dict)
    """Pico-units by `model:<name>`, `tool:<name>`, `api:<host>`, `compute`."""

    @property
    def total(self) -> int:
        """All money, in pico-units."""
        return self.llm + self.tool + self.api + self.compute

    @property
    def empty(self) -> bool:
        """Tell whether nothing at all was counted."""
        return not (self.total or self.llm_calls or self.tool_calls or self.api_calls or self.errors or self.unpriced)

    def merge(self, other: Rollup) -> None:
        """Add another rollup's figures to these."""
        self.llm += other.llm
        self.tool += other.tool
        self.api += other.api
        self.compute += other.compute
        self.model += other.model
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.llm_calls += other.llm_calls
        self.tool_calls += other.tool_calls
        self.api_calls += other.api_calls
        self.errors += other.errors
        self.failed += other.failed
        self.unpriced += other.unpriced
        self.late += other.late
        self.incomplete = self.incomplete or other.incomplete
        self.window = max(self.window, other.window)
        for name, pico in other.drivers.items():
            self._drive(name, pico)

    def minus(self, other: Rollup) -> Rollup:
        """Return the difference of the countable figures; used for what one posting changed."""
        result = Rollup()
        for name in _COUNTED:
            setattr(result, name, getattr(self, name) - getattr(other, name))
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
        pico = charge.pico or 0
        if pico:
            self._spend(entry, charge, pico)
        if reading is None:
            return
        if charge.counts:
            self._count(entry, charge)
            if entry.window > self.window:
                self.window = entry.window
        if charge.status in ("unpriced", "invalid") and charge.counts:
            self.unpriced += 1
        if charge.usage is not None:
            usage = charge.usage
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            self.cache_read_tokens += int(usage.get("cache_read_tokens", 0))
            self.cache_write_tokens += int(usage.get("cache_write_tokens", 0))
            self.reasoning_tokens += int(usage.get("output_reasoning_tokens", 0))

    def _spend(self, entry: Entry, charge: Charge, pico: int) -> None:
        for component, part in split(entry, charge, pico).items():
            setattr(self, component, getattr(self, component) + part)
        if entry.reading is not None and entry.reading.kind in ("call", "aggregate"):
            self.model += pico
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


_COUNTED = (
    *COMPONENTS,
    "model",
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
)


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
