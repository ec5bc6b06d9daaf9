"""The processor: what exporters see, in every position, order and thread; and what the application never sees."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from otel_agentcost.otel import health, scope
from otel_agentcost.otel.config import Config
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from otel_agentcost.otel.session import session, step
from otel_agentcost.testing import CapturedSpan, CapturedSpans

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
}
COST = 3_500_000_000  # 1000 x 2.50 + 100 x 10.00 USD per million, in pico-USD


def call(tracer: Any, **attributes: Any) -> None:
    with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT) as span:
        span.set_attributes({**CALL, **attributes})


@pytest.fixture(autouse=True)
def global_provider() -> Iterator[None]:
    yield
    scope.use_provider(None)


def one_trace(tracer: Any) -> None:
    with tracer.start_as_current_span("work"):
        call(tracer)
        with tracer.start_as_current_span("inner"):
            call(tracer)


def found(captured: CapturedSpans, name: str) -> list[CapturedSpan]:
    return [span for span in captured.spans if span.name == name]


def pico(captured: CapturedSpans, name: str = "work") -> object:
    return found(captured, name)[0].attributes["agentcost.session.cost.pico"]


class Bystander(SpanProcessor):
    """Somebody else's processor; before SDK 1.40, not confirming a flush stops it for those behind."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def providers(position: str, kind: str) -> tuple[TracerProvider, CapturedSpans]:
    captured = CapturedSpans()
    provider = TracerProvider()
    exporting = SimpleSpanProcessor(captured) if kind == "simple" else BatchSpanProcessor(captured)
    others: list[SpanProcessor] = [Bystander(), exporting]
    at = {"first": 0, "middle": 1, "last": 2}[position]
    for processor in [*others[:at], AgentCostSpanProcessor(), *others[at:]]:
        provider.add_span_processor(processor)
    return provider, captured


@pytest.mark.parametrize("kind", ["simple", "batch"])
@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_exporters_see_cost_wherever_the_processor_stands(position: str, kind: str) -> None:
    """Registered before or after the exporter, cost is on the wire: own cost on calls, totals on the root."""
    provider, captured = providers(position, kind)
    one_trace(provider.get_tracer("app"))
    provider.force_flush()
    assert pico(captured) == 2 * COST
    for span in found(captured, "chat gpt-4o"):
        assert span.attributes["agentcost.cost.amount"] == 0.0035
        assert span.attributes["agentcost.cost.source"] == "book"
        assert "agentcost.cost.status" not in span.attributes
    assert "agentcost.session.cost.pico" not in found(captured, "inner")[0].attributes


def test_the_wrapping_form_hands_on_a_derived_span() -> None:
    """The span the application made stays as it was; the wrapped processor sees cost and the counts of drops."""
    captured, plain = CapturedSpans(), CapturedSpans()
    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=40))
    provider.add_span_processor(SimpleSpanProcessor(plain))
    provider.add_span_processor(AgentCostSpanProcessor.wrap(SimpleSpanProcessor(captured)))
    one_trace(provider.get_tracer("app"))
    assert pico(captured) == 2 * COST
    assert "agentcost.session.cost.pico" not in found(plain, "work")[0].attributes


def test_a_span_at_its_attribute_limit_loses_nothing_of_its_users() -> None:
    """Writing would evict the oldest user attribute; instead only a counter says that nothing was written."""
    captured = CapturedSpans()
    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=5))
    provider.add_span_processor(SimpleSpanProcessor(captured))
    provider.add_span_processor(AgentCostSpanProcessor())
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("work"):
        call(tracer)
    assert set(CALL) == set(found(captured, "chat gpt-4o")[0].attributes)
    assert health.snapshot()["attribute_limit"] >= 1


