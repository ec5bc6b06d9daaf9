"""Account for recorded spans: the offline form of the ledger, used by `agentcost replay` and in tests.

All spans are known, so every charge is the settled one and no correction is needed. The Go component has the same
function; both give identical bytes for amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol

from otel_agentcost.ledger.annotate import charge_attributes, rollup_attributes
from otel_agentcost.ledger.entry import Charge, Entry
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.ledger.settle import CumulativeKey, settle
from otel_agentcost.ledger.tree import Tree
from otel_agentcost.pricing.bill import Bill
from otel_agentcost.pricing.fees import NO_CHARGE
from otel_agentcost.pricing.money import PICO
from otel_agentcost.usage.dialects import Stated, read_http_client, read_labels, read_span, read_stated
from otel_agentcost.usage.reading import Reading, Usage

SpanKey = tuple[str, str]
"""Trace id and span id, as hex text."""


class Book(Protocol):
    """What accounting needs of a price book."""

    def price(self, reading: Reading, *, at: int) -> Bill | None:
        """Price one reading at a time (unix ns); None: nobody charges for it."""

    @property
    def fee_attributes(self) -> frozenset[str]:
        """Attributes that count what a fee is asked for."""

    def context_window(self, provider: str | None, model: str) -> int | None:
        """Tokens a model can hold, where known."""


@dataclass(slots=True, kw_only=True)
class SpanRecord:
    """One exported span, as any trace file tells it."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str = ""
    kind: str = "internal"
    scope: str = ""
    start_ns: int = 0
    end_ns: int = 0
    attributes: dict[str, object] = field(default_factory=dict)
    resource: Mapping[str, object] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One trace with its root and exact totals."""

    trace_id: str
    root: SpanRecord | None
    """The exported root; None when it never came, and then `complete` is false."""
    rollup: Rollup
    complete: bool
    session_id: str = ""
    to_date: int = 0
    """Pico-units of the conversation up to and including this trace."""


@dataclass(slots=True)
class Accounts:
    """Charges, attributes to write, and totals of a set of spans."""

    charges: dict[SpanKey, Charge] = field(default_factory=dict)
    attributes: dict[SpanKey, dict[str, str | bool | int | float]] = field(default_factory=dict)
    """The `agentcost.*` attributes of every span that has any."""
    subtrees: dict[SpanKey, Rollup] = field(default_factory=dict)
    """Totals of every span and everything below it."""
    sessions: list[Session] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Pico-units of everything."""
        return sum(c.pico for c in self.charges.values() if c.pico)


def entry_of(span: SpanRecord, book: Book, *, reprice: str = "missing") -> Entry:
    """Read and price one span. Cost that stands on it already is kept unless `reprice` is `always`.

    With `never`, nothing is priced here: only stated cost counts.
    """
    reading = read_span(
        name=span.name,
        kind=span.kind,
        scope=span.scope,
        attributes=span.attributes,
        resource=span.resource,
        failed=span.failed,
    )
    if reading is None and span.kind == "client":
        reading = paid_request(span.attributes, book.fee_attributes)
    stated = read_stated(span.attributes) if reprice != "always" else None
    bill: Bill | None = None
    if stated is not None and stated.pico is not None and _is_own_money(stated):
        reading = _supported(reading, span, stated)
        bill = _stated_bill(reading, stated)
    elif reading is not None and reprice != "never" and not _is_silent_aggregate(reading):
        bill = book.price(reading, at=span.start_ns)
        bill = None if bill is NO_CHARGE else bill
    if reading is not None and reading.kind == "api" and bill is None:
        reading = None  # an HTTP request nobody charges for is a plain span
    return Entry(
        span_id=span.span_id,
        parent_id=span.parent_id,
        start=span.start_ns,
        end=span.end_ns,
        emitter=span.scope,
        reading=reading,
        bill=bill,
        failed=span.failed,
        agent=(reading.agent or "") if reading is not None else "",
        window=window_share(reading, book) if reading is not None else 0.0,
    )


