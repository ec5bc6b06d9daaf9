"""Settle one trace: give every span its charge. This function *is* the accounting laws.

It looks at a set of entries and nothing else, so the order of arrival cannot matter, and posting a span twice cannot
change anything. The streaming ledger must always agree with it (a property in tests/test_laws.py); the Go component
has the same function. docs/accounting.md explains each law with a small tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from otel_agentcost.ledger.entry import Charge, Entry, Pricer, SpanId, charge_in_full, mirror_of
from otel_agentcost.ledger.requests import (
    Totals,
    add_totals,
    family,
    fees_of,
    has_price,
    is_call,
    is_fee,
    is_fetch,
    is_weaker,
    may_be_one_fee,
    remainder,
    requests_of,
    richness,
    same_request,
    shows_usage,
    totals,
)
from otel_agentcost.ledger.tree import BOUNDARIES, Tree, carries_usage
from otel_agentcost.usage.reading import Reading, Usage

CumulativeKey = tuple[str, str]
"""Agent name and emitter of an aggregate that reports lifetime totals."""


@dataclass(slots=True)
class Settlement:
    """The charges of one trace, by span id."""

    charges: dict[str, Charge]
    parent: dict[str, str | None]
    """The span each one counts below; differs from the exported parent for adopted orphans."""
    lifetime: dict[CumulativeKey, Usage] = field(default_factory=dict)
    """Last lifetime totals seen, to be handed to the next trace of the session."""

    @property
    def total(self) -> int:
        """Pico-units of the whole trace."""
        return sum(c.pico for c in self.charges.values() if c.pico is not None)


def settle(
    entries: Iterable[Entry], price: Pricer, *, lifetime: Mapping[CumulativeKey, Usage] | None = None
) -> Settlement:
    """Return the charge of every span of one trace; the total is the sum of the charges."""
    return _Settling(Tree(entries), price, dict(lifetime or {})).run()


class _Settling:
    def __init__(self, tree: Tree, price: Pricer, lifetime: dict[CumulativeKey, Usage]) -> None:
        self.tree = tree
        self.price = price
        self.lifetime = lifetime
        self.charges: dict[str, Charge] = {}
        self.request: dict[str, str] = {}  # span id of a call or fee -> the record that decides for its request
        self.members: dict[str, list[str]] = {}  # record -> all span ids of the request
        self.charged: dict[str, list[str]] = {}  # record -> records that are charged for it
        self.replaced: dict[str, str] = {}  # record that was charged -> better record that is charged instead

    def run(self) -> Settlement:
        self._count_lifetimes()
        self._settle_calls()
        self._settle_fees()
        self._settle_aggregates()
        for span_id, entry in self.tree.entries.items():
            if span_id not in self.charges:
                self.charges[span_id] = charge_in_full(entry)
        return Settlement(self.charges, self.tree.parent, self.lifetime)

    def _reading(self, span_id: str) -> Reading:
        reading = self.tree.entries[span_id].reading
        assert reading is not None
        return reading

    def _start(self, record: str) -> tuple[int, int, str]:
        entry = self.tree.entries[record]
        return entry.start, -entry.end, record

    # -- laws 2, 5, 6: one request, one record ------------------------------------------------------------------

    def _settle_calls(self) -> None:
        calls = [e for e in self.tree.entries.values() if is_call(e)]
        if not calls:
            return
        for members in requests_of(calls):
            record = self._record([self.tree.entries[m] for m in members])
            self.members[record] = members
            for member in members:
                self.request[member] = record
        inner = self._without_circles(self._wrapped())
        for record in self._innermost_first(inner):
            self._settle_request(record, inner.get(record, ()))

    def _record(self, entries: list[Entry]) -> SpanId:
        if len(entries) == 1:
            return entries[0].span_id
        made = [e for e in entries if not is_fetch(e)]
        if made and (any(shows_usage(e) for e in made) or not any(shows_usage(e) for e in entries)):
            entries = made  # a stored response read again is never the record of a request that has one
        ids = {e.span_id for e in entries}
        return max(entries, key=lambda e: richness(e, sum(a in ids for a in self.tree.path(e.span_id)))).span_id

    def _is_free(self, record: str) -> bool:
        """Tell whether a request is nothing but re-readings of a stored response."""
        return all(is_fetch(self.tree.entries[m]) for m in self.members[record])

    # -- law 3: wrappers ----------------------------------------------------------------------------------------

    def _wrapped(self) -> dict[str, list[str]]:
        """The requests that each request wraps, from a walk that hands every span the calls in view below it."""
        wrapped: dict[str, list[str]] = {}
        view: dict[str, list[str]] = {}
        for span_id in self.tree.innermost_first():
            entry = self.tree.entries[span_id]
            below: list[str] = []
            for child in self.tree.children.get(span_id, ()):
                seen = view.pop(child, None)
                if seen:
                    below = below + seen if below else seen
            if is_call(entry):
                record = self.request[span_id]
                if below:
                    wrapped.setdefault(record, []).extend(self._wraps(entry, below))
                hides = shows_usage(entry) and not self._is_free(record)
                view[span_id] = [span_id] if hides else [span_id, *below]
            elif below and (entry.reading is None or entry.reading.kind not in BOUNDARIES):
                view[span_id] = below
        return wrapped

    def _wraps(self, entry: Entry, below: list[str]) -> list[str]:
        """The requests in view below a record that are its own work."""
        own = self.request[entry.span_id]
        seen = dict.fromkeys(self.request[s] for s in below)
        if own in seen:
            return []  # its own request is identified below; other calls there are other attempts (law 6)
        work = [r for r in seen if not self._is_free(r)]
        silent = [r for r in work if not shows_usage(self.tree.entries[r])]
        if len(silent) < len(work):
            work = [r for r in work if r not in silent]
        else:
            work = [r for r in silent if not has_price(self.tree.entries[r])]
        assert entry.reading is not None
        visible = [
            (frozenset(family(self._reading(m)) for m in self.members[r]), totals(self._reading(r))) for r in work
        ]
        return [work[i] for i in same_request(entry.reading, visible)]

    def _without_circles(self, wrapped: dict[str, list[str]]) -> dict[str, list[str]]:
        inner: dict[str, list[str]] = {}
        for record in sorted((r for r, others in wrapped.items() if others), key=self._start):
            for other in sorted(set(wrapped[record]), key=self._start):
                if not _reaches(inner, other, record):
                    inner.setdefault(record, []).append(other)
        return inner

    def _innermost_first(self, inner: dict[str, list[str]]) -> Iterator[str]:
        """Requests in the order of their start, but each after those it wraps."""
        done: set[str] = set()
        for first in sorted(self.members, key=self._start):
            stack = [first]
            while stack:
                record = stack[-1]
                waiting = [r for r in inner.get(record, ()) if r not in done]
                if waiting and record not in done:
                    stack.append(waiting[0])
                    continue
                stack.pop()
                if record not in done:
                    done.add(record)
                    yield record

    def _charged_for(self, records: Iterable[str]) -> list[str]:
        """The records that are charged for these requests, each once."""
        found: dict[str, None] = {}
        for record in records:
            for charged in self.charged[record]:
                while charged in self.replaced:
                    charged = self.replaced[charged]
                found[charged] = None
        return list(found)

    def _settle_request(self, record: str, inner: Sequence[str]) -> None:
        entry = self.tree.entries[record]
        for member in self.members[record]:
            if member != record:
                self.charges[member] = mirror_of(entry)
        below = self._charged_for(inner)
        reading = self._reading(record)
        self.charged[record] = below
        if self._is_free(record):
            self.charges[record] = Charge(pico=0, status="free", reason="fetch_response", bill=entry.bill)
        elif all(is_weaker(self.tree.entries[b], entry) for b in below):
            self.charges[record] = charge_in_full(entry)
            self.charged[record] = [record]
            for weaker in below:
                self.replaced[weaker] = record
                for member in self.members[weaker]:
                    self.charges[member] = mirror_of(entry)
        elif reading.estimated or not shows_usage(entry):
            self.charges[record] = mirror_of(self.tree.entries[below[0]])
        else:
            guess = any(self._reading(b).estimated for b in below)
            left = remainder(totals(reading), add_totals(self._tokens(b) for b in below), estimated=guess)
            if left == (0, 0):
                self.charges[record] = mirror_of(self.tree.entries[below[0]])
            else:
                self.charges[record] = charge_remainder(entry, reading, left, self.price)
                self.charged[record] = [record, *below]

    def _tokens(self, span_id: str) -> Totals:
        """Inclusive tokens that a charge stands for."""
        usage = self.charges[span_id].usage
        return (usage.input_tokens, usage.output_tokens) if usage is not None else (0, 0)

    # -- tools and APIs -----------------------------------------------------------------------------------------

    def _settle_fees(self) -> None:
        """Charge a fee once when several instrumentations show one tool call or API request (law 2 for fees)."""
        fees = [e for e in self.tree.entries.values() if is_fee(e)]
        if not fees:
            return
        records: dict[str, list[str]] = {}
        for members in fees_of(fees):
            record = members[0]
            if len(members) > 1:
                record = min(members, key=self._fee_order)
            records[record] = members
            for member in members:
                self.request[member] = record
        wrapped = {
            record: [self.request[b] for m in members for b in self._same_fee_below(m)]
            for record, members in records.items()
        }
        inner = self._without_circles(wrapped)
        for record, members in records.items():
            below = inner.get(record)
            for member in members:
                self.charges[member] = mirror_of(self.tree.entries[below[0] if below else record])
            if not below:
                self.charges[record] = charge_in_full(self.tree.entries[record])

    def _fee_order(self, span_id: str) -> tuple[bool, int, int, str]:
        entry = self.tree.entries[span_id]
        return not has_price(entry), -sum(1 for _ in self.tree.path(span_id)), entry.start, span_id

    def _same_fee_below(self, span_id: str) -> list[str]:
        """Spans of the same kind and tool right below, with nothing but plain spans between."""
        outer = self._reading(span_id)
        found = []
        stack = list(self.tree.children.get(span_id, ()))
        while stack:
            child = self.tree.entries[stack.pop()]
            inner = child.reading
            if inner is None:
                stack.extend(self.tree.children.get(child.span_id, ()))
            elif is_fee(child) and may_be_one_fee(inner, outer):
                found.append(child.span_id)
        return found

    # -- law 4: aggregates --------------------------------------------------------------------------------------

    def _count_lifetimes(self) -> None:
        """Turn lifetime totals into what was added since the same agent's previous figure."""
        cumulative = [
            e
            for e in self.tree.entries.values()
            if carries_usage(e)
            and e.reading is not None
            and e.reading.aggregate == "cumulative"
            and e.reading.usage is not None
        ]
        for entry in sorted(cumulative, key=lambda e: (e.end, e.start, e.span_id)):
            reading = entry.reading
            assert reading is not None
            assert reading.usage is not None
            key = (entry.agent or reading.agent or "", entry.emitter)
            before = self.lifetime.get(key)
            self.lifetime[key] = reading.usage
            if before is not None and all(reading.usage.get(u, 0) >= q for u, q in before.items()):
                since = Usage({u: q - before.get(u, 0) for u, q in reading.usage.items()})
                fresh = reading.with_usage(since)
                bill = self.price(fresh, entry.start)
                self.tree.entries[entry.span_id] = replace(entry, reading=fresh, bill=bill)

    def _settle_aggregates(self) -> None:
        if not any(e.reading is not None and e.reading.kind == "aggregate" for e in self.tree.entries.values()):
            return
        place = {span_id: i for i, span_id in enumerate(self.tree.outermost_first)}
        last: dict[str, int] = {}  # place of the last span below
        below: dict[str, Below] = {}
        for span_id in self.tree.innermost_first():
            entry = self.tree.entries[span_id]
            sums = Below()
            last[span_id] = place[span_id]
            for child in self.tree.children.get(span_id, ()):
                last[span_id] = max(last[span_id], last[child])
                sums.add(below.pop(child, None))
            if carries_usage(entry):
                elsewhere = [
                    r
                    for r in self._charged_for(sorted(sums.shared or ()))
                    if not place[span_id] <= place[r] <= last[span_id]
                ]
                if elsewhere:  # seen here, charged elsewhere
                    everything = Below()
                    everything.add(sums)
                    for record in elsewhere:
                        everything.include(self.tree.entries[record], self.charges[record])
                    self.charges[span_id] = charge_aggregate(entry, everything, self.price)
                else:
                    self.charges[span_id] = charge_aggregate(entry, sums, self.price)
            elif entry.reading is not None and entry.reading.kind == "aggregate":
                self.charges[span_id] = Charge(pico=None)
            elif is_call(entry) and len(self.members[self.request[span_id]]) > 1:
                if not self._is_free(self.request[span_id]):  # a stored response read again explains nothing
                    sums.show(self.request[span_id])
            sums.include(entry, self.charges.get(span_id))
            below[span_id] = sums


