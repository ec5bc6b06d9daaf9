"""`agentcost explain`: the arithmetic behind one figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CALL, CALL_2, ROOT, TRACE, TWO_CALLS_PICO, Agentcost, chat, otlp, span


def test_a_call_is_explained_by_quantity_times_rate(agentcost: Agentcost, trace_file: Path) -> None:
    """Units, quantities, rates, the sum, which price and what was read."""
    result = agentcost("explain", CALL, str(trace_file))
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "input_tokens 1,000 x $2.5 / 1,000,000 = $0.0025" in text
    assert "output_tokens 500 x $10 / 1,000,000 = $0.005" in text
    assert "total = $0.0075" in text
    assert "openai/gpt-4o#default (source: book)" in text
    assert "read as call" in text
    assert "charged $0.0075" in text
    assert f"span {CALL} of trace {TRACE}" in text


def test_a_root_is_explained_as_the_sum_of_own_costs(agentcost: Agentcost, trace_file: Path) -> None:
    """Every charged span below is a summand."""
    text = " ".join(agentcost("explain", ROOT, str(trace_file)).stdout.split())
    assert f"+ {CALL} chat gpt-4o $0.0075 + {CALL_2} chat gpt-4o $0.006 = subtree $0.0135" in text


def test_json_holds_the_same(agentcost: Agentcost, trace_file: Path) -> None:
    """--json: bill with lines, charge, subtree."""
    found = json.loads(agentcost("explain", CALL, str(trace_file), "--json").stdout)
    assert found["charge"]["pico"] == 7_500_000_000
    assert [line["pico"] for line in found["bill"]["lines"]] == [2_500_000_000, 5_000_000_000]
    assert found["stated_pico"] is None
    root = json.loads(agentcost("explain", ROOT, str(trace_file), "--json").stdout)
    assert root["subtree_pico"] == TWO_CALLS_PICO
    assert [b["pico"] for b in root["below"]] == [7_500_000_000, 6_000_000_000]


def test_a_figure_on_the_span_is_compared(agentcost: Agentcost, trace_file: Path, tmp_path: Path) -> None:
    """An enriched span agrees; a tampered one is a finding that shows both figures."""
    agentcost("replay", str(trace_file), "--out", "priced.json")
    result = agentcost("explain", CALL, "priced.json")
    assert result.exit_code == 0
    assert "charged $0.0075; as the span says" in result.stdout
    assert "input_tokens" in result.stdout
    tampered = chat(1000, 500, **{"agentcost.cost.amount": 0.5, "agentcost.cost.source": "book"})
    (tmp_path / "bad.json").write_text(json.dumps(otlp(span(CALL, attributes=tampered))))
    result = agentcost("explain", CALL, "bad.json")
    assert result.exit_code == 1
    assert "$0.5" in result.stdout
    assert "$0.0075" in result.stdout


def test_a_mirror_names_the_span_that_is_charged(agentcost: Agentcost, tmp_path: Path) -> None:
    """A wrapper around the same request costs nothing and points to the inner call."""
    outer = span(CALL, parent=ROOT, name="ChatOpenAI", start=1, attributes=chat(1000, 500))
    inner = span(CALL_2, parent=CALL, start=2, attributes=chat(1000, 500))
    (tmp_path / "x.json").write_text(json.dumps(otlp(span(ROOT, name="run"), outer, inner)))
    text = agentcost("explain", CALL, "x.json").stdout
    assert "mirror" in text
    assert f"the request is charged on chat gpt-4o {CALL_2}" in text


def test_a_span_is_found_by_the_beginning_of_its_id(agentcost: Agentcost, trace_file: Path) -> None:
    """A beginning is enough as long as it is one span's; TRACE:SPAN always is."""
    result = agentcost("explain", "eee19b7ec3c1b1", str(trace_file))
    assert result.exit_code == 2
    assert "beginning of 3 spans" in result.stderr
    assert agentcost("explain", f"{TRACE}:{CALL}", str(trace_file)).exit_code == 0
    assert agentcost("explain", CALL.upper(), str(trace_file)).exit_code == 0
    result = agentcost("explain", "ffff", str(trace_file))
    assert result.exit_code == 2
    assert "no span 'ffff' among the 3 spans" in result.stderr


def test_without_a_file_the_newest_record_is_used(agentcost: Agentcost, trace_file: Path) -> None:
    """Records of run and demo in the current folder are found; without any, that is said."""
    result = agentcost("explain", CALL)
    assert result.exit_code == 2
    assert "agentcost-runs" in result.stderr
    folder = Path("agentcost-runs/20261123T120000Z")
    folder.mkdir(parents=True)
    trace_file.rename(folder / "spans-1.jsonl")
    assert agentcost("explain", CALL).exit_code == 0


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (chat(1000, 500, "nobodys-model"), "unpriced: unknown_model"),
        ({**chat(1, 1), "gen_ai.usage.input_tokens": -5}, "invalid"),
        ({"db.system.name": "postgresql"}, "nothing about consumption"),
    ],
)
def test_what_has_no_cost_says_why(
    attributes: dict[str, object], words: str, agentcost: Agentcost, tmp_path: Path
) -> None:
    """No cost claimed: the reason is told."""
    (tmp_path / "x.json").write_text(json.dumps(otlp(span(CALL, attributes=attributes))))
    assert words in agentcost("explain", CALL, "x.json").stdout
