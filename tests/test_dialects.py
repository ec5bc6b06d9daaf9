"""Reading foreign spans: cheap for strangers, harmless for anything, true for real traces."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agentcost.usage.dialects import read_http_client, read_labels, read_span, read_stated
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.tables import DIALECTS, MARKERS

CORPUS = Path(os.environ.get("AGENTCOST_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus")
needs_corpus = pytest.mark.skipif(
    not (CORPUS / "traces").is_dir(),
    reason=f"no corpus at {CORPUS}: set AGENTCOST_CORPUS to its folder to check against recorded real spans",
)

KEYS = sorted({key for dialect in DIALECTS for key in dialect.keys} | MARKERS | {"agentcost.usage.gpu_seconds", "x"})
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=0, max_value=1000),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["chat", "LLM", "AGENT", "TOOL", "generation", "execute_tool", "claude_code.llm_request", "1e999", '{"a":']
    ),
    st.lists(st.text(max_size=4), max_size=2).map(tuple),
    st.dictionaries(st.sampled_from(["input", "output", "total"]), st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["input", "output", "total"]), st.integers() | st.text(max_size=3)).map(json.dumps),
)
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=14)
SCOPES = sorted({scope for d in DIALECTS for rule in d.detect for scope in rule.scopes} | {"", "other"})
NAMES = ["chat", "call_llm", "claude_code.llm_request", "claude_code.tool", "llm_request", "execute_tool x", ""]
KINDS = ["internal", "client", "server", "producer", "consumer"]


@settings(max_examples=400, deadline=None)
@given(ATTRIBUTES, st.sampled_from(NAMES), st.sampled_from(KINDS), st.sampled_from(SCOPES), st.booleans())
def test_nothing_on_a_span_makes_reading_it_fail(
    attributes: dict[str, object], name: str, kind: str, scope: str, failed: bool
) -> None:
    """Whatever stands on a span, it is read or not, and what is read holds together."""
    reading = read_span(name=name, kind=kind, scope=scope, attributes=attributes, resource=attributes, failed=failed)

    assert reading is None or sound(reading)
    read_labels(attributes, attributes)
    read_stated(attributes)


def sound(reading: Reading) -> bool:
    if reading.usage is not None:
        assert reading.status == "usage"
        assert reading.usage.contradiction() is None
        assert any(reading.usage.values())
    else:
        assert reading.status in ("no_usage", "error", "invalid")
        assert reading.reason
    if reading.reported_cost is not None:
        assert reading.reported_cost >= 0
        assert reading.reported_by
    return True


COUNTS = st.integers(min_value=0, max_value=10**6)


@settings(max_examples=200, deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.booleans())
def test_both_conventions_of_one_call_read_the_same(
    fresh: int, cached: int, written: int, answer: int, thought: int, with_total: bool
) -> None:
    """With a total beside the counts, inclusive and exclusive emitters of one call cannot be confused."""
    whole_in, whole_out = fresh + cached + written, answer + thought
    usages = []
    for stated_in in (whole_in, fresh):
        counts = {
            "gen_ai.usage.input_tokens": stated_in,
            "gen_ai.usage.output_tokens": whole_out,
            "gen_ai.usage.cache_read.input_tokens": cached,
            "gen_ai.usage.cache_write.input_tokens": written,
            "gen_ai.usage.total_tokens": whole_in + whole_out,
        }
        attributes = {"gen_ai.operation.name": "chat", **counts}
        reading = read_span(name="chat", kind="client", scope="", attributes=attributes)
        assert reading is not None
        usages.append(reading.usage)

    assert usages[0] == usages[1]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"http.request.method": "get", "url.full": "https://user:pw@API.tavily.com:443/search/x?key=secret#f"},
            {"host": "api.tavily.com", "method": "GET", "path": "/search/x"},
        ),
        (
            {"http.method": "POST", "http.url": "http://10.0.0.1:8080/v1?token=t", "net.peer.name": "10.0.0.1"},
            {"host": "10.0.0.1", "method": "POST", "path": "/v1"},
        ),
        (
            {"http.method": "GET", "http.host": "maps.example.com:8443", "http.target": "/geo?key=s"},
            {"host": "maps.example.com", "method": "GET", "path": "/geo"},
        ),
        (
            {"http.request.method": "GET", "server.address": "api.example.com", "url.path": "/a"},
            {"host": "api.example.com", "method": "GET", "path": "/a"},
        ),
        (
            {"http.request.method": "GET", "server.address": "::1", "url.full": "http://[::1/broken"},
            {"host": "::1", "method": "GET", "path": "/"},
        ),
    ],
)
def test_http_client_spans_tell_host_method_and_path(attributes: dict[str, object], expected: dict[str, str]) -> None:
    """Old and stable HTTP names read alike; query, fragment and user never survive."""
    reading = read_http_client(attributes)

    assert reading is not None
    assert reading.kind == "api"
    assert reading.context == expected
    assert reading.tool == expected["host"]
    assert reading.usage == {"api_requests": 1}
    assert "secret" not in repr(reading)


def test_http_client_spans_tell_size_and_failure() -> None:
    """Megabytes are exact, and a refused request is not charged like a served one."""
    base = {"http.request.method": "GET", "server.address": "api.example.com"}

    sized = read_http_client({**base, "http.response.body.size": 1_234_567})
    header = read_http_client({**base, "http.response.header.content-length": ("2000000",)})
    refused = read_http_client({**base, "http.response.status_code": 429})

    assert sized is not None
    assert str(sized.billable["response_megabytes"]) == "1.234567"
    assert header is not None
    assert header.billable["response_megabytes"] == 2
    assert refused is not None
    assert (refused.status, refused.reason) == ("error", "http_429")


def test_what_is_no_http_client_span_is_no_api_call() -> None:
    """Without method or host there is nothing to charge."""
    assert read_http_client({}) is None
    assert read_http_client({"http.request.method": "GET"}) is None
    assert read_http_client({"server.address": "api.example.com"}) is None
    assert read_http_client({"http.method": 3, "http.url": "https://a.example"}) is None


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "http.method",
                "http.url",
                "url.full",
                "server.address",
                "http.target",
                "http.response.status_code",
                "http.response.body.size",
            ]
        ),
        VALUES,
    )
)
def test_no_http_attribute_makes_reading_fail(attributes: dict[str, object]) -> None:
    """Garbage on an HTTP span is read or ignored, never raised."""
    read_http_client({"http.request.method": "GET", **attributes})


def test_labels_come_in_canonical_keys_whatever_the_dialect() -> None:
    """A session is a session, whoever named it; the span's own label beats the resource's."""
    assert read_labels({"langfuse.session.id": "s", "traceloop.association.properties.user_id": 7}, {}) == {
        "session.id": "s",
        "user.id": "7",
    }
    assert read_labels(
        {"agentcost.tenant": "acme", "session.id": " "},
        {"agentcost.tenant": "other", "deployment.environment": "prod", "service.name": "x"},
    ) == {"agentcost.tenant": "acme", "deployment.environment.name": "prod"}
    assert read_labels({"http.method": "GET"}, {}) == {}
    assert read_labels({"agentcost.value": 2.5, "agentcost.outcome": True}, {}) == {"agentcost.value": "2.5"}


@pytest.mark.parametrize("pico", [0, 1, 24_600_000_000, 123_456_789_012_345, -4_000_000_000])
def test_a_stated_amount_is_the_integer_it_came_from(pico: int) -> None:
    """The double on the span gives its integer back, also for corrections."""
    stated = read_stated({"agentcost.cost.amount": pico / 10**12, "agentcost.price.id": "b/openai/gpt-5#default"})

    assert stated is not None
    assert stated.pico == pico
    assert stated.currency == "USD"
    assert stated.price_id == "b/openai/gpt-5#default"


def test_a_span_may_state_why_it_has_no_cost() -> None:
    """Status and reason are read without an amount; a span without either states nothing."""
    stated = read_stated({"agentcost.cost.status": "unpriced", "agentcost.cost.reason": "unknown_model"})

    assert stated is not None
    assert (stated.pico, stated.status, stated.reason) == (None, "unpriced", "unknown_model")
    assert read_stated({"gen_ai.operation.name": "chat"}) is None
    broken = read_stated({"agentcost.cost.amount": float("nan")})
    assert broken is not None
    assert broken.pico is None


# -- real spans ------------------------------------------------------------------------------------------------------


def otlp_value(value: dict[str, Any]) -> object:
    ((kind, inner),) = value.items()
    return int(inner) if kind == "intValue" else inner


def envoy_spans() -> Iterator[tuple[str, dict[str, object], bool]]:
    for path in sorted((CORPUS / "traces/envoy-ai-gateway").glob("*.json")):
        span = json.loads(path.read_text(encoding="utf-8"))
        attributes = {item["key"]: otlp_value(item["value"]) for item in span["attributes"] if item["value"]}
        yield path.stem, attributes, "ERROR" in span["status"].get("code", "")


def jaeger_spans(name: str) -> Iterator[tuple[str, str, str, dict[str, object]]]:
    traces = json.loads((CORPUS / f"traces/agentevals-adk/{name}.json").read_text(encoding="utf-8"))
    for trace in traces["data"]:
        for span in trace["spans"]:
            tags = {tag["key"]: tag["value"] for tag in span["tags"]}
            yield span["operationName"], tags.get("span.kind", "internal"), tags.get("otel.scope.name", ""), tags


@needs_corpus
def test_openinference_spans_of_envoy_agree_with_the_usage_in_their_own_output() -> None:
    """The counts read from real spans are those of the provider's body, which the spans carry as output."""
    compared = 0
    for name, attributes, failed in envoy_spans():
        reading = read_span(name=name, kind="internal", scope="", attributes=attributes, failed=failed)
        assert reading is not None
        if failed:
            assert reading.status == "error"
            continue
        try:
            body = json.loads(str(attributes.get("output.value", "")))
        except ValueError:
            body = {}
        usage = body.get("usage") if isinstance(body, dict) else None
        if not usage or "prompt_tokens" not in usage:
            continue
        assert reading.billable.input_tokens == usage["prompt_tokens"], name
        assert reading.billable.output_tokens == usage.get("completion_tokens", 0), name
        details = usage.get("completion_tokens_details") or {}
        assert reading.billable.get("output_reasoning_tokens", 0) == details.get("reasoning_tokens", 0), name
        compared += 1

    assert compared >= 8


