"""The accounting laws as properties: what must hold for every tree, every order, every split."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agentcost.ledger.entry import Entry
from otel_agentcost.ledger.settle import settle
from otel_agentcost.ledger.trace import TraceLedger
from tests.strategies import entries_of, toy_price, traces


def streamed(entries: list[Entry], *, started: bool) -> tuple[int, TraceLedger]:
    """Post entries in this order; return the sum of what was written on the spans."""
    ledger = TraceLedger(toy_price)
    if started:
        for entry in sorted(entries, key=lambda e: e.span_id):
            ledger.start(entry.span_id, entry.parent_id)
    written = 0
    for entry in entries:
        if entry.reading is None and ledger.end_plain(entry.span_id):
            continue  # as the processor does with spans nobody charges for
        written += ledger.post(entry).charge.pico or 0
    return written, ledger


@given(traces, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_the_order_of_arrival_does_not_change_any_charge(shapes, rng: random.Random) -> None:
    """Law 1: settling is a function of the set of spans."""
    entries = entries_of(shapes)
    shuffled = entries[:]
    rng.shuffle(shuffled)
    assert settle(entries, toy_price).charges == settle(shuffled, toy_price).charges


@given(traces, st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=800, deadline=None)
def test_charges_written_on_the_wire_add_up_in_every_order(shapes, rng: random.Random, started: bool) -> None:
    """Laws 1 and 8: whatever order spans end in, the sum on the wire is the settled total."""
    entries = entries_of(shapes)
    rng.shuffle(entries)
    written, ledger = streamed(entries, started=started)
    assert settle(entries, toy_price).total == written
    assert ledger.total.total == written


@given(traces, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_posting_a_span_twice_changes_nothing(shapes, rng: random.Random) -> None:
    """Law 1: a duplicated export is the same span."""
    entries = entries_of(shapes)
    twice = entries + entries
    rng.shuffle(twice)
    assert settle(entries, toy_price).charges == settle(twice, toy_price).charges
    assert streamed(twice, started=False)[0] == settle(entries, toy_price).total


@given(traces, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_ledgers_merge_to_one(shapes, rng: random.Random, parts: int) -> None:
    """Law 1: N ledgers of one trace, merged, are one ledger."""
    entries = entries_of(shapes)
    split: list[TraceLedger] = [TraceLedger(toy_price) for _ in range(parts)]
    for entry in entries:
        split[rng.randrange(parts)].post(entry)
    merged = TraceLedger(toy_price)
    for ledger in split:
        merged.merge(ledger.entries())
    assert settle(entries, toy_price).total == merged.settlement().total


@given(traces)
@settings(max_examples=300, deadline=None)
def test_no_span_is_charged_more_than_it_shows_and_none_below_zero(shapes) -> None:
    """Laws 3 and 4: a settled charge is between nothing and the span's own bill."""
    entries = entries_of(shapes)
    charges = settle(entries, toy_price).charges
    for entry in entries:
        pico = charges[entry.span_id].pico
        assert pico is None or 0 <= pico <= (entry.bill.total if entry.bill is not None else 0)
