"""What every test of the tap needs: a provider whose ended spans lie open, with the readings attached to them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Tracer

from otel_agentcost.otel import evidence
from otel_agentcost.otel.http import flush, install, uninstall
from otel_agentcost.usage.reading import Reading

MODULES: list[ModuleType] = [
    importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name) is not None
]
"""The client libraries of this interpreter; httpx2 needs Python 3.11."""


class Collected(SpanProcessor):
    """Keep ended spans and take the evidence for them, as the real processor does."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.evidence: dict[int, tuple[Reading, ...]] = {}
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        assert context is not None
        self.spans.append(span)
        found = evidence.take(context.trace_id, context.span_id)
        if found:
            self.evidence[context.span_id] = found

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("app")

    @property
    def calls(self) -> list[ReadableSpan]:
        """The spans the tap started."""
        flush()
        return [
            s for s in self.spans
            if s.instrumentation_scope is not None and s.instrumentation_scope.name == "otel_agentcost.http"
        ]  # fmt: skip

    @property
    def readings(self) -> list[Reading]:
        """All readings, in the order in which their spans ended."""
        flush()
        return [reading for found in self.evidence.values() for reading in found]

    def only(self) -> tuple[ReadableSpan, Reading]:
        """The one span of the tap and its one reading."""
        (span,) = self.calls
        (reading,) = self.readings
        return span, reading


@contextmanager
def tapped(**settings: object) -> Iterator[Collected]:
    """Install the tap, and take it out again."""
    collected = Collected()
    install(collected.provider, **settings)  # type: ignore[arg-type]
    try:
        yield collected
    finally:
        uninstall()
        evidence.EVIDENCE.clear()
