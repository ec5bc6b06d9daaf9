"""Run the bench: every bar in an interpreter of its own, then a table; exit 1 when a must is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from tests.bench import environments
from tests.bench.figures import BARS, Findings
from tests.bench.report import table

PROBES: tuple[tuple[str, str, frozenset[str]], ...] = tuple(
    (environment, probe, frozenset(bars.split()))
    for environment, probe, bars in (
        ("genai", "clients.measure_chat", "P1 P2"),
        ("genai", "clients.measure_stream", "P3"),
        ("genai", "streams.measure_slope", "P4 P4a"),
        ("genai", "clients.measure_peak", "P5"),
        ("genai", "streams.measure_growth", "P5g"),
        ("genai", "clients.measure_retained", "P6"),
        ("genai", "startup.measure_startup", "P7 P7m"),
        ("genai", "prices.measure_warm", "P8 P8g"),
        ("genai", "prices.measure_cold", "P9"),
        ("genai", "processors.measure_mixed", "P10 P11"),
        ("genai", "processors.measure_flatness", "P12"),
        ("genai", "memory.measure_state", "P12m"),
        ("genai", "processors.measure_open", "P12s"),
        ("genai", "processors.measure_foreign", "P13"),
        ("genai", "pipeline.measure_pipeline", "P14"),
        ("genai", "pipeline.measure_bytes", "P15"),
        ("genai", "memory.measure_many", "M1"),
        ("openai-v2", "peers.measure_openai_v2", "peers"),
        ("openllmetry", "peers.measure_openllmetry", "peers"),
        ("openinference", "peers.measure_openinference", "peers"),
        ("logfire", "peers.measure_logfire", "peers"),
    )
)
"""Environment, probe, and the bars it measures; `peers` are further comparisons, of the full form."""


def run(environment: str, probe: str, form: str) -> Findings:
    """Run one probe in its environment."""
    python = environments.python_of(environment)
    command = [str(python), "-m", "tests.bench.worker", probe, form]
    done = subprocess.run(
        command, cwd=environments.ROOT, env=environments.surroundings(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"bench: {probe} failed in {environment}")
    return Findings.from_json(json.loads(done.stdout.splitlines()[-1]))


def machine() -> dict[str, str]:
    """What this run was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "otel-agentcost": version("otel-agentcost"),
    }


def wanted(only: str, *, quick: bool) -> set[str]:
    """Return the bars asked for: a name, or a name without its letter for all of its kind (P12: P12, P12m, P12s)."""
    if not only:
        return {bar.name for bar in BARS} | (set() if quick else {"peers"})
    asked = {name.strip().upper() for name in only.split(",")}
    found = {bar.name for bar in BARS if bar.name.upper() in asked or bar.name.rstrip("agms").upper() in asked}
    if "PEERS" in asked:
        found.add("peers")
    if not found:
        raise SystemExit(f"bench: no bar is called {only}; there are {', '.join(bar.name for bar in BARS)}")
    return found


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="for development: under two minutes")
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead of the table")
    parser.add_argument("--only", default="", metavar="P1,P8", help="measure these bars only")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the JSON here as well")
    options = parser.parse_args()
    bars = wanted(options.only, quick=options.quick)
    form = "quick" if options.quick else "full"
    found = Findings()
    begin = time.monotonic()
    for environment, probe, measures in PROBES:
        if measures & bars:
            started = time.monotonic()
            found.add(run(environment, probe, form))
            print(f"bench: {probe} {time.monotonic() - started:.0f} s", file=sys.stderr)
    result = {"form": form, "machine": machine(), "seconds": time.monotonic() - begin, **found.as_json()}
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1) if options.json else table(found))
    judged = {bar.name: bar for bar in BARS}
    return int(any(judged[one.bar].verdict(one.ours) == "missed" for one in found.figures))


if __name__ == "__main__":
    sys.exit(main())
