"""A naive settling of one trace, written from docs/accounting.md ("Precisely") and from nothing else.

It exists to disagree with `otel_agentcost.ledger.settle`: same laws, other code. Everything is looked up by walking
all spans again, nothing is remembered between questions but the answers of the laws themselves; a trace of a hundred
spans may take a second. Read it beside the page: every function is one paragraph of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from otel_agentcost.ledger.entry import Entry
from otel_agentcost.pricing.bill import Bill
from otel_agentcost.usage.reading import Reading, Usage
from tests.oracle_terms import (
    Request,
    Verdict,
    add,
    agent,
    carries_usage,
    distinct,
    estimated,
    family,
    fetches,
    has_price,
    ids,
    in_compute,
    is_same_fee,
    is_weaker,
    kind,
    knows_output,
    may_be_twins,
    mode,
    own_bill,
    rest,
    says_more,
    shows_usage,
    tokens,
)

Lifetimes = dict[tuple[str, str], Usage]


class Oracle:
    """The charges of one trace: `verdicts()` by span id; `lifetimes` are handed to the next trace of the session."""

    def __init__(
        self,
        entries: Iterable[Entry],
        price: Callable[[Reading, int], Bill | None],
        lifetimes: Mapping[tuple[str, str], Usage] | None = None,
    ) -> None:
        self.price = price
        self.lifetimes: Lifetimes = dict(lifetimes or {})
        self.spans: dict[str, Entry] = {}
        for entry in entries:
            known = self.spans.get(entry.span_id)
            if known is None or says_more(entry) > says_more(known):
                self.spans[entry.span_id] = entry
        self.above: dict[str, str] = {}
        self.cut_circles()
        self.adopt_orphans()
        self.count_from_previous_figures()

    # -- tree ---------------------------------------------------------------------------------------------------

    def path(self, span: str) -> list[str]:
        """The span and everything above it."""
        result = [span]
        while result[-1] in self.above:
            result.append(self.above[result[-1]])
        return result

    def children(self, span: str) -> list[str]:
        return [s for s in self.spans if self.above.get(s) == span]

    def below(self, span: str) -> list[str]:
        return [s for s in self.spans if s != span and span in self.path(s)]

    def cut_circles(self) -> None:
        parents = {s: e.parent_id for s, e in self.spans.items() if e.parent_id in self.spans}
        circles = set()
        for span in self.spans:
            here = parents.get(span)
            seen = [span]
            while here is not None and here not in seen:
                seen.append(here)
                here = parents.get(here)
            if here == span:
                circles.add(frozenset(seen))
        for circle in circles:
            del parents[min(circle)]
        self.above = parents

    def adopt_orphans(self) -> None:
        def size(span: str) -> tuple[int, int, str]:
            entry = self.spans[span]
            return (entry.end - entry.start, -entry.start, span)

        adopters = sorted((s for s, e in self.spans.items() if carries_usage(e)), key=size)
        orphans = [s for s, e in self.spans.items() if e.parent_id and e.parent_id not in self.spans]
        orphans += [s for s, e in self.spans.items() if e.parent_id in self.spans and s not in self.above]
        for span in sorted(orphans, key=lambda s: (self.spans[s].start, -self.spans[s].end, s)):
            orphan = self.spans[span]
            for adopter in adopters:
                outer = self.spans[adopter]
                contains = outer.start <= orphan.start and orphan.end <= outer.end
                other_agent = agent(orphan) and agent(outer) and agent(orphan) != agent(outer)
                if contains and not other_agent and span not in self.path(adopter):
                    self.above[span] = adopter
                    break

    # -- requests -----------------------------------------------------------------------------------------------

    def calls(self) -> list[str]:
        return sorted(s for s, e in self.spans.items() if kind(e) == "call")

    def requests(self) -> set[Request]:
        """Merge records that share an id or are twins until nothing is left to merge."""
        requests = {frozenset([s]) for s in self.calls()}
        links = [(a, b) for a in self.calls() for b in self.calls() if ids(self.spans[a]) & ids(self.spans[b])]
        for a, b in links + self.twins():
            (one,) = (r for r in requests if a in r)
            (other,) = (r for r in requests if b in r)
            requests -= {one, other}
            requests.add(one | other)
        return requests

    def twins(self) -> list[tuple[str, str]]:
        families = {(self.spans[s].parent_id, family(self.spans[s])) for s in self.calls()}
        return [link for key in families for link in self.paired(*key)]

    def paired(self, parent_id: str, name: str) -> list[tuple[str, str]]:
        siblings = [self.spans[s] for s in self.calls()]
        siblings = [e for e in siblings if e.parent_id == parent_id and family(e) == name and not fetches(e)]
        scopes = {e.emitter for e in siblings}
        if len(scopes) < 2:
            return []

        def turn(entry: Entry) -> tuple[object, ...]:
            many = sum(e.emitter == entry.emitter for e in siblings)
            quality = (not ids(entry), not shows_usage(entry))
            return (-many, entry.emitter, *quality, entry.start, entry.end, entry.span_id)

        groups: list[list[Entry]] = []
        for entry in sorted(siblings, key=turn):
            joined = [g for g in groups if any(ids(m) & ids(entry) for m in g)] or [
                g for g in groups if all(may_be_twins(m, entry) for m in g)
            ]
            if joined:
                joined[0].append(entry)
            else:
                groups.append([entry])
        return [(g[0].span_id, m.span_id) for g in groups for m in g[1:]]

    def record(self, request: Request) -> str:
        """The span that decides what a request costs."""
        created = {s for s in request if not fetches(self.spans[s])}
        shown = {s for s in request if shows_usage(self.spans[s])}
        candidates = created if created and (created & shown or not shown) else request

        def merits(span: str) -> tuple[object, ...]:
            entry = self.spans[span]
            reading = entry.reading
            assert reading is not None
            usage = reading.billable
            return (
                shows_usage(entry),
                reading.reported_cost is not None and reading.reported_by in ("provider", "user"),
                knows_output(entry),
                not reading.estimated,
                has_price(entry),
                not reading.server or in_compute(entry),
                len([u for u in usage if usage[u] and u not in ("input_tokens", "output_tokens")])
                + len(reading.parts)
                + len(reading.context),
                sum(tokens(entry)),
                len([s for s in self.path(span) if s in candidates]),
                -entry.start,
            )

        best = max(merits(s) for s in candidates)
        return min(s for s in candidates if merits(s) == best)

    def is_free(self, request: Request) -> bool:
        return all(fetches(self.spans[s]) for s in request)

    # -- wrapping -----------------------------------------------------------------------------------------------

    def sees(self, span: str) -> list[str]:
        """The calls below a span that nothing separates from it."""
        result = []
        for child in self.children(span):
            entry = self.spans[child]
            if kind(entry) == "call":
                result.append(child)
                if not shows_usage(entry) or self.is_free(self.request_of[child]):
                    result += self.sees(child)
            elif kind(entry) in ("", "api"):
                result += self.sees(child)
        return result

    def wraps(self, span: str) -> set[Request]:
        """The requests below a record that are the same work."""
        seen = {self.request_of[s] for s in self.sees(span)}
        if self.request_of[span] in seen:
            return set()
        seen = {r for r in seen if not self.is_free(r)}
        silent = {r for r in seen if not self.shows(r) and not has_price(self.spans[self.record(r)])}
        work = {r for r in seen if self.shows(r)} or silent
        shown = {r: tokens(self.spans[self.record(r)]) for r in work}
        mine = family(self.spans[span])
        total = tokens(self.spans[span])
        names = {r: {family(self.spans[s]) for s in r} - {""} for r in shown}
        choices = (
            {r for r in shown if mine in names[r]},
            set(shown) if any(total) and add(shown.values()) == total else set(),
            {r for r in shown if any(total) and shown[r] == total},
            {r for r in shown if not mine or not names[r]},
        )
        return next((choice for choice in choices if choice), set())

    def shows(self, request: Request) -> bool:
        return shows_usage(self.spans[self.record(request)])

    def in_turn(self, requests: Iterable[Request]) -> list[Request]:
        def turn(request: Request) -> tuple[int, int, str]:
            entry = self.spans[self.record(request)]
            return (entry.start, -entry.end, entry.span_id)

        return sorted(requests, key=turn)

    def wrapped_by_all(self) -> dict[Request, list[Request]]:
        """What each request wraps, without circles."""
        inner: dict[Request, list[Request]] = {r: [] for r in self.all_requests}

        def reaches(outer: Request, other: Request) -> bool:
            return outer == other or any(reaches(r, other) for r in inner[outer])

        for request in self.in_turn(self.all_requests):
            for other in self.in_turn({r for s in request for r in self.wraps(s)}):
                if not reaches(other, request):
                    inner[request].append(other)
        return inner

    # -- charges ------------------------------------------------------------------------------------------------

    def verdicts(self) -> dict[str, Verdict]:
        self.all_requests = self.requests()
        self.request_of = {s: r for r in self.all_requests for s in r}
        self.inner = self.wrapped_by_all()
        self.charged: dict[str, Verdict] = dict.fromkeys(self.request_of, (0, "mirror"))
        self.stand_for: dict[Request, list[Request]] = {}
        """What is charged for a request."""
        self.tokens_of: dict[str, tuple[int, int]] = {}
        """Tokens a charge stands for, by span."""
        for request in self.in_turn(self.all_requests):
            self.charge_request(request)
        self.charge_fees()
        for span in sorted(self.spans, key=lambda s: -len(self.path(s))):
            if carries_usage(self.spans[span]):
                self.charge_aggregate(span)
            elif kind(self.spans[span]) == "aggregate":
                self.charged[span] = (None, "")
            elif span not in self.charged:
                self.charged[span] = own_bill(self.spans[span])
        return self.charged

    def charge_request(self, request: Request) -> None:
        if request in self.stand_for:
            return
        for other in self.inner[request]:
            self.charge_request(other)
        span = self.record(request)
        entry = self.spans[span]
        charged_for = distinct(c for r in self.inner[request] for c in self.stand_for[r])
        if self.is_free(request):
            self.charged[span] = (0, "free")
            self.stand_for[request] = []
        elif not charged_for:
            self.in_full(request)
        elif all(is_weaker(self.spans[self.record(r)], entry) for r in charged_for):
            self.in_full(request)
            for weak in charged_for:
                self.charged[self.record(weak)] = (0, "mirror")
                self.tokens_of.pop(self.record(weak), None)
                for known, standing in self.stand_for.items():
                    if weak in standing:
                        self.stand_for[known] = distinct([*(r for r in standing if r != weak), request])
        elif estimated(entry) or not shows_usage(entry):
            self.stand_for[request] = charged_for
        else:
            records = [self.record(r) for r in charged_for]
            guess = any(estimated(self.spans[s]) for s in records)
            left = rest(tokens(entry), add(self.tokens_of.get(s, (0, 0)) for s in records), guess)
            self.stand_for[request] = charged_for
            if any(left):
                self.charge_rest(span, left)
                self.stand_for[request] = [request, *charged_for]

    def in_full(self, request: Request) -> None:
        span = self.record(request)
        self.charged[span] = own_bill(self.spans[span])
        self.tokens_of[span] = tokens(self.spans[span])
        self.stand_for[request] = [request]

    def charge_rest(self, span: str, left: tuple[int, int], model: str | None = None) -> None:
        reading = self.spans[span].reading
        assert reading is not None
        reading = replace(reading, model=model or reading.model)
        usage = Usage(input_tokens=left[0], output_tokens=left[1])
        bill = self.price(reading.with_usage(usage), self.spans[span].start)
        pico = bill.total if bill is not None else None
        self.charged[span] = (pico, "unpriced" if pico is None else "remainder")
        self.tokens_of[span] = left

    # -- fees ---------------------------------------------------------------------------------------------------

    def charge_fees(self) -> None:
        fees = [s for s, e in self.spans.items() if kind(e) in ("tool", "api") and e.bill is not None]
        classes = {frozenset([s]) for s in fees}
        for a in fees:
            for b in fees:
                if kind(self.spans[a]) == kind(self.spans[b]) and ids(self.spans[a]) & ids(self.spans[b]):
                    (one,) = (c for c in classes if a in c)
                    (other,) = (c for c in classes if b in c)
                    classes -= {one, other}
                    classes.add(one | other)
        inner: dict[Request, list[Request]] = {c: [] for c in classes}

        def record(fee: Request) -> str:
            def order(span: str) -> tuple[bool, int, int, str]:
                entry = self.spans[span]
                return (not has_price(entry), -len(self.path(span)), entry.start, span)

            return min(fee, key=order)

        def turn(fee: Request) -> tuple[int, int, str]:
            entry = self.spans[record(fee)]
            return (entry.start, -entry.end, entry.span_id)

        def reaches(outer: Request, other: Request) -> bool:
            return outer == other or any(reaches(c, other) for c in inner[outer])

        for fee in sorted(classes, key=turn):
            around = {c for c in classes if any(b in c for s in fee for b in self.same_fee_directly_below(s))}
            for other in sorted(around, key=turn):
                if not reaches(other, fee):
                    inner[fee].append(other)
        for fee in classes:
            for span in fee:
                self.charged[span] = (0, "mirror")
            if not inner[fee]:
                self.charged[record(fee)] = own_bill(self.spans[record(fee)])

    def same_fee_directly_below(self, span: str, outer: Entry | None = None) -> list[str]:
        outer = outer or self.spans[span]
        result = []
        for child in self.children(span):
            entry = self.spans[child]
            if entry.reading is None:
                result += self.same_fee_directly_below(child, outer)
            elif is_same_fee(outer, entry):
                result.append(child)
        return result

    # -- aggregates ---------------------------------------------------------------------------------------------

    def count_from_previous_figures(self) -> None:
        lifetimes = [s for s, e in self.spans.items() if carries_usage(e) and mode(e) == "cumulative"]
        for span in sorted(lifetimes, key=lambda s: (self.spans[s].end, self.spans[s].start, s)):
            entry = self.spans[span]
            reading = entry.reading
            assert reading is not None
            assert reading.usage is not None
            key = (agent(entry), entry.emitter)
            before = self.lifetimes.get(key)
            self.lifetimes[key] = reading.usage
            if before is None or any(reading.usage.get(u, 0) < q for u, q in before.items()):
                continue
            added = Usage({u: q - before.get(u, 0) for u, q in reading.usage.items()})
            fresh = reading.with_usage(added)
            self.spans[span] = replace(entry, reading=fresh, bill=self.price(fresh, entry.start))

    def charge_aggregate(self, span: str) -> None:
        entry = self.spans[span]
        reading = entry.reading
        assert reading is not None
        below = self.below(span)
        requests = {self.request_of[s] for s in below if s in self.request_of}
        records = {self.record(c) for r in requests for c in self.stand_for[r]}
        counted = sorted(records | {s for s in below if carries_usage(self.spans[s])})
        explained = add(self.tokens_of.get(s, (0, 0)) for s in counted)
        money = sum(self.charged[s][0] or 0 for s in counted)
        total = entry.bill.total if entry.bill is not None else None
        if not (any(shows_usage(self.spans[s]) for s in records) or any(explained) or money):
            self.charged[span] = own_bill(entry)
            self.tokens_of[span] = tokens(entry)
        elif (mode(entry) == "authoritative" or not any(explained)) and total is not None:
            left_money = max(0, total - money)
            self.charged[span] = (left_money, "remainder" if left_money else "aggregate")
        else:
            guess = estimated(entry) or any(estimated(self.spans[s]) for s in records)
            left = rest(tokens(entry), explained, guess)
            if not any(left):
                self.charged[span] = (0, "aggregate")
                return
            families = {family(self.spans[s]) for s in records if shows_usage(self.spans[s])}
            unnamed = reading.model is None and reading.request_model is None
            self.charge_rest(span, left, families.pop() if unnamed and len(families) == 1 else None)
