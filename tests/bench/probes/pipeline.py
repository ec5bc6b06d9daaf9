"""P14, P15: the whole way of a span, from its creation to OTLP bytes, with us and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from otel_agentcost.otel.config import Config
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from tests.bench.figures import Figure, Findings
from tests.bench.rounds import Case, Form, alternate
from tests.bench.traces import Session

BATCH = 512
SPANS = 100


class Encoder(SpanProcessor):
    """Encode finished spans in batches, as an OTLP exporter does, and drop the bytes."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)
        if len(self._spans) >= BATCH:
            batch, self._spans = self._spans, []
            encode_spans(batch).SerializeToString()


class Keeper(SpanProcessor):
    """Keep finished spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def pipeline(*processors: SpanProcessor) -> Callable[[int], None]:
    """Make so many sessions of 100 spans through these processors."""
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    session = Session(provider, lambda starts, span: None, marked=False)

    def work(times: int) -> None:
        for _ in range(times):
            session.run(SPANS)

    return work


def measure_pipeline(form: Form) -> Findings:
    """P14."""
    cases = {
        "without": Case(pipeline(Encoder()), warm=6),
        "with": Case(pipeline(AgentCostSpanProcessor(Config()), Encoder()), warm=6),
        "full": Case(pipeline(AgentCostSpanProcessor(Config.load(detail="full")), Encoder()), warm=6),
    }
    times = alternate(cases, rounds=form.rounds, operations=form.pick(30, 100))
    row = {
        "without us µs/span": times.of("without") / SPANS / 1000,
        "with us µs/span": times.of("with") / SPANS / 1000,
        "with detail: full µs/span": times.of("full") / SPANS / 1000,
    }
    peer = f"without us {row['without us µs/span']:.0f} µs a span"
    return Findings(
        figures=[Figure(bar="P14", ours=times.over("with", "without"), peer=peer, absolute=row)],
        rows={"create, price, roll up, encode": row},
    )


def _size(span: Any) -> int:
    return len(encode_spans([span]).SerializeToString())


def measure_bytes(form: Form) -> Findings:
    """P15: the model calls and the root of one session, encoded one by one."""
    before, after = Keeper(), Keeper()
    pipeline(before)(1)
    pipeline(AgentCostSpanProcessor(Config()), after)(1)
    calls = [[_size(s) for s in kept.spans if s.name.startswith("chat")] for kept in (before, after)]
    roots = [next(_size(s) for s in kept.spans if s.parent is None) for kept in (before, after)]
    total = [sum(map(_size, kept.spans)) for kept in (before, after)]
    added = 100 * (sum(calls[1]) / sum(calls[0]) - 1)
    row = {
        "model call B": sum(calls[0]) / len(calls[0]),
        "model call +B": (sum(calls[1]) - sum(calls[0])) / len(calls[0]),
        "root +B": float(roots[1] - roots[0]),
        "whole session +%": 100 * (total[1] / total[0] - 1),
    }
    peer = f"the span has {row['model call B']:.0f} B"
    return Findings(figures=[Figure(bar="P15", ours=added, peer=peer, absolute=row)], rows={"OTLP bytes": row})
