"""The shipped price data: well-formed, dated, sourced, findable, and equal to its source but for stated corrections."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agentcost._data import load
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.clauses import compile_clause
from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.units import UNITS

ROOT = Path(__file__).parents[1]
DAY = "2026-11-21"
AT = int(datetime(2026, 11, 21, 12, tzinfo=timezone.utc).timestamp()) * 10**9
TODAY = AT // 86_400_000_000_000
CORRECTED = {
    ("deepseek", "deepseek-chat"): "the off-peak discount ended in 2025",
    ("deepseek", "deepseek-reasoner"): "the off-peak discount ended in 2025",
    ("mistral", "mistral-large"): "the name mistral-large-latest moved",
    ("mistral", "mistral-embed"): "an embedding has no output",
    ("perplexity", "sonar"): "the fee of the default search context size",
    ("openai", "gpt-oss-120b"): "open weights, which OpenAI does not sell",
    ("openai", "gpt-oss-20b"): "open weights, which OpenAI does not sell",
    ("openai", "gpt-oss-safeguard-20b"): "open weights, which OpenAI does not sell",
    ("perplexity", "sonar-pro"): "the fee of the default search context size",
    ("perplexity", "sonar-reasoning"): "the fee of the default search context size",
    ("perplexity", "sonar-reasoning-pro"): "the fee of the default search context size",
}
"""Models that cost something else than upstream says for 1 000 + 1 000 tokens at noon of a Saturday, and why."""


def rates_of(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in (model, *model.get("prices", ()), *model.get("amend", ()), *model.get("variants", ())):
        yield entry.get("rates", {})


def test_book_names_its_source_and_its_sum() -> None:
    """The sha256 is that of the providers, so a changed file is noticed; the licence's notice is inside."""
    book = load("prices")
    text = json.dumps(book["providers"], sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n"
    assert hashlib.sha256(text.encode()).hexdigest() == book["sha256"]
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", book["version"])
    assert "MIT" in book["attribution"]


def test_every_rate_is_a_decimal_string_of_a_known_unit() -> None:
    """At most twelve decimals, so that it is a whole number of pico-units per block; no float anywhere."""
    for provider in load("prices")["providers"]:
        for model in provider["models"]:
            for rates in rates_of(model):
                for unit, rate in rates.items():
                    prices = [rate] if isinstance(rate, str) else [rate["price"], *(t["price"] for t in rate["tiers"])]
                    assert unit in UNITS
                    for price in prices:
                        assert re.fullmatch(r"\d+(\.\d{1,12})?", price), (provider["id"], model["id"], unit, price)


def test_tiers_ascend() -> None:
    """A later tier begins later, so the last one that is reached holds."""
    for provider in load("prices")["providers"]:
        for model in provider["models"]:
            for rates in rates_of(model):
                for rate in rates.values():
                    if isinstance(rate, dict):
                        starts = [tier.get("gt", tier.get("gte")) for tier in rate["tiers"]]
                        assert starts == sorted(starts)
                        assert len(set(starts)) == len(starts)


def test_xai_thresholds_are_inclusive() -> None:
    """Upstream writes `>= 200 000` as `> 199 999`."""
    tiers = [
        tier
        for provider in load("prices")["providers"]
        if provider["id"] == "x-ai"
        for model in provider["models"]
        for rates in rates_of(model)
        for rate in rates.values()
        if isinstance(rate, dict)
        for tier in rate["tiers"]
    ]
    assert tiers
    assert all(tier["gte"] == 200000 for tier in tiers)


def test_every_clause_compiles_and_none_looks_ahead() -> None:
    """What Go's regexp refuses is not in the file."""
    for provider in load("prices")["providers"]:
        for model in provider["models"]:
            if isinstance(model.get("match"), dict):
                compile_clause(model["match"])
        if "guess" in provider:
            compile_clause(provider["guess"])
    assert "(?" not in json.dumps(load("prices")).replace("(?:", "")


def test_every_correction_has_a_source_and_a_date() -> None:
    """Nothing of ours stands in the book without saying where it is from and when it was looked at."""
    overlay = yaml.safe_load((ROOT / "prices" / "overlay.yaml").read_text())
    rules = [rule for p in overlay["providers"].values() for key in p for rule in (p[key] if key in LISTS else ())]
    assert rules
    for entry in (*overlay["models"], *rules):
        assert entry.get("source"), entry
        assert entry.get("checked"), entry
    ids = [correction["id"] for correction in overlay["models"]]
    assert len(set(ids)) == len(ids)


LISTS = ("multipliers", "measures", "covers", "aliases")


def test_every_model_is_found_under_its_own_id() -> None:
    """A name of the book finds its own entry, surely, at its own seller."""
    catalogue = PriceBook.bundled().catalogue
    lost = []
    for provider in load("prices")["providers"]:
        aliases = {alias["name"] for alias in provider.get("aliases", ())}
        for model in provider["models"]:
            match = model.get("match", [model["id"]])
            if isinstance(match, dict):
                # Some ids upstream are labels (`regional.`), which no request carries.
                match = [model["id"]] if compile_clause(match)(model["id"].lower()) else []
            for name in match:
                found = catalogue.find(provider["id"], name, None, TODAY)
                if name not in aliases and (found is None or found.provider != provider["id"] or found.reasons):
                    lost.append((provider["id"], name))
    assert lost == []


def test_routers_that_state_their_own_cost_are_left_out() -> None:
    """The slim cut: no HF routers, no quicksilver; OpenRouter stays, for spans that do not carry its figure."""
    providers = PriceBook.bundled().catalogue.providers()
    assert not [p for p in providers if p.startswith("huggingface") or p == "quicksilverpro"]
    assert "openrouter" in providers
    assert (ROOT / "otel_agentcost" / "_data" / "prices.json").stat().st_size < 450_000


@pytest.mark.parametrize("name", ["fees", "compute"])
def test_fees_and_machines_are_small_dated_and_sourced(name: str) -> None:
    """The YAML says the source and the day of every figure; the JSON carries the figures only."""
    source = yaml.safe_load((ROOT / "prices" / f"{name}.yaml").read_text())[name]
    shipped = load(name)[name]
    assert [rule["id"] for rule in source] == [rule["id"] for rule in shipped]
    assert all(rule["source"] and rule["checked"] for rule in source)
    assert not any("source" in rule for rule in shipped)


def test_generator_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the development package the step ends with a sentence, not a traceback."""
    from tools.generators import upstream_prices

    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    with pytest.raises(SystemExit, match=r"genai-prices, which needs Python 3\.11"):
        upstream_prices.read_upstream()


def test_lookahead_becomes_a_not_clause() -> None:
    """`^(?!X)Y` is `not ^X` and `^Y`."""
    from tools.generators.upstream_prices import _regex

    clause = _regex("^(?![^/]+/)(?:labs-)?mistral")
    assert clause == {"and": [{"not": {"regex": "^[^/]+/"}}, {"regex": "^(?:labs-)?mistral"}]}
    test = compile_clause(_regex("^(?!.*-[tT][tT][sS](?:$|-))"))
    assert [test("gemini-2.5-pro"), test("gemini-2.5-pro-tts"), test("gemini-2.5-pro-tts-1")] == [True, False, False]


upstream = pytest.mark.skipif(
    importlib.util.find_spec("genai_prices") is None, reason="genai-prices needs Python 3.11 (group `generate`)"
)


@upstream
def test_whole_catalogue_agrees_with_its_source() -> None:
    """Every name upstream matches finds the same model at the same price, but for our corrections."""
    import genai_prices
    from genai_prices.data import providers

    book = PriceBook.bundled()
    moment = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    theirs_usage = genai_prices.Usage(input_tokens=1000, output_tokens=1000)
    ours_usage = Usage(input_tokens=1000, output_tokens=1000)
    differ: set[tuple[str, str]] = set()
    compared = 0
    for provider in providers:
        if provider.id not in book.catalogue:
            continue
        for model in provider.models:
            for name in {model.id, *_equal_names(model.match)}:
                first = next((m for m in provider.models if m.is_match(name)), None)
                if first is None:
                    continue
                compared += 1
                bill = book.price(Reading(kind="call", provider=provider.id, model=name, usage=ours_usage), at=AT)
                price = genai_prices.calc_price(
                    theirs_usage, model_ref=name, provider_id=provider.id, genai_request_timestamp=moment
                ).total_price
                if bill.total is None and price == 0:
                    continue
                exact = Fraction(price) * 10**12
                if bill.total is None or abs(bill.total - exact) > 1:
                    differ.add((provider.id, first.id))
    assert compared > 2000
    assert differ == set(CORRECTED)


def _equal_names(match: Any) -> Iterator[str]:
    if hasattr(match, "equals"):
        yield match.equals
    for part in getattr(match, "or_", ()):
        yield from _equal_names(part)
