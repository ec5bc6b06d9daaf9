"""The live matrix: real SDKs, real instrumentations, one number.

Whoever else watches, and however a program calls its SDK, the session's root says exactly what the emulator billed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live.sdks import importable

ROOT = Path(__file__).resolve().parents[2]
CHIEF = ["openai", "anthropic", "google"]
WATCHED = ["openai", "anthropic"]

NEEDS = {
    "openllmetry": ("opentelemetry.instrumentation.openai", "opentelemetry.instrumentation.anthropic"),
    "openinference": ("openinference.instrumentation.openai", "openinference.instrumentation.anthropic"),
}
"""What a set of instrumentations cannot do without."""

SETS: dict[str, dict[str, Any]] = {
    "nobody-else": {"providers": CHIEF},
    "httpx-instrumented-compressed": {"httpx": True, "encoding": "auto"},
    "anthropic-native-off": {"native": False, "providers": ["anthropic"]},
    "openllmetry": {"openllmetry": True, "providers": WATCHED},
    "openinference": {"openinference": True, "providers": WATCHED},
    "openllmetry-without-native": {"openllmetry": True, "native": False, "wrap": True, "providers": WATCHED},
    "everybody": {
        "httpx": True,
        "openllmetry": True,
        "openinference": True,
        "processor_first": True,
        "providers": WATCHED,
    },
    "base-url": {
        "hosts": False,
        "providers": ["openai", "anthropic", "google", "mistral", "cohere", "ollama", "groq"],
    },
}
"""Name -> the driver's `Set`."""

MANY_SELLERS = ("groq", "groq-async", "groq-stream", "agent-groq")
"""Programs whose model many sell: at an address nobody knows it has no price."""


def lacking() -> list[str]:
    """The instrumentations that are not installed here."""
    return [name for name, packages in NEEDS.items() if not all(importable(package) for package in packages)]


def runnable() -> list[str]:
    """The sets whose instrumentations are installed."""
    return [name for name, chosen in SETS.items() if not any(chosen.get(need) for need in lacking())]


def drive(chosen: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Run one process of the matrix; return its outcomes by program."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AGENTCOST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.driver", json.dumps(chosen)],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    return {outcome["name"]: outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def matrix() -> Iterator[dict[str, Future[dict[str, dict[str, Any]]]]]:
    """All sets, two processes at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {name: pool.submit(drive, SETS[name]) for name in runnable()}


@pytest.mark.parametrize("name", runnable())
def test_the_root_says_what_was_billed(matrix: dict[str, Future[dict[str, dict[str, Any]]]], name: str) -> None:
    """Every program of the set: one root, the billed pico-dollars, complete, nothing unpriced, no fault of ours."""
    outcomes = matrix[name].result()
    if name == "base-url":
        outcomes = {key: outcome for key, outcome in outcomes.items() if key not in MANY_SELLERS}

    assert len(outcomes) >= 4
    billed = {key: ([o["billed"]], [True], [None], {}) for key, o in outcomes.items()}
    assert {key: (o["roots"], o["complete"], o["unpriced"], o["faults"]) for key, o in outcomes.items()} == billed


@pytest.mark.parametrize("name", runnable())
def test_nothing_secret_is_exported(matrix: dict[str, Future[dict[str, dict[str, Any]]]], name: str) -> None:
    """No key, no system prompt, no user text, no tool argument in the exported bytes."""
    outcomes = matrix[name].result()

    assert {key: o["leaked"] for key, o in outcomes.items() if o["leaked"]} == {}


def test_a_model_of_many_sellers_has_no_price_at_an_unknown_address(
    matrix: dict[str, Future[dict[str, dict[str, Any]]]],
) -> None:
    """Nobody can know what was billed: every call is counted as unpriced, none is charged as if it were free."""
    outcomes = matrix["base-url"].result()

    found = {key: (outcomes[key]["unpriced"], outcomes[key]["roots"]) for key in MANY_SELLERS if key in outcomes}
    assert found == dict.fromkeys(found, ([3], [0]))


def test_sets_agree_with_each_other(matrix: dict[str, Future[dict[str, dict[str, Any]]]]) -> None:
    """The same program costs the same, whoever else watches."""
    totals: dict[str, set[int]] = {}
    for future in matrix.values():
        for key, outcome in future.result().items():
            if outcome["unpriced"] == [None]:
                totals.setdefault(key, set()).update(outcome["roots"])

    assert {key: found for key, found in totals.items() if len(found) != 1} == {}
