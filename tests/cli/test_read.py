"""`agentcost read`: recorded HTTP exchanges, one line in, one line out."""

from __future__ import annotations

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import EXCHANGE, Agentcost

CORPUS = Path(os.environ.get("AGENTCOST_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")


def test_a_line_tells_inclusive_usage_and_exclusive_items(agentcost: Agentcost, exchanges_file: Path) -> None:
    """input_tokens holds the cached ones; items hold what is multiplied by a rate."""
    result = agentcost("read", str(exchanges_file))
    assert result.exit_code == 0
    line = json.loads(result.stdout)
    assert line["id"] == "one"
    assert (line["status"], line["provider"], line["model"]) == ("usage", "openai", "gpt-4o-2024-08-06")
    assert line["usage"]["input_tokens"] == 1000
    assert line["usage"]["cache_read_tokens"] == 400
    units = line["items"][0]["units"]
    assert (units["input_tokens"], units["cache_read_tokens"], units["output_tokens"]) == (600, 400, 500)
    assert result.stderr == "1 exchange: 1 usage; 0 bad lines\n"


@pytest.mark.parametrize("form", ["gzip", "stdin", "stdin-gzip", "base64"])
def test_every_way_in_reads_the_same(form: str, agentcost: Agentcost, exchanges_file: Path) -> None:
    """Plain, gzip, stdin, base64 bodies."""
    plain = agentcost("read", str(exchanges_file)).stdout
    data = exchanges_file.read_bytes()
    if form == "base64":
        body = base64.b64encode(str(EXCHANGE["response_body"]).encode()).decode()
        record = {**EXCHANGE, "response_body": body, "response_body_enc": "base64"}
        exchanges_file.write_text(json.dumps(record))
        result = agentcost("read", str(exchanges_file))
    elif form == "gzip":
        exchanges_file.write_bytes(gzip.compress(data))
        result = agentcost("read", str(exchanges_file))
    else:
        result = agentcost("read", "-", input=gzip.compress(data) if form == "stdin-gzip" else data)
    assert result.exit_code == 0
    assert result.stdout == plain


def test_bad_lines_are_named_counted_and_skipped(agentcost: Agentcost, tmp_path: Path) -> None:
    """Whatever stands in a line, the run goes on; the exit code is 1."""
    good = json.dumps(EXCHANGE)
    bad = ["{broken", "[1, 2]", "5", '"text"', "\x00", "[" * 100_000]
    file = tmp_path / "x.jsonl"
    file.write_bytes("\n".join([good, *bad, "", good]).encode() + b"\n\xff\xfe\n")
    result = agentcost("read", str(file))
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    for number in range(2, 8):
        assert f"x.jsonl: line {number}: " in result.stderr
    assert "line 10: not UTF-8" in result.stderr
    assert result.stderr.endswith("2 exchanges: 2 usage; 7 bad lines\n")


def test_many_bad_lines_do_not_flood_the_terminal(agentcost: Agentcost, tmp_path: Path) -> None:
    """Twenty are shown, the rest is counted."""
    file = tmp_path / "x.jsonl"
    file.write_text("{\n" * 100)
    result = agentcost("read", str(file))
    assert result.stderr.count("invalid JSON") == 20
    assert "80 more bad lines" in result.stderr
    assert "0 exchanges; 100 bad lines" in result.stderr


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"response_body": '{"id": "x", "object": "chat.completion", "choices": []}'}, "no_usage"),
        ({"status": 500, "response_body": '{"error": {"message": "x"}}'}, "not_billed"),
        ({"response_body": "not json"}, "no_usage"),
        ({"response_body": None, "url": None, "status": "x", "response_headers": 7}, "no_usage"),
    ],
)
def test_without_usage_nothing_is_claimed(
    change: dict[str, Any], status: str, agentcost: Agentcost, tmp_path: Path
) -> None:
    """No usage is null, never 0, with a reason."""
    (tmp_path / "x.jsonl").write_text(json.dumps({**EXCHANGE, **change}))
    result = agentcost("read", "x.jsonl")
    line = json.loads(result.stdout)
    assert line["status"] in (status, "error")
    assert line["usage"] is None
    assert line["items"] == []
    assert line["reason"]


def test_a_truncated_gzip_file_gives_what_it_holds(agentcost: Agentcost, tmp_path: Path) -> None:
    """What was unpacked is read; the cut is a finding."""
    lines = "".join(json.dumps({**EXCHANGE, "id": str(n * 7919 % 10007)}) + "\n" for n in range(2000))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-200])
    result = agentcost("read", "x.jsonl.gz")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) > 100
    assert "gzip" in result.stderr


def test_a_missing_file_is_named(agentcost: Agentcost) -> None:
    """Exit code 2 and the name."""
    result = agentcost("read", "nowhere.jsonl")
    assert result.exit_code == 2
    assert "nowhere.jsonl" in result.stderr


def test_the_whole_corpus_is_read_without_a_bad_line(agentcost: Agentcost) -> None:
    """All recorded exchanges give one line each, and none of them claims 0 for unknown."""
    file = CORPUS / "exchanges.jsonl.gz"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    result = agentcost("read", str(file))
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    with gzip.open(file) as records:
        assert len(lines) == sum(1 for _ in records)
    for line in lines:
        assert (line["usage"] is None or line["usage"] == {}) == (line["status"] != "usage") or line["reason"]
