"""Trace files: OTLP (JSON, JSON lines, protobuf), Jaeger and Tempo JSON in; the same spans, enriched, out as OTLP."""

from __future__ import annotations

from otel_agentcost.cli.traces.collection import Problem, Span, Traces
from otel_agentcost.cli.traces.reading import read_traces
from otel_agentcost.cli.traces.writing import Format, format_of, write_traces

__all__ = ["Format", "Problem", "Span", "Traces", "format_of", "read_traces", "write_traces"]