def charge_aggregate(entry: Entry, sums: Below, price: Pricer) -> Charge:
    """Charge an aggregate what the calls below it do not explain (law 4)."""
    reading = entry.reading
    assert reading is not None
    if not sums.explains:
        return charge_in_full(entry)
    in_money = reading.aggregate == "authoritative" or sums.tokens == (0, 0)
    if in_money and entry.bill is not None and entry.bill.total is not None:
        left = max(0, entry.bill.total - sums.pico)
        return Charge(
            pico=left,
            status="remainder" if left else "aggregate",
            reason="beyond_visible_calls" if left else "covered_by_calls_below",
            bill=entry.bill,
            usage=Usage(),
            currency=entry.bill.currency,
        )
    tokens = remainder(totals(reading), sums.tokens, estimated=reading.estimated or sums.estimated)
    if tokens == (0, 0):
        return Charge(pico=0, status="aggregate", reason="covered_by_calls_below")
    if reading.model is None and reading.request_model is None and len(sums.families) == 1:
        reading = replace(reading, model=next(iter(sums.families)))
    return charge_remainder(entry, reading, tokens, price)


def charge_remainder(entry: Entry, reading: Reading, left: Totals, price: Pricer) -> Charge:
    """Charge tokens that no visible call explains, at plain input and output rates."""
    usage = Usage(input_tokens=left[0], output_tokens=left[1])
    bill = price(reading.with_usage(usage), entry.start)
    priced = bill is not None and bill.total is not None
    return Charge(
        pico=bill.total if bill is not None else None,
        status="remainder" if priced else "unpriced",
        reason=f"beyond_visible_calls:{left[0]}+{left[1]}"
        + (f",{bill.reason}" if bill is not None and bill.reason else ""),
        bill=bill,
        usage=usage,
        currency=bill.currency if bill is not None else "USD",
    )


