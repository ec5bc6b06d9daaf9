"""`agentcost replay`: recorded traces through the same accounting as live ones."""

from __future__ import annotations

from typing import Any

import click

from otel_agentcost.cli import tree
from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.console import Console, plural
from otel_agentcost.cli.settings import load_config, price_book
from otel_agentcost.cli.traces import Traces, format_of, read_traces, write_traces
from otel_agentcost.ledger.accounting import account


@click.command("replay")
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.option("--out", help="Write the enriched spans as OTLP to this file (- is stdout).")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "jsonl", "proto"]),
    help="Form of --out; by default its suffix decides (.json, .jsonl, .pb, each also .gz).",
)
@click.option(
    "--reprice",
    type=click.Choice(["missing", "always", "never"]),
    default="missing",
    show_default=True,
    help="missing keeps the cost that stands on spans; always prices anew, e.g. with another price list.",
)
@click.option("--all", "everything", is_flag=True, help="Show spans without cost, too.")
@shared_options
def command(
    console: Console, inputs: tuple[str, ...], out: str | None, form: Any, reprice: str, everything: bool
) -> int:
    """Account for recorded traces and print what each session cost.

    IN is a file, a directory or - for stdin: OTLP JSON, JSON lines (the Collector's file exporter) or protobuf, Jaeger
    JSON, Tempo JSON, each also as .gz. The exit code is 1 when something could not be read; the rest is accounted for.

    \b
    Examples:
      $ agentcost replay trace.json
      $ agentcost replay trace.json --out priced.jsonl
      $ agentcost replay traces/ --json
      $ agentcost replay trace.json --reprice always --config agentcost.yaml --out priced.pb
      $ cat trace.json | agentcost replay - --out - > priced.jsonl
    """
    config = load_config(console)
    book = price_book(config)
    traces = read_traces(inputs, console)
    with console.progress("accounting", len(traces.spans), unit="spans") as advance:
        accounts = account(
            traces.records,
            book,
            reprice=reprice,
            full=config.detail == "full",
            mirrors=config.mirrors,
            progress=advance,
        )
    traces.enrich(accounts.attributes, anew=reprice == "always")
    if out is not None:
        write_traces(traces, out, form or format_of(out))
    sessions = tree.sessions(traces.records)
    _print(console, sessions, traces, everything=everything, quiet=out == "-")
    return OK if not traces.problems and traces.spans and all(s.agrees for s in sessions) else FINDINGS


def _print(console: Console, sessions: list[tree.Session], traces: Traces, *, everything: bool, quiet: bool) -> None:
    for problem in traces.problems:
        console.note(f"agentcost: {problem}")
    if traces.duplicates:
        console.note(f"agentcost: {plural(traces.duplicates, 'span')} came more than once, counted once")
    if not traces.spans:
        console.note("agentcost: no spans in the input")
    if quiet:
        return
    if console.as_json:
        console.document(
            {
                "sessions": [tree.as_json(session) for session in sessions],
                "problems": [{"file": p.file, "where": p.where, "problem": p.what} for p in traces.problems],
                "duplicates": traces.duplicates,
            }
        )
        return
    for number, session in enumerate(sessions):
        if number:
            console.line()
        for line in tree.lines(session, everything=everything):
            console.line(line)
    if len(sessions) > 1:
        console.line()
        console.line(tree.total_line(sessions))
