"""Recorded real exchanges: our readings beside an independent reading of the same bytes.

The corpus is not part of the repository. It is looked for in $AGENTCOST_CORPUS, then beside the repository
(../shared/corpus); without it these tests are skipped, and say where they looked.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import zlib
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agentcost.usage.exchange import Meter, read_exchange, recognise
from otel_agentcost.usage.reading import Reading

HERE = Path(__file__).resolve().parent
PLACE = Path(os.environ.get("AGENTCOST_CORPUS") or HERE.parent.parent / "shared" / "corpus")
EXCHANGES, EXPECTED = PLACE / "exchanges.jsonl.gz", PLACE / "expected_usage.jsonl.gz"
DIFFERENCES = yaml.safe_load((HERE / "corpus_differences.yaml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(
    not (EXCHANGES.exists() and EXPECTED.exists()),
    reason=f"no corpus at {PLACE}; set AGENTCOST_CORPUS to a folder with {EXCHANGES.name} and {EXPECTED.name}",
)

SEED = 20261123
SIMPLE = {
    "input_audio": "input_audio_tokens",
    "output_audio": "output_audio_tokens",
    "input_image": "input_image_tokens",
    "output_image": "output_image_tokens",
    "input_tool_use": "input_tool_tokens",
    "output_reasoning": "output_reasoning_tokens",
}
"""Fields of the independent reading that are one of our units as they stand; null means it did not look."""
TOOLS = {
    "web_search_requests": "web_searches",
    "web_fetch_requests": "web_fetches",
    "web_search_call": "web_searches",
    "web_search_call:search": "web_searches",
    "web_search_queries": "web_searches",
    "num_sources_used": "web_searches",
    "file_search_call": "storage_searches",
    "x_search_call": "social_searches",
    "x_search_calls": "social_searches",
    "image_generation_call": "output_images",
    "image_generation_calls": "output_images",
}
"""Its tool counts that somebody bills; opened pages, MCP calls and tool searches cost nothing."""


@lru_cache(maxsize=1)
def corpus() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], dict[str, Reading]]:
    """Return the exchanges, the independent readings and ours, all by id; read once."""
    exchanges: dict[str, dict[str, Any]] = {}
    expected: dict[str, dict[str, Any]] = {}
    with gzip.open(EXCHANGES, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            exchanges[record["id"]] = record
    with gzip.open(EXPECTED, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            expected[record["id"]] = record
    return exchanges, expected, {key: read_exchange(record) for key, record in exchanges.items()}


def expectation(theirs: Mapping[str, Any], exchange: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the independent reading into our units: what is billed, nothing else.

    - `line_items` are what is billed, per model; the fields beside them only repeat the top level of the body.
    - Where a provider states billed units (Cohere), those are what is billed, not the tokens beside them.
    - A total that was reported without its parts (Voyage: `total_tokens`) is input.
    - With the caller's own key OpenRouter's `cost` is its fee only; the upstream cost of the body belongs to it.
    """
    wanted: dict[str, Any] = {}
    billed = theirs["extra"].get("billed_units")
    tools = theirs["server_tools"]
    if billed:
        wanted["input_tokens"] = (billed.get("input_tokens") or 0) + (billed.get("image_tokens") or 0)
        wanted["output_tokens"] = billed.get("output_tokens") or 0
        wanted["search_units"] = billed.get("search_units") or 0
    else:
        items = theirs.get("line_items") or []
        wanted["input_tokens"] = sum(i["input_uncached"] + i["cache_read"] + i["cache_write"] for i in items)
        wanted["output_tokens"] = sum(i["output"] for i in items)
        wanted["cache_read_tokens"] = sum(i["cache_read"] for i in items)
        for ttl in ("cache_write", "cache_write_5m", "cache_write_1h"):
            wanted[f"{ttl}_tokens"] = sum(i[ttl] or 0 for i in items)
        if theirs["input_total"] is None and theirs["output_total"] is None and theirs["total_reported"]:
            wanted["input_tokens"] = theirs["total_reported"]
        per_model: Counter[str | None] = Counter()
        for item in items:
            per_model[item["model"]] += sum(
                item[key] for key in ("input_uncached", "cache_read", "cache_write", "output")
            )
        if len(per_model) > 1:
            wanted["models"] = dict(per_model)
    for field, unit in SIMPLE.items():
        if theirs[field] is not None:
            wanted[unit] = theirs[field]
    for name, count in tools.items():
        if name in TOOLS:
            wanted[TOOLS[name]] = max(wanted.get(TOOLS[name], 0), count)
    if theirs["model"]:
        wanted["model"] = theirs["model"]
    if theirs["service_tier"]:
        wanted["service_tier"] = theirs["service_tier"]
    if theirs["provider_cost_usd"] is not None:
        cost = Decimal(repr(theirs["provider_cost_usd"]))
        if '"is_byok": true' in exchange["response_body"] or '"is_byok":true' in exchange["response_body"]:
            cost += upstream_cost(exchange["response_body"])
        wanted["cost"] = cost
    return wanted


def upstream_cost(body: str) -> Decimal:
    """Return the upstream cost an OpenRouter answer states."""
    usage = json.loads(body)["usage"]
    return Decimal(repr(usage["cost_details"]["upstream_inference_cost"]))