def paid_request(attributes: Mapping[str, object], counted: frozenset[str]) -> Reading | None:
    """Read an HTTP client span as a request that may have a fee, with the attributes that fees count by."""
    reading = read_http_client(attributes)
    if reading is None or not counted:
        return reading
    found: dict[str, str] = {}
    for name in counted:
        value = attributes.get(name)
        if isinstance(value, (list, tuple)) and value:  # a captured header is a list of its values
            value = value[0]
        if isinstance(value, (str, int, float)):
            found[name] = str(value)
    return replace(reading, context={**reading.context, **found}) if found else reading


def _is_silent_aggregate(reading: Reading) -> bool:
    return reading.kind == "aggregate" and reading.usage is None and reading.reported_cost is None


def _is_own_money(stated: Stated) -> bool:
    """Mirrors, aggregates, remainders and corrections are verdicts of one process; they are judged anew."""
    return stated.status not in ("mirror", "aggregate", "remainder", "correction")


def _supported(reading: Reading | None, span: SpanRecord, stated: Stated) -> Reading:
    """A span with stated money is evidence even where its attributes show no usage."""
    assert stated.pico is not None
    money = Decimal(stated.pico).scaleb(-12)
    if reading is None:
        kind = span.attributes.get("agentcost.kind")
        if kind == "compute":
            return Reading(kind="compute", usage=Usage(), reported_cost=money, dialect="agentcost")
        return Reading(kind="api", tool=span.name, usage=Usage(), reported_cost=money, dialect="agentcost")
    if reading.status != "usage" and stated.pico:
        return replace(reading, reported_cost=money)
    return reading


_SOURCES = ("provider", "user", "book", "estimated")
"""What the registry knows; any other word stays on its span, but nothing is built on it."""


def _stated_bill(reading: Reading, stated: Stated) -> Bill:
    component = {"tool": "tool", "api": "api", "compute": "compute"}.get(reading.kind, "llm")
    status = stated.status if stated.status in ("partial", "free", "estimated") else "priced"
    return Bill(
        status=status,  # type: ignore[arg-type]
        total=stated.pico,
        reasons=tuple(r for r in stated.reason.split(",") if r),
        source=stated.source if stated.source in _SOURCES else "",  # type: ignore[arg-type]
        price_id=stated.price_id,
        currency=stated.currency,
        component=component,
    )