_NONE: frozenset[str] = frozenset()


class Below:
    """What is charged below a span for calls and aggregates: tokens, money, and how well they are known."""

    __slots__ = ("estimated", "families", "pico", "saw_usage", "shared", "tokens")

    def __init__(self) -> None:
        self.tokens: Totals = (0, 0)
        self.pico = 0
        """All money of calls and aggregates, fees inside them included; no tools, APIs or compute."""
        self.saw_usage = False
        self.estimated = False
        self.shared: set[str] | None = None
        """Requests with several records: one may be charged elsewhere."""
        self.families: frozenset[str] = _NONE

    @property
    def explains(self) -> bool:
        """Tell whether anything below is an explanation of what an aggregate shows."""
        return self.saw_usage or self.tokens != (0, 0) or self.pico != 0

    def add(self, other: Below | None) -> None:
        if other is None:
            return
        self.tokens = add_totals((self.tokens, other.tokens))
        self.pico += other.pico
        self.saw_usage = self.saw_usage or other.saw_usage
        self.estimated = self.estimated or other.estimated
        if other.shared and self.shared:
            small, large = sorted((self.shared, other.shared), key=len)
            large |= small
            self.shared = large
        elif other.shared:
            self.shared = other.shared
        if other.families != self.families:
            self.families = self.families | other.families if self.families else other.families

    def show(self, request: str) -> None:
        """Note a request that has several records."""
        if self.shared is None:
            self.shared = set()
        self.shared.add(request)

    def include(self, entry: Entry, charge: Charge | None) -> None:
        reading = entry.reading
        if charge is None or reading is None or reading.kind not in ("call", "aggregate"):
            return
        self.pico += charge.pico or 0
        if charge.usage is not None:
            self.tokens = add_totals((self.tokens, (charge.usage.input_tokens, charge.usage.output_tokens)))
        if reading.kind == "call" and charge.counts and charge.reason != "fetch_response" and shows_usage(entry):
            self.saw_usage = True
            self.estimated = self.estimated or reading.estimated
            self.families |= {family(reading)}


def _reaches(inner: Mapping[str, Sequence[str]], start: str, goal: str) -> bool:
    """Tell whether `start` is `goal` or wraps it, directly or through others."""
    stack, seen = [start], {start}
    while stack:
        here = stack.pop()
        if here == goal:
            return True
        for other in inner.get(here, ()):
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return False
