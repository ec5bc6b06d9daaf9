"""docs/accuracy.md, made of what the tests run: the truth table, the peers' rules on it, and recorded reality."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_agentcost.ledger.settle import settle
from tests import recorded
from tests.peers import PEERS, SHORTCUTS
from tests.test_conformance_ledger import VECTORS, entries_of, pricer

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
LIVE = ROOT / "tests" / "live" / "matrix.md"
"""The table of the live matrix, where the tests of SDKs have written one."""
_RECORDED = re.compile(r"<!-- recorded -->\n(.*?)<!-- /recorded -->", re.DOTALL)

PROVED_ELSEWHERE = {
    "F13": "streams without usage: asked for where the host accepts it, else a labelled estimate; "
    "`tests/otel/test_tap_asking.py`, `tests/test_accuracy.py`",
    "F14": "streams that end early: what was seen is charged and labelled; `tests/live/test_broken_streams.py`, "
    "`tests/test_accuracy.py`",
    "F15": "a cost inside a stream's last event is read; `tests/test_accuracy.py` and the bills below",
    "F18": "spans, session and metrics are one ledger's figures; `tests/test_accuracy.py`",
    "F21": "a child without the session's id belongs to its trace's session; `tests/test_accuracy.py`",
    "F22": "budgets: reservation under concurrency; not part of what is proved here yet",
    "F23": "budgets: free and local models; not part of what is proved here yet",
    "F27": "the price list: pricing vectors and stated bills below, `agentcost prices --cross-check` against others",
}
"""Failure modes that are not about which spans are added up."""


@dataclass(frozen=True)
class Row:
    """One case of the truth table."""

    name: str
    about: str
    cites: tuple[str, ...]
    truth: int
    ours: int
    peers: tuple[int, ...]


def truth_table() -> list[Row]:
    """Every ledger vector: its stated total, ours, and what each peer's rule makes of the same spans."""
    rows = []
    for name, vector in VECTORS.items():
        entries = entries_of(vector)
        rows.append(
            Row(
                name=name,
                about=vector["about"],
                cites=tuple(vector["cites"]),
                truth=vector["expect"]["total"],
                ours=settle(entries, pricer(vector)).total,
                peers=tuple(peer.total(entries) for peer in PEERS),
            )
        )
    return sorted(rows, key=lambda row: (not row.name.startswith("F"), row.name))


def factor(total: int, truth: int) -> str:
    """Write a figure as a multiple of the truth, rounded half up to hundredths; money over nothing is `> 0`."""
    if truth == 0:
        return "1.00" if total == 0 else "> 0"
    hundredths = (200 * total + truth) // (2 * truth)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


@dataclass(frozen=True)
class Shortfall:
    """One span's truth, and what a shortcut of arithmetic makes of it."""

    name: str
    truth: int
    by_shortcut: dict[str, int]


def arithmetic_table() -> list[Shortfall]:
    """Vectors of one call whose counting is the trap (F9 to F12)."""
    rows = []
    for name, vector in VECTORS.items():
        if not name.startswith(("F09", "F10", "F11", "F12")):
            continue
        (span,) = vector["spans"]
        attributes: dict[str, Any] = span["attributes"]
        model = attributes.get("gen_ai.request.model") or attributes["llm.model_name"]
        listed = vector["prices"][model]
        rates = {
            "input": float(listed["input_tokens"]),
            "cached": float(listed["cache_read_tokens"]),
            "output": float(listed["output_tokens"]),
        }
        made = {key: round(shortcut.cost(attributes, rates) * 1e12) for key, shortcut in SHORTCUTS.items()}
        rows.append(Shortfall(name, vector["expect"]["total"], made))
    return rows


def page() -> str:
    """Write the page; without the recordings the figures about them stay as they were committed."""
    parts = [*_head(), *_truth(), *_arithmetic(), *_elsewhere(), *_laws(), *_live()]
    return "\n".join(parts) + "\n\n## Recorded reality\n\n<!-- recorded -->\n" + _recorded() + "<!-- /recorded -->\n"


