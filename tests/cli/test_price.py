"""`agentcost price`: exact bills from a model's name and a usage object."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.cli.price_command import detect
from tests.cli.conftest import Agentcost

NOVEMBER = ("--at", "2026-11-21")


def priced(agentcost: Agentcost, *arguments: str) -> dict[str, Any]:
    result = agentcost("price", *arguments, *NOVEMBER, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_bill_has_status_total_pico_and_lines(agentcost: Agentcost) -> None:
    """1000 x 2.50 + 500 x 10 per million are 0.0075, in decimal text and in pico-dollars."""
    bill = priced(agentcost, "--model", "gpt-4o", "--usage", '{"input_tokens": 1000, "output_tokens": 500}')
    assert (bill["status"], bill["reason"], bill["total"], bill["pico"]) == ("priced", "", "0.0075", 7_500_000_000)
    assert [(line["unit"], line["quantity"], line["pico"]) for line in bill["lines"]] == [
        ("input_tokens", 1000, 2_500_000_000),
        ("output_tokens", 500, 5_000_000_000),
    ]
    assert bill["price_id"].endswith("/openai/gpt-4o#default")


@pytest.mark.parametrize(
    ("model", "usage", "total"),
    [
        ("gpt-4o", {"prompt_tokens": 10000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 4000}},
         "0.025"),
        ("gpt-5", {"input_tokens": 5000, "input_tokens_details": {"cached_tokens": 2048}, "output_tokens": 3000},
         "0.033946"),
        ("claude-sonnet-4-5", {"input_tokens": 10, "cache_read_input_tokens": 9000, "output_tokens": 0}, "0.00273"),
        ("gemini-2.5-flash",
         {"promptTokenCount": 1500, "candidatesTokenCount": 400, "thoughtsTokenCount": 200, "totalTokenCount": 2100},
         "0.00195"),
        ("gpt-4o", {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 500}, "0.0075"),
        ("gpt-4o", {"usage": {"prompt_tokens": 1000, "completion_tokens": 500}}, "0.0075"),
        ("gpt-4o", {"input_tokens": 10000, "cache_read_tokens": 4000, "output_tokens": 500}, "0.025"),
    ],
)  # fmt: skip
def test_every_providers_usage_object_is_understood(
    model: str, usage: dict[str, object], total: str, agentcost: Agentcost
) -> None:
    """Whose object it is shows in its keys; cached input is not counted twice, thoughts are output."""
    assert priced(agentcost, "-m", model, "-u", json.dumps(usage))["total"] == total


@pytest.mark.parametrize(
    ("usage", "dialect"),
    [
        ({"inputTokens": 1, "outputTokens": 1}, "bedrock.converse"),
        ({"prompt_eval_count": 1, "eval_count": 1}, "ollama.chat"),
        ({"billed_units": {"input_tokens": 1}}, "cohere.chat"),
        ({"usageMetadata": {"promptTokenCount": 1}}, "google.generateContent"),
        ({"input_tokens": 1, "cache_creation_input_tokens": 2}, "anthropic.messages"),
        ({"gpu_seconds": 3}, "normalized"),
    ],
)
def test_the_keys_betray_the_dialect(usage: dict[str, object], dialect: str) -> None:
    """Each API's own key decides."""
    assert detect(usage) == dialect


def test_a_named_dialect_wins_over_detection(agentcost: Agentcost) -> None:
    """--dialect says whose counting rules hold."""
    usage = '{"input_tokens": 100, "output_tokens": 10, "cache_read_input_tokens": 0}'
    bill = priced(agentcost, "-m", "gpt-4o", "-u", usage, "-d", "normalized")
    assert bill["reading"]["dialect"] == "normalized"


def test_time_and_context_choose_the_rate(agentcost: Agentcost) -> None:
    """The flex tier of gpt-5 is half of its list price."""
    usage = '{"input_tokens": 1000}'
    assert priced(agentcost, "-m", "gpt-5", "-u", usage)["total"] == "0.00125"
    assert priced(agentcost, "-m", "gpt-5", "-u", usage, "-c", '{"service_tier": "flex"}')["total"] == "0.000625"


