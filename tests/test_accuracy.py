"""The claims of docs/accuracy.md, each asserted on the figures the page is made of."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_agentcost.cli.console import Console
from otel_agentcost.cli.traces import read_traces
from otel_agentcost.cli.traces.collection import KINDS, any_value
from otel_agentcost.ledger.accounting import SpanRecord, account
from otel_agentcost.ledger.entry import Entry
from otel_agentcost.ledger.ledger import Ledger
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.testing import CapturedSpans
from otel_agentcost.usage.exchange import Meter, recognise
from otel_agentcost.usage.reading import Reading, Usage
from tests import accuracy, recorded
from tests.oracle import Oracle
from tests.peers import PEERS
from tests.test_conformance_ledger import VECTORS, VectorBook, entries_of, pricer, record, spans_of
from tests.test_oracle import price

ROWS = {row.name: row for row in accuracy.truth_table()}
BY_RULE = {peer.name: number for number, peer in enumerate(PEERS)}
BY_ATTRIBUTES = [name for name, vector in VECTORS.items() if not any("reading" in s for s in vector["spans"])]
FAILURES = {f"F{n}" for n in range(1, 31)}

needs_corpus = pytest.mark.skipif(not recorded.has_corpus(), reason="the recorded exchanges are not here")


# -- the truth table ------------------------------------------------------------------------------------------------


def test_ours_is_the_truth_in_every_row() -> None:
    """Exact to the pico-dollar, all of them."""
    assert len(ROWS) >= 60
    assert {row.name: row.ours for row in ROWS.values()} == {row.name: row.truth for row in ROWS.values()}


@pytest.mark.parametrize("name", [n for n, v in VECTORS.items() if len(v["spans"]) < 20 and "F20" not in n])
def test_the_oracle_knows_the_same_truth(name: str) -> None:
    """The second implementation, written from the page alone, gives each vector's total and charges."""
    vector = VECTORS[name]
    entries = entries_of(vector)
    if len(entries) > 100:
        entries = entries[:100]
        assert sum(pico or 0 for pico, _ in Oracle(entries, pricer(vector)).verdicts().values()) > 0
        return
    verdicts = Oracle(entries, pricer(vector)).verdicts()
    assert sum(pico or 0 for pico, _ in verdicts.values()) == vector["expect"]["total"]
    for span_id, (pico, status) in vector["expect"].get("own", {}).items():
        assert verdicts[span_id] == (pico, status)


def test_every_failure_of_the_field_has_its_case_or_its_place() -> None:
    """F1 to F30: a vector cites it, or the page says where it is proved, or that it is not yet."""
    cited = {name for row in ROWS.values() for name in row.cites if name.startswith("F")}
    assert cited | set(accuracy.PROVED_ELSEWHERE) == FAILURES


@pytest.mark.parametrize(
    ("case", "rule", "multiple"),
    [
        ("F01-agent-span-repeats-its-calls", "sum of all spans", "2.00"),
        ("F02-three-layers-show-one-usage", "sum of all spans", "3.00"),
        ("F04-recursive-wrappers", "LLM kind only", "3.00"),
        ("F05-two-instrumentations-nested", "LLM kind only", "2.00"),
        ("F05-two-instrumentations-nested", "flag of the trace", "2.00"),
        ("F07-agent-knows-more-than-its-children", "LLM kind only", "0.33"),
        ("F07-agent-knows-more-than-its-children", "all but agent operations", "0.33"),
        ("F07-agent-knows-more-than-its-children", "flag of the trace", "0.33"),
        ("F07-lost-parent-counts-below-the-aggregate", "topmost with data", "2.00"),
        ("tool-that-runs-an-agent", "topmost with data", "0.33"),
        ("F19-late-children", "open parents", "0.33"),
        ("F01-agent-span-repeats-its-calls", "flag of the trace", "1.00"),
        ("F01-agent-span-repeats-its-calls", "topmost with data", "1.00"),
    ],
)
def test_a_rule_gives_what_was_seen_of_it(case: str, rule: str, multiple: str) -> None:
    """The multiples that the sources of the rules report or that were measured with their code."""
    row = ROWS[case]
    assert accuracy.factor(row.peers[BY_RULE[rule]], row.truth) == multiple