def differences(wanted: Mapping[str, Any], ours: Reading) -> dict[str, tuple[Any, Any]]:
    """Return every field in which we differ, as (ours, theirs)."""
    found: dict[str, tuple[Any, Any]] = {}
    if ours.status != "usage":
        found["status"] = (ours.status, ours.reason)
    for field, value in wanted.items():
        mine: Any
        if field == "model":
            mine = ours.model
        elif field == "service_tier":
            mine = ours.context.get("service_tier")
        elif field == "cost":
            mine = ours.reported_cost
        elif field == "models":
            mine = {part.model: part.usage.input_tokens + part.usage.output_tokens for part in ours.parts}
        elif field == "search_units":
            mine = ours.billable.get("rerank_searches", 0) + ours.billable.get("web_searches", 0)
        else:
            mine = ours.billable.get(field, 0)
        if field == "cost" and mine is not None and abs(mine - value) <= Decimal("1e-15"):
            continue
        if mine != value:
            found[field] = (mine, value)
    return found


def test_every_billed_field_is_read_as_independently_read() -> None:
    """At least 99.8 % of those with usage agree in every billed field; each other one is listed with a reason."""
    exchanges, expected, ours = corpus()
    listed = {entry["id"]: entry for entry in DIFFERENCES["with_usage"]}
    with_usage = [key for key, record in expected.items() if record["outcome"] == "usage"]
    found = {}
    for key in with_usage:
        different = differences(expectation(expected[key]["usage"], exchanges[key]), ours[key])
        if different:
            found[key] = different
    unlisted = {key: different for key, different in found.items() if key not in listed}
    assert unlisted == {}
    stale = {key for key in listed if key in expected and key not in found}
    assert stale == set()
    for key, different in found.items():
        assert sorted(different) == sorted(listed[key]["fields"]), key
    agree = 100 * (1 - len(found) / len(with_usage))
    print(f"{len(with_usage) - len(found)} of {len(with_usage)} exchanges with usage agree: {agree:.2f} %")
    assert agree >= 99.8


def test_without_usage_nothing_is_claimed() -> None:
    """Without usage a reading says so, never 0; where we count something, the reason is listed."""
    _, expected, ours = corpus()
    listed = {entry["id"] for entry in DIFFERENCES["without_usage"]}
    claimed = set()
    for key, record in expected.items():
        if record["outcome"] == "usage":
            continue
        reading = ours[key]
        if reading.status == "usage":
            claimed.add(key)
        else:
            assert reading.usage is None
            assert reading.status in ("no_usage", "not_billed")
            assert reading.reason
    assert claimed - listed == set()
    assert {key for key in listed if key in expected} - claimed == set()


def test_streams_without_usage_say_so() -> None:
    """A chat stream for which no usage was asked is `no_usage` with the reason `stream_without_usage`."""
    _, expected, ours = corpus()
    reasons = Counter(
        ours[key].reason
        for key, record in expected.items()
        if record["outcome"] == "no_usage" and record["is_stream"] and record["api"] == "openai.chat"
    )
    assert reasons["stream_without_usage"] >= 90
    assert sum(reasons.values()) - reasons["stream_without_usage"] <= 5


def test_errors_are_not_billed() -> None:
    """A failed request without usage is `not_billed` and names the status."""
    _, expected, ours = corpus()
    for key, record in expected.items():
        if record["outcome"] == "http_error" and ours[key].kind == "call":
            assert (ours[key].status, ours[key].reason) == ("not_billed", f"http_{record['status']}")


def body_of(record: Mapping[str, Any]) -> bytes:
    """Return the answer as it is stored, decoded."""
    text = record["response_body"]
    return base64.b64decode(text) if record["response_body_enc"] == "base64" else text.encode()


def request_of(record: Mapping[str, Any]) -> bytes:
    """Return the request body."""
    text = record["request_body"]
    return base64.b64decode(text) if record["request_body_enc"] == "base64" else text.encode()


def compress(body: bytes, encoding: str) -> bytes:
    """Encode a body as a server would."""
    if encoding == "gzip":
        return gzip.compress(body, 5)
    if encoding == "deflate":
        return zlib.compress(body)
    if encoding == "br":
        brotli = pytest.importorskip("brotli")
        return bytes(brotli.compress(body, quality=4))
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(body))


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate", "br", "zstd"])
def test_chunks_and_encodings_change_nothing(encoding: str) -> None:
    """The same bytes in random chunks, encoded as servers do, give the same Reading."""
    exchanges, expected, _ = corpus()
    chance = random.Random(f"{SEED} {encoding}")
    usable = [key for key, record in expected.items() if record["outcome"] == "usage"]
    streams = [key for key in usable if expected[key]["is_stream"]]
    for key in chance.sample(streams, 80) + chance.sample(usable, 60):
        record = exchanges[key]
        call = recognise(record["method"], record["url"], request_of(record))
        if call is None:
            continue
        headers = {k: v for k, v in record["response_headers"].items() if k.lower() != "content-encoding"}
        body = body_of(record)
        whole = Meter(call, record["status"], headers)
        whole.feed(body)
        wire = body
        if encoding != "identity":
            headers["content-encoding"] = encoding
            wire = compress(body, encoding)
        pieces = Meter(call, record["status"], headers)
        at = 0
        while at < len(wire):
            step = chance.choice((1, 7, 100, 1000, 4096, 30000))
            # A long body byte by byte would only take time.
            step = max(step, len(wire) // 400)
            pieces.feed(wire[at : at + step])
            at += step
        assert pieces.close() == whole.close(), key