@pytest.mark.parametrize("moment", ["2026-11-21", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00+01:00", "1795262400"])
def test_moments_are_read_in_every_common_form(moment: str, agentcost: Agentcost) -> None:
    """ISO dates and times with or without a zone, and Unix seconds."""
    result = agentcost("price", "-m", "gpt-4o", "-u", '{"input_tokens": 1000}', "--at", moment, "--json")
    assert json.loads(result.stdout)["total"] == "0.0025"


def test_text_shows_the_arithmetic(agentcost: Agentcost) -> None:
    """Without --json a person sees quantity x rate = amount and the sum."""
    result = agentcost("price", "-m", "gpt-4o", "-u", '{"input_tokens": 1000, "output_tokens": 500}', *NOVEMBER)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:3] == [
        "input_tokens 1,000 x $2.5 / 1,000,000 = $0.0025",
        "output_tokens 500 x $10 / 1,000,000 = $0.005",
        "total = $0.0075",
    ]


@pytest.mark.parametrize(
    ("usage", "status"),
    [('{"input_tokens": -1}', "invalid"), ('{"input_tokens": 10, "cache_read_tokens": 20}', "invalid")],
)
def test_impossible_usage_claims_no_cost(usage: str, status: str, agentcost: Agentcost) -> None:
    """Contradictions are a finding (1): status invalid, a reason that names the numbers, no total."""
    result = agentcost("price", "-m", "gpt-4o", "-u", usage, "--json")
    bill = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (bill["status"], bill["total"], bill["pico"]) == (status, None, None)
    assert bill["reason"]


def test_an_unknown_model_is_unpriced_never_zero(agentcost: Agentcost) -> None:
    """Nobody's model has no total; the exit code is 1."""
    result = agentcost("price", "-m", "nobodys-model", "-u", '{"input_tokens": 1}', "--json")
    assert result.exit_code == 1
    bill = json.loads(result.stdout)
    assert (bill["status"], bill["total"]) == ("unpriced", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-m", "gpt-4o"), "Missing option '--usage'"),
        (("-u", '{"input_tokens": 1'), "--usage: not JSON at column"),
        (("-u", "[1]"), "--usage: must be a JSON object, not list"),
        (("-u", '{"foo": 1}'), "keys: foo"),
        (("-u", "@nowhere.json"), "nowhere.json"),
        (("-u", '{"input_tokens": 1}', "--at", "tomorrow"), "--at: 'tomorrow'"),
        (("-u", '{"input_tokens": 1}', "-c", '{"service_tier": []}'), "service_tier"),
        (("-u", '{"input_tokens": 1}', "--vectors", "x"), "--vectors stands alone"),
        (("--vectors", "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_options_are_named(arguments: tuple[str, ...], words: str, agentcost: Agentcost) -> None:
    """Every mistake is one line that names the option; exit code 2."""
    result = agentcost("price", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_usage_can_come_from_a_file(agentcost: Agentcost, tmp_path: Path) -> None:
    """@FILE reads the object."""
    (tmp_path / "usage.json").write_text('{"input_tokens": 1000}')
    assert priced(agentcost, "-m", "gpt-4o", "-u", "@usage.json")["total"] == "0.0025"


VECTOR = {
    "id": "V1",
    "provider": "openai",
    "model": "some-model",
    "timestamp": "2026-11-21T12:00:00Z",
    "usage_dialect": "openai.chat",
    "usage": {"prompt_tokens": 1000, "completion_tokens": 500},
    "prices": {
        "input_tokens": {"price": "2.5", "per": 1000000},
        "output_tokens": {"price": "10", "per": 1000000},
    },
}


def test_vectors_bring_their_own_prices(agentcost: Agentcost, tmp_path: Path) -> None:
    """One JSON line for each vector; a vector that expects something else is a finding."""
    right = {**VECTOR, "expected": {"status": "priced", "total_pico_usd": 7_500_000_000}}
    wrong = {**VECTOR, "id": "V2", "expected": {"status": "priced", "total_pico_usd": 1}}
    (tmp_path / "v.json").write_text(json.dumps({"vectors": [right]}))
    result = agentcost("price", "--vectors", "v.json")
    assert result.exit_code == 0
    line = json.loads(result.stdout)
    assert (line["id"], line["status"], line["pico"]) == ("V1", "priced", 7_500_000_000)
    assert line["lines"] == [
        {"unit": "input_tokens", "quantity": 1000, "pico": 2_500_000_000},
        {"unit": "output_tokens", "quantity": 500, "pico": 5_000_000_000},
    ]
    assert "1 of 1 as expected" in result.stderr
    (tmp_path / "v.jsonl").write_text(json.dumps(right) + "\n" + json.dumps(wrong) + "\n")
    result = agentcost("price", "--vectors", "v.jsonl")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "V2: total 7500000000 pico, expected 1" in result.stderr


@pytest.mark.parametrize("content", ["", "{", "5", '{"a": 1}', '[{"id": "x"}]'])
def test_a_file_without_vectors_is_told(content: str, agentcost: Agentcost, tmp_path: Path) -> None:
    """Broken vector files are one line and exit code 2."""
    (tmp_path / "v.json").write_text(content)
    result = agentcost("price", "--vectors", "v.json")
    assert result.exit_code == 2
    assert "v.json" in result.stderr
    assert result.stderr.count("\n") == 1


def test_all_shared_vectors_come_out_as_expected(agentcost: Agentcost) -> None:
    """The 74 vectors of the reference, where the checkout has them."""
    shared = Path(
        os.environ.get("AGENTCOST_VECTORS") or Path(__file__).parents[3] / "shared" / "vectors" / "pricing.json"
    )
    if not shared.is_file():
        pytest.skip(f"{shared} is not here")
    result = agentcost("price", "--vectors", str(shared))
    assert result.exit_code == 0
    assert "74 vectors, 74 of 74 as expected" in result.stderr
