"""Random traces, settled four ways: naively, at once, as they stream in, and among other traces. Equal to the pico.

`python -m tests.test_oracle --trees 100000` runs the full form; the suite runs a few thousand.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from otel_agentcost.ledger.entry import Entry
from otel_agentcost.ledger.ledger import Ledger
from otel_agentcost.ledger.settle import settle
from otel_agentcost.ledger.trace import TraceLedger
from otel_agentcost.pricing.bill import Bill, LineItem, Rate
from otel_agentcost.usage.reading import Reading, Usage
from tests.oracle import Lifetimes, Oracle, Verdict

SEED = 20261123
MODELS = ("gpt-4o", "gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "claude-sonnet-4-5", "router/auto", "acme-1", None)
SCOPES = ("sdk", "framework", "gateway", "tap")
TOKENS = ((1000, 100), (1000, 100), (1000, 100), (2000, 200), (1200, 100), (1000, 101), (70, 0), (0, 0), (985, 99))
RATES = {
    "input_tokens": 3,
    "cache_read_tokens": 1,
    "output_tokens": 5,
    "web_searches": 11,
    "tool_calls": 7,
    "api_requests": 13,
    "gpu_seconds": 17,
}
"""Pico-units each: small numbers, so that a difference can be followed by eye."""


def price(reading: Reading, at: int) -> Bill | None:
    """Price exclusive leaves; `acme-1` has no price, a local model is priced by compute, a billed figure stands."""
    name = reading.model or reading.request_model
    if reading.kind in ("tool", "api") and name == "acme-1":
        return None
    if reading.status in ("error", "not_billed"):
        return Bill(status="not_billed", total=0)
    if reading.reported_cost is not None:
        total = int(reading.reported_cost.scaleb(12))
        source = "provider" if reading.reported_by == "provider" else "book"
        return Bill(status="provider_reported", total=total, source=source)  # type: ignore[arg-type]
    if reading.usage is None or name in ("acme-1", None):
        return Bill(status="unpriced", total=None)
    items = tuple(
        LineItem(unit, quantity, Rate(str(RATES[unit]), 10**12), int(quantity) * RATES[unit])
        for unit, quantity in reading.usage.leaves(frozenset(RATES)).items()
        if quantity
    )
    component = "compute" if reading.provider == "own-cluster" else "llm"
    total = sum(item.pico for item in items)
    return Bill(status="priced", total=total, items=items, source="book", component=component)


@dataclass(frozen=True)
class Leaning:
    """What a random trace is rich in; drawn once per trace, so that rare meetings happen often enough."""

    ids: float
    silent: float
    estimated: float
    plain: float
    nested: float
    lost: float
    models: int
    size: int


def leaning(chance: random.Random) -> Leaning:
    return Leaning(
        ids=chance.choice((0.0, 0.2, 0.6)),
        silent=chance.choice((0.0, 0.1, 0.4)),
        estimated=chance.choice((0.0, 0.0, 0.3)),
        plain=chance.choice((0.1, 0.4)),
        nested=chance.choice((0.5, 0.9, 1.0)),
        lost=chance.choice((0.0, 0.0, 0.2)),
        models=chance.choice((1, 3, len(MODELS))),
        size=chance.choice((3, 5, 8, 14)),
    )


def tree(chance: random.Random, *, trace: str = "") -> list[Entry]:
    """Make the spans of one trace; names are shuffled so that no order of ids means anything."""
    lean = leaning(chance)
    size = chance.randint(1, lean.size)
    names = [f"{trace}{n:02d}" for n in chance.sample(range(100), size)]
    entries: list[Entry] = []
    for i, name in enumerate(names):
        parent = ""
        start, end = sorted((chance.randrange(0, 100, 5), chance.randrange(0, 100, 5)))
        if i and chance.random() < lean.nested:
            above = entries[i - 1] if chance.random() < 0.5 else chance.choice(entries)
            parent = above.span_id
            if chance.random() < 0.7:
                start, end = above.start + chance.randrange(4), above.end - chance.randrange(4)
        elif chance.random() < lean.lost:
            parent = f"lost{chance.randrange(3)}"
        if chance.random() < 0.02:
            parent = chance.choice(names)  # perhaps a span below itself
        entries.append(span(chance, lean, name, parent, start, max(start, end)))
    return entries


def span(chance: random.Random, lean: Leaning, name: str, parent: str, start: int, end: int) -> Entry:
    reading = None if chance.random() < lean.plain else reading_of(chance, lean)
    failed = chance.random() < 0.1
    if reading is not None and reading.status == "no_usage" and failed and chance.random() < 0.5:
        reading = replace(reading, status="not_billed", reason="http_429")
    return Entry(
        span_id=name,
        parent_id=parent,
        start=start,
        end=end,
        emitter=chance.choice(SCOPES),
        reading=reading,
        bill=price(reading, start) if reading is not None and not is_silent_aggregate(reading) else None,
        failed=failed,
        agent=reading.agent or "" if reading is not None else "",
    )


def is_silent_aggregate(reading: Reading) -> bool:
    return reading.kind == "aggregate" and reading.usage is None and reading.reported_cost is None


def reading_of(chance: random.Random, lean: Leaning) -> Reading:
    kind = chance.choices(
        ("call", "sum", "cumulative", "authoritative", "container", "tool", "api", "compute", "fetch"),
        (60, 10, 3, 3, 4, 8, 4, 2, 3),
    )[0]
    model = chance.choice(MODELS[: lean.models])
    agent = chance.choice((None, None, "planner", "writer"))
    identity: tuple[str, ...] = ()
    if chance.random() < lean.ids:
        identity = tuple(chance.sample(("r1", "r2", "r3", "r4"), 2 if chance.random() < 0.1 else 1))
    if kind in ("tool", "api"):
        unit = "tool_calls" if kind == "tool" else "api_requests"
        tool = chance.choice(("search", "search", "lookup"))
        return Reading(kind=kind, usage=Usage({unit: 1}), tool=tool, model=model or "x", identity=identity)  # type: ignore[arg-type]
    if kind == "compute":
        return Reading(kind="compute", usage=Usage(gpu_seconds=chance.randrange(1, 9)), model="machine")
    if kind == "container":
        return Reading(kind="aggregate", status="no_usage", agent=agent)
    if kind in ("sum", "cumulative", "authoritative"):
        shown = consumption(chance, chance.choice((1, 1, 2, 3)))
        cost = Decimal(chance.randrange(9000)).scaleb(-12) if kind == "authoritative" else None
        usage = None if kind == "authoritative" and chance.random() < 0.5 else shown
        return Reading(
            kind="aggregate",
            aggregate=kind,  # type: ignore[arg-type]
            usage=usage,
            status="usage" if usage is not None else "no_usage",
            model=model,
            agent=agent,
            reported_cost=cost,
            reported_by="emitter" if cost is not None else "",
            estimated=chance.random() < lean.estimated,
        )
    operation = "fetch_response" if kind == "fetch" else "chat"
    if chance.random() < lean.silent:
        return Reading(kind="call", status="no_usage", model=model, identity=identity, agent=agent, operation=operation)
    usage = consumption(chance, 1)
    if chance.random() < 0.05:
        usage = Usage(input_tokens=usage.input_tokens)
    billed = chance.random() < 0.05
    server = chance.random() < 0.05
    return Reading(
        kind="call",
        usage=usage,
        model=model,
        identity=identity,
        agent=agent,
        operation=operation,
        reported_cost=Decimal(chance.randrange(5000)).scaleb(-12) if billed else None,
        reported_by="provider" if billed else "",
        estimated=not billed and chance.random() < lean.estimated,
        server=server,
        provider="own-cluster" if server and chance.random() < 0.5 else None,
    )


def consumption(chance: random.Random, times: int) -> Usage:
    tokens_in, tokens_out = chance.choice(TOKENS)
    usage = {"input_tokens": tokens_in * times, "output_tokens": tokens_out * times}
    if chance.random() < 0.2 and tokens_in:
        usage["cache_read_tokens"] = tokens_in // chance.choice((1, 2, 4))
    if chance.random() < 0.05:
        usage["web_searches"] = chance.randint(1, 3)
    return Usage(usage)


def settled(entries: list[Entry], lifetimes: Lifetimes | None = None) -> dict[str, Verdict]:
    charges = settle(entries, price, lifetime=lifetimes).charges
    return {span_id: (charge.pico, charge.status) for span_id, charge in charges.items()}


def check_settling(entries: list[Entry], chance: random.Random) -> int:
    """Compare the ledger's charges with the oracle's: in any order, with spans exported twice; return the total."""
    expected = Oracle(entries, price).verdicts()
    again = entries + [e for e in entries if chance.random() < 0.3]
    chance.shuffle(again)
    assert settled(again) == expected
    return sum(pico or 0 for pico, _ in expected.values())


def check_poorer_copies(entries: list[Entry], chance: random.Random) -> None:
    """A first export of a span that knew less (it was still running) gives way to the full one."""
    poorer = [replace(e, reading=None, bill=None) for e in entries if chance.random() < 0.3]
    mixed = entries + poorer
    chance.shuffle(mixed)
    assert settled(mixed) == Oracle(entries, price).verdicts()


def check_streaming(entries: list[Entry], total: int, chance: random.Random) -> None:
    """Post spans one by one, announced or not, in any order; what is written must add up to the total."""
    order = entries[:]
    way = chance.randrange(3)
    if way == 0:
        order.sort(key=lambda e: (e.end, -e.start))
    else:
        chance.shuffle(order)
    ledger = TraceLedger(price)
    if way < 2 and not any(is_below_itself(e, entries) for e in entries):
        for entry in parents_first(entries):
            ledger.start(entry.span_id, entry.parent_id)
    written = 0
    for entry in order:
        written += ledger.post(entry).charge.pico or 0
        if chance.random() < 0.1:
            written += ledger.post(entry).charge.pico or 0
    assert written == total
    assert ledger.total.total == total


def is_below_itself(entry: Entry, entries: list[Entry]) -> bool:
    parents = {e.span_id: e.parent_id for e in entries}
    here, steps = entry.parent_id, 0
    while here in parents and here != entry.span_id and steps < len(parents):
        here, steps = parents[here], steps + 1
    return here == entry.span_id or steps >= len(parents)


def parents_first(entries: list[Entry]) -> list[Entry]:
    """Spans in an order in which they can have started."""
    known = {e.span_id for e in entries}
    started: dict[str, Entry] = {}
    while len(started) < len(entries):
        for entry in entries:
            if entry.span_id not in started and (entry.parent_id in started or entry.parent_id not in known):
                started[entry.span_id] = entry
    return list(started.values())


def check_batches(entries: list[Entry], total: int, chance: random.Random) -> None:
    """Spans split over processes, each with a ledger of its own, merge to one ledger of the whole."""
    parts = [TraceLedger(price) for _ in range(chance.randint(2, 4))]
    for entry in entries:
        chance.choice(parts).post(entry)
    merged = TraceLedger(price)
    chance.shuffle(parts)
    for part in parts:
        merged.merge(part.entries())
    assert merged.settlement().total == total


def check_many_traces(traces: list[list[Entry]], chance: random.Random) -> None:
    """Spans of several traces of one session, mixed in one ledger: the sum of what is written is exact."""
    ledger = Ledger(price)
    for n, entries in enumerate(traces):
        for entry in parents_first(entries):
            ledger.start(str(n), entry.span_id, entry.parent_id, remote_parent=False, now=0)
    pending = [(str(n), entry) for n, entries in enumerate(traces) for entry in entries]
    chance.shuffle(pending)
    written = sum(ledger.post(trace, entry, now=0).posting.charge.pico or 0 for trace, entry in pending)
    expected = sum(pico or 0 for entries in traces for pico, _ in Oracle(entries, price).verdicts().values())
    assert written == expected
    assert ledger.total.total == expected


def check_session(traces: list[list[Entry]], chance: random.Random) -> None:
    """Traces of one session, one after the other: lifetime totals count on from trace to trace."""
    ledger = Ledger(price)
    lifetimes: Lifetimes = {}
    written = expected = 0
    for n, entries in enumerate(traces):
        oracle = Oracle(entries, price, lifetimes)
        expected += sum(pico or 0 for pico, _ in oracle.verdicts().values())
        lifetimes = oracle.lifetimes
        order = entries[:]
        chance.shuffle(order)
        for entry in parents_first(entries):
            ledger.start(str(n), entry.span_id, entry.parent_id, remote_parent=False, now=n, session_id="s")
        for entry in order:
            outcome = ledger.post(str(n), entry, now=n, session_id="s")
            written += outcome.posting.charge.pico or 0
    assert written == expected


def run(trees: int, seed: int) -> tuple[int, int]:
    """Check so many traces; return how many spans and how many pico-units they had."""
    spans = money = 0
    earlier: list[list[Entry]] = []
    for number in range(trees):
        chance = random.Random(f"{seed} {number}")
        entries = tree(chance)
        try:
            total = check_settling(entries, chance)
            check_streaming(entries, total, chance)
            check_batches(entries, total, chance)
            if number % 4 == 0:
                check_poorer_copies(entries, chance)
            if not any(is_below_itself(e, entries) for e in entries):
                earlier.append(entries)
            if len(earlier) == 4:
                check_many_traces(earlier, chance)
                check_session(earlier, chance)
                earlier = []
        except AssertionError as failure:
            failure.add_note(f"tree {number} of seed {seed}") if hasattr(failure, "add_note") else None
            raise
        spans += len(entries)
        money += total
    return spans, money


@pytest.mark.parametrize("part", range(4))
def test_the_ledger_and_the_oracle_agree(part: int) -> None:
    """Laws 1 to 8, by a second implementation: charge by charge, streamed, in batches, and among other traces."""
    spans, money = run(600, SEED + part)
    assert spans > 1500
    assert money > 10**6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SEED + 100)
    options = parser.parse_args()
    started = time.perf_counter()
    spans, _ = run(options.trees, options.seed)
    print(f"{options.trees} traces, {spans} spans, {time.perf_counter() - started:.0f} s: all equal to the pico")


if __name__ == "__main__":
    main()
