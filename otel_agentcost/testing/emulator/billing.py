"""What the emulated providers billed, kept by the emulator itself: quantities in, pico-dollars out, integers only.

    price of a call = sum over its exclusive quantities of quantity x price each, plus its fees

Nothing of otel-agentcost's price book or ledger is used here, so that agreement of the two is evidence.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from otel_agentcost.testing.emulator.prices import Rates, pico_each

MTOK = 10**6
KCOUNT = 10**3


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCall:
    """One request as its provider billed it. Failed attempts stand here too, with what they cost (usually 0)."""

    provider: str
    api: str
    model: str = ""
    """The name the answer carried, e.g. `gpt-4o-2024-08-06` for a request for `gpt-4o`."""
    input: int = 0
    """All input tokens; cached ones and cache writes are part of them."""
    cached: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    output: int = 0
    """All output tokens; reasoning is part of them."""
    reasoning: int = 0
    audio_output: int = 0
    web_searches: int = 0
    service_tier: str = ""
    units: int = 0
    """What a paid API or tool counted, where it bills by unit."""
    response_id: str = ""
    status: int = 200
    streamed: bool = False
    complete: bool = True
    """False while the answer was not delivered to its end: then `output` is what was produced so far."""
    amount_pico: int = 0


@dataclass(slots=True, kw_only=True)
class Row:
    """A line of the till while its call is under way; written before the bytes it stands for leave."""

    provider: str
    api: str
    rates: Rates | None = None
    """None for fees and for failed attempts."""
    fee_pico: int = 0
    model: str = ""
    input: int = 0
    cached: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    web_searches: int = 0
    preview_search: bool = False
    service_tier: str = ""
    units: int = 0
    response_id: str = ""
    status: int = 200
    streamed: bool = False
    complete: bool = True

    def billed(self) -> BilledCall:
        """Freeze the row and price it."""
        kept = {f.name: getattr(self, f.name) for f in fields(BilledCall) if f.name != "amount_pico"}
        return BilledCall(**kept, amount_pico=self.fee_pico + (amount(self, self.rates) if self.rates else 0))


def amount(row: Row, rates: Rates) -> int:
    """Price the quantities of a row in pico-dollars."""
    rates = rates.tiers.get(row.service_tier, rates)
    if rates.long is not None and row.input > rates.long_from:
        rates = rates.long
    plain_input = row.input - row.cached - row.cache_write_5m - row.cache_write_1h - row.audio_input
    plain_output = row.output - row.audio_output
    if plain_input < 0 or plain_output < 0:
        raise ValueError(f"a part of the usage is larger than the whole: {row}")
    searches = min(row.web_searches, 1) if rates.search_by_prompt else row.web_searches
    search = (rates.search_preview if row.preview_search else "") or rates.search
    return (
        plain_input * pico_each(rates.input, MTOK)
        + row.cached * pico_each(rates.cached or rates.input, MTOK)
        + row.cache_write_5m * pico_each(rates.cache_write_5m or rates.input, MTOK)
        + row.cache_write_1h * pico_each(rates.cache_write_1h or rates.input, MTOK)
        + row.audio_input * pico_each(rates.audio_input or rates.input, MTOK)
        + plain_output * pico_each(rates.output, MTOK)
        + row.audio_output * pico_each(rates.audio_output or rates.output, MTOK)
        + searches * pico_each(search, KCOUNT)
    )


@dataclass(slots=True)
class Till:
    """The rows in order of arrival, safe to read while calls are under way."""

    rows: list[Row] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards `rows`; a row itself is only ever written by the one exchange it belongs to."""

    def open(self, row: Row) -> Row:
        """Add a row; it is priced whenever it is read."""
        with self.lock:
            self.rows.append(row)
        return row

    def billed(self) -> list[BilledCall]:
        """Return what was billed so far, in order of arrival."""
        with self.lock:
            rows = list(self.rows)
        return [row.billed() for row in rows]

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.rows.clear()


def by_provider(calls: list[BilledCall]) -> Mapping[str, int]:
    """Sum pico-dollars by provider."""
    totals: dict[str, int] = {}
    for call in calls:
        totals[call.provider] = totals.get(call.provider, 0) + call.amount_pico
    return totals
