"""P10 to P13: the processor called directly, on real spans, beside the least processors that do a part of its job."""

from __future__ import annotations

import gc
from collections.abc import Callable
from statistics import median
from time import process_time_ns

from opentelemetry.sdk.trace import SpanProcessor

from otel_agentcost.otel.config import Config
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from tests.bench.figures import Curve, Figure, Findings
from tests.bench.floors import Noop, TraceSum, TreeSum
from tests.bench.rounds import Form
from tests.bench.traces import Event, plain, play, recorded, taking_turns

Make = Callable[[], SpanProcessor]

MAKERS: dict[str, Make] = {
    "noop": Noop,
    "trace_sum": TraceSum,
    "tree_sum": TreeSum,
    "ours": lambda: AgentCostSpanProcessor(Config()),
}


def direct(make: Make, events: list[Event]) -> float:
    """CPU nanoseconds per span in the processor, played once over fresh spans."""
    processor = make()
    play(processor, recorded(40))  # warm: caches, the price book
    gc.collect()
    gc.freeze()  # the spans of the trace are not this processor's garbage
    begin = process_time_ns()
    play(processor, events)
    spent = process_time_ns() - begin
    gc.unfreeze()
    return spent * 2 / len(events)


def compare(names: tuple[str, ...], make_events: Callable[[], list[Event]], rounds: int) -> dict[str, list[float]]:
    """Every processor on traces of its own, forwards and backwards in each round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        pair: dict[str, list[float]] = {name: [] for name in names}
        for name in (*names, *reversed(names)):
            pair[name].append(direct(MAKERS[name], make_events()))
        for name, both in pair.items():
            found[name].append(sum(both) / 2)
    return found


def _ratio(found: dict[str, list[float]], one: str, other: str) -> float:
    return median(a / b for a, b in zip(found[one], found[other], strict=True))


def measure_mixed(form: Form) -> Findings:
    """P10 and P11."""
    sessions = form.pick(20, 60)
    summed = compare(("trace_sum", "ours"), lambda: recorded(100, sessions=sessions), form.rounds)
    subtotals = compare(
        ("trace_sum", "tree_sum", "ours"), lambda: recorded(100, marked=True, sessions=sessions), form.rounds
    )
    row = {f"{name} ns/span": median(values) for name, values in summed.items()}
    marked = {f"{name} ns/span": median(values) for name, values in subtotals.items()}
    floor = f"trace_sum {row['trace_sum ns/span']:.0f} ns"
    tree = f"trace_sum {marked['trace_sum ns/span']:.0f} ns, tree_sum {marked['tree_sum ns/span']:.0f} ns"
    return Findings(
        figures=[
            Figure(bar="P10", ours=_ratio(summed, "ours", "trace_sum"), peer=floor, absolute=row),
            Figure(bar="P11", ours=_ratio(subtotals, "ours", "trace_sum"), peer=tree, absolute=marked),
        ],
        rows={"processor, mixed trace": row, "processor, totals on inner spans": marked},
    )


def measure_foreign(form: Form) -> Findings:
    """P13."""
    found = compare(("noop", "ours"), lambda: plain(form.pick(2_000, 5_000)), form.rounds)
    row = {f"{name} ns/span": median(values) for name, values in found.items()}
    return Findings(
        figures=[
            Figure(
                bar="P13",
                ours=_ratio(found, "ours", "noop"),
                peer=f"noop {row['noop ns/span']:.0f} ns",
                absolute=row,
            )
        ],
        rows={"processor, a database span": row},
    )


def measure_flatness(form: Form) -> Findings:
    """P12 in time: the same session with 100 and with 100 000 spans."""
    sizes = (100, 100_000) if form.quick else (100, 1_000, 10_000, 100_000)
    names = ("trace_sum", "ours")
    lines: dict[str, list[float]] = {name: [] for name in names}
    for size in sizes:
        rounds = {100_000: form.pick(1, 3)}.get(size, 5)
        sessions = max(1, 4_000 // size)
        found = compare(names, lambda size=size, sessions=sessions: recorded(size, sessions=sessions), rounds)
        for name in names:
            lines[name].append(median(found[name]))
    own, floor = lines["ours"], lines["trace_sum"]
    row = {f"ours, {size} spans ns/span": value for size, value in zip(sizes, own, strict=True)}
    return Findings(
        figures=[
            Figure(bar="P12", ours=own[-1] / own[0], peer=f"trace_sum {floor[-1] / floor[0]:.2f}", absolute=row),
        ],
        rows={"processor, size of the trace": row},
        curves=[
            Curve(
                name="spans-per-trace",
                title="Processor, CPU per span",
                across="spans in the trace",
                unit="µs",
                places=sizes,
                lines={
                    "otel-agentcost": [value / 1000 for value in own],
                    "trace_sum, the floor": [value / 1000 for value in floor],
                },
            )
        ],
    )


def open_sessions(count: int, calls: int) -> float:
    """CPU nanoseconds per model call when so many sessions are open and take turns."""
    processor = AgentCostSpanProcessor(Config.load(limits={"open_sessions": 20_000}))
    play(processor, recorded(40))
    roots, turns = taking_turns(count, calls)
    play(processor, roots)
    gc.collect()
    gc.freeze()
    begin = process_time_ns()
    play(processor, turns)
    spent = process_time_ns() - begin
    gc.unfreeze()
    return spent * 2 / len(turns)


def measure_open(form: Form) -> Findings:
    """P12s: 1, 100 and 10 000 sessions open at once, their spans interleaved."""
    counts = (1, 100, 10_000)
    calls = counts[-1] * 2
    values: list[list[float]] = [[] for _ in counts]
    for _ in range(form.pick(1, 3)):
        for place, count in enumerate(counts):
            values[place].append(open_sessions(count, calls))
    own = [median(found) for found in values]
    row = {f"{count} open ns/span": value for count, value in zip(counts, own, strict=True)}
    return Findings(
        figures=[Figure(bar="P12s", ours=own[-1] / own[0], peer="", absolute=row)],
        rows={"processor, sessions open": row},
        curves=[
            Curve(
                name="open-sessions",
                title="Processor, CPU per span",
                across="sessions open at once",
                unit="µs",
                places=counts,
                lines={"otel-agentcost": [value / 1000 for value in own]},
            )
        ],
    )