def test_no_single_rule_is_right_everywhere_and_each_is_right_somewhere() -> None:
    """Otherwise the table would not compare rules."""
    for number, peer in enumerate(PEERS):
        right = sum(row.peers[number] == row.truth for row in ROWS.values())
        assert 20 <= right < len(ROWS), peer.name


def test_shortcuts_of_arithmetic_miss_what_they_are_known_to_miss() -> None:
    """Fully cached is not free, reasoning is not on top, exclusive input is not clamped away."""
    made = {row.name: row for row in accuracy.arithmetic_table()}
    assert made["F10-fully-cached-call"].by_shortcut["nothing_uncached_is_nothing"] == 0
    assert made["F10-fully-cached-call"].by_shortcut["without_cache"] == 2 * made["F10-fully-cached-call"].truth
    twelve = made["F12-reasoning-is-part-of-output"]
    assert accuracy.factor(twelve.by_shortcut["reasoning_on_top"], twelve.truth) == "1.53"
    eleven = made["F11-breakdown-larger-than-the-total"]
    assert eleven.by_shortcut["subtract_and_clamp"] < eleven.truth


# -- several files, other orders ------------------------------------------------------------------------------------


def otlp(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """An export request; every span stands in a scope of its own name."""
    scopes = [{"scope": {"name": s.get("scope", "")}, "spans": [span_json(s)]} for s in spans]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}


def span_json(span: dict[str, Any]) -> dict[str, Any]:
    return {
        "traceId": "0" * 31 + "1",
        "spanId": span_hex(span["id"]),
        "parentSpanId": span_hex(span["parent"]) if span["parent"] else "",
        "name": span["name"],
        "kind": KINDS.index(span["kind"], 1),
        "startTimeUnixNano": str(span["start"]),
        "endTimeUnixNano": str(span["end"]),
        "attributes": [{"key": k, "value": any_value(v)} for k, v in span.get("attributes", {}).items()],
        "status": {"code": 2} if span.get("failed") else {},
    }


def span_hex(name: str) -> str:
    return f"{random.Random(name).getrandbits(63) + 1:016x}"


@pytest.mark.parametrize("name", BY_ATTRIBUTES)
def test_spans_in_several_files_shuffled_and_doubled_give_the_same_total(name: str, tmp_path: Path) -> None:
    """Law 1 on files: however a trace was exported, in parts, out of order, some of it twice."""
    vector = VECTORS[name]
    chance = random.Random(name)
    spans = list(spans_of(vector))
    again = spans + chance.sample(spans, len(spans) // 2)
    chance.shuffle(again)
    parts: list[list[dict[str, Any]]] = [[] for _ in range(3)]
    for span in again:
        chance.choice(parts).append(span)
    for number, part in enumerate(parts):
        with (tmp_path / f"part-{number}.jsonl").open("w", encoding="utf-8") as file:
            for batch in (part[::2], part[1::2]):
                file.write(json.dumps(otlp(batch)) + "\n")
    traces = read_traces([str(tmp_path)], Console())
    assert traces.problems == []
    assert account(traces.records, VectorBook(vector["prices"])).total == vector["expect"]["total"]


# -- what is not about adding up ------------------------------------------------------------------------------------


def metered(
    url: str, request: dict[str, Any], chunks: Iterator[bytes] | list[bytes], *, complete: bool = True
) -> Reading:
    call = recognise("POST", url, json.dumps(request).encode())
    assert call is not None
    meter = Meter(call, 200, {"content-type": "text/event-stream"})
    for chunk in chunks:
        meter.feed(chunk)
    return meter.close(complete)


def sse(*events: dict[str, Any] | str) -> list[bytes]:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [f"data: {text}\n\n".encode() for text in texts]


CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}], "stream": True}
HELLO = {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "delta": {"content": "Hello there."}}]}