@needs_corpus
@pytest.mark.parametrize("name", ["helm", "k8s"])
def test_adk_traces_show_every_call_twice_with_the_same_totals(name: str) -> None:
    """ADK's span and OpenLLMetry's below it tell one call; nothing else in the trace is a call."""
    readings = [
        read_span(name=operation, kind=kind, scope=scope, attributes=tags)
        for operation, kind, scope, tags in jaeger_spans(name)
    ]
    calls = [r for r in readings if r is not None and r.kind == "call"]
    of = {
        d: sorted((r.billable.input_tokens, r.billable.output_tokens) for r in calls if r.dialect == d)
        for d in ("google-adk", "openllmetry")
    }

    assert of["google-adk"] == of["openllmetry"] != []
    assert len(calls) == 2 * len(of["google-adk"])
    assert {r.provider for r in calls if r.dialect == "openllmetry"} == {"openai"}
    assert all(r.tool for r in readings if r is not None and r.kind == "tool")
    assert {r.agent for r in readings if r is not None and r.operation == "invoke_agent"} == {f"{name}_agent"}


@needs_corpus
def test_langfuse_exports_read_like_langfuse_counted_them() -> None:
    """Original attributes inside Langfuse's export give the totals Langfuse shows for the same observation."""
    compared = 0
    for path in sorted((CORPUS / "traces/langfuse").glob("*.json")):
        for seen in json.loads(path.read_text(encoding="utf-8"))["observations"]:
            metadata = seen.get("metadata") or {}
            metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
            attributes = {k: v for k, v in (metadata.get("attributes") or {}).items() if v != ""}
            scope = (metadata.get("scope") or {}).get("name") or ""
            reading = read_span(name=seen["name"], kind="internal", scope=scope, attributes=attributes)
            counted = seen.get("usageDetails") or {}
            if reading is None or reading.usage is None or reading.kind != "call" or "input" not in counted:
                continue
            assert reading.usage.input_tokens == counted["input"], (path.name, seen["name"])
            assert reading.usage.output_tokens == counted.get("output", 0), (path.name, seen["name"])
            compared += 1

    assert compared >= 10


@needs_corpus
def test_vercel_spans_of_version_6_read_as_aggregates_with_their_usage() -> None:
    """The captured outer spans sum up, embeddings count input only."""
    seen = {}
    for path in sorted((CORPUS / "traces/vercel-v6").glob("ai-*.json")):
        for span in json.loads(path.read_text(encoding="utf-8")):
            reading = read_span(name=span["name"], kind="internal", scope="ai", attributes=span["attributes"])
            assert reading is not None
            assert (reading.kind, reading.provider) == ("aggregate", "openai")
            seen[span["name"]] = dict(reading.billable)

    assert seen["ai.streamText"]["input_tokens"] == 15
    assert seen["ai.streamText"]["output_tokens"] == 112
    assert set(seen["ai.embed"]) == {"input_tokens"}