def _recorded() -> str:
    if recorded.has_corpus():
        return "\n".join(recorded.lines()) + "\n"
    kept = _RECORDED.search(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else None
    if kept is None:
        raise SystemExit("docs/accuracy.md has no figures to keep, and the recorded exchanges are not here")
    print("accuracy: the recorded exchanges are not here; their figures in docs/accuracy.md are kept", file=sys.stderr)
    return kept[1]


def _head() -> Iterator[str]:
    yield "# How accurate"
    yield ""
    yield "This page is written by `make generate` out of what the tests run (`tests/accuracy.py`); do not edit it."
    yield "[accounting.md](accounting.md) says by which laws a session's cost is worked out; this page shows it."
    yield ""


def _truth() -> Iterator[str]:
    rows = truth_table()
    exact = sum(row.ours == row.truth for row in rows)
    yield "## The truth table"
    yield ""
    yield (
        f"{len(rows)} traces with a known cost; ours is exact to the pico-dollar in {exact}, in every order of "
        "arrival, with spans exported twice, split over files and streamed span by span (`tests/conformance/ledger`). "
        "F1 to F30 are failures seen in the field."
    )
    yield "Beside it: what a rule that others document makes of the same spans, as a multiple of the truth."
    yield (
        "Each rule gets our reading and our price of every span, so only the rule itself differs; a product may "
        "combine rules, or apply one only where its own instrumentation runs."
    )
    yield ""
    for number, peer in enumerate(PEERS, 1):
        yield f"{number}. **{peer.name}**: {peer.states} ({peer.source})."
    yield ""
    heads = " | ".join(f"{number} {peer.name}" for number, peer in enumerate(PEERS, 1))
    yield f"| case | cites | ours | {heads} |"
    yield "|---|---|--:|" + "--:|" * len(PEERS)
    for row in rows:
        cells = " | ".join(factor(total, row.truth) for total in row.peers)
        yield f"| {row.name}: {row.about} | {', '.join(row.cites)} | {factor(row.ours, row.truth)} | {cells} |"
    right = [sum(row.peers[n] == row.truth for row in rows) for n in range(len(PEERS))]
    yield f"| **exact** | | **{exact} of {len(rows)}** | " + " | ".join(f"**{count}**" for count in right) + " |"
    yield ""


def _arithmetic() -> Iterator[str]:
    yield "### One call, counted otherwise"
    yield ""
    yield "Traps inside one span: what a documented shortcut makes of its attributes, as a multiple of the truth."
    yield ""
    yield "| case | ours | " + " | ".join(s.name for s in SHORTCUTS.values()) + " |"
    yield "|---|--:|" + "--:|" * len(SHORTCUTS)
    for row in arithmetic_table():
        cells = " | ".join(factor(row.by_shortcut[key], row.truth) for key in SHORTCUTS)
        yield f"| {row.name} | 1.00 | {cells} |"
    yield ""
    yield "Sources: " + "; ".join(f"{s.name}: {s.source}" for s in SHORTCUTS.values()) + "."
    yield ""


def _elsewhere() -> Iterator[str]:
    yield "### Not about adding up"
    yield ""
    for name, where in PROVED_ELSEWHERE.items():
        yield f"- **{name}** {where}."
    yield ""


def _laws() -> Iterator[str]:
    yield "## The laws on random traces"
    yield ""
    yield (
        "`tests/oracle.py` is a second, naive implementation written from accounting.md. `python -m tests.test_oracle` "
        "compares it with the ledger on 100 000 random traces (nesting, wrappers, router names, remainders, "
        "aggregates of all three kinds, twins, duplicates, lost parents, failed attempts, fetches, guesses, servers, "
        "fees): every charge of the settled trace, the sum of what is written while spans stream in, in any order, "
        "announced or not, the merge of several ledgers, several traces of one session. All equal to the pico; the "
        "suite runs 2 400 of them."
    )
    yield (
        "`python -m tests.test_fuzz` sends 100 000 mutated bodies and spans through readers and accounting: nothing is "
        "raised, nothing hangs, memory stays bounded."
    )
    yield ""


def _live() -> Iterator[str]:
    yield "## Real SDKs beside other instrumentations"
    yield ""
    if LIVE.exists():
        yield LIVE.read_text(encoding="utf-8").rstrip("\n")
    else:
        yield "`tests/live` runs real SDKs against a local provider, alone and with other instrumentations beside us:"
        yield "one exact figure in every cell, asserted by `tests/live/test_matrix.py`."
