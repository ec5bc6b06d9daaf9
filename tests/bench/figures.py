"""Figures: what a probe measured, and the bars it is held against (reference: performance.md, section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["stretch", "must", "slack", "missed"]

SLACK = 1.25
"""Times are measured on machines shared with others; a time may exceed its bar by so much. Bytes and counts may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One promise: the figure stays at or below `must`, and better below `stretch`."""

    name: str
    what: str
    unit: str
    must: float
    stretch: float
    timed: bool = True

    def verdict(self, ours: float) -> Verdict:
        """Judge a figure."""
        if ours <= self.stretch:
            return "stretch"
        if ours <= self.must:
            return "must"
        return "slack" if self.timed and ours <= self.must * SLACK else "missed"


def _bar(name: str, what: str, unit: str, must: float, stretch: float, *, timed: bool = True) -> Bar:
    return Bar(name=name, what=what, unit=unit, must=must, stretch=stretch, timed=timed)


BARS: tuple[Bar, ...] = (
    _bar("P1", "chat, everything on: added CPU / a hand-written span's", "x", 2.0, 1.4),
    _bar("P2", "chat: added CPU / otelgenai's", "x", 0.8, 0.5),
    _bar("P3", "stream of 200: added CPU / otelgenai's", "x", 0.20, 0.08),
    _bar("P4", "stream, each further chunk, sync", "µs", 0.4, 0.1),
    _bar("P4a", "stream, each further chunk, async", "µs", 0.4, 0.1),
    _bar("P5", "stream of 200: peak memory added", "B", 8_000, 6_000, timed=False),
    _bar("P5g", "the same, growth from 200 to 20 000 chunks", "B", 2_000, 0, timed=False),
    _bar("P6", "kept after a call", "B", 64, 0, timed=False),
    _bar("P7", "import and instrument: CPU", "ms", 90, 45),
    _bar("P7m", "import and instrument: memory", "MB", 6, 3, timed=False),
    _bar("P8", "price(), warm / an integer floor", "x", 10, 4),
    _bar("P8g", "price(), warm / genai-prices", "x", 1 / 40, 1 / 100),
    _bar("P9", "price(), first sight of a model / genai-prices' warm call", "x", 1.5, 0.5),
    _bar("P10", "processor, mixed trace / trace_sum", "x", 2.0, 1.3),
    _bar("P11", "the same with totals on every inner span / trace_sum", "x", 3.0, 2.0),
    _bar("P12", "cost per span, 100 000 spans in a trace / 100", "x", 1.15, 1.05),
    _bar("P12m", "state of a trace, 100 000 spans / 100", "x", 1.5, 1.1, timed=False),
    _bar("P12s", "cost per span, 10 000 open sessions / 1", "x", 1.15, 1.05),
    _bar("P13", "span that is none of ours / a processor that does nothing", "x", 6, 3),
    _bar("P14", "create, price, roll up, encode / the same without us", "x", 1.10, 1.05),
    _bar("P15", "OTLP bytes added to a model call's span", "%", 20, 10, timed=False),
    _bar("M1", "RSS growth over the last nine tenths of many sessions", "MB", 4, 1, timed=False),
)
BY_NAME: Mapping[str, Bar] = {bar.name: bar for bar in BARS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured bar: the judged value, and the absolute values it was formed from."""

    bar: str
    ours: float
    peer: str = ""
    """What the other side is, in words, with its own figure where that says something."""
    absolute: Mapping[str, float] = field(default_factory=dict)
    """Named absolute values, their unit in the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How something grows: one line per name over the same places."""

    name: str
    title: str
    across: str
    """What the places count, e.g. `spans in the trace`."""
    unit: str
    places: Sequence[float]
    lines: Mapping[str, Sequence[float]]


@dataclass(slots=True)
class Findings:
    """Everything one probe has to say."""

    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    """Further comparisons for the page, by name."""
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Findings:
        """The inverse of `as_json`."""
        return cls(
            figures=[Figure(**one) for one in raw["figures"]],
            curves=[Curve(**one) for one in raw["curves"]],
            rows=dict(raw["rows"]),
            notes=list(raw["notes"]),
        )

    def add(self, other: Findings) -> None:
        """Take in what another probe found."""
        self.figures += other.figures
        self.curves += other.curves
        self.rows |= other.rows
        self.notes += other.notes