def test_a_stream_without_usage_is_never_zero() -> None:
    """F13: no usage is asked for and none comes: `no_usage` with a reason, and no price."""
    reading = metered("https://api.openai.com/v1/chat/completions", CHAT, sse(HELLO, "[DONE]"))
    assert (reading.status, reading.reason, reading.usage) == ("no_usage", "stream_without_usage", None)
    bill = PriceBook.bundled().price(reading, at=recorded.RECORDED_WITHOUT_DATE)
    assert bill.total is None or bill.status == "estimated"


def test_a_stated_zero_is_zero_and_a_missing_count_is_not() -> None:
    """F14: explicit zeros are honoured; a stream cut off before its usage says so."""
    zero = {"id": "c1", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    whole = metered("https://api.openai.com/v1/chat/completions", CHAT, sse(zero, "[DONE]"))
    assert whole.usage is not None
    assert (whole.status, whole.usage["output_tokens"]) == ("usage", 0)
    cut = metered("https://api.openai.com/v1/chat/completions", CHAT, sse(HELLO), complete=False)
    assert cut.usage is None
    assert cut.status == "no_usage"


def test_a_cost_in_the_last_event_of_a_stream_is_read() -> None:
    """F15: the provider's own figure survives the stream and is charged as it stands."""
    last = {
        "id": "gen-1",
        "model": "openai/gpt-4o",
        "choices": [],
        "usage": {"prompt_tokens": 900, "completion_tokens": 69, "cost": 0.0160614},
    }
    reading = metered("https://openrouter.ai/api/v1/chat/completions", CHAT, sse(HELLO, last, "[DONE]"))
    bill = PriceBook.bundled().price(reading, at=recorded.RECORDED_WITHOUT_DATE)
    assert (bill.source, bill.total) == ("provider", 16_061_400_000)


def test_gemini_thoughts_are_output() -> None:
    """F12: thoughts are beside the candidates, not inside: 10 + 90 tokens of output."""
    body = {
        "modelVersion": "gemini-2.5-flash",
        "responseId": "g1",
        "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 10, "thoughtsTokenCount": 90},
    }
    url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent"
    call = recognise("POST", url, b"{}")
    assert call is not None
    meter = Meter(call, 200, {"content-type": "application/json"})
    meter.feed(json.dumps(body).encode())
    reading = meter.close()
    assert (reading.billable.output_tokens, reading.billable["output_reasoning_tokens"]) == (100, 90)


def test_spans_session_and_metrics_are_one_figure() -> None:
    """F18: what spans add up to, what the root says, and what the metric counted are the same pico-dollars."""
    captured, metrics = CapturedSpans(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(AgentCostSpanProcessor(meter_provider=MeterProvider([metrics])))
    provider.add_span_processor(SimpleSpanProcessor(captured))
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}) as agent:
        agent.set_attributes({"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 5000})
        agent.set_attribute("gen_ai.usage.output_tokens", 70)
        for number in range(3):
            with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT) as span:
                span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"})
                span.set_attributes({"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 1001 + number})
                span.set_attribute("gen_ai.usage.output_tokens", 7)
    provider.shutdown()
    on_spans = sum(round(float(s.attributes.get("agentcost.cost.amount", 0)) * 1e12) for s in captured.spans)
    data = metrics.get_metrics_data()
    assert data is not None
    counted = sum(
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "agentcost.client.cost"
        for point in metric.data.data_points
    )
    assert on_spans == captured.root().attributes["agentcost.session.cost.pico"] == 13_200_000_000
    assert round(counted * 1e12) == on_spans


def call_span(span_id: str, parent: str, trace_id: str, start: int, attributes: dict[str, object]) -> SpanRecord:
    return SpanRecord(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent,
        name="chat",
        kind="client",
        start_ns=start,
        end_ns=start + 5,
        attributes=attributes,
    )


def test_children_without_the_sessions_id_belong_to_it() -> None:
    """F21: the id stands on the root only; spans of another process in the same trace are in the session's total."""
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
    }
    root = SpanRecord(trace_id="1", span_id="r", name="work", end_ns=100, attributes={"session.id": "s-1"})
    remote = SpanRecord(trace_id="1", span_id="srv", parent_id="r", name="POST", kind="server", start_ns=1, end_ns=90)
    spans = [root, remote, call_span("a", "r", "1", 5, chat), call_span("b", "srv", "1", 20, chat)]
    book = VectorBook({"gpt-4o": {"input_tokens": "2.5", "output_tokens": "10"}})
    (session,) = account(spans, book).sessions
    assert (session.session_id, session.rollup.total) == ("s-1", 7_000_000_000)


def test_lifetime_totals_count_on_in_the_next_trace() -> None:
    """F8: an agent that reports what it used in its lifetime, one trace per invocation of one session."""
    figures = [(100, 10), (200, 20), (350, 30)]
    entries = [
        Entry(
            span_id=f"i{n}",
            start=100 * n,
            end=100 * n + 50,
            emitter="strands",
            reading=(
                reading := Reading(
                    kind="aggregate",
                    aggregate="cumulative",
                    agent="helper",
                    model="gpt-4o",
                    usage=Usage(input_tokens=i, output_tokens=o),
                )
            ),
            bill=price(reading, 0),
        )
        for n, (i, o) in enumerate(figures)
    ]
    ledger = Ledger(price)
    written = []
    for number, entry in enumerate(entries):
        ledger.start(str(number), entry.span_id, "", remote_parent=False, now=number, session_id="s")
        written.append(ledger.post(str(number), entry, now=number, session_id="s").posting.charge.pico)
    assert written == [350, 350, 500]
    assert sum(written) == 3 * 350 + 5 * 30


def test_the_shipped_list_has_the_prices_a_stale_one_gets_wrong() -> None:
    """F27: gpt-4o is 2.50 and 10 USD per million, and the list is no sample."""
    reading = Reading(
        kind="call", provider="openai", model="gpt-4o", usage=Usage(input_tokens=10**6, output_tokens=10**6)
    )
    book = PriceBook.bundled()
    assert book.price(reading, at=recorded.RECORDED_WITHOUT_DATE).total == 12_500_000_000_000
    assert sum(len(book.catalogue.models(p)) for p in book.catalogue.providers()) > 800


# -- recorded reality -----------------------------------------------------------------------------------------------


@needs_corpus
def test_recorded_exchanges_agree_as_the_page_says() -> None:
    """At least 99.8 % of those with usage agree in every billed field, and no group hides a difference."""
    whole, by_api, by_provider = recorded.tallies()
    assert whole.equal >= 0.998 * whole.with_usage
    for groups in (by_api, by_provider):
        assert sum(t.exchanges for t in groups.values()) == whole.exchanges
        assert sum(t.different for t in groups.values()) == whole.different


@needs_corpus
def test_a_stated_bill_is_charged_as_stated() -> None:
    """Where the provider says what it cost, the source is the provider and the figure is theirs."""
    bills = recorded.stated_bills()
    assert len(bills) >= 60
    for bill in bills:
        assert (bill.charged.source, bill.charged.total) == ("provider", bill.stated), bill.key


@needs_corpus
def test_our_own_book_agrees_with_stated_bills_or_says_why() -> None:
    """Every difference is listed with its reason, and nothing is listed that is no difference."""
    differ = {bill.key for bill in recorded.stated_bills() if bill.alone.total != bill.stated}
    assert differ == set(recorded.reasons_of_bills())


def test_figures_are_kept_where_the_recordings_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the corpus the page keeps the committed figures, and the generator says so."""
    monkeypatch.setattr(recorded, "has_corpus", lambda: False)
    kept = accuracy.page().split("<!-- recorded -->")[1]
    assert kept == accuracy.PAGE.read_text(encoding="utf-8").split("<!-- recorded -->")[1]
    assert "are kept" in capsys.readouterr().err


def test_all_vectors_are_read_the_same_from_records() -> None:
    """The truth table and the accounting of files speak of the same spans."""
    assert len(BY_ATTRIBUTES) >= 45
    vector = VECTORS["F30-root-shows-the-session"]
    spans = [record(span) for span in spans_of(vector)]
    assert account(spans, VectorBook(vector["prices"])).total == ROWS["F30-root-shows-the-session"].truth
