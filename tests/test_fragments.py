"""Bare usage objects by the name of their kind."""

from __future__ import annotations

import json
import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agentcost.usage.fragments import read_usage
from tests.test_exchange import JSON

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("openai.chat", {"prompt_tokens": 10, "completion_tokens": 2}, {"input_tokens": 10, "output_tokens": 2}),
    (
        "openai.responses",
        {"usage": {"input_tokens": 1, "output_tokens": 2}, "output": ["web_search_call", "web_search_call"]},
        {"input_tokens": 1, "output_tokens": 2, "web_searches": 2},
    ),
    (
        "openai.responses",
        {"input_tokens": 1, "output": [{"type": "code_interpreter_call", "container_id": c} for c in "aab"]},
        {"input_tokens": 1, "code_interpreter_sessions": 2},
    ),
    (
        "openai.realtime",
        {
            "response": {
                "usage": {
                    "input_tokens": 30,
                    "input_token_details": {
                        "audio_tokens": 20,
                        "cached_tokens": 19,
                        "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 15},
                    },
                    "output_tokens": 6,
                    "output_token_details": {"audio_tokens": 5},
                }
            }
        },
        {
            "input_tokens": 30,
            "input_audio_tokens": 20,
            "cache_read_tokens": 19,
            "cache_audio_read_tokens": 15,
            "output_tokens": 6,
            "output_audio_tokens": 5,
        },
    ),
    ("openai.embeddings", {"prompt_tokens": 7, "total_tokens": 7}, {"input_tokens": 7}),
    ("openai.images", {"n": 2, "size": "1024x1024", "quality": "standard"}, {"output_images": 2}),
    ("openai.transcription", {"duration": 90}, {"audio_seconds": 90}),
    ("groq.transcription", {"duration": 4.25}, {"audio_seconds": Decimal("4.25")}),
    ("openai.speech", {"characters": 1000}, {"input_characters": 1000}),
    ("openai.tts", {"input": "héllo"}, {"input_characters": 5}),
    ("openai.videos", {"seconds": "8"}, {"output_video_seconds": 8}),
    ("openai.file_search", {"storage_searches": 4}, {"storage_searches": 4}),
    (
        "xai.chat",
        {"prompt_tokens": 1000, "completion_tokens": 200, "completion_tokens_details": {"reasoning_tokens": 800}},
        {"input_tokens": 1000, "output_tokens": 1000, "output_reasoning_tokens": 800},
    ),
    (
        "xai.responses",
        {"input_tokens": 1000, "output_tokens": 1000, "output_tokens_details": {"reasoning_tokens": 800}},
        {"input_tokens": 1000, "output_tokens": 1000, "output_reasoning_tokens": 800},
    ),
    (
        "anthropic.messages",
        {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 4, "output_tokens": 5},
        {"input_tokens": 7, "cache_read_tokens": 2, "cache_write_tokens": 4, "output_tokens": 5},
    ),
    (
        "anthropic.messages",
        {"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}},
        {"input_tokens": 6, "cache_write_tokens": 5, "cache_write_5m_tokens": 2, "cache_write_1h_tokens": 3},
    ),
    ("bedrock.converse", {"inputTokens": 3, "cacheReadInputTokens": 4}, {"input_tokens": 7, "cache_read_tokens": 4}),
    (
        "gemini.generateContent",
        {"promptTokenCount": 3, "candidatesTokenCount": 4},
        {"input_tokens": 3, "output_tokens": 4},
    ),
    (
        "gemini.generateContent",
        {"promptTokenCount": 3, "groundingMetadata": {"webSearchQueries": ["a", "b"]}},
        {"input_tokens": 3, "web_searches": 2, "grounded_prompts": 1},
    ),
    ("google.embedding", {"promptTokenCount": 5}, {"input_tokens": 5}),
    ("cohere.rerank", {"meta": {"billed_units": {"search_units": 3}}}, {"rerank_searches": 3}),
    ("cohere.chat", {"billed_units": {"input_tokens": 2}, "tokens": {"input_tokens": 9}}, {"input_tokens": 2}),
    ("voyage.rerank", {"total_tokens": 5}, {"input_tokens": 5}),
    ("mistral.ocr", {"usage_info": {"pages_processed": 10}}, {"input_document_pages": 10}),
    ("mistral.ocr", {"pages": 10}, {"input_document_pages": 10}),
    ("ollama.chat", {"prompt_eval_count": 3, "eval_count": 4}, {"input_tokens": 3, "output_tokens": 4}),
    (
        "otel.genai",
        {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 70, "gen_ai.usage.output_tokens": 8},
        {"input_tokens": 100, "cache_read_tokens": 70, "output_tokens": 8},
    ),
    (
        "otel.genai",
        {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 70},
        {"input_tokens": 80, "cache_read_tokens": 70},
    ),
    ("normalized", {"prompt_tokens": 1, "repeat": 10}, {"input_tokens": 10}),
    (
        "normalized",
        {"agent_span": {"input_tokens": 3}, "children": [{"input_tokens": 1}, {"input_tokens": 2, "output_tokens": 1}]},
        {"input_tokens": 3, "output_tokens": 1},
    ),
    ("compute", {"gpu_seconds": 3600.5}, {"gpu_seconds": Decimal("3600.5")}),
    ("made.up", {"prompt_tokens": 1, "completion_tokens": 2}, {"input_tokens": 1, "output_tokens": 2}),
]


