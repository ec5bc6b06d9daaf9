"""`agentcost demo`: what it prints is what its providers billed, and what a pencil gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.cli import demo_command
from tests.cli.conftest import Agentcost

BY_HAND = Path(__file__).parents[2] / "examples" / "demo-by-hand.md"


def run_demo(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from otel_agentcost.cli import main; main()", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """One run of the demo: its folder and its JSON."""
    folder = tmp_path_factory.mktemp("demo")
    result = run_demo(folder, "--json", "--out", "demo.json", AGENTCOST_CONFIG="")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, json.loads(result.stdout)


def hand_rows() -> tuple[list[list[str]], Decimal]:
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in BY_HAND.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not line.startswith(("|---", "| step"))
    ]
    total = next(Decimal(row[-1].strip("* ")) for row in rows if row[0] == "**total**")
    return [row for row in rows if row[0] != "**total**"], total


def test_every_line_of_the_sum_by_hand_is_right() -> None:
    """quantity x rate / per = amount, line by line, and the lines add up to the total."""
    rows, total = hand_rows()
    assert len(rows) > 20
    for row in rows:
        quantity, rate, per, amount = (Decimal(cell.replace(",", "")) for cell in row[3:7])
        assert quantity * rate == amount * per, row
    assert sum(Decimal(row[6]) for row in rows) == total


def test_the_root_is_the_emulators_bill_and_the_sum_by_hand(demo: tuple[Path, dict[str, Any]]) -> None:
    """Three independent figures are one: the root span, the providers' ledger plus the GPU, the document."""
    _, found = demo
    _, total = hand_rows()
    assert found["equal"] is True
    assert found["root_pico"] == found["emulator_pico"] + found["compute_pico"] == found["expected_pico"]
    assert Decimal(found["expected"]) == total
    assert found["sessions"][0]["agrees"] is True


def test_the_demo_shows_what_it_promises(demo: tuple[Path, dict[str, Any]]) -> None:
    """Streams, parallel tools, a sub-agent, a retry, a failure, a paid API, a GPU, three SDKs: all in one session."""
    _, found = demo
    assert len(found["sessions"]) == 1
    spans = found["sessions"][0]["spans"]
    names = [s["name"] for s in spans]
    assert names.count("GET") == 2
    assert "invoke_agent researcher" in names
    assert {"execute_tool market_data", "execute_tool ask_researcher"} <= set(names)
    assert sum(1 for s in spans if s["failed"] and s["own_pico"] == 0) == 2
    totals = found["sessions"][0]["session"]
    assert totals["tokens.cache_read"] == 8000 + 1920
    assert totals["tokens.cache_write"] == 8000
    assert totals["cost.compute"] == 0.0025
    assert totals["cost.api"] == 0.01
    assert totals["cost.tool"] == 0.02
    assert found["seconds"] < 60


def test_the_exported_spans_are_otlp_that_replays_to_the_same_total(
    demo: tuple[Path, dict[str, Any]], agentcost: Agentcost
) -> None:
    """The file is what an exporter got; accounting for it again changes nothing."""
    folder, found = demo
    result = agentcost("replay", str(folder / found["file"]), "--json")
    assert [s["pico"] for s in json.loads(result.stdout)["sessions"]] == [found["root_pico"]]


def test_no_prompt_key_or_query_leaves_in_a_span(demo: tuple[Path, dict[str, Any]]) -> None:
    """The whole payload holds no word that was asked or answered, no key, no query string."""
    folder, found = demo
    payload = (folder / found["file"]).read_text()
    for secret in ("electricity", "The archive", "api_key", "x-api-key", "Bearer", "?q=", "x-emulator-reply"):
        assert secret not in payload


def test_a_missing_package_is_named(agentcost: Agentcost, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setattr(demo_command, "NEEDED", {"openai": "openai", "nobody.here": "nobodys-sdk", "nix": "nix-sdk"})
    result = agentcost("demo")
    assert result.exit_code == 2
    assert result.stderr == "agentcost: the demo needs nobodys-sdk, nix-sdk: pip install 'otel-agentcost[demo]'\n"


def test_people_see_the_tree_and_the_check_and_a_collector_gets_the_spans(tmp_path: Path) -> None:
    """Text output, the OTLP endpoint of the environment, and somebody's own agentcost.yaml that must not disturb."""
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "agentcost.yaml").write_text("discounts:\n  - {model: '*', percent: '50'}\n")
    server = HTTPServer(("127.0.0.1", 0), Collector)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever)
        try:
            result = run_demo(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            server.server_close()
    assert result.returncode == 0, result.stderr
    assert "market brief" in result.stdout
    assert "equal to the last pico-dollar" in result.stdout
    assert "$0.11955" in result.stdout
    assert "Traceback" not in result.stderr
    assert (tmp_path / "agentcost-demo" / "trace.json").is_file()
    assert [path for path, _ in received] == ["/v1/traces"]
    assert b"agentcost.session.cost.pico" in received[0][1]
    assert "spans sent to http://127.0.0.1" in result.stderr


def test_the_figure_the_demo_offers_to_explain_is_explained(
    demo: tuple[Path, dict[str, Any]], agentcost: Agentcost
) -> None:
    """Spans and prices beside each other are all that `explain` needs."""
    folder, found = demo
    paid = next(s for s in found["sessions"][0]["spans"] if s["name"] == "GET")
    result = agentcost(
        "explain", paid["span_id"], str(folder / found["file"]), "--config", str(folder / found["prices"])
    )
    assert result.exit_code == 0
    assert "api_requests" in result.stdout
    assert "x $0.005 (market-data)" in result.stdout
    assert "charged $0.005; as the span says" in result.stdout
