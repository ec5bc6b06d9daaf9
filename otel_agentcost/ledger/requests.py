"""Which call records show one and the same billed request (accounting laws 2, 3, 5, 6, 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_agentcost.ledger.entry import Entry, SpanId
from otel_agentcost.usage.names import model_family
from otel_agentcost.usage.reading import Reading

Totals = tuple[int, int]
"""Inclusive input and output tokens."""

ESTIMATE_TOLERANCE = 50
"""One in so many tokens may be missing, where counts are estimated from text, before a remainder is charged."""


def is_call(entry: Entry) -> bool:
    """Tell whether the entry records a model call (or the re-reading of one)."""
    return entry.reading is not None and entry.reading.kind == "call"


def shows_usage(entry: Entry) -> bool:
    """Tell whether the entry says how much was consumed, or what was billed."""
    reading = entry.reading
    return reading is not None and (
        (reading.status == "usage" and reading.usage is not None) or reading.reported_cost is not None
    )


def is_fee(entry: Entry) -> bool:
    """Tell whether the entry is a tool call or API request that somebody charges for."""
    return entry.reading is not None and entry.reading.kind in ("tool", "api") and entry.bill is not None


def has_price(entry: Entry) -> bool:
    """Tell whether the entry's own bill claims a cost, be it 0."""
    return entry.bill is not None and entry.bill.total is not None


def is_fetch(entry: Entry) -> bool:
    """Tell whether the entry re-reads a stored response, which consumes nothing."""
    return entry.reading is not None and entry.reading.operation == "fetch_response"


def totals(reading: Reading) -> Totals:
    """Inclusive input and output tokens of a reading."""
    usage = reading.billable
    return usage.input_tokens, usage.output_tokens


def family(reading: Reading) -> str:
    """Model family of a reading: aliases, dates and gateway prefixes removed."""
    name = reading.model or reading.request_model
    return model_family(name) if name else ""


def richness(entry: Entry, nesting: int = 0) -> tuple[object, ...]:
    """Order records of one request: the greatest decides the money.

    A billed figure beats detail (cache, modality, tier, parts), detail beats totals, a record of input and output
    beats one of input alone, an exact count beats an estimate, a caller's record beats the model server's. `nesting`
    counts the records of the request above it. Ties go to the innermost, then the earliest, then the smallest span
    id, so that every order of arrival elects the same record.
    """
    reading = entry.reading
    bill = entry.bill
    if reading is None:
        return (False,)
    usage = reading.billable
    detail = sum(1 for unit, q in usage.items() if q and unit not in ("input_tokens", "output_tokens"))
    detail += len(reading.parts) + len(reading.context)
    return (
        shows_usage(entry),
        reading.reported_by in ("provider", "user") and reading.reported_cost is not None,
        reading.has_both_sides,
        not reading.estimated,
        bill is not None and bill.total is not None,
        not reading.server or (bill is not None and bill.component == "compute"),
        detail,
        usage.input_tokens + usage.output_tokens,
        nesting,
        -entry.start,
        _inverse(entry.span_id),
    )


def _inverse(span_id: SpanId) -> tuple[int, ...]:
    """Sort key that makes the smallest span id the greatest."""
    if isinstance(span_id, int):
        return (-span_id,)
    return (*(-ord(c) for c in span_id), 1)  # the end beats any character, so that `c` is smaller than `c2`


def overlap(a: Entry, b: Entry) -> bool:
    """Tell whether two spans share a moment (touching ends do not count, instants inside do)."""
    return (a.start < b.end and b.start < a.end) or (a.start, a.end) == (b.start, b.end)


def may_be_twins(a: Entry, b: Entry) -> bool:
    """Tell whether two sibling calls can be two instrumentations' records of one call (law 5)."""
    if a.emitter == b.emitter or a.reading is None or b.reading is None:
        return False
    if a.reading.identity and b.reading.identity and not set(a.reading.identity) & set(b.reading.identity):
        return False
    if not overlap(a, b):
        return False
    if family(a.reading) != family(b.reading):
        return False
    if not (shows_usage(a) and shows_usage(b)):
        return True  # a record without usage says nothing against being the twin of one with usage
    sides = 2 if a.reading.has_both_sides and b.reading.has_both_sides else 1
    return totals(a.reading)[:sides] == totals(b.reading)[:sides] and a.failed == b.failed


