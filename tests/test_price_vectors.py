"""The shared pricing vectors: with their own prices exactly, from our own book exactly or for a stated reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.vectors import inclusive, nanoseconds, price_vector, read_vector

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("AGENTCOST_VECTORS", HERE.parents[1] / "shared" / "vectors")) / "pricing.json"
absent = pytest.mark.skipif(not SHARED.exists(), reason=f"the shared vectors are not here ({SHARED})")


def shared() -> list[dict[str, Any]]:
    return json.loads(SHARED.read_text())["vectors"] if SHARED.exists() else []


@absent
@pytest.mark.parametrize("vector", shared(), ids=lambda v: v["id"])
def test_vector_with_its_own_prices(vector: dict[str, Any]) -> None:
    """A vector that carries its prices gives its status, its total and every line, to the pico-unit."""
    expected = vector["expected"]
    actual = price_vector(vector)
    assert "note" not in actual, "nobody reads the dialect"
    assert (expected["status"], expected.get("total_pico_usd")) == (actual["status"], actual["pico"])
    lines = {(line["unit"], line["quantity"], line["cost_pico_usd"]) for line in expected.get("lines", ())}
    assert lines == {(line["unit"], line["quantity"], line["pico"]) for line in actual["lines"]}
    assert len(expected.get("lines", ())) == len(actual["lines"])


@absent
def test_own_book_agrees_or_says_why() -> None:
    """The same calls without their prices: our book agrees, and the list of differences is exact."""
    book = PriceBook.bundled()
    differ = set()
    for vector in shared():
        reading, _ = read_vector(vector)
        bill = book.price(reading, at=nanoseconds(vector["timestamp"]))
        expected = vector["expected"]
        if (bill.status, bill.total) != (expected["status"], expected.get("total_pico_usd")):
            differ.add(vector["id"])
    stated = yaml.safe_load((HERE / "pricing_differences.yaml").read_text())
    assert set(stated) == differ


def vector(**changes: Any) -> dict[str, Any]:
    """A vector of our own, of the same form."""
    made = {
        "id": "own",
        "provider": "openai",
        "model": "gpt-4o",
        "timestamp": "2026-11-21T12:00:00Z",
        "usage_dialect": "openai.chat",
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 400}},
        "normalized_leaf_quantities": {"input_tokens": 600, "cache_read_tokens": 400, "output_tokens": 500},
        "prices": {
            "input_tokens": {"price": "2.5", "per": 1000000},
            "cache_read_tokens": {"price": "1.25", "per": 1000000},
            "output_tokens": {"price": "10", "per": 1000000},
        },
    }
    return {**made, **changes}


def test_result_has_the_stated_form() -> None:
    """One JSON-able mapping: id, status, pico, lines of unit, quantity and pico, reason."""
    assert price_vector(vector()) == {
        "id": "own",
        "status": "priced",
        "pico": 7000000000,
        "lines": [
            {"unit": "input_tokens", "quantity": 600, "pico": 1500000000},
            {"unit": "cache_read_tokens", "quantity": 400, "pico": 500000000},
            {"unit": "output_tokens", "quantity": 500, "pico": 5000000000},
        ],
        "reason": "",
    }


def test_zero_line_is_shown_exactly_when_the_vector_names_it() -> None:
    """A quantity of 0 is a line when the vector says so, and only then."""
    usage = {"prompt_tokens": 10, "completion_tokens": 0}
    named = price_vector(vector(usage=usage, normalized_leaf_quantities={"input_tokens": 10, "output_tokens": 0}))
    silent = price_vector(vector(usage=usage, normalized_leaf_quantities={"input_tokens": 10}))
    assert [line["unit"] for line in named["lines"]] == ["input_tokens", "output_tokens"]
    assert [line["unit"] for line in silent["lines"]] == ["input_tokens"]


def test_no_prices_and_no_free_model_is_unpriced() -> None:
    """An unknown model brings no prices: no cost is claimed."""
    result = price_vector(vector(model="nobody-knows-7", prices={}))
    assert (result["status"], result["pico"], result["lines"]) == ("unpriced", None, [])


def test_free_model_without_prices_costs_nothing() -> None:
    """A `:free` name is free whether or not the vector says 0."""
    result = price_vector(vector(provider="openrouter", model="acme/zed:free", prices={}))
    assert (result["status"], result["pico"]) == ("free", 0)


def test_tier_nobody_knows_makes_an_estimate() -> None:
    """`service_tier: turbo` silently at the standard rate is a known trap."""
    result = price_vector(vector(context={"service_tier": "turbo"}))
    assert (result["status"], result["reason"]) == ("estimated", "unknown_tier:turbo")


def test_inherited_batch_rate_makes_an_estimate() -> None:
    """A batch bill with a cached rate that is the standard one, which our book knows no batch rate for."""
    prices = {
        "input_tokens": {"price": "1.25", "per": 1000000},
        "cache_read_tokens": {"price": "1.25", "per": 1000000},
        "output_tokens": {"price": "5", "per": 1000000},
    }
    result = price_vector(vector(context={"processing": "batch"}, prices=prices))
    assert (result["status"], result["pico"]) == ("estimated", 3750000000)
    assert result["reason"] == "no_batch_rate:cache_read_tokens"


def test_multiplier_holds_for_its_units_only() -> None:
    """An exact factor on the units it names."""
    result = price_vector(vector(multiplier={"factor": "1.1", "units": ["input_tokens"]}))
    assert [line["pico"] for line in result["lines"]] == [1650000000, 500000000, 5000000000]


def test_compute_vector_is_priced_by_its_own_rates() -> None:
    """Seconds of a GPU, with a fraction."""
    result = price_vector(
        vector(
            provider="local",
            model="h100",
            usage_dialect="normalized",
            usage={"gpu_seconds": 12.5},
            normalized_leaf_quantities={"gpu_seconds": 12.5},
            prices={"gpu_seconds": {"price": "3.6", "per": 3600}},
        )
    )
    assert result["lines"] == [{"unit": "gpu_seconds", "quantity": 12.5, "pico": 12500000000}]
    assert result["status"] == "priced"


def test_leaves_become_inclusive_totals() -> None:
    """What the vector gives exclusively is added up to what a reader would have reported."""
    leaves = {"input_tokens": 300, "cache_read_tokens": 200, "input_audio_tokens": 500, "cache_audio_read_tokens": 1000}
    assert inclusive(leaves) == {
        "input_tokens": 2000,
        "cache_read_tokens": 1200,
        "input_audio_tokens": 1500,
        "cache_audio_read_tokens": 1000,
    }


def test_time_is_read_to_the_nanosecond_in_utc() -> None:
    """An offset counts, its absence is UTC."""
    assert nanoseconds("2025-06-10T01:00:00+02:00") == nanoseconds("2025-06-09T23:00:00")
    assert nanoseconds("1970-01-01T00:00:00.000001Z") == 1000


def test_dialect_nobody_reads_is_said() -> None:
    """Then the quantities are those the vector gives exclusively, and the result says so."""
    strange = {"usage_dialect": "martian.v9", "usage": {"blips": 5}}
    result = price_vector(vector(**strange))
    assert result["pico"] == 7000000000
    assert result["note"] == "nobody reads martian.v9: usage taken from normalized_leaf_quantities"