@pytest.mark.parametrize(("dialect", "usage", "wanted"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_case(dialect: str, usage: dict[str, Any], wanted: dict[str, Any]) -> None:
    """A bare object of a named kind counts as its provider counts."""
    reading = read_usage(dialect, usage)
    assert (reading.status, reading.reason) == ("usage", "")
    assert dict(reading.billable) == wanted


def test_kinds_follow_the_units() -> None:
    """Compute, tool and API quantities are not model calls."""
    assert read_usage("compute", {"vcpu_seconds": 1}).kind == "compute"
    assert read_usage("normalized", {"tool_calls": 1}).kind == "tool"
    assert read_usage("normalized", {"api_requests": 1}).kind == "api"
    assert read_usage("openai.chat", {"prompt_tokens": 1}).kind == "call"


def test_context_of_the_object_and_of_the_caller() -> None:
    """Tier, size and tool version come from the object, the caller's word is stronger."""
    usage = {"usage": {"input_tokens": 1}, "output": ["web_search_call"], "tool": "web_search_preview"}
    assert read_usage("openai.responses", usage).context["tool_version"] == "web_search_preview"
    stated = {"prompt_tokens": 1, "search_context_size": "low", "service_tier": "flex"}
    reading = read_usage("perplexity.chat", stated, context={"search_context_size": "high"})
    assert reading.context["search_context_size"] == "high"
    assert reading.context["service_tier"] == "flex"
    assert read_usage("anthropic.messages", {"input_tokens": 1, "inference_geo": "us"}).context == {
        "inference_geo": "us"
    }


def test_names_given_win_over_names_found() -> None:
    """The caller's model and provider hold; a response model in the object is the one that answered."""
    reading = read_usage("openai.chat", {"prompt_tokens": 1}, model="gpt-4o", provider="az.ai.openai")
    assert (reading.model, reading.provider) == ("gpt-4o", "azure")
    answered = {"prompt_tokens": 1, "request_model": "my-deployment", "response_model": "gpt-4o-2024-08-06"}
    reading = read_usage("openai.chat", answered, model="my-deployment")
    assert (reading.model, reading.request_model) == ("gpt-4o-2024-08-06", "my-deployment")


def test_stated_cost() -> None:
    """Money in the object is the provider's, in its own unit."""
    assert read_usage("openrouter.chat", {"prompt_tokens": 1, "cost": 0.01712}).reported_cost == Decimal("0.01712")
    assert read_usage("perplexity.chat", {"prompt_tokens": 1, "cost": {"total_cost": 0.024}}).reported_cost == Decimal(
        "0.024"
    )
    ticks = read_usage("xai.chat", {"prompt_tokens": 1, "cost_in_usd_ticks": 1641500})
    assert ticks.reported_cost == Decimal("0.00016415")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "not_a_number:prompt_tokens"),
        ("12", "not_a_number:prompt_tokens"),
        (-1, "negative:prompt_tokens=-1"),
        (2**53 + 1, "too_large:prompt_tokens"),
        (math.nan, "not_a_number:prompt_tokens"),
        (math.inf, "not_a_number:prompt_tokens"),
    ],
)
def test_what_is_no_count_is_invalid(value: object, reason: str) -> None:
    """Bool, text, negative, unbelievable, NaN: invalid with the reason, never 0."""
    reading = read_usage("openai.chat", {"prompt_tokens": value})
    assert (reading.status, reading.reason, reading.usage) == ("invalid", reason, None)


def test_no_usage_is_said() -> None:
    """An HTTP error is not billed; a stream without usage and an empty object have no usage."""
    failed = read_usage("openai.chat", {"http.response.status_code": 429})
    assert (failed.status, failed.reason) == ("not_billed", "http_429")
    silent = read_usage("openai.chat", {"stream": True, "usage": None})
    assert (silent.status, silent.reason) == ("no_usage", "stream_without_usage")
    assert read_usage("openai.chat", {}).status == "no_usage"
    assert read_usage("normalized", {}).status == "no_usage"


VECTORS = Path(os.environ.get("AGENTCOST_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors" / "pricing.json")
PRICING_ADDS = {"D03": "input_search_block_tokens", "G04": "audio_seconds"}
"""Fixed token blocks and minimum durations are rules of price, not of reading."""


@pytest.mark.skipif(not VECTORS.exists(), reason=f"no pricing vectors at {VECTORS}")
def test_pricing_vectors_read_as_they_say() -> None:
    """The usage of every pricing vector gives the leaf quantities it states."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    for vector in vectors:
        reading = read_usage(
            vector["usage_dialect"],
            vector["usage"],
            model=vector["model"],
            provider=vector["provider"],
            context=vector.get("context") or {},
        )
        wanted = {unit: q for unit, q in vector["normalized_leaf_quantities"].items() if q}
        status = vector["expected"]["status"]
        if status == "provider_reported":
            assert reading.reported_cost == Decimal(vector["expected"]["total_usd"]), vector["id"]
            continue
        if status in ("invalid", "not_billed"):
            assert reading.status == status, vector["id"]
            continue
        added = PRICING_ADDS.get(vector["id"], "")
        wanted.pop(added, None)
        units = frozenset(wanted) | {"input_tokens", "output_tokens"}
        found = {unit: q for unit, q in reading.billable.leaves(units).items() if q}
        assert found == wanted, vector["id"]


@settings(max_examples=300, deadline=None)
@given(
    dialect=st.sampled_from([case[0] for case in CASES]),
    usage=st.dictionaries(
        st.sampled_from(["usage", "prompt_tokens", "input_tokens", "output", "iterations", "meta", "cost", "children"])
        | st.text(max_size=6),
        JSON,
        max_size=5,
    ),
)
def test_any_object_never_raises(dialect: str, usage: dict[str, Any]) -> None:
    """Whatever the object holds, a Reading comes back, and its usage is consistent."""
    reading = read_usage(dialect, usage)
    if reading.usage is not None and reading.status == "usage":
        assert reading.usage.contradiction() is None
