"""`agentcost replay`: recorded traces through the same accounting as live ones."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CALL, CALL_2, ROOT, TRACE, TWO_CALLS, TWO_CALLS_PICO, Agentcost, chat, otlp, span

CORPUS = Path(os.environ.get("AGENTCOST_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")


def attributes_of(document: dict[str, Any], span_id: str) -> dict[str, Any]:
    for resource_spans in document["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for found in scope_spans["spans"]:
                if found["spanId"] == span_id:
                    return {a["key"]: next(iter(a["value"].values())) for a in found["attributes"]}
    raise AssertionError(f"no span {span_id}")


def test_sessions_are_printed_as_a_tree(agentcost: Agentcost, trace_file: Path) -> None:
    """Own and subtree cost, tokens and calls of each span, parents above their children."""
    result = agentcost("replay", str(trace_file))
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith(f"$0.0135 run trace {TRACE}")
    assert lines[1:] == [
        "own subtree tokens in / out calls span",
        "run $0.0135 3,000 / 600 2 llm eee19b7e",
        "├─ chat gpt-4o $0.0075 1,000 / 500 1 llm eee19b7e",
        "└─ chat gpt-4o $0.006 2,000 / 100 1 llm eee19b7e",
    ]


def test_json_holds_exact_integers(agentcost: Agentcost, trace_file: Path) -> None:
    """--json: pico-dollars as integers, decimal strings beside them."""
    found = json.loads(agentcost("replay", str(trace_file), "--json").stdout)
    session = found["sessions"][0]
    assert (session["pico"], session["total"], session["currency"]) == (TWO_CALLS_PICO, "0.0135", "USD")
    assert session["agrees"] is True
    assert session["session"]["cost.pico"] == TWO_CALLS_PICO
    assert [(s["depth"], s["own_pico"], s["subtree_pico"]) for s in session["spans"]] == [
        (0, None, TWO_CALLS_PICO),
        (1, 7_500_000_000, 7_500_000_000),
        (1, 6_000_000_000, 6_000_000_000),
    ]


@pytest.mark.parametrize("name", ["out.json", "out.jsonl", "out.pb", "out.json.gz"])
def test_enriched_traces_carry_exact_amounts(name: str, agentcost: Agentcost, trace_file: Path) -> None:
    """Calls get their own cost, the root the exact total; replaying the output changes nothing."""
    assert agentcost("replay", str(trace_file), "--out", name).exit_code == 0
    assert agentcost("replay", name, "--out", "again.json").exit_code == 0
    document = json.loads(Path("again.json").read_text())
    root, call = attributes_of(document, ROOT), attributes_of(document, CALL)
    assert root["agentcost.session.cost.total"] == 0.0135
    assert root["agentcost.session.cost.pico"] == str(TWO_CALLS_PICO)
    assert call["agentcost.cost.amount"] == 0.0075
    assert call["agentcost.cost.source"] == "book"
    assert call["agentcost.price.id"].endswith("openai/gpt-4o#default")
    assert '"doubleValue":0.0075' in Path("again.json").read_text()


def test_replaying_an_enriched_file_gives_the_same_bytes(agentcost: Agentcost, trace_file: Path) -> None:
    """The accounting of its own output is the same output."""
    agentcost("replay", str(trace_file), "--out", "one.json")
    agentcost("replay", "one.json", "--out", "two.json")
    agentcost("replay", "one.json", "--reprice", "always", "--out", "three.json")
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes() == Path("three.json").read_bytes()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_the_spans_does_not_matter(order: tuple[int, ...], agentcost: Agentcost, tmp_path: Path) -> None:
    """Any order of arrival, also split over files and repeated, gives the same total."""
    spans = TWO_CALLS["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for number in order:
        (tmp_path / f"{order.index(number)}.json").write_text(json.dumps(otlp(spans[number])))
    files = [f"{n}.json" for n in range(3)]
    result = agentcost("replay", *files, files[0], "--json")
    found = json.loads(result.stdout)
    assert [s["pico"] for s in found["sessions"]] == [TWO_CALLS_PICO]
    assert found["duplicates"] == 1


def test_reprice_says_what_happens_to_cost_that_stands_on_spans(agentcost: Agentcost, tmp_path: Path) -> None:
    """missing keeps it, always prices anew."""
    stated = chat(1000, 500, **{"agentcost.cost.amount": 0.5, "agentcost.cost.source": "book"})
    (tmp_path / "x.json").write_text(
        json.dumps(otlp(span(ROOT, name="run"), span(CALL, parent=ROOT, attributes=stated)))
    )

    def pico(*more: str) -> int:
        found: int = json.loads(agentcost("replay", "x.json", "--json", *more).stdout)["sessions"][0]["pico"]
        return found

    assert pico() == 500_000_000_000
    assert pico("--reprice", "always") == 7_500_000_000
    assert pico("--reprice", "never") == 500_000_000_000


def test_full_detail_writes_the_breakdown(agentcost: Agentcost, trace_file: Path, tmp_path: Path) -> None:
    """`detail: full` in the settings adds the parts of each cost."""
    (tmp_path / "agentcost.yaml").write_text("detail: full\n")
    agentcost("replay", str(trace_file), "--out", "out.json")
    call = attributes_of(json.loads(Path("out.json").read_text()), CALL)
    assert (call["agentcost.cost.input"], call["agentcost.cost.output"]) == (0.0025, 0.005)


def test_output_may_go_to_stdout(agentcost: Agentcost, trace_file: Path) -> None:
    """--out - writes OTLP JSON lines to stdout and no tree; with stdin as input it is a filter."""
    result = agentcost("replay", "-", "--out", "-", input=trace_file.read_text())
    assert result.exit_code == 0
    assert attributes_of(json.loads(result.stdout), ROOT)["agentcost.session.cost.pico"] == str(TWO_CALLS_PICO)


def test_output_may_replace_the_input(agentcost: Agentcost, trace_file: Path) -> None:
    """The file appears only when it is complete."""
    assert agentcost("replay", str(trace_file), "--out", str(trace_file)).exit_code == 0
    assert attributes_of(json.loads(trace_file.read_text()), ROOT)["agentcost.session.cost.total"] == 0.0135


def test_a_truncated_file_is_named_and_the_rest_accounted_for(agentcost: Agentcost, trace_file: Path) -> None:
    """Exit code 1, file and byte on stderr, the whole spans priced and written."""
    text = trace_file.read_text()
    trace_file.write_text(text[: text.rindex(CALL_2)])
    result = agentcost("replay", str(trace_file), "--out", "out.json", "--json")
    assert result.exit_code == 1
    assert "trace.json: line" in result.stderr
    assert "kept 2 whole spans" in result.stderr
    found = json.loads(result.stdout)
    assert found["sessions"][0]["pico"] == 7_500_000_000
    assert found["problems"][0]["file"] == str(trace_file)
    assert attributes_of(json.loads(Path("out.json").read_text()), CALL)["agentcost.cost.amount"] == 0.0075


@pytest.mark.parametrize("content", ["", "{}", '{"resourceSpans": []}', '{"resourceLogs": []}'])
def test_no_spans_is_a_finding(content: str, agentcost: Agentcost, tmp_path: Path) -> None:
    """A file without spans is told, exit code 1."""
    (tmp_path / "x.json").write_text(content)
    result = agentcost("replay", "x.json")
    assert result.exit_code == 1
    assert "no spans" in result.stderr


def test_wrong_attribute_types_give_a_status_with_a_reason(agentcost: Agentcost, tmp_path: Path) -> None:
    """A token count that is text nobody can read, or negative, claims no cost and says why."""
    calls = [
        span(f"{n:016x}", parent=ROOT, start=n, attributes={**chat(1, 1), "gen_ai.usage.input_tokens": value})
        for n, value in enumerate(("many", -5, 1.5, [1]), start=1)
    ]
    (tmp_path / "x.json").write_text(json.dumps(otlp(span(ROOT, name="run"), *calls)))
    result = agentcost("replay", "x.json", "--json")
    spans = json.loads(result.stdout)["sessions"][0]["spans"][1:]
    assert [s["status"] for s in spans] == ["invalid"] * 4
    assert all(s["reason"] and s["own_pico"] is None for s in spans)


def test_several_sessions_are_summed_at_the_end(agentcost: Agentcost, trace_file: Path, tmp_path: Path) -> None:
    """Each trace has its tree, the last line the sum."""
    other = json.loads(trace_file.read_text().replace(TRACE, "0" * 31 + "1"))
    (tmp_path / "other.json").write_text(json.dumps(other))
    result = agentcost("replay", str(trace_file), "other.json")
    assert result.stdout.splitlines()[-1] == "$0.027  in 2 sessions"


def test_a_directory_is_all_its_trace_files(agentcost: Agentcost, trace_file: Path) -> None:
    """A folder as input reads what is a trace file in it."""
    assert json.loads(agentcost("replay", ".", "--json").stdout)["sessions"][0]["pico"] == TWO_CALLS_PICO
    assert trace_file.exists()


def test_missing_parents_are_marked(agentcost: Agentcost, tmp_path: Path) -> None:
    """A span whose parent was never exported stands at the top and says so; nothing is lost."""
    (tmp_path / "x.json").write_text(json.dumps(otlp(span(CALL, parent=ROOT, attributes=chat(1000, 500)))))
    result = agentcost("replay", "x.json")
    assert "chat gpt-4o (parent missing)" in result.stdout
    assert "$0.0075" in result.stdout


def test_spans_in_a_circle_do_not_hang(agentcost: Agentcost, tmp_path: Path) -> None:
    """Damaged parents are cut open and everything is still shown once."""
    (tmp_path / "x.json").write_text(
        json.dumps(otlp(span(CALL, parent=CALL_2, attributes=chat(1000, 500)), span(CALL_2, parent=CALL, name="b")))
    )
    found = json.loads(agentcost("replay", "x.json", "--json", "--all").stdout)
    assert sorted(s["span_id"] for s in found["sessions"][0]["spans"]) == [CALL_2, CALL]


def test_a_very_deep_trace_is_no_recursion(agentcost: Agentcost, tmp_path: Path) -> None:
    """Five thousand spans below each other are shown and summed."""
    spans = [span(f"{n:016x}", parent=f"{n - 1:016x}" if n > 1 else "", name=f"s{n}", start=n) for n in range(1, 5000)]
    spans.append(span(f"{5000:016x}", parent=f"{4999:016x}", start=5000, attributes=chat(1000, 500)))
    (tmp_path / "x.json").write_text(json.dumps(otlp(*spans)))
    found = json.loads(agentcost("replay", "x.json", "--json").stdout)
    assert found["sessions"][0]["pico"] == 7_500_000_000
    assert found["sessions"][0]["spans"][0]["subtree_pico"] == 7_500_000_000


def test_spans_without_cost_are_hidden_and_counted(agentcost: Agentcost, tmp_path: Path) -> None:
    """The tree shows what matters; --all shows the rest."""
    (tmp_path / "x.json").write_text(
        json.dumps(
            otlp(
                span(ROOT, name="run"),
                span(CALL, parent=ROOT, attributes=chat(1000, 500)),
                span(CALL_2, parent=ROOT, name="SELECT"),
            )
        )
    )
    shown = agentcost("replay", "x.json").stdout
    assert "SELECT" not in shown
    assert "(1 span without cost not shown)" in shown
    assert "SELECT" in agentcost("replay", "x.json", "--all").stdout


@pytest.mark.parametrize("name", ["helm.json", "k8s.json"])
def test_real_jaeger_files_are_read(name: str, agentcost: Agentcost) -> None:
    """Real exports of a Jaeger query API with agents in them."""
    file = CORPUS / "traces" / "agentevals-adk" / name
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    result = agentcost("replay", str(file), "--json", "--out", "out.pb")
    found = json.loads(result.stdout)
    assert found["problems"] == []
    assert found["sessions"]
    assert all(session["agrees"] for session in found["sessions"])
