"""Write tests/live/matrix.md: every program under every set of instrumentations, and what its root says.

    python -m tests.live.table          (in an environment with the groups `sdks` and `beside`)

A cell is the root's total in USD where it equals what the emulator billed; a cell that does not is shown in full.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from otel_agentcost.pricing.money import decimal_text
from tests.live.test_matrix import MANY_SELLERS, SETS, drive, lacking

TARGET = Path(__file__).parent / "matrix.md"


def cell(name: str, chosen: str, outcome: dict[str, Any] | None) -> str:
    """Say what one root showed."""
    if outcome is None:
        return ""
    if chosen == "base-url" and name in MANY_SELLERS:
        return "unpriced" if outcome["roots"] == [0] and outcome["unpriced"] else f"WRONG {outcome['roots']}"
    if outcome["roots"] == [outcome["billed"]]:
        return decimal_text(outcome["billed"])
    return f"WRONG {outcome['roots']} for {outcome['billed']}"


def main() -> None:
    """Drive every set and write the table."""
    if lacking():
        raise SystemExit(
            f"not installed here: {', '.join(lacking())}; use the environment of `test_matrix.py --beside`"
        )
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = dict(zip(SETS, pool.map(drive, SETS.values()), strict=True))
    names = sorted({name for found in outcomes.values() for name in found})
    lines = [
        "USD on the root of each program's session, where it equals the emulator's own bill to the pico-dollar;",
        "empty where a set does not drive the program. `unpriced`: a model of many sellers at an address nobody knows.",
        "",
        "| program | " + " | ".join(SETS) + " |",
        "|---|" + "--:|" * len(SETS),
    ]
    for name in names:
        cells = [cell(name, chosen, outcomes[chosen].get(name)) for chosen in SETS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    exact = sum(c != "" and not c.startswith("WRONG") for line in lines[5:] for c in line.split(" | ")[1:])
    lines += ["", f"{exact} cells."]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {TARGET.name}: {len(names)} programs, {len(SETS)} sets")


if __name__ == "__main__":
    main()
