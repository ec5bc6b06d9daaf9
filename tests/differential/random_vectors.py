"""Random ledger vectors: evidence that no attribute carries (guesses, model servers, billed figures, fees of tools).

They have the form of tests/conformance/ledger, with what Python makes of them as the expectation, so that the Go runner
of those vectors is the other side.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from otel_agentcost.ledger.settle import settle
from tests.test_conformance_ledger import entries_of, pricer

PRICES = {
    "gpt-4o": {"input_tokens": "2.5", "cache_read_tokens": "1.25", "output_tokens": "10"},
    "claude-sonnet-4-5": {"input_tokens": "3", "cache_read_tokens": "0.3", "output_tokens": "15"},
    "tool:search": {"tool_calls": "5000"},
    "api:api.example.com": {"api_requests": "7000"},
}
MODELS = ("gpt-4o", "gpt-4o", "gpt-4o-2024-08-06", "claude-sonnet-4-5", "router/auto", "")
TOKENS = ((10, 2), (10, 2), (20, 4), (7, 0), (100, 50), (110, 52), (1000, 50))
WINDOWS = ((0, 100), (0, 100), (2, 4), (5, 9), (9, 30), (30, 60), (5, 5), (60, 30))


def random_vector(seed: int) -> dict[str, Any]:
    """Make one vector; each seed gives the same one in every process."""
    rng = random.Random(seed)
    spans = [_span(i, rng) for i in range(rng.randint(1, 14))]
    vector: dict[str, Any] = {"about": f"seed {seed}", "cites": [], "prices": PRICES, "spans": spans, "expect": {}}
    entries = entries_of(vector)
    rng.shuffle(entries)
    settlement = settle(entries, pricer(vector))
    vector["expect"] = {
        "total": settlement.total,
        "own": {span_id: [charge.pico, charge.status] for span_id, charge in settlement.charges.items()},
        "reasons": {span_id: charge.reason for span_id, charge in settlement.charges.items()},
    }
    return vector


def _span(number: int, rng: random.Random) -> dict[str, Any]:
    start, end = rng.choice(WINDOWS)
    parent = ""
    if number and rng.random() < 0.85:
        parent = f"s{rng.randrange(number if rng.random() < 0.9 else 16):02d}"  # now and then lost, or in a circle
    elif rng.random() < 0.2:
        parent = "lost"
    span: dict[str, Any] = {
        "id": f"s{number:02d}",
        "parent": parent,
        "start": start,
        "end": end,
        "scope": rng.choice(("scope-a", "scope-a", "scope-b", "scope-c")),
        "kind": "internal",
        "name": "work",
        "failed": rng.random() < 0.1,
    }
    reading = _reading(rng)
    return {**span, "reading": reading} if reading is not None else {**span, "attributes": {}}


def _reading(rng: random.Random) -> dict[str, Any] | None:
    kind = rng.choice(("call",) * 8 + ("aggregate",) * 3 + ("tool", "api", "compute", "plain", "plain"))
    if kind == "plain":
        return None
    if kind == "compute":
        return {"kind": "compute", "usage": {"gpu_seconds": 2}}
    if kind in ("tool", "api"):
        name, unit = ("search", "tool_calls") if kind == "tool" else ("api.example.com", "api_requests")
        fee = {"kind": kind, "tool": name if rng.random() < 0.8 else "other", "usage": {unit: 1}}
        return {**fee, "identity": [rng.choice("xyz")]} if rng.random() < 0.3 else fee
    tokens_in, tokens_out = rng.choice(TOKENS)
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    if rng.random() < 0.2:
        usage["cache_read_tokens"] = tokens_in // 2
    if rng.random() < 0.1:
        del usage["output_tokens"]
    reading: dict[str, Any] = {"kind": kind, "usage": usage}
    model = rng.choice(MODELS)
    if model:
        reading["model"] = model
    if rng.random() < 0.12:
        del reading["usage"]
        reading.update(status=rng.choice(("no_usage", "error")), reason="no_usage")
    if kind == "aggregate":
        reading["aggregate"] = rng.choice(("sum", "sum", "cumulative", "authoritative"))
        if rng.random() < 0.5:
            reading["agent"] = rng.choice(("planner", "writer"))
        return reading
    if rng.random() < 0.4:
        reading["identity"] = rng.sample(("r1", "r2", "r3", "r4"), rng.randint(1, 2))
    if rng.random() < 0.15:
        reading["estimated"] = True
    if rng.random() < 0.15:
        reading["server"] = True
    if rng.random() < 0.1:
        reading["operation"] = rng.choice(("fetch_response", "embeddings"))
    if rng.random() < 0.1:
        reading.update(reported_cost="1", reported_by=rng.choice(("provider", "user", "emitter")))
    if rng.random() < 0.1:
        reading["context"] = {"region": "eu"}
    return reading


def write_vectors(folder: Path, first: int, count: int) -> None:
    """Write vectors one per file, as the runners read them."""
    for seed in range(first, first + count):
        (folder / f"seed-{seed}.json").write_text(json.dumps(random_vector(seed)), encoding="utf-8")
