"""The two implementations over one file of traces: every charge and every attribute, compared bit for bit."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_agentcost.cli.console import Console
from otel_agentcost.cli.traces import Traces, read_traces
from otel_agentcost.ledger.accounting import Accounts, account
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.overrides import Overrides

REPOSITORY = Path(__file__).parent.parent.parent
COLLECTOR = REPOSITORY / "collector"
PRICES = Path(__file__).parent / "prices.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """What the two sides say about one span."""

    trace_id: str
    span_id: str
    what: str
    python: object
    go: object

    def __str__(self) -> str:
        return f"{self.trace_id} {self.span_id} {self.what}:\n  Python {self.python!r}\n  Go     {self.go!r}"


def build(folder: Path) -> Path:
    """Build the Go command; raises CalledProcessError with its words when that fails."""
    binary = folder / "agentcost-replay"
    subprocess.run(
        ["go", "build", "-o", str(binary), "./cmd/agentcost-replay"],
        cwd=COLLECTOR,
        check=True,
        capture_output=True,
        text=True,
    )
    return binary


def build_vector_runner(folder: Path) -> Path:
    """Build the Go tests that run the vectors of the ledger."""
    runner = folder / "ledger.test"
    subprocess.run(
        ["go", "test", "-c", "-o", str(runner), "./agentcostprocessor/internal/ledger"],
        cwd=COLLECTOR,
        check=True,
        capture_output=True,
        text=True,
    )
    return runner


def run_vectors(runner: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the vectors of a folder in Go, in several orders each."""
    return subprocess.run(
        [str(runner), "-test.run", "^TestConformanceOwnCosts$"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "AGENTCOST_LEDGER_VECTORS": str(folder)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a user may choose about the accounting."""

    reprice: str = "missing"
    full: bool = False
    prices: bool = False
    """With the own prices, discounts and fees of prices.json."""


def charges_in_python(path: Path, choice: Choice) -> tuple[Traces, Accounts]:
    """Read and account for a file as `agentcost replay` does."""
    traces = read_traces([str(path)], Console())
    book = PriceBook.bundled()
    if choice.prices:
        book = book.with_overrides(Overrides.from_mapping(json.loads(PRICES.read_text(encoding="utf-8"))))
    return traces, account(traces.records, book, reprice=choice.reprice, full=choice.full)


def charges_in_go(binary: Path, path: Path, choice: Choice) -> dict[tuple[str, str], Any]:
    """Account for a file with the Go command; its charges by trace and span id."""
    charges = path.with_suffix(".charges")
    options = ["--quiet", "--charges", str(charges), "--reprice", choice.reprice]
    options += ["--full"] if choice.full else []
    options += ["--prices", str(PRICES)] if choice.prices else []
    subprocess.run([str(binary), *options, str(path)], check=True, capture_output=True, text=True)
    with charges.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return {(one["trace_id"], one["span_id"]): one for one in found}


def compare(accounts: Accounts, go: Mapping[tuple[str, str], Any]) -> Iterator[Disagreement]:
    """Yield everything the two sides disagree about."""
    for key in accounts.charges.keys() | go.keys():
        if key not in go or key not in accounts.charges:
            yield Disagreement(
                trace_id=key[0], span_id=key[1], what="span", python=key in accounts.charges, go=key in go
            )
            continue
        charge, told = accounts.charges[key], go[key]
        sides = {
            "pico": charge.pico,
            "status": charge.status,
            "reason": charge.reason,
            "source": charge.source,
            "currency": charge.currency,
            "subtree": accounts.subtrees[key].total,
        }
        for name, value in sides.items():
            if value != told[name]:
                yield Disagreement(trace_id=key[0], span_id=key[1], what=name, python=value, go=told[name])
        python, written = accounts.attributes.get(key, {}), told["attributes"]
        if list(python) != list(written):
            yield Disagreement(
                trace_id=key[0], span_id=key[1], what="attributes", python=list(python), go=list(written)
            )
        for name in python.keys() & written.keys():
            if bits(python[name]) != bits(written[name]):
                yield Disagreement(trace_id=key[0], span_id=key[1], what=name, python=python[name], go=written[name])


def bits(value: object) -> object:
    """Type and exact value; of a double, its bits."""
    if isinstance(value, float):
        return float, struct.pack(">d", value)
    return type(value), value