def test_children_that_end_after_their_root_carry_their_cost() -> None:
    """The root says it is incomplete; the late span has its own cost; the ledger's total is exact."""
    captured = CapturedSpans()
    provider = TracerProvider()
    processor = AgentCostSpanProcessor()
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(captured))
    tracer = provider.get_tracer("app")
    root = tracer.start_span("work")
    late = tracer.start_span("chat gpt-4o", context=set_span_in_context(root), kind=SpanKind.CLIENT)
    with otel_context_of(root):
        call(tracer)
    root.end()
    late.set_attributes(CALL)
    late.end()
    assert pico(captured) == COST
    assert found(captured, "work")[0].attributes["agentcost.session.complete"] is False
    assert [s.attributes["agentcost.cost.amount"] for s in found(captured, "chat gpt-4o")] == [0.0035, 0.0035]
    assert health.snapshot()["late"] == 1
    total = processor.live_total(root.get_span_context().trace_id)
    assert total is not None
    assert total.pico == 2 * COST


@contextlib.contextmanager
def otel_context_of(span: Any):
    token = otel_context.attach(set_span_in_context(span))
    try:
        yield
    finally:
        otel_context.detach(token)


def test_a_thread_without_context_joins_the_session_by_its_id() -> None:
    """Executors lose the context; work labelled with the session's id counts in the session all the same."""
    captured = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(captured))
    tracer = provider.get_tracer("app")

    scope.use_provider(provider)
    with session("s-1", name="run") as running:
        call(tracer)

        def work() -> None:
            with tracer.start_as_current_span("elsewhere", attributes={"session.id": running.id}):
                call(tracer)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
    assert pico(captured, "run") == 2 * COST
    elsewhere = found(captured, "elsewhere")[0]
    assert elsewhere.trace_id != found(captured, "run")[0].trace_id
    assert elsewhere.attributes["agentcost.subtree.cost.pico"] == COST
    assert "agentcost.session.cost.pico" not in elsewhere.attributes


def test_steps_show_their_subtree() -> None:
    """A step inside a session has totals of its own under another name."""
    captured = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(captured))
    tracer = provider.get_tracer("app")

    scope.use_provider(provider)
    with session(name="run", tenant="acme"):
        with step("plan"):
            call(tracer)
        call(tracer)
    assert found(captured, "plan")[0].attributes["agentcost.subtree.cost.pico"] == COST
    assert pico(captured, "run") == 2 * COST
    assert {"acme"} == {s.attributes["agentcost.tenant"] for s in found(captured, "chat gpt-4o")}


def test_a_local_root_below_another_process_shows_a_subtree() -> None:
    """The session's root lives elsewhere: no `session.*` here, or it would be counted twice."""
    captured = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(captured))
    remote = NonRecordingSpan(SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(1)))
    with otel_context_of(remote):
        one_trace(provider.get_tracer("app"))
    root = found(captured, "work")[0].attributes
    assert root["agentcost.subtree.cost.pico"] == 2 * COST
    assert "agentcost.session.cost.pico" not in root