def is_weaker(inner: Entry, wrapper: Entry) -> bool:
    """Tell whether a record below a wrapper gives way to it.

    Inner records win, except one without usage below one with usage, a half one below a whole one, a guess below a
    count, a server's record below a caller's (law 7; not where the price book prices the model by compute), and one
    that nobody can price below one that has a price.
    """
    reading, outer = inner.reading, wrapper.reading
    assert reading is not None
    assert outer is not None
    if shows_usage(inner) != shows_usage(wrapper):
        return shows_usage(wrapper)
    if reading.has_both_sides != outer.has_both_sides:
        return outer.has_both_sides
    if reading.estimated != outer.estimated:
        return reading.estimated
    if reading.server and not outer.server:
        return inner.bill is None or inner.bill.component != "compute"
    return has_price(wrapper) and not has_price(inner)


def same_request(wrapper: Reading, visible: Sequence[tuple[frozenset[str], Totals]]) -> list[int]:
    """Return which requests in view below are the wrapper's own work (law 3), given their families and totals.

    The same model family, or equal inclusive totals in sum (a router's name over the model it chose). Other inner
    calls are other work.
    """
    own, shown = family(wrapper), totals(wrapper)
    matching = [i for i, (families, _) in enumerate(visible) if own and own in families]
    if matching:
        return matching
    if any(shown):
        if add_totals(t for _, t in visible) == shown:
            return list(range(len(visible)))
        equal = [i for i, (_, t) in enumerate(visible) if t == shown]
        if equal:
            return equal
    return [i for i, (families, _) in enumerate(visible) if not own or not any(families)]


def add_totals(many: Iterable[Totals]) -> Totals:
    """Add input and output tokens."""
    tokens_in = tokens_out = 0
    for i, o in many:
        tokens_in += i
        tokens_out += o
    return tokens_in, tokens_out


def remainder(shown: Totals, covered: Totals, *, estimated: bool) -> Totals:
    """Return what `shown` has beyond `covered`, per input and output, never below zero.

    With estimated counts on either side a difference within the tolerance is no remainder.
    """
    left = [max(0, s - c) for s, c in zip(shown, covered, strict=True)]
    if estimated:
        left = [0 if d * ESTIMATE_TOLERANCE <= s else d for d, s in zip(left, shown, strict=True)]
    return left[0], left[1]


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


def requests_of(calls: Sequence[Entry]) -> list[list[str]]:
    """Sort call records into requests: records with a common id, and twins (laws 2 and 5)."""
    same = _joined_by_id(calls)
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
            _pair_up(by_emitter, same)
    return same.sets()


def fees_of(fees: Sequence[Entry]) -> list[list[str]]:
    """Sort tool and API records into fees: records of one kind with a common id."""
    return _joined_by_id(fees).sets()


def may_be_one_fee(a: Reading, b: Reading) -> bool:
    """Tell whether nested records can be of one tool call or API request: one name, and no different ids."""
    different = a.identity and b.identity and not set(a.identity) & set(b.identity)
    return (a.kind, a.tool) == (b.kind, b.tool) and not different


def _joined_by_id(entries: Sequence[Entry]) -> _Union:
    same = _Union([e.span_id for e in entries])
    first_with: dict[tuple[str, str], str] = {}
    for entry in entries:
        assert entry.reading is not None
        for name in entry.reading.identity:
            first = first_with.setdefault((entry.reading.kind, name), entry.span_id)
            if first != entry.span_id:
                same.join(first, entry.span_id)
    return same


def _pair_up(by_emitter: dict[str, list[Entry]], same: _Union) -> None:
    """Pair calls of different emitters one to one, the emitter with most calls first."""
    found: list[list[Entry]] = []
    by_id: dict[str, int] = {}
    in_order = sorted(by_emitter.items(), key=lambda item: (-len(item[1]), item[0]))
    for position, (_, calls) in enumerate(in_order):
        for call in sorted(calls, key=_pairing_order):
            assert call.reading is not None
            at = min((by_id[i] for i in call.reading.identity if i in by_id), default=None)
            if at is None and position:  # calls of the first emitter have nobody to pair with
                at = next((i for i, r in enumerate(found) if all(may_be_twins(known, call) for known in r)), None)
            if at is None:
                at = len(found)
                found.append([])
            else:
                same.join(found[at][0].span_id, call.span_id)
            found[at].append(call)
            for name in call.reading.identity:
                by_id.setdefault(name, at)


def _pairing_order(call: Entry) -> tuple[object, ...]:
    assert call.reading is not None
    return not call.reading.identity, not shows_usage(call), call.start, call.end, call.span_id
