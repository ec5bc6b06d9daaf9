"""Settle one trace: give every span its charge. This function *is* the accounting laws.

It looks at a set of entries and nothing else, so the order of arrival cannot matter, and posting a span twice cannot
change anything. The streaming ledger must always agree with it (a property in tests/test_laws.py); the Go component
has the same function. docs/accounting.md explains each law with a small tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from otel_agentcost.ledger.entry import Charge, Entry, Pricer, charge_in_full, mirror_of
from otel_agentcost.ledger.requests import (
    Totals,
    add_totals,
    family,
    is_call,
    is_fetch,
    may_be_twins,
    remainder,
    richness,
    same_request,
    shows_usage,
    totals,
)
from otel_agentcost.ledger.rollup import split
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
        self.group: dict[str, str] = {}  # call span id -> span id of the record that decides
        self.members: dict[str, list[str]] = {}  # record -> all span ids of the request
        self.shown: dict[str, Totals] = {}  # call span id -> inclusive totals it and the calls below it show
        self.covered_by_estimate: set[str] = set()

    def run(self) -> Settlement:
        self._find_requests()
        self._count_lifetimes()
        self._settle_calls()
        self._settle_fees()
        self._settle_aggregates()
        for span_id, entry in self.tree.entries.items():
            if span_id not in self.charges:
                self.charges[span_id] = charge_in_full(entry)
        return Settlement(self.charges, self.tree.parent, self.lifetime)

    # -- laws 2, 5, 6: one request, one record ------------------------------------------------------------------

    def _find_requests(self) -> None:
        calls = [e for e in self.tree.entries.values() if is_call(e)]
        same = _Union([e.span_id for e in calls])
        first_with: dict[str, str] = {}
        for entry in calls:
            assert entry.reading is not None
            for name in entry.reading.identity:
                if name in first_with:
                    same.join(first_with[name], entry.span_id)
                else:
                    first_with[name] = entry.span_id
        self._join_twins(calls, same)
        for members in same.sets():
            record = self._record([self.tree.entries[m] for m in members])
            self.members[record] = members
            for member in members:
                self.group[member] = record

    def _record(self, entries: list[Entry]) -> str:
        made = [e for e in entries if not is_fetch(e)]
        if any(shows_usage(e) for e in made):
            entries = made  # a stored response read again is never the record of a request that has one
        if len(entries) == 1:
            return entries[0].span_id
        ids = {e.span_id for e in entries}
        return max(entries, key=lambda e: richness(e, sum(a in ids for a in self.tree.path(e.span_id)))).span_id

    def _join_twins(self, calls: list[Entry], same: _Union) -> None:
        siblings: dict[tuple[str, str], list[Entry]] = {}
        for entry in calls:
            assert entry.reading is not None
            if not is_fetch(entry):
                siblings.setdefault((entry.parent_id, family(entry.reading)), []).append(entry)
        for together in siblings.values():
            by_emitter: dict[str, list[Entry]] = {}
            for entry in together:
                by_emitter.setdefault(entry.emitter, []).append(entry)
            if len(by_emitter) > 1:
                _pair_up(list(by_emitter.items()), same)

    # -- law 3: wrappers ----------------------------------------------------------------------------------------

    def _settle_calls(self) -> None:
        """Walk from the leaves up, handing each span the nearest calls below it that nothing separates from it."""
        visible: dict[str, list[str]] = {}
        for span_id in self.tree.innermost_first():
            entry = self.tree.entries[span_id]
            below: list[str] = []
            for child in self.tree.children.get(span_id, ()):
                below.extend(visible.pop(child, ()))
            if is_call(entry):
                self._settle_call(entry, below)
                visible[span_id] = [span_id] if self._stands(span_id) else [span_id, *below]
            elif entry.reading is None or entry.reading.kind not in BOUNDARIES:
                if below:
                    visible[span_id] = below

    def _stands(self, span_id: str) -> bool:
        """Tell whether a call shows usage, so that it hides the calls below it from a wrapper above."""
        return self.shown.get(span_id, (0, 0)) != (0, 0)

    def _settle_call(self, entry: Entry, below: list[str]) -> None:
        reading = entry.reading
        assert reading is not None
        record = self.group[entry.span_id]
        own = totals(reading) if shows_usage(entry) else (0, 0)
        inner = self._distinct_requests(record, below)
        mine = same_request(reading, [(self._reading(r), self.shown[r]) for r in inner]) if inner else []
        wrapped = [inner[i] for i in mine]
        covered = add_totals(self.shown[r] for r in wrapped)
        self.shown[entry.span_id] = (max(own[0], covered[0]), max(own[1], covered[1]))
        if record != entry.span_id:
            self.charges[entry.span_id] = mirror_of(self.tree.entries[record])
        elif is_fetch(entry) and not self._first_usage_of_a_request(entry):
            self.charges[entry.span_id] = Charge(pico=0, status="free", reason="fetch_response", bill=entry.bill)
        elif len(self.members[record]) > 1 and any(m in below for m in self.members[record]):
            # Its own request is identified below; other calls there are other attempts (law 6).
            self.charges[entry.span_id] = charge_in_full(entry)
        elif not wrapped:
            self.charges[entry.span_id] = charge_in_full(entry)
        elif not shows_usage(entry):
            self.charges[entry.span_id] = mirror_of(self.tree.entries[wrapped[0]])
        elif all(self._is_weaker(entry, r) for r in wrapped):
            self._overrule(entry, wrapped)
        elif reading.estimated:
            self.charges[entry.span_id] = mirror_of(self.tree.entries[wrapped[0]])
        else:
            self._charge_remainder(entry, covered, wrapped)

    def _first_usage_of_a_request(self, entry: Entry) -> bool:
        """A response created in the background has no usage until it is fetched: then the fetch is the charge."""
        return shows_usage(entry) and any(
            not is_fetch(self.tree.entries[m]) for m in self.members[self.group[entry.span_id]]
        )

    def _distinct_requests(self, own_record: str, below: list[str]) -> list[str]:
        """The requests seen below a call, each once with its best record; not its own, and none without usage."""
        seen: dict[str, str] = {}
        for span_id in below:
            record = self.group[span_id]
            if record == own_record or self.charges[span_id].reason == "fetch_response":
                continue
            best = seen.get(record)
            if best is None or self.shown[span_id] > self.shown[best] or span_id == record:
                seen[record] = span_id
        return sorted(
            (s for s in seen.values() if shows_usage(self.tree.entries[s]) and self.shown[s] != (0, 0)),
            key=lambda s: (self.tree.entries[s].start, s),
        )

    def _is_weaker(self, wrapper: Entry, inner: str) -> bool:
        """Inner records win, except half ones below whole ones, guesses below a count, a server's record below a caller's (law 7), and a record
        nobody can price below one that has a price."""
        reading, bill = self._reading(inner), self.tree.entries[inner].bill
        outer = wrapper.reading
        assert outer is not None
        if reading.has_both_sides != outer.has_both_sides:
            return outer.has_both_sides
        if reading.estimated != outer.estimated:
            return reading.estimated
        if reading.server and not outer.server:
            return bill is None or bill.component != "compute"
        priced = wrapper.bill is not None and wrapper.bill.total is not None
        return priced and (bill is None or bill.total is None)

    def _overrule(self, entry: Entry, wrapped: list[str]) -> None:
        """The wrapper's record is the better one: it is charged, the records below are its mirrors."""
        self.charges[entry.span_id] = charge_in_full(entry)
        for span_id in wrapped:
            for member in self.members[self.group[span_id]]:
                self.charges[member] = mirror_of(entry)

    def _charge_remainder(self, entry: Entry, covered: Totals, wrapped: list[str]) -> None:
        reading = entry.reading
        assert reading is not None
        guess = reading.estimated or any(self._reading(r).estimated for r in wrapped)
        left = remainder(totals(reading), covered, estimated=guess)
        if left == (0, 0):
            self.charges[entry.span_id] = mirror_of(self.tree.entries[wrapped[0]])
        else:
            self.charges[entry.span_id] = charge_remainder(entry, reading, left, self.price)

    def _reading(self, span_id: str) -> Reading:
        reading = self.tree.entries[span_id].reading
        assert reading is not None
        return reading

    # -- tools and APIs -----------------------------------------------------------------------------------------

    def _settle_fees(self) -> None:
        """Charge a fee once when several instrumentations show one tool call or API request (law 2 for fees)."""
        by_identity: dict[tuple[str, str], str] = {}
        for span_id in self.tree.innermost_first():
            entry = self.tree.entries[span_id]
            reading = entry.reading
            if reading is None or reading.kind not in ("tool", "api") or entry.bill is None:
                continue
            twin = next(
                (by_identity[(reading.kind, i)] for i in reading.identity if (reading.kind, i) in by_identity),
                None,
            )
            twin = twin or self._same_fee_below(entry)
            if twin is not None:
                self.charges[span_id] = mirror_of(self.tree.entries[twin])
            else:
                self.charges[span_id] = charge_in_full(entry)
                for name in reading.identity:
                    by_identity[(reading.kind, name)] = span_id

    def _same_fee_below(self, entry: Entry) -> str | None:
        """A span of the same kind and tool right below, with nothing but plain spans between."""
        reading = entry.reading
        assert reading is not None
        stack = list(self.tree.children.get(entry.span_id, ()))
        while stack:
            child = self.tree.entries[stack.pop()]
            inner = child.reading
            if inner is None:
                stack.extend(self.tree.children.get(child.span_id, ()))
            elif inner.kind == reading.kind and inner.tool == reading.tool and child.bill is not None:
                if inner.identity and reading.identity and not set(inner.identity) & set(reading.identity):
                    continue
                return child.span_id
        return None

    # -- law 4: aggregates --------------------------------------------------------------------------------------

    def _count_lifetimes(self) -> None:
        """Turn lifetime totals into what was added since the same agent's previous figure."""
        cumulative = [
            e
            for e in self.tree.entries.values()
            if carries_usage(e) and e.reading is not None and e.reading.aggregate == "cumulative"
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
                fresh = replace(reading, usage=since, parts=(), reported_cost=None, reported_by="")
                bill = self.price(fresh, entry.start)
                self.tree.entries[entry.span_id] = replace(entry, reading=fresh, bill=bill)

    def _settle_aggregates(self) -> None:
        below: dict[str, Below] = {}
        for span_id in self.tree.innermost_first():
            entry = self.tree.entries[span_id]
            sums = Below()
            for child in self.tree.children.get(span_id, ()):
                sums.add(below.pop(child, None))
            if carries_usage(entry):
                self._settle_aggregate(entry, sums)
            elif entry.reading is not None and entry.reading.kind == "aggregate":
                self.charges[span_id] = Charge(pico=None)
            elif is_call(entry):
                if len(self.members[self.group[span_id]]) > 1:
                    sums.shared.add(self.group[span_id])
                if shows_usage(entry) and not is_fetch(entry):
                    sums.saw_usage = True
                    sums.estimated = sums.estimated or self._reading(span_id).estimated
                    sums.families.add(family(self._reading(span_id)))
            sums.include(entry, self.charges.get(span_id))
            below[span_id] = sums

    def _settle_aggregate(self, entry: Entry, sums: Below) -> None:
        covered = sums.tokens
        for record in sums.shared:
            if entry.span_id not in self.tree.path(record):  # seen here, charged elsewhere
                covered = add_totals((covered, self.shown.get(record, (0, 0))))
        self.charges[entry.span_id] = charge_aggregate(entry, sums, covered, self.price)


def charge_aggregate(entry: Entry, sums: Below, covered: Totals, price: Pricer) -> Charge:
    """Charge an aggregate what the calls below it do not explain (law 4)."""
    reading = entry.reading
    assert reading is not None
    if not sums.saw_usage:
        return charge_in_full(entry)
    in_money = reading.aggregate == "authoritative" or covered == (0, 0)
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
    tokens = remainder(totals(reading), covered, estimated=reading.estimated or sums.estimated)
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


class Below:
    """What is charged below a span: tokens and money, and which requests show there more than once."""

    __slots__ = ("estimated", "families", "pico", "saw_usage", "shared", "tokens")

    def __init__(self) -> None:
        self.tokens: Totals = (0, 0)
        self.pico = 0
        self.saw_usage = False
        self.estimated = False
        self.shared: set[str] = set()
        self.families: set[str] = set()

    def add(self, other: Below | None) -> None:
        if other is None:
            return
        self.tokens = add_totals((self.tokens, other.tokens))
        self.pico += other.pico
        self.saw_usage = self.saw_usage or other.saw_usage
        self.estimated = self.estimated or other.estimated
        small, large = sorted((self.shared, other.shared), key=len)
        large |= small
        self.shared = large
        self.families |= other.families

    def include(self, entry: Entry, charge: Charge | None) -> None:
        if charge is None:
            return
        if charge.pico:
            self.pico += split(entry, charge, charge.pico).get("llm", 0)
        if charge.usage is not None:
            tokens = (charge.usage.input_tokens, charge.usage.output_tokens)
            self.tokens = add_totals((self.tokens, tokens))
            self.saw_usage = self.saw_usage or tokens != (0, 0)


class _Union:
    """Disjoint sets of span ids."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._leader = {i: i for i in ids}

    def find(self, span_id: str) -> str:
        root = span_id
        while self._leader[root] != root:
            root = self._leader[root]
        while self._leader[span_id] != root:
            self._leader[span_id], span_id = root, self._leader[span_id]
        return root

    def join(self, a: str, b: str) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        self._leader[b] = a

    def sets(self) -> list[list[str]]:
        together: dict[str, list[str]] = {}
        for span_id in self._leader:
            together.setdefault(self.find(span_id), []).append(span_id)
        return list(together.values())


def _pair_up(by_emitter: list[tuple[str, list[Entry]]], same: _Union) -> None:
    """Pair calls of different emitters one to one; the emitter with most calls is the reference."""
    by_emitter.sort(key=lambda item: (-len(item[1]), item[0]))
    for _, calls in by_emitter:
        calls.sort(key=lambda e: (e.start, e.end, e.span_id))
    reference = by_emitter[0][1]
    for _, calls in by_emitter[1:]:
        taken: set[str] = set()
        for call in calls:
            twin = next((r for r in reference if r.span_id not in taken and may_be_twins(r, call)), None)
            if twin is not None:
                taken.add(twin.span_id)
                same.join(twin.span_id, call.span_id)