def account(
    spans: Iterable[SpanRecord],
    book: Book,
    *,
    reprice: str = "missing",
    full: bool = False,
    mirrors: Mapping[str, bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accounts:
    """Settle every trace in the given spans and roll it up."""
    traces: dict[str, dict[str, SpanRecord]] = {}
    for span in spans:
        known = traces.setdefault(span.trace_id, {})
        before = known.get(span.span_id)
        if before is None or len(span.attributes) > len(before.attributes):
            known[span.span_id] = span
    accounts = Accounts()
    lifetimes: dict[str, dict[CumulativeKey, Usage]] = {}
    done = 0
    for trace_id, members in sorted(traces.items(), key=lambda item: _when(item[1].values())):
        session_id = _session_id(members.values())
        lifetime = lifetimes.get(session_id, {}) if session_id else {}
        _account_trace(accounts, trace_id, members, book, reprice, session_id, lifetime, full, mirrors)
        if session_id:
            lifetimes[session_id] = lifetime
        done += len(members)
        if progress is not None:
            progress(done)
    _write_sessions(accounts)
    return accounts


def _when(spans: Iterable[SpanRecord]) -> tuple[int, str]:
    return min((s.start_ns, s.trace_id) for s in spans)


def _session_id(spans: Iterable[SpanRecord]) -> str:
    """The conversation a trace belongs to, as its outermost labelled span says."""
    for span in sorted(spans, key=lambda s: (s.parent_id != "", s.start_ns, s.span_id)):
        labels = read_labels(span.attributes, span.resource)
        found = labels.get("session.id") or labels.get("gen_ai.conversation.id")
        if found:
            return found
    return ""


def _account_trace(
    accounts: Accounts,
    trace_id: str,
    members: dict[str, SpanRecord],
    book: Book,
    reprice: str,
    session_id: str,
    lifetime: dict[CumulativeKey, Usage],
    full: bool,
    mirrors: Mapping[str, bool] | None,
) -> None:
    entries = [entry_of(span, book, reprice=reprice) for span in members.values()]

    def price(reading: Reading, at: int) -> Bill | None:
        bill = book.price(reading, at=at)
        return None if bill is NO_CHARGE else bill

    settlement = settle(entries, price, lifetime=lifetime)
    lifetime.update(settlement.lifetime)
    tree = Tree(entries)
    rollups: dict[str, Rollup] = {}
    for span_id in tree.innermost_first():
        entry, charge = tree.entries[span_id], settlement.charges[span_id]
        rollup = Rollup()
        rollup.include(entry, charge)
        for child in tree.children.get(span_id, ()):
            rollup.merge(rollups[child])
        rollups[span_id] = rollup
        key = (trace_id, span_id)
        accounts.charges[key] = charge
        accounts.subtrees[key] = rollup
        call = entry.reading is not None and entry.reading.kind == "call"
        written = charge_attributes(charge, full=full, mirrors=mirrors, call=call)
        span = members[span_id]
        if span.parent_id and is_inner(span, entry) and not rollup.empty:
            written.update(rollup_attributes(rollup, "subtree", complete=True))
        if written:
            accounts.attributes[key] = written
    total = Rollup()
    for root in tree.roots:
        total.merge(rollups[root])
    exported = [members[r] for r in tree.roots if not members[r].parent_id]
    orphans = any(s.parent_id and s.parent_id not in members for s in members.values())
    root_span = min(exported, key=lambda s: (s.start_ns, s.span_id)) if exported else None
    accounts.sessions.append(
        Session(
            trace_id=trace_id,
            root=root_span,
            rollup=total,
            complete=root_span is not None and not orphans,
            session_id=session_id,
        )
    )


def is_inner(span: SpanRecord, entry: Entry) -> bool:
    """Tell whether a span is an agent, workflow or step, so that its subtree is of interest."""
    if entry.reading is not None and entry.reading.kind == "aggregate":
        return True
    return span.attributes.get("agentcost.kind") in ("session", "step")


def window_share(reading: Reading, book: Book) -> float:
    """Share of the model's context window that a call had in use, 0 where unknown."""
    if reading.kind != "call":
        return 0.0
    tokens = reading.window_tokens if reading.window_tokens is not None else reading.billable.input_tokens
    model = reading.model or reading.request_model
    limit = book.context_window(reading.provider, model) if tokens and model else None
    return round(tokens / limit, 4) if limit else 0.0


def _write_sessions(accounts: Accounts) -> None:
    """Write session totals on roots; traces of threads that belong to an explicit session count there."""
    explicit = {
        s.session_id: s
        for s in accounts.sessions
        if s.root is not None and s.session_id and s.root.attributes.get("agentcost.kind") == "session"
    }
    to_date: dict[str, int] = {}
    finished: list[Session] = []
    for session in accounts.sessions:
        owner = explicit.get(session.session_id)
        if session.session_id:
            to_date[session.session_id] = to_date.get(session.session_id, 0) + session.rollup.total
            session = replace(session, to_date=to_date[session.session_id])
        if owner is not None and owner.trace_id != session.trace_id and _within(session, owner):
            owner.rollup.merge(session.rollup)
            if session.root is not None:
                _add(accounts, session, rollup_attributes(session.rollup, "subtree", complete=session.complete))
            continue
        finished.append(session)
    for session in finished:
        if session.root is None:
            continue
        written = rollup_attributes(session.rollup, "session", complete=session.complete)
        if session.session_id and session.to_date > session.rollup.total:
            written["agentcost.conversation.cost.total"] = session.to_date / PICO
        _add(accounts, session, written)
    accounts.sessions = finished


def _within(session: Session, owner: Session) -> bool:
    if session.root is None or owner.root is None:
        return False
    return owner.root.start_ns <= session.root.start_ns <= owner.root.end_ns


def _add(accounts: Accounts, session: Session, written: Mapping[str, str | bool | int | float]) -> None:
    assert session.root is not None
    accounts.attributes.setdefault((session.trace_id, session.root.span_id), {}).update(written)
