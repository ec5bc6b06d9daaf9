"""P12m, M1: what is held for a session while it is open, and what is left when many have passed through."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider

from otel_agentcost.otel.config import Config
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from tests.bench.figures import Curve, Figure, Findings
from tests.bench.rounds import Form
from tests.bench.traces import Session, play, recorded, taking_turns


def state_of_trace(spans: int) -> int:
    """Peak bytes held by the processor for one session of so many spans; the spans themselves are not counted."""
    processor = AgentCostSpanProcessor(Config())
    play(processor, recorded(100))
    provider = TracerProvider(shutdown_on_exit=False)
    held: list[int] = []
    look_every = max(20, spans // 20)
    seen = 0

    def visit(starts: bool, span: object) -> None:
        nonlocal seen
        play(processor, [(starts, span)])  # type: ignore[list-item]
        seen += 1
        if seen % look_every == 0:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0] - before)

    session = Session(provider, visit, marked=False)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    session.run(spans)
    tracemalloc.stop()
    return max(held)


def per_open_session(sessions: int, calls: int) -> float:
    """Bytes per session that is open and has had so many model calls."""
    processor = AgentCostSpanProcessor(Config.load(limits={"open_sessions": 20_000}))
    play(processor, recorded(40))
    roots, turns = taking_turns(sessions, sessions * calls)
    gc.collect()
    tracemalloc.start()
    play(processor, roots)
    play(processor, turns)
    del turns  # identities the ledger keeps are its own from here on
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept / sessions


def measure_state(form: Form) -> Findings:
    """P12m and the bytes per open session."""
    sizes = (100, 1_000, 10_000, *((100_000,) if not form.quick else ()))
    held = [state_of_trace(size) for size in sizes]
    calls = (1, 10, 100)
    open_bytes = [per_open_session(max(20, 1_000 // many), many) for many in calls]
    row = {f"{size} spans B": float(value) for size, value in zip(sizes, held, strict=True)}
    opened = {f"{many} calls B": value for many, value in zip(calls, open_bytes, strict=True)}
    return Findings(
        figures=[
            Figure(
                bar="P12m", ours=held[-1] / held[0], peer=f"up to {sizes[-1]:,} spans".replace(",", " "), absolute=row
            )
        ],
        rows={"state of one trace": row, "state per open session": opened},
        curves=[
            Curve(
                name="state",
                title="State held for one session",
                across="spans in the trace",
                unit="kB",
                places=sizes,
                lines={"otel-agentcost": [value / 1000 for value in held]},
            )
        ],
    )


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_many(form: Form) -> Findings:
    """M1: sessions of a root and a model call, one after the other, each with ids of its own."""
    sessions = form.pick(60_000, 1_000_000)
    processor = AgentCostSpanProcessor(Config())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench.agent", "1")
    places: list[float] = []
    megabytes: list[float] = []
    for number in range(sessions + 1):
        with (
            tracer.start_as_current_span("session", attributes={"session.id": f"s-{number}"}),
            tracer.start_as_current_span("chat gpt-4o") as call,
        ):
            call.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-4o",
                    "gen_ai.response.id": f"chatcmpl-{number}",
                    "gen_ai.usage.input_tokens": 1000 + number % 97,
                    "gen_ai.usage.output_tokens": 100,
                }
            )
        if number % (sessions // 20) == 0:
            gc.collect()
            places.append(number)
            megabytes.append(resident() / 1e6)
    growth = megabytes[-1] - megabytes[2]
    row = {
        "sessions": float(sessions),
        "RSS MB": megabytes[-1],
        "growth MB": growth,
        "open": float(processor.open_traces),
    }
    return Findings(
        figures=[
            Figure(bar="M1", ours=max(0.0, growth), peer=f"{sessions:,} sessions".replace(",", " "), absolute=row)
        ],
        rows={"many sessions": row},
        curves=[
            Curve(
                name="many-sessions",
                title="Memory of the process",
                across="sessions that have passed",
                unit="MB",
                places=places,
                lines={"RSS": megabytes},
            )
        ],
    )
