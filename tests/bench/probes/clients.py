"""P1, P2, P3, P5, P6: a program that calls a model through openai-python, with nothing, with us, with others.

The transport answers from memory. All cases share one process, one client and one tracer provider whose spans go
through a BatchSpanProcessor into an exporter that drops them.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tests.bench.answers import MESSAGES, answer_to
from tests.bench.figures import Figure, Findings
from tests.bench.floors import ATTRIBUTES_20, ring_transport
from tests.bench.rounds import Case, Form, alternate

STREAMED = 200
WARM = 10
"""Calls before measuring: the first eight of a model teach us how long its tokens are."""


class Dropped(SpanExporter):
    """Take spans and forget them."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def new_provider() -> TracerProvider:
    """A tracer provider as services have it, but for the network."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Dropped()))
    return provider


def client_of(transport: Any) -> openai.OpenAI:
    """An OpenAI client on a transport."""
    return openai.OpenAI(api_key="sk-bench", http_client=httpx2.Client(transport=transport))


def chat(client: openai.OpenAI) -> Callable[[int], None]:
    """Call a model so many times."""

    def work(times: int) -> None:
        for _ in range(times):  # looked up each time, as programs do: peers replace the method on its class
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)  # type: ignore[arg-type]

    return work


def stream(client: openai.OpenAI, *, ask: bool = True) -> Callable[[int], None]:
    """Stream an answer of 200 events so many times."""
    more: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES, "stream": True, "seed": STREAMED}
    if ask:
        more["stream_options"] = {"include_usage": True}

    def work(times: int) -> None:
        for _ in range(times):
            for _event in client.chat.completions.create(**more):
                pass

    return work


def with_span(work: Callable[[int], None], provider: TracerProvider) -> Callable[[int], None]:
    """Put a hand-written span of 20 attributes around each call."""
    tracer = provider.get_tracer("bench")

    def spanned(times: int) -> None:
        for _ in range(times):
            with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT) as span:
                work(1)
                span.set_attributes(ATTRIBUTES_20)

    return spanned


@contextmanager
def ours() -> Iterator[None]:
    """Install otel-agentcost as its users do."""
    import otel_agentcost

    provider = new_provider()
    installation = otel_agentcost.install(provider)
    try:
        yield
    finally:
        installation.shutdown()
        provider.shutdown()


@contextmanager
def ours_in_session() -> Iterator[None]:
    """The same, with all calls inside one root span."""
    import otel_agentcost

    provider = new_provider()
    installation = otel_agentcost.install(provider)
    try:
        with provider.get_tracer("bench").start_as_current_span("session"):
            yield
    finally:
        installation.shutdown()
        provider.shutdown()


@contextmanager
def otelgenai() -> Iterator[None]:
    """OpenTelemetry's own instrumentation of openai, with its defaults."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    provider = new_provider()
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


Around = Callable[[], AbstractContextManager[object]]


def cases_of(make: Callable[..., Callable[[int], None]], peers: dict[str, Around]) -> dict[str, Case]:
    """The same work bare, with a hand-written span, with the least tap, with us and with peers."""
    transport = httpx2.MockTransport(answer_to(httpx2))
    provider = new_provider()
    bare = make(client_of(transport))
    tapped = make(client_of(ring_transport(httpx2, transport, provider.get_tracer("bench"))))
    return {
        "bare": Case(bare, warm=WARM),
        "span20": Case(with_span(bare, provider), warm=WARM),
        "tap": Case(tapped, warm=WARM),
        "ours": Case(bare, ours, warm=WARM),
        "ours in a session": Case(bare, ours_in_session, warm=WARM),
        **{name: Case(bare, around, warm=WARM) for name, around in peers.items()},
    }


