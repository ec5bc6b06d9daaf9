"""Run the company with everything in place: emulator, processor, HTTP tap, a list of what was exported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_agentcost.cli.demo.company import GPU_SECONDS as GPU_SECONDS
from otel_agentcost.cli.demo.company import Company
from otel_agentcost.otel import config_file
from otel_agentcost.otel.config import Capture, Config
from otel_agentcost.otel.install import install
from otel_agentcost.otel.run import protocol
from otel_agentcost.pricing.money import PICO
from otel_agentcost.pricing.overrides import Overrides
from otel_agentcost.testing import BilledCall, Fee, ProviderEmulator

GPU_HOUR = "3.60"
"""What an hour of the company's H100 costs it, in USD."""
SEARCH_FEE = "0.005"

SETTINGS = f"""\
# The prices of the demo's company, as they would stand in its agentcost.yaml.
fees:
  - id: market-data
    host: 127.0.0.1
    method: GET
    path: /v1/search
    per_call: "{SEARCH_FEE}"
compute:
  - id: own-h100
    machine: own-h100
    rates: {{gpu_seconds: "{GPU_HOUR}"}}
# At an address of one's own the name alone must tell whose model it is; this one's does not.
aliases:
  text-embedding-3-small: {{model: text-embedding-3-small, provider: openai}}
"""


@dataclass(slots=True)
class Performance:
    """What one run left behind."""

    spans: Sequence[ReadableSpan] = ()
    billed: Sequence[BilledCall] = field(default_factory=list)

    @property
    def billed_pico(self) -> int:
        """What the emulator's own ledger says, in pico-dollars: model calls, searches, the paid API."""
        return sum(call.amount_pico for call in self.billed)


def compute_pico() -> int:
    """The GPU by hand: seconds x price of an hour / 3 600, in pico-dollars."""
    exact = Fraction(GPU_SECONDS) * Fraction(GPU_HOUR) / 3600 * PICO
    if exact.denominator != 1:
        raise ValueError("the demo's figures are chosen so that nothing has to be rounded")
    return int(exact)


def perform(detail: str = "default") -> Performance:
    """Run the company once against a fresh emulator; nothing leaves the machine."""
    performance = Performance()
    with ProviderEmulator(fees=(Fee(method="GET", path="/v1/search", per_request=SEARCH_FEE),)) as emulator:
        with _observed(detail) as exporter:
            Company(emulator.url).brief()
        performance.spans = exporter.get_finished_spans()
        performance.billed = emulator.billed
    return performance


@contextmanager
def _observed(detail: str) -> Iterator[InMemorySpanExporter]:
    """Do what a service does: an exporter, and one line for us."""
    overrides = Overrides.from_mapping(config_file.parse(SETTINGS, "the demo's settings").content)
    config = Config(detail=detail, overrides=overrides, capture=Capture(http_spans=True))  # type: ignore[arg-type]
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "market-briefs"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    installation = install(provider, config=config)
    try:
        yield exporter
    finally:
        installation.shutdown()
        provider.shutdown()


def endpoint() -> str:
    """Return the OTLP endpoint that is set for traces, or nothing."""
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")


def export(spans: Sequence[ReadableSpan]) -> bool:
    """Send the spans to the OTLP endpoint of the environment; tell whether it took them."""
    exporter = _exporter()
    try:
        return exporter.export(spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def _exporter() -> SpanExporter:
    made: Any
    if protocol("traces") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        made = Grpc()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        made = Http()
    exporter: SpanExporter = made
    return exporter
