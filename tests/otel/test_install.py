"""install() charges the spans of the right provider, once, and can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.util._once import Once

from otel_agentcost.errors import ConfigError
from otel_agentcost.otel import awaiting, health, http
from otel_agentcost.otel.config import Capture, Config
from otel_agentcost.otel.install import install, installed, uninstall
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from otel_agentcost.otel.session import session, tool
from otel_agentcost.pricing.money import Money

QUIET = Config(capture=Capture(http=False))


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    """Give every test a process whose global provider is not set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    original = trace._set_tracer_provider
    yield
    uninstall()
    assert installed() is None
    assert http.current() is None
    assert trace._set_tracer_provider is original, "the setter was not given back"


def exporting() -> tuple[TracerProvider, InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider, memory


def ours(provider: TracerProvider) -> list[AgentCostSpanProcessor]:
    return [p for p in provider._active_span_processor._span_processors if isinstance(p, AgentCostSpanProcessor)]


def spend(amount: str = "0.25") -> Money | None:
    with session("s-1") as running:
        with tool("t", fee=amount):
            pass
        return running.cost()


def total(memory: InMemorySpanExporter) -> list[object]:
    return [(span.attributes or {}).get("agentcost.session.cost.total") for span in memory.get_finished_spans()]


def test_a_given_provider_is_charged_and_our_spans_go_there() -> None:
    """Spans, exporter registered earlier, live cost: one line sets up all of it."""
    provider, memory = exporting()
    handle = install(provider, config=QUIET)

    assert spend() == Money(250_000_000_000)
    assert total(memory) == [None, 0.25]
    assert handle.active
    assert handle.processor is ours(provider)[0]


def test_the_global_provider_is_charged_when_it_is_set_already() -> None:
    """install() after the OpenTelemetry set-up."""
    provider, memory = exporting()
    trace.set_tracer_provider(provider)
    install(config=QUIET)
    spend()

    assert total(memory) == [None, 0.25]


def test_the_global_provider_is_charged_when_it_is_set_later() -> None:
    """install() before the OpenTelemetry set-up, and with a setter that was imported by name."""
    from opentelemetry.trace import set_tracer_provider

    handle = install(config=QUIET)
    assert spend() is None
    assert handle.providers == []
    provider, memory = exporting()
    set_tracer_provider(provider)
    spend()

    assert handle.providers == [provider]
    assert total(memory) == [None, 0.25]


def test_a_provider_that_was_refused_is_not_followed() -> None:
    """OpenTelemetry accepts one global provider; only that one is charged."""
    first, _ = exporting()
    second, _ = exporting()
    handle = install(config=QUIET)
    trace.set_tracer_provider(first)
    trace.set_tracer_provider(second)

    assert handle.providers == [first]


def test_installing_twice_changes_nothing() -> None:
    """Zero-code start-up and a line in the code may both be there."""
    provider, memory = exporting()
    trace.set_tracer_provider(provider)
    first = install(config=QUIET)
    again = install(provider)
    spend()

    assert again is first
    assert len(ours(provider)) == 1
    assert total(memory) == [None, 0.25]


def test_a_second_provider_joins_the_same_ledger() -> None:
    """A program with two pipelines has one account."""
    first, _ = exporting()
    second, memory = exporting()
    handle = install(first, config=QUIET)
    install(second)
    with second.get_tracer("app").start_as_current_span("root"):
        spend()
    assert handle.processor is not None
    assert handle.processor.charged_total == Money(250_000_000_000)
    assert ours(first) == ours(second)
    assert memory.get_finished_spans()


def test_a_provider_that_is_no_sdk_is_told_and_counted() -> None:
    """Nothing is charged, and somebody learns why."""
    install(trace.NoOpTracerProvider(), config=QUIET)
    spend()

    assert health.snapshot()["no_sdk{provider=NoOpTracerProvider}"] == 1


def test_disabled_means_nothing_is_touched() -> None:
    """`enabled: false` adds no processor and no tap."""
    provider, _ = exporting()
    handle = install(provider, config=Config(enabled=False))
    spend()

    assert not handle.active
    assert ours(provider) == []
    assert http.current() is None
    assert awaiting._waiting == []


def test_the_tap_is_installed_unless_it_is_not_wanted() -> None:
    """http=False, or capture.http: false."""
    provider, _ = exporting()
    install(provider, config=Config())
    assert http.current() is not None
    uninstall()
    install(provider, config=Config(), http=False)
    assert http.current() is None
    uninstall()
    install(provider, config=QUIET)
    assert http.current() is None


def test_http_spans_are_made_on_request_with_redacted_addresses() -> None:
    """OpenTelemetry's own instrumentation makes them; keys in queries do not leave."""
    import httpx
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    provider, memory = exporting()
    handle = install(provider, config=Config(capture=Capture(http_spans=True)))
    transport = httpx.HTTPTransport()
    try:
        with httpx.Client(transport=transport) as client, pytest.raises(httpx.HTTPError):
            client.get("http://127.0.0.1:1/v1?key=secret-key")
    finally:
        handle.shutdown()

    (span,) = memory.get_finished_spans()
    assert "secret-key" not in span.to_json()
    assert not HTTPXClientInstrumentor().is_instrumented_by_opentelemetry


def test_unsampled_spans_are_counted_when_asked() -> None:
    """Exports stay as they were, the ledger is complete."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    handle = install(provider, config=Config(capture=Capture(http=False, unsampled=True)))
    spend()

    assert handle.processor is not None
    assert handle.processor.charged_total == Money(250_000_000_000)
    assert memory.get_finished_spans() == ()


def test_metrics_go_to_the_given_meter_provider() -> None:
    """Cost counters come from the ledger."""
    reader = InMemoryMetricReader()
    provider, _ = exporting()
    install(provider, MeterProvider([reader], shutdown_on_exit=False), QUIET)
    spend()
    data = reader.get_metrics_data()
    assert data is not None
    values = {
        metric.name: sum(getattr(point, "value", 0) for point in metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }

    assert values["agentcost.client.cost"] == 0.25
    assert values["agentcost.client.calls"] == 1


def test_shutdown_takes_everything_away_and_install_works_again() -> None:
    """Twice is once; afterwards nothing is charged until the next install."""
    provider, memory = exporting()
    handle = install(provider, config=Config())
    handle.shutdown()
    handle.shutdown()
    assert ours(provider) == []
    trace.set_tracer_provider(provider)
    assert spend() is None
    install(provider, config=QUIET)
    spend()

    assert total(memory) == [None, None, None, 0.25]
    assert not handle.active


def test_a_wrong_setting_is_told_at_the_call(tmp_path: Any) -> None:
    """In code, install() says what is wrong; nothing is half installed."""
    (tmp_path / "agentcost.yaml").write_text("detail: ful\n")
    with pytest.raises(ConfigError, match=r"agentcost\.yaml:1: detail"):
        install()

    assert installed() is None