def measure_chat(form: Form) -> Findings:
    """P1 and P2."""
    times = alternate(cases_of(chat, {"otelgenai": otelgenai}), rounds=form.rounds, operations=form.pick(120, 250))
    added = {name: times.added(name, "bare") / 1000 for name in times.by_case if name != "bare"}
    bare = times.of("bare") / 1000
    row = {"bare µs": bare, **{f"{name} +µs": value for name, value in added.items()}}
    span20, peer = f"span20 adds {added['span20']:.0f} µs", f"otelgenai adds {added['otelgenai']:.0f} µs"
    return Findings(
        figures=[
            Figure(bar="P1", ours=times.ratio_of_added("ours", "span20", "bare"), peer=span20, absolute=row),
            Figure(bar="P2", ours=times.ratio_of_added("ours", "otelgenai", "bare"), peer=peer, absolute=row),
        ],
        rows={"chat, CPU": row},
    )


def measure_stream(form: Form) -> Findings:
    """P3."""
    cases = cases_of(stream, {"otelgenai": otelgenai})
    del cases["ours in a session"]
    transport = httpx2.MockTransport(answer_to(httpx2))
    cases["ours, usage asked for"] = Case(stream(client_of(transport), ask=False), ours, warm=WARM)
    times = alternate(cases, rounds=max(form.rounds, form.pick(5, 9)), operations=form.pick(8, 20))
    added = {name: times.added(name, "bare") / 1000 for name in times.by_case if name != "bare"}
    row = {"bare µs": times.of("bare") / 1000, **{f"{name} +µs": value for name, value in added.items()}}
    ratio = max(0.0, times.ratio_of_added("ours", "otelgenai", "bare"))
    peer = f"otelgenai adds {added['otelgenai']:.0f} µs"
    return Findings(
        figures=[Figure(bar="P3", ours=ratio, peer=peer, absolute=row)], rows={"stream of 200 events, CPU": row}
    )


def peak_of(work: Callable[[int], None]) -> int:
    """Bytes allocated at the highest point of one operation, over what was there before it."""
    gc.collect()
    tracemalloc.start()
    work(1)
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    work(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


def measure_peak(form: Form) -> Findings:
    """P5: the peak of one stream of 200 events; the exporter's queue holds one span more or less."""
    work = stream(client_of(httpx2.MockTransport(answer_to(httpx2))))
    work(2)
    bare = _median_peak(work, form)
    with ours():
        work(20)
        own = _median_peak(work, form)
    with otelgenai():
        work(20)
        other = _median_peak(work, form)
    row = {"bare B": float(bare), "ours +B": float(own - bare), "otelgenai +B": float(other - bare)}
    return Findings(
        figures=[
            Figure(bar="P5", ours=own - bare, peer=f"otelgenai adds {(other - bare) / 1000:.0f} kB", absolute=row)
        ],
        rows={"stream of 200 events, peak memory": row},
    )


def _median_peak(work: Callable[[int], None], form: Form) -> int:
    peaks = sorted(peak_of(work) for _ in range(form.pick(3, 11)))
    return peaks[len(peaks) // 2]


def retained(work: Callable[[int], None], calls: int, flush: Callable[[], object]) -> float:
    """Bytes kept per call after so many calls, the exporter drained."""
    work(50)
    flush()
    gc.collect()
    tracemalloc.start()
    work(100)
    flush()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    work(calls)
    flush()
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / calls


def measure_retained(form: Form) -> Findings:
    """P6."""
    import otel_agentcost

    work = chat(client_of(httpx2.MockTransport(answer_to(httpx2))))
    calls = form.pick(500, 1000)
    bare = retained(work, calls, lambda: None)
    provider = new_provider()
    installation = otel_agentcost.install(provider)
    alone = retained(work, calls, provider.force_flush)
    with provider.get_tracer("bench").start_as_current_span("session"):
        inside = retained(work, calls, provider.force_flush)
    installation.shutdown()
    provider.shutdown()
    row = {"bare B": bare, "ours, a trace per call +B": alone - bare, "ours, in one open session +B": inside - bare}
    return Findings(
        figures=[Figure(bar="P6", ours=max(0.0, alone - bare), peer=f"bare client {bare:.0f} B", absolute=row)],
        rows={"kept per call": row},
    )
