"""Ledger: many open traces and sessions, bounded. It takes ended spans in and gives charges and rollups out.

Pure: no clock and no lock in here; `now` comes from the caller, and the shell holds one lock around every call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from otel_agentcost.ledger.entry import Entry, Pricer, SpanId
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.ledger.settle import CumulativeKey
from otel_agentcost.ledger.trace import Posting, TraceLedger
from otel_agentcost.usage.reading import Usage
from otel_agentcost.usage.records import maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the state. On any of them money already counted stays counted; only recognition suffers."""

    open_traces: int = 10_000
    """Traces held at once; beyond it the one untouched for longest is evicted."""
    entries_per_trace: int = 2_048
    """Charged spans remembered per trace; beyond it the oldest half is folded into the totals."""
    conversations: int = 10_000
    """Conversations whose cost to date is remembered; beyond it the one untouched for longest is forgotten."""
    grace_ns: int = 30 * 10**9
    """How long a trace whose root ended before its children, or lives elsewhere, is kept for late spans."""
    max_age_ns: int = 3_600 * 10**9
    """How long a trace whose root never ends is kept after its last span."""


@dataclass(slots=True)
class _Trace:
    ledger: TraceLedger
    touched: int
    session: str = ""
    written: bool = False
    """A local root has ended and none is open."""


