"""AgentCostSpanProcessor: sees every span start and end, keeps the ledger, writes cost where backends can find it.

    provider.add_span_processor(AgentCostSpanProcessor())               # any position
    provider.add_span_processor(AgentCostSpanProcessor.wrap(batch))     # hands derived spans to one processor

A span's attributes are final when it ends, so everything happens then. In the first form attributes are written in
`_on_ending`, before any processor's `on_end`, and so reach exporters registered earlier. An SDK without that hook
(before 1.40) calls `on_end` in order, so there the processor moves itself to the front. Where neither can work it
says so once, and the wrapping form does. Nothing in here is ever raised into the application.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from otel_agentcost.ledger.accounting import paid_request, window_share
from otel_agentcost.ledger.annotate import charge_attributes, rollup_attributes
from otel_agentcost.ledger.attempts import combined, strongest
from otel_agentcost.ledger.entry import Entry, new_entry
from otel_agentcost.ledger.ledger import Ledger, Limits, Outcome
from otel_agentcost.otel import evidence, identity
from otel_agentcost.otel.config import Config
from otel_agentcost.otel.health import count, log_once, report
from otel_agentcost.otel.http.spans import is_http_client_span, redact
from otel_agentcost.otel.metrics import Metrics
from otel_agentcost.otel.writing import Written, derived, stored, write
from otel_agentcost.pricing.bill import Bill
from otel_agentcost.pricing.book import NO_CHARGE, PriceBook
from otel_agentcost.pricing.money import PICO, Money
from otel_agentcost.usage.dialects import read_labels, read_span
from otel_agentcost.usage.reading import Reading

HAS_ENDING_HOOK = hasattr(SpanProcessor, "_on_ending")
"""Whether the installed SDK lets a processor act before any `on_end` (since 1.40)."""

_KINDS = {
    SpanKind.INTERNAL: "internal",
    SpanKind.CLIENT: "client",
    SpanKind.SERVER: "server",
    SpanKind.PRODUCER: "producer",
    SpanKind.CONSUMER: "consumer",
}
NO_RESOURCE: Mapping[str, str] = {}
_EXPIRE_EVERY = 256
"""Span starts between two looks at what may be freed."""


class AgentCostSpanProcessor(SpanProcessor):
    """Charge each span once and roll the charges up to the root."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        book: PriceBook | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.config = config if config is not None else Config()
        self._given_book = book
        self._priced: PriceBook | None = book
        self._lock = threading.Lock()  # protects _ledger and _starts; no foreign call is made under it
        self._ledger = self._new_ledger()
        self._resource: Resource | None = None
        self._resource_labels: Mapping[str, str] = {}
        self._starts = 0
        self._gone = (0, 0)
        self._state = "new"  # new -> active | inert (a second instance on one provider)
        self._metrics: Metrics | None = None
        if self.config.enabled:
            self._metrics = Metrics(
                meter_provider, max_names=self.config.limits.names, open_sessions=lambda: len(self._ledger)
            )
        self._full = self.config.detail == "full"
        self._owner = self.config.identity.attributes
        self._baggage = self.config.identity.baggage
        self._fees = self.config.capture.fees
        self._inner: SpanProcessor | None = None
        self.yields = False
        """Set by `install()`: a processor that the application added itself is the one to work."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forker(weakref.ref(self)))

    @classmethod
    def wrap(
        cls,
        processor: SpanProcessor,
        config: Config | None = None,
        *,
        book: PriceBook | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> AgentCostSpanProcessor:
        """Return a processor that hands `processor` spans with cost on them, using the SDK's public interface only."""
        wrapping = cls(config, book=book, meter_provider=meter_provider)
        wrapping._inner = processor
        return wrapping

    def _new_ledger(self) -> Ledger:
        limits = self.config.limits
        return Ledger(
            self._price,
            Limits(
                open_traces=limits.open_sessions,
                entries_per_trace=limits.spans_per_session,
                grace_ns=int(limits.grace_seconds * 1e9),
                max_age_ns=int(limits.max_age_seconds * 1e9),
            ),
        )

    @property
    def book(self) -> PriceBook:
        """The price book with the user's overrides; loaded when the first span needs it."""
        if self._priced is None:
            bundled = PriceBook.bundled()
            self._priced = bundled.with_overrides(self.config.overrides) if self.config.overrides else bundled
        return self._priced

    def _price(self, reading: Reading, at: int) -> Bill | None:
        bill = self.book.price(reading, at=at)
        return None if bill is NO_CHARGE else bill

    # -- what the SDK calls -------------------------------------------------------------------------------------

    # A `try` costs nothing until something is raised; the guard of `health` would cost more than a plain span does.

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Place the span in its trace and put the identity in force on it."""
        try:
            if self._state == "new":
                self._take_position(span)
            if self._state == "active":
                self._start(span, parent_context)
        except Exception as error:
            if not report("processor.on_start", error):
                raise
        if self._inner is not None:
            self._inner.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        if self._inner is None and self._state == "active":
            self._end_in_place(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Charge the span here only if the SDK has no earlier moment, or if a wrapped processor waits for it."""
        if self._inner is None:
            if not HAS_ENDING_HOOK and self._state == "active":
                self._end_in_place(span)
            return
        try:
            written = self._end(span) if self._state == "active" else None
            if written:
                span = derived(span, written)
        except Exception as error:
            if not report("processor.on_end", error):
                raise
        self._inner.on_end(span)

    def _end_in_place(self, span: ReadableSpan) -> None:
        try:
            written = self._end(span)
            if written and not write(span, written):
                self._cannot_write()
        except Exception as error:
            if not report("processor.on_ending", error):
                raise

    def shutdown(self) -> None:
        """Stop; a wrapped processor is shut down too."""
        self._state = "inert"
        if self._inner is not None:
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits in here; a wrapped processor is flushed."""
        return self._inner.force_flush(timeout_millis) if self._inner is not None else True

    # -- position -----------------------------------------------------------------------------------------------

    def _take_position(self, span: Span) -> None:
        """Decide once, at the first span, how this instance works with the processors beside it."""
        if not self.config.enabled:
            self._state = "inert"
            return
        group = getattr(span, "_span_processor", None)
        beside = getattr(group, "_span_processors", ())
        for other in beside:
            if other is self or not isinstance(other, AgentCostSpanProcessor) or other._state == "inert":
                continue
            if self.yields and not other.yields:
                self._state = "inert"
                return
            if other._state == "active":
                if self.yields or not other.yields:
                    self._state = "inert"
                    log_once("processor.twice", "otel-agentcost: installed twice on one provider; this one stays idle")
                    return
                other._state = "inert"
        self._state = "active"
        if not HAS_ENDING_HOOK and self._inner is None and beside and beside[0] is not self and self in beside:
            with group._lock:  # type: ignore[union-attr]
                group._span_processors = (self, *(p for p in group._span_processors if p is not self))  # type: ignore[union-attr]

    def _cannot_write(self) -> None:
        count("unwritable")
        log_once(
            "processor.unwritable",
            "otel-agentcost: this OpenTelemetry SDK lets nothing be written on an ending span; use "
            "AgentCostSpanProcessor.wrap(processor) around the exporting processor. Metrics are complete all the same.",
        )

    # -- a span starts ------------------------------------------------------------------------------------------

    def _start(self, span: Span, parent_context: Context | None) -> None:
        context = span.get_span_context()
        parent = span.parent
        belongs = self._identity(parent_context)
        held = stored(span)
        session_id = belongs.get("session.id") or (_text(held, "session.id") if held else "")
        trace_id, span_id = context.trace_id, context.span_id
        now = span.start_time or 0
        with self._lock:
            if parent is None:
                self._ledger.start(trace_id, span_id, 0, remote_parent=False, now=now, session_id=session_id)
            else:
                self._ledger.start(
                    trace_id, span_id, parent.span_id, remote_parent=parent.is_remote, now=now, session_id=session_id
                )
            if session_id and held.get("agentcost.kind") == "session":
                self._ledger.open_session(session_id, trace_id, span_id)
            self._starts += 1
            if self._starts % _EXPIRE_EVERY == 0:
                self._expire(now)
        if belongs:
            missing = {k: v for k, v in belongs.items() if k not in held}
            if missing:
                span.set_attributes(missing)
        if held and span.kind is SpanKind.CLIENT and is_http_client_span(held):
            redact(span)  # addresses carry API keys and questions in their query

    def _identity(self, parent_context: Context | None) -> Mapping[str, str]:
        belongs = identity.current(parent_context)
        if self._baggage:
            arrived = identity.received(parent_context)
            if arrived:
                belongs = {**arrived, **belongs}
        own = self._owner
        return {**own, **belongs} if own else belongs

    def _expire(self, now: int) -> None:
        """Free what is finished, and report what was evicted or folded since the last look."""
        self._ledger.expire(now)
        gone = self._ledger.evicted, self._ledger.folded
        for name, number, seen in zip(("evicted", "folded"), gone, self._gone, strict=True):
            if number > seen:
                count(name, number - seen)
        self._gone = gone

    # -- a span ends --------------------------------------------------------------------------------------------

    def _end(self, span: ReadableSpan) -> Written | None:
        context = span.get_span_context()
        if context is None:
            return None
        held = stored(span)
        scope = span.instrumentation_scope
        emitter = scope.name if scope is not None else ""
        failed = span.status.status_code is StatusCode.ERROR
        seen = evidence.take(context.trace_id, context.span_id)
        own = read_span(
            name=span.name,
            kind=_KINDS[span.kind],
            scope=emitter,
            attributes=held,
            resource=NO_RESOURCE,
            failed=failed,
        )
        trace_id, span_id = context.trace_id, context.span_id
        if own is None and not seen:
            if self._fees and span.kind is SpanKind.CLIENT:
                own = self._paid_request(held)
            if own is None:
                with self._lock:
                    if self._ledger.end_plain(trace_id, span_id):
                        return None
        readings = strongest(own, seen) if own is not None or seen else []
        start = span.start_time or 0
        reading: Reading | None = None
        bill: Bill | None = None
        if readings:
            silent = readings[0].kind == "aggregate" and readings[0].status == "no_usage"
            bills = [None if silent else self._price(r, start) for r in readings]
            reading, bill = combined(readings, bills)
            if bill is None and reading.kind == "api":
                reading = None  # an HTTP request nobody charges for is a plain span
        parent = span.parent
        remote = parent is not None and parent.is_remote
        entry = new_entry(
            span_id=span_id,
            parent_id=parent.span_id if parent is not None else 0,
            start=start,
            end=span.end_time or start,
            emitter=emitter,
            reading=reading,
            bill=bill,
            failed=failed,
            agent=(reading.agent or "") if reading is not None else "",
            window=window_share(reading, self.book) if reading is not None and reading.kind == "call" else 0.0,
            remote_parent=remote,
        )
        session_id = _text(held, "session.id")
        conversation = session_id or _text(held, "gen_ai.conversation.id")
        with self._lock:
            outcome = self._ledger.post(
                trace_id, entry, now=entry.end, session_id=session_id, conversation=conversation
            )
        if reading is None and not outcome.posting.local_root and outcome.posting.subtree is None:
            return None
        self._measure(entry, outcome, held, span)
        result = self._written(held, entry, outcome)
        if seen and bill is not None and outcome.posting.charge.counts:
            result.update(unseen_units(held, bill))
        return result

    def _paid_request(self, held: Mapping[str, Any]) -> Reading | None:
        if "http.request.method" not in held and "http.method" not in held:
            return None
        if not self.book.priced_hosts:
            return None
        reading = paid_request(held, self.book.fee_attributes)
        if reading is None or reading.tool not in self.book.priced_hosts:
            return None
        return reading

    def _measure(self, entry: Entry, outcome: Outcome, held: Mapping[str, Any], span: ReadableSpan) -> None:
        posting = outcome.posting
        if posting.late and posting.delta is not None:
            count("late")
        if posting.charge.status == "unpriced":
            count("unpriced", reason=posting.charge.reason.split(",")[0].split(":")[0])
        elif posting.charge.status == "invalid":
            count("malformed", reason=posting.charge.reason.split(",")[0].split(":")[0])
        if self._metrics is None or (posting.delta is None and outcome.session is None):
            return
        labels = read_labels(held, NO_RESOURCE)
        resource = self._labels_of(span.resource)
        if resource:
            labels = {**resource, **labels}
        if entry.failed:
            labels = {"error.type": _text(held, "error.type") or "_OTHER", **labels}
        if posting.delta is not None:
            self._metrics.record_charge(posting, entry.reading, labels)
        if outcome.session is not None and not outcome.session.empty:
            self._metrics.record_session(
                outcome.session,
                labels,
                complete=not outcome.session.incomplete,
                duration_seconds=(entry.end - entry.start) / 1e9,
            )

    def _labels_of(self, resource: Resource) -> Mapping[str, str]:
        """Read the labels of a resource once; a process has one, and its mapping is slow to walk."""
        if resource is not self._resource:
            self._resource_labels = read_labels({}, resource.attributes)
            self._resource = resource
        return self._resource_labels

    def _written(self, held: Mapping[str, Any], entry: Entry, outcome: Outcome) -> dict[str, str | bool | int | float]:
        posting = outcome.posting
        call = entry.reading is not None and entry.reading.kind == "call"
        result = charge_attributes(posting.charge, full=self._full, mirrors=self.config.mirrors, call=call)
        if outcome.session is not None:
            if not outcome.session.empty:
                result.update(rollup_attributes(outcome.session, "session", complete=not outcome.session.incomplete))
                if outcome.conversation is not None and outcome.conversation > outcome.session.total:
                    result["agentcost.conversation.cost.total"] = outcome.conversation / PICO
        elif posting.subtree is not None and not posting.subtree.empty:
            kind = held.get("agentcost.kind")
            inner = entry.reading is not None and entry.reading.kind == "aggregate"
            if posting.local_root or inner or kind in ("session", "step"):
                result.update(rollup_attributes(posting.subtree, "subtree", complete=posting.complete))
        return result

    def live_total(self, trace_id: int, session_id: str = "") -> Money | None:
        """Return what a session, or the trace it is in, cost so far; None when nothing of it is known."""
        with self._lock:
            rollup = self._ledger.live(trace_id, session_id)
        return Money(rollup.total) if rollup is not None else None

    @property
    def charged_total(self) -> Money:
        """Everything this processor ever charged, sessions that were evicted included."""
        with self._lock:
            return Money(self._ledger.total.total)

    @property
    def open_traces(self) -> int:
        """Traces with state held for them."""
        return len(self._ledger)

    def _after_fork(self) -> None:
        """In a forked child: the parent process reports the spans that were open."""
        self._lock = threading.Lock()
        self._ledger.forget()
        evidence.EVIDENCE.clear()


_STANDARD = frozenset(
    {"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens"}
)
"""Units that have a GenAI attribute of their own."""


def unseen_units(held: Mapping[str, Any], bill: Bill) -> dict[str, int | float | str]:
    """Attributes for billed units that no GenAI attribute shows (searches, one-hour cache writes, audio ...).

    With them the Collector and `agentcost replay` can price the span as we did; most spans need none.
    """
    result: dict[str, int | float | str] = {}
    if "gen_ai.usage.input_tokens" in held:
        for item in bill.items:
            if item.unit not in _STANDARD and item.quantity and not item.model:
                known = result.get(f"agentcost.usage.{item.unit}", 0)
                quantity = item.quantity if isinstance(item.quantity, int) else float(item.quantity)
                result[f"agentcost.usage.{item.unit}"] = quantity + known  # type: ignore[operator]
    if result:
        result["agentcost.kind"] = "call"
    return result


def _text(held: Mapping[str, Any], name: str) -> str:
    value = held.get(name)
    return value if isinstance(value, str) else ""


def _forker(processor: weakref.ref[AgentCostSpanProcessor]) -> Any:
    def after_fork() -> None:
        alive = processor()
        if alive is not None:
            alive._after_fork()

    return after_fork
