"""Metrics are the ledger's sums: exact, bounded, monotonic, complete under sampling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

from otel_agentcost import _semconv
from otel_agentcost.ledger.entry import Charge
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.ledger.trace import Posting
from otel_agentcost.otel import health
from otel_agentcost.otel.metrics import Metrics
from otel_agentcost.otel.sampling import AlwaysRecordSampler
from otel_agentcost.pricing.bill import Bill
from otel_agentcost.pricing.money import PICO
from otel_agentcost.usage.reading import Reading, Usage

CALL = Reading(kind="call", usage=Usage(input_tokens=100, output_tokens=10), provider="openai", model="gpt-5")


def posting(delta: Rollup | None, *, status: Any = "", reason: str = "", late: bool = False) -> Posting:
    """Build a posting of a priced charge."""
    bill = Bill(status="priced", total=1, source="book")
    charge = Charge(pico=None if status == "unpriced" else 1, status=status, reason=reason, bill=bill)
    return Posting(charge=charge, delta=delta, subtree=None, local_root=False, late=late, complete=True)


class Reader:
    """A meter provider whose metrics can be read as {name: {labels: value}}."""

    def __init__(self, **options: Any) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.metrics = Metrics(self.provider, **options)

    def read(self) -> dict[str, dict[frozenset[tuple[str, object]], Any]]:
        data = self.reader.get_metrics_data()
        result: dict[str, dict[frozenset[tuple[str, object]], Any]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = metric.data.data_points
                    result[metric.name] = {
                        frozenset((point.attributes or {}).items()): getattr(point, "value", None) or point
                        for point in points
                    }
        return result


def labels(**names: object) -> frozenset[tuple[str, object]]:
    """Write label sets readably."""
    full: Mapping[str, str] = {
        "component": "agentcost.component",
        "source": "agentcost.cost.source",
        "status": "agentcost.cost.status",
        "provider": "gen_ai.provider.name",
        "model": "gen_ai.response.model",
        "tool": "gen_ai.tool.name",
        "agent": "gen_ai.agent.name",
        "tenant": "agentcost.tenant",
        "type": "agentcost.token.type",
        "error": "error.type",
        "reason": "agentcost.cost.reason",
    }
    return frozenset((full[name], value) for name, value in names.items())


def test_a_charge_counts_money_tokens_and_the_call_once() -> None:
    """Token types are disjoint and add up to all tokens."""
    reader = Reader()
    delta = Rollup(
        llm=3 * PICO // 2, input_tokens=100, cache_read_tokens=30, cache_write_tokens=20,
        output_tokens=10, reasoning_tokens=4, llm_calls=1,
    )  # fmt: skip
    reader.metrics.record_charge(posting(delta), CALL, {"agentcost.tenant": "acme", "gen_ai.agent.name": "triage"})
    found = reader.read()

    owner = {"agent": "triage", "tenant": "acme"}
    what = {"provider": "openai", "model": "gpt-5"}
    assert found["agentcost.client.cost"] == {labels(component="llm", source="book", **what, **owner): 1.5}
    assert found["agentcost.client.calls"] == {labels(component="llm", **what, **owner): 1}
    tokens = {dict(key)["agentcost.token.type"]: value for key, value in found["agentcost.client.tokens"].items()}
    assert tokens == {"input": 50, "cache_read": 30, "cache_write": 20, "output": 6, "reasoning": 4}
    assert found["agentcost.spans.charged"] == {labels(): 1}


def test_names_and_units_are_those_of_the_registry() -> None:
    """What we emit is what semconv/registry/metrics.yaml declares, all of it."""
    yaml = pytest.importorskip("yaml")
    from pathlib import Path

    text = Path("semconv/registry/metrics.yaml").read_text(encoding="utf-8")
    declared = {entry["name"]: entry["unit"] for entry in yaml.safe_load(text)["metrics"]}
    reader = Reader(open_sessions=lambda: 2)
    delta = Rollup(llm=1, input_tokens=1, llm_calls=1)
    reader.metrics.record_charge(posting(delta, late=True), CALL, {})
    reader.metrics.record_charge(posting(None, status="unpriced", reason="unknown_model"), CALL, {})
    reader.metrics.record_session(delta, {}, duration_seconds=1)
    health.count("late")
    data = reader.reader.get_metrics_data()
    assert data is not None
    emitted = {m.name: m.unit for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}

    assert emitted == declared


def test_a_correction_downwards_is_withheld_from_later_charges() -> None:
    """A counter never falls; what it shows in the end is exact."""
    reader = Reader()
    for pico, shown in ((10, 10), (-4, 10), (1, 10), (5, 12)):
        reader.metrics.record_charge(posting(Rollup(tool=pico * PICO)), None, {})
        (value,) = reader.read()["agentcost.client.cost"].values()
        assert value == shown
    assert list(reader.metrics.cost.sums().values()) == [12 * PICO]


def test_sums_are_exact_where_doubles_would_drift() -> None:
    """Ten thousand tenths are one thousand."""
    reader = Reader()
    for _ in range(10_000):
        reader.metrics.record_charge(posting(Rollup(llm=PICO // 10)), None, {})
    (value,) = reader.read()["agentcost.client.cost"].values()

    assert value == 1000.0


def test_an_unknown_price_is_counted_with_a_bounded_reason() -> None:
    """Nothing becomes 0: the unpriced counter rises, with the reason but without its detail."""
    reader = Reader()
    for number in range(3):
        reader.metrics.record_charge(posting(None, status="unpriced", reason=f"unknown_model:m{number},x"), CALL, {})
    found = reader.read()

    assert found["agentcost.spans.unpriced"] == {labels(reason="unknown_model", provider="openai", model="gpt-5"): 3}
    assert found["agentcost.spans.charged"] == {labels(status="unpriced"): 3}
    assert "agentcost.client.cost" not in found


def test_a_span_nobody_charges_for_changes_no_metric() -> None:
    """A plain span costs nothing, here too."""
    reader = Reader()
    reader.metrics.record_charge(posting(None), None, {})

    assert "agentcost.spans.charged" not in reader.read()


def test_names_beyond_the_limit_count_as_other_and_no_money_is_lost() -> None:
    """An attacker who invents model names cannot fill the memory."""
    reader = Reader(max_names=5)
    for number in range(50):
        reading = Reading(kind="call", provider="p", model=f"model-{number}")
        reader.metrics.record_charge(posting(Rollup(llm=PICO)), reading, {"agentcost.tenant": f"t{number}"})
    found = reader.read()["agentcost.client.cost"]

    assert len(found) == 6
    assert found[labels(component="llm", source="book", provider="other", model="other", tenant="other")] == 45
    assert sum(found.values()) == 50


def test_label_sets_are_bounded_even_when_each_label_is() -> None:
    """Five models times five tenants are more sets than allowed: the surplus is folded, money and component stay."""
    reader = Reader(max_names=5)
    for number in range(25):
        reading = Reading(kind="call", provider="p", model=f"m{number % 5}")
        reader.metrics.record_charge(posting(Rollup(llm=PICO)), reading, {"agentcost.tenant": f"t{number // 5}"})
    found = reader.read()["agentcost.client.cost"]

    assert len(found) == 6
    assert sum(found.values()) == 25
    assert {dict(key)["agentcost.component"] for key in found} == {"llm"}
    assert reader.metrics.cost.folded == 20


def test_a_session_is_recorded_when_its_root_ends() -> None:
    """Cost, tokens, calls and duration of a session, by owner and outcome."""
    reader = Reader()
    rollup = Rollup(llm=PICO, tool=PICO, input_tokens=5, output_tokens=6, llm_calls=2)
    reader.metrics.record_session(
        rollup, {"agentcost.tenant": "acme", "agentcost.outcome": "success"}, complete=False, duration_seconds=2.5
    )
    found = reader.read()

    (cost,) = found["agentcost.session.cost"].items()
    assert dict(cost[0]) == {
        "agentcost.tenant": "acme",
        "agentcost.outcome": "success",
        "agentcost.session.complete": False,
    }
    assert (cost[1].count, cost[1].sum) == (1, 2.0)
    assert next(iter(found["agentcost.session.tokens"].values())).sum == 11
    assert next(iter(found["agentcost.session.calls"].values())).sum == 2
    assert next(iter(found["agentcost.session.duration"].values())).sum == 2.5


def test_open_sessions_and_health_are_read_when_asked() -> None:
    """Observable instruments ask the processor and the health counters."""
    reader = Reader(open_sessions=lambda: 3)
    health.count("evicted", 2)
    health.count("folded", 5)
    health.count("attribute_limit")
    health.count("errors", where="tap.close", type="KeyError")
    health.count("unpatched", owner="Client", name="send")
    found = reader.read()

    assert list(found["agentcost.session.active"].values()) == [3]
    assert list(found["agentcost.spans.evicted"].values()) == [7]
    assert list(found["agentcost.spans.unwritten"].values()) == [1]
    events = {
        (dict(key)["agentcost.health.event"]): (dict(key), value)
        for key, value in found["agentcost.health.events"].items()
    }
    assert events["errors"] == (
        {"agentcost.health.event": "errors", "agentcost.health.where": "tap.close", "error.type": "KeyError"},
        1,
    )
    assert events["unpatched"][0]["agentcost.health.reason"] == "name=send,owner=Client"


def test_without_a_meter_provider_nothing_fails() -> None:
    """Metrics are optional."""
    metrics = Metrics()
    metrics.record_charge(posting(Rollup(llm=1)), CALL, {})
    metrics.record_session(Rollup(), {})


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_from_nothing() -> None:
    """Parent and child together count everything once."""
    reader = Reader()
    reader.metrics.record_charge(posting(Rollup(llm=7)), None, {})
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child reports through the pipe
        reader.metrics.record_charge(posting(Rollup(llm=1)), None, {})
        os.write(write_end, str(sum(reader.metrics.cost.sums().values())).encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(read_end, 10) == b"1"
    assert sum(reader.metrics.cost.sums().values()) == 7
    os.close(read_end)
    os.close(write_end)


class Seen(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.mark.parametrize("root", [ALWAYS_OFF, ParentBased(ALWAYS_OFF), TraceIdRatioBased(0.0)])
def test_a_dropped_span_is_still_recorded_with_its_attributes(root: Any) -> None:
    """Totals are complete under head sampling; the sampled flag stays as the user wanted it."""
    seen = Seen()
    provider = TracerProvider(sampler=AlwaysRecordSampler(root), shutdown_on_exit=False)
    provider.add_span_processor(seen)
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("root", attributes={_semconv.GEN_AI_REQUEST_MODEL: "gpt-5"}):
        tracer.start_span("child").end()

    assert [span.name for span in seen.spans] == ["child", "root"]
    assert dict(seen.spans[1].attributes or {}) == {_semconv.GEN_AI_REQUEST_MODEL: "gpt-5"}
    assert not any(span.context.trace_flags.sampled for span in seen.spans)


def test_a_kept_span_is_sampled_as_before() -> None:
    """What the root sampler keeps is untouched."""
    provider = TracerProvider(sampler=AlwaysRecordSampler(TraceIdRatioBased(1.0)), shutdown_on_exit=False)
    span = provider.get_tracer("t").start_span("s")

    assert span.get_span_context().trace_flags.sampled
    assert provider.sampler.get_description() == "AlwaysRecordSampler{TraceIdRatioBased{1.0}}"