def test_sessions_in_threads_and_tasks_do_not_mix() -> None:
    """64 threads and 1000 asyncio tasks at once: every root has exactly its own calls."""
    captured = CapturedSpans()
    provider = TracerProvider()
    processor = AgentCostSpanProcessor()
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(captured))
    tracer = provider.get_tracer("app")

    def work(number: int) -> None:
        with tracer.start_as_current_span(f"root-{number}"):
            for _ in range(number % 5):
                call(tracer)

    async def task(number: int) -> None:
        with tracer.start_as_current_span(f"root-{number}"):
            for _ in range(number % 5):
                await asyncio.sleep(0)
                call(tracer)

    async def many() -> None:
        await asyncio.gather(*(task(1000 + i) for i in range(1000)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(many())
    totals = {s.name: s.attributes.get("agentcost.session.cost.pico", 0) for s in captured.spans}
    for number in [*range(64), *range(1000, 2000)]:
        assert number % 5 * COST == totals[f"root-{number}"]


def test_state_returns_to_zero_after_the_grace() -> None:
    """A trace is freed when its root ended and the grace is over."""
    provider = TracerProvider()
    processor = AgentCostSpanProcessor(Config.load(limits={"grace_seconds": 0.0}))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("app")
    for _ in range(1000):
        one_trace(tracer)
    assert processor.open_traces < 300


def test_a_root_that_never_ends_is_evicted_with_its_money_counted() -> None:
    """Beyond the limit the oldest trace goes; what it cost stays in the totals and is counted as evicted."""
    provider = TracerProvider()
    processor = AgentCostSpanProcessor(Config.load(limits={"open_sessions": 8}))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("app")
    for _ in range(600):
        root = tracer.start_span("never-ends")
        with otel_context_of(root):
            call(tracer)
    assert processor.open_traces <= 8
    assert processor.charged_total.pico == 600 * COST
    assert health.snapshot()["evicted"] >= 256


def test_an_error_of_ours_reaches_a_counter_and_never_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """The span is exported without cost; the application notices nothing."""
    monkeypatch.setenv("AGENTCOST_RAISE", "0")

    class BrokenBook:
        priced_hosts: frozenset[str] = frozenset()
        fee_attributes: frozenset[str] = frozenset()

        def price(self, reading: Any, *, at: int) -> Any:
            raise RuntimeError("broken")

        def context_window(self, provider: Any, model: Any) -> None:
            return None

    captured = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor(book=BrokenBook()))  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(captured))
    one_trace(provider.get_tracer("app"))
    assert len(captured.spans) == 4
    assert health.snapshot()["errors"] >= 1


def test_installed_twice_charges_once() -> None:
    """A second instance on the same provider stays idle."""
    captured = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor())
    provider.add_span_processor(AgentCostSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(captured))
    one_trace(provider.get_tracer("app"))
    assert pico(captured) == 2 * COST


@pytest.mark.parametrize("installed_first", [True, False])
def test_a_processor_added_in_code_works_instead_of_an_installed_one(installed_first: bool) -> None:
    """Zero-code start-up gives way to what the application set up, wherever the two stand."""
    captured = CapturedSpans()
    provider = TracerProvider()
    installed = AgentCostSpanProcessor()
    installed.yields = True
    own = AgentCostSpanProcessor(Config.load(identity={"tenant": "own"}))
    for processor in (installed, own) if installed_first else (own, installed):
        provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(captured))
    one_trace(provider.get_tracer("app"))
    assert pico(captured) == 2 * COST
    assert own.charged_total.pico == 2 * COST
    assert installed.charged_total.pico == 0
    assert {"own"} == {s.attributes["agentcost.tenant"] for s in captured.spans}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_with_an_empty_ledger() -> None:
    """The parent reports the spans that were open; the child reports its own."""
    provider = TracerProvider()
    processor = AgentCostSpanProcessor()
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("app")
    root = tracer.start_span("open-at-fork")
    pid = os.fork()
    if pid == 0:
        ok = processor.open_traces == 0
        one_trace(tracer)
        os._exit(0 if ok and processor.charged_total.pico == 2 * COST else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    root.end()


def test_unknown_models_and_bad_figures_are_named_not_zero() -> None:
    """Unknown is never 0: no amount, a status, a reason."""
    captured = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(captured))
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("work"):
        call(tracer, **{"gen_ai.request.model": "mystery-9"})
        call(tracer, **{"gen_ai.usage.input_tokens": -5})
        call(tracer, **{"gen_ai.usage.input_tokens": "many"})
    statuses = [s.attributes["agentcost.cost.status"] for s in found(captured, "chat gpt-4o")]
    assert statuses == ["unpriced", "invalid", "invalid"]
    assert all("agentcost.cost.amount" not in s.attributes for s in found(captured, "chat gpt-4o"))
    assert all(s.attributes["agentcost.cost.reason"] for s in found(captured, "chat gpt-4o"))
    assert found(captured, "work")[0].attributes["agentcost.session.unpriced"] == 3
