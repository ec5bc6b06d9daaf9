"""Evidence: exact readings on their way from where they were seen to the span that will be charged for them.

The HTTP tap sees a body end, the processor sees a span end; they meet here, because attributes cannot carry
all that a price depends on (cache lifetimes, service tiers, per-model parts). Nothing here is ever exported.

A span may collect several readings: the SDK retried, so one call span covered several billed requests. They are
kept in the order they were attached; whoever takes them sums them.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_agentcost.usage.reading import Reading

SpanKey = tuple[int, int]
"""Trace id and span id."""

MAX_SPANS = 10_000
"""Spans that may have untaken evidence at once. More means that nobody takes it: no processor of ours runs."""

MAX_READINGS_PER_SPAN = 64
"""Readings one span may hold; an SDK retries a handful of times."""


class Evidence:
    """Hold readings until their span ends: bounded, thread-safe, oldest span dropped first and counted."""

    def __init__(self, max_spans: int = MAX_SPANS) -> None:
        self._max_spans = max_spans
        self._lock = threading.Lock()  # protects _held and dropped; nothing foreign is called under it
        self._held: dict[SpanKey, tuple[Reading, ...]] = {}
        self.dropped = 0
        """Readings that were lost because nobody took them in time."""

    def __len__(self) -> int:
        return len(self._held)

    def attach(self, span: Span, reading: Reading) -> None:
        """Keep one reading for a span that has not ended yet; a second one is kept beside the first."""
        context = span.get_span_context()
        key = (context.trace_id, context.span_id)
        with self._lock:
            held = self._held
            earlier = held.get(key)
            if earlier is None:
                if len(held) >= self._max_spans:
                    self.dropped += len(held.pop(next(iter(held))))
                held[key] = (reading,)
            elif len(earlier) < MAX_READINGS_PER_SPAN:
                held[key] = (*earlier, reading)
            else:
                self.dropped += 1

    def take(self, trace_id: int, span_id: int) -> tuple[Reading, ...]:
        """Return what was attached to a span, oldest first, and forget it; empty without evidence."""
        if not self._held:  # the common case, decided without the lock
            return ()
        with self._lock:
            return self._held.pop((trace_id, span_id), ())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent will end those spans, and may hold the lock for ever here."""
        self._lock = threading.Lock()
        self._held = {}


EVIDENCE = Evidence()
"""The one meeting place of this process."""

attach = EVIDENCE.attach
take = EVIDENCE.take

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=EVIDENCE.after_fork)
