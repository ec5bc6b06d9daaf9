"""`agentcost demo`: a company of agents, offline, whose cost can be checked with a pencil."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import click

from otel_agentcost.cli import tree
from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.console import Console, money_text, plural, table
from otel_agentcost.errors import InputError
from otel_agentcost.pricing.money import decimal_text

NEEDED = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google.genai": "google-genai",
    "httpx": "httpx",
    "uvicorn": "uvicorn",
}
"""What the demo imports, and the package that has it."""
PRICES = "demo-prices.yaml"
"""Written beside the spans, so that `replay` and `explain` can be tried with the company's own prices."""


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("agentcost-demo") / "trace.json",
    show_default=True,
    help="Where the exported spans are written, as OTLP JSON.",
)
@shared_options
def command(console: Console, out: Path) -> int:
    """Run a small company of agents offline and show what it cost.

    Real openai, anthropic and google-genai clients talk to a local stand-in for their providers, which keeps a bill of
    its own: streams, parallel tools, a sub-agent, cached tokens, web searches, a retried and a failed call, a paid API,
    a GPU. The cost on the root span must be that bill plus the GPU (examples/demo-by-hand.md works it out); if not, the
    exit code is 1. The spans are also sent to OTEL_EXPORTER_OTLP_ENDPOINT where it is set.

    The demo has prices of its own; of --config it takes `detail` only.

    \b
    Examples:
      $ agentcost demo
      $ agentcost demo --json --out demo.json
    """
    _check_installed()
    detail = "default"
    if console.config_file is not None:
        from otel_agentcost.cli.settings import load_config

        detail = load_config(console).detail
    from otel_agentcost.cli.demo import stage
    from otel_agentcost.cli.traces import Traces, write_traces
    from otel_agentcost.otel.record import encode_spans

    begin = time.monotonic()
    performance = stage.perform(detail)
    took = time.monotonic() - begin

    traces = Traces()
    traces.add(json.loads(encode_spans(performance.spans)), file=str(out), where="")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_traces(traces, str(out), "json")
    prices = out.with_name(PRICES)
    prices.write_text(stage.SETTINGS, encoding="utf-8")
    sessions = tree.sessions(traces.records)
    compute = stage.compute_pico()
    expected = performance.billed_pico + compute
    said = [s.root.record.attributes.get("agentcost.session.cost.pico") for s in sessions]
    equal = said == [expected] and all(s.agrees for s in sessions)
    exported = stage.export(performance.spans) if stage.endpoint() else None

    if console.as_json:
        console.document(
            {
                "equal": equal,
                "root_pico": said[0] if len(said) == 1 else None,
                "emulator_pico": performance.billed_pico,
                "compute_pico": compute,
                "expected_pico": expected,
                "expected": decimal_text(expected),
                "seconds": round(took, 3),
                "spans": len(performance.spans),
                "file": str(out),
                "prices": str(prices),
                "exported_to": stage.endpoint() if exported else None,
                "sessions": [tree.as_json(session) for session in sessions],
            }
        )
    else:
        for session in sessions:
            for line in tree.lines(session):
                console.line(line)
        console.line()
        root = said[0] if len(said) == 1 and isinstance(said[0], int) else None
        refused = sum(1 for call in performance.billed if call.status >= 400)
        rows = [
            ("the root span says", money_text(root), ""),
            (
                "the providers billed",
                money_text(performance.billed_pico),
                f"{len(performance.billed)} requests by the emulator's own ledger, {refused} of them refused and free",
            ),
            ("the GPU by hand", money_text(compute), f"{stage.GPU_SECONDS} s x ${stage.GPU_HOUR} / 3,600 s"),
            (
                "together",
                money_text(expected),
                click.style("equal to the last pico-dollar", fg="green")
                if equal
                else click.style("NOT EQUAL to the root span", fg="red", bold=True),
            ),
        ]
        for line in table(rows, right=(1,)):
            console.line(line)
        console.line()
        console.line(f"{plural(len(performance.spans), 'span')} in {took:.1f} s, written to {out}")
        ours = [r for r in traces.records if r.scope.startswith("otel_agentcost")]
        dearest = max(ours, key=lambda r: tree.own_pico(r.attributes) or 0)
        console.line(f"one figure explained: agentcost explain {dearest.span_id} {out} --config {prices}")
    if exported is not None:
        how = "sent to" if exported else "could not be sent to"
        console.note(f"{plural(len(performance.spans), 'span')} {how} {stage.endpoint()}")
    return OK if equal and exported is not False else FINDINGS


def _check_installed() -> None:
    """Raise InputError that names every package the demo lacks."""
    missing = []
    for module, package in NEEDED.items():
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # a namespace around it is missing: google of google.genai
            found = False
        if not found:
            missing.append(package)
    if missing:
        raise InputError(f"the demo needs {', '.join(missing)}: pip install 'otel-agentcost[demo]'")