@dataclass(slots=True)
class _Session:
    """An open session root and what other traces (threads, executors) contributed to it."""

    trace_id: SpanId
    span_id: SpanId
    elsewhere: Rollup


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A posting, and for a local root the totals it may write."""

    posting: Posting
    session: Rollup | None = None
    """Totals for `agentcost.session.*`; only for a root that is no part of another session."""
    conversation: int | None = None
    """Pico-units to date of the conversation the root belongs to."""


new_outcome = maker(Outcome)


class Ledger:
    """Charges in, rollups out: order-free, idempotent, bounded."""

    def __init__(self, price: Pricer, limits: Limits | None = None) -> None:
        self._price = price
        self.limits = limits or Limits()
        self._traces: dict[str, _Trace] = {}
        self._sessions: dict[str, _Session] = {}
        self._conversations: OrderedDict[str, int] = OrderedDict()
        self._lifetimes: OrderedDict[str, Mapping[CumulativeKey, Usage]] = OrderedDict()
        self._past = Rollup()
        """Totals of traces that are held no more."""
        self.evicted = 0
        self.folded = 0

    @property
    def total(self) -> Rollup:
        """Everything ever posted; eviction never takes from it."""
        total = self._past.copy()
        for trace in self._traces.values():
            total.merge(trace.ledger.total)
        return total

    def __len__(self) -> int:
        return len(self._traces)

    @property
    def open_sessions(self) -> int:
        """Sessions whose root has not ended."""
        return len(self._sessions)

    def start(
        self,
        trace_id: SpanId,
        span_id: SpanId,
        parent_id: SpanId,
        *,
        remote_parent: bool,
        now: int,
        session_id: str = "",
    ) -> None:
        """Note that a span started; the first `session_id` seen is the session of its trace."""
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._trace(trace_id, now)
        else:
            trace.touched = now
        if session_id and not trace.session:
            self._join(trace, session_id)
        trace.ledger.start(span_id, parent_id, remote_parent=remote_parent)

    def end_plain(self, trace_id: SpanId, span_id: SpanId) -> bool:
        """End a span that nobody charges for; False when something is below it and it must be posted."""
        trace = self._traces.get(trace_id)
        return trace is not None and trace.ledger.end_plain(span_id)

    def _join(self, trace: _Trace, session_id: str) -> None:
        trace.session = session_id
        trace.ledger.lifetime.update(self._lifetimes.get(session_id, {}))

    def open_session(self, session_id: str, trace_id: SpanId, span_id: SpanId) -> None:
        """Note that this span is the root of an explicit session; the first one to say so stays it."""
        if session_id not in self._sessions and len(self._sessions) < self.limits.open_traces:
            self._sessions[session_id] = _Session(trace_id, span_id, Rollup())

    def post(
        self, trace_id: SpanId, entry: Entry, *, now: int, session_id: str = "", conversation: str = ""
    ) -> Outcome:
        """Charge one ended span. `session_id` and `conversation` are what its labels say, or empty."""
        trace = self._trace(trace_id, now)
        ledger = trace.ledger
        if session_id and not trace.session:
            self._join(trace, session_id)
        posting = ledger.post(entry)
        if trace.session and ledger.latest:
            self._remember_lifetime(trace.session, ledger)
        session = self._sessions.get(trace.session) if trace.session else None
        if posting.delta is not None:
            if session is not None and session.trace_id != trace_id:
                session.elsewhere.merge(posting.delta)
            if posting.late:
                ledger.total.late += posting.delta.total
        to_date = self._to_date(conversation, posting)
        if not posting.local_root:
            return new_outcome(posting=posting, conversation=to_date)
        trace.written = ledger.open_roots == 0
        part_of_other = session is not None and session.trace_id != trace_id
        total = None if part_of_other else self._session_total(trace, posting, session, entry)
        if not entry.parent_id and posting.complete and ledger.open_spans == 0:
            self._free(trace_id)  # nothing can follow; only unfinished traces need the grace
        return new_outcome(posting=posting, session=total, conversation=to_date)

    def _session_total(self, trace: _Trace, posting: Posting, session: _Session | None, entry: Entry) -> Rollup | None:
        if entry.parent_id:
            return None  # the root of the trace lives in another process, or was written long ago
        total = Rollup()
        if posting.subtree is not None:
            total.merge(posting.subtree)
        if session is not None and session.span_id == entry.span_id:
            total.merge(session.elsewhere)
            del self._sessions[trace.session]
        total.incomplete = total.incomplete or not posting.complete
        return total

    def _to_date(self, conversation: str, posting: Posting) -> int | None:
        if not conversation:
            return None
        if posting.delta is not None:
            self._conversations[conversation] = self._conversations.pop(conversation, 0) + posting.delta.total
            while len(self._conversations) > self.limits.conversations:
                self._conversations.popitem(last=False)
        return self._conversations.get(conversation)

    def _remember_lifetime(self, session_id: str, ledger: TraceLedger) -> None:
        self._lifetimes.pop(session_id, None)
        self._lifetimes[session_id] = ledger.latest
        while len(self._lifetimes) > self.limits.conversations:
            self._lifetimes.popitem(last=False)

    def live(self, trace_id: SpanId, session_id: str = "") -> Rollup | None:
        """Totals so far of an open session, or of a trace; None when it is not known."""
        session = self._sessions.get(session_id)
        trace = self._traces.get(session.trace_id if session is not None else trace_id)
        if trace is None:
            return None
        total = Rollup()
        total.merge(trace.ledger.total)
        if session is not None:
            total.merge(session.elsewhere)
        return total

    def _trace(self, trace_id: SpanId, now: int) -> _Trace:
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = _Trace(TraceLedger(self._price, max_entries=self.limits.entries_per_trace), now)
            if len(self._traces) >= self.limits.open_traces:
                oldest = self._oldest(64)
                self._evict(min(oldest, key=lambda t: (not self._traces[t].written, self._traces[t].touched)))
            self._traces[trace_id] = trace
        trace.touched = now
        return trace

    def expire(self, now: int, *, at_most: int = 64) -> int:
        """Free traces that are finished and past their grace, and ones nobody touched for too long; return how many.

        Looks at the `at_most` that waited longest for a look, so a call costs little however many are open.
        """
        freed = 0
        for trace_id in self._oldest(at_most):
            trace = self._traces[trace_id]
            age = now - trace.touched
            if trace.written and age > self.limits.grace_ns:
                self._free(trace_id)
            elif age > self.limits.max_age_ns:
                self._evict(trace_id)
            else:
                self._traces[trace_id] = self._traces.pop(trace_id)  # looked at: to the end of the line
                continue
            freed += 1
        return freed

    def _oldest(self, at_most: int) -> list[str]:
        return list(islice(self._traces, at_most))

    def _evict(self, trace_id: SpanId) -> None:
        """Let go of a trace whose root has not been written. Its money is in `total` and was on its spans."""
        if not self._traces[trace_id].written:
            self.evicted += 1
        self._free(trace_id)

    def _free(self, trace_id: SpanId) -> None:
        trace = self._traces.pop(trace_id)
        self.folded += trace.ledger.folded
        self._past.merge(trace.ledger.total)
        for session_id in (
            [s for s, held in self._sessions.items() if held.trace_id == trace_id] if trace.session else ()
        ):
            del self._sessions[session_id]

    def forget(self) -> None:
        """Drop all open state (after a fork: the parent process reports those spans)."""
        self._traces.clear()
        self._sessions.clear()
        self._past = Rollup()
