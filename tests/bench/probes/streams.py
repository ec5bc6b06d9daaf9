"""P4, P5g: what each further chunk of a stream costs, over an HTTP client that reads raw bytes.

Without an SDK's objects there is no noise to hide in. The floor is a generator that passes chunks through and keeps
the last eight.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import process_time_ns
from typing import Any

import httpx2

from tests.bench.answers import URL, answer_to, answer_to_async, stream_chunks, streaming_request
from tests.bench.figures import Curve, Figure, Findings
from tests.bench.floors import ring_transport
from tests.bench.probes.clients import ours, peak_of
from tests.bench.rounds import Case, Form, Times, alternate

SHORT, LONG = 200, 2_000
LENGTHS = (20, 200, 2_000, 20_000)


def reading(client: httpx2.Client, events: int, *, ask: bool = True) -> Callable[[int], None]:
    """Stream so many events and read their bytes, so many times."""
    body = streaming_request(events, ask=ask)

    def work(times: int) -> None:
        for _ in range(times):
            with client.stream("POST", URL, content=body) as response:
                for _chunk in response.iter_raw():
                    pass

    return work


def reading_async(client: httpx2.AsyncClient, events: int) -> Callable[[int], None]:
    """The same with an async client, in an event loop of its own."""
    body = streaming_request(events)

    async def read(times: int) -> None:
        for _ in range(times):
            async with client.stream("POST", URL, content=body) as response:
                async for _chunk in response.aiter_raw():
                    pass

    def work(times: int) -> None:
        asyncio.run(read(times))

    return work


def _slope(times: Times, case: str) -> float:
    """Microseconds per chunk a case adds: the difference between long and short over the same difference bare."""
    chunks = LONG - SHORT
    return (times.added(f"{case} long", "bare long") - times.added(f"{case} short", "bare short")) / chunks / 1000


def _cases(make: Callable[[Any, int], Callable[[int], None]], client: Any, ringed: Any) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name, events in (("short", SHORT), ("long", LONG)):
        cases[f"bare {name}"] = Case(make(client, events))
        cases[f"ring {name}"] = Case(make(ringed, events))
        cases[f"ours {name}"] = Case(make(client, events), ours)
    return cases


def parse_cost() -> float:
    """Microseconds to parse one event of the stream as JSON: what a second look at every chunk would cost."""
    event = stream_chunks(SHORT)[50][6:]
    begin = process_time_ns()
    for _ in range(2_000):
        json.loads(event)
    return (process_time_ns() - begin) / 2_000 / 1000


def measure_slope(form: Form) -> Findings:
    """P4."""
    found = Findings()
    parse = parse_cost()
    sync_transport = httpx2.MockTransport(answer_to(httpx2))
    async_transport = httpx2.MockTransport(answer_to_async(httpx2))
    sides: tuple[tuple[str, str, Any, Any, Any], ...] = (
        ("P4", "sync", reading, httpx2.Client, sync_transport),
        ("P4a", "async", reading_async, httpx2.AsyncClient, async_transport),
    )
    for bar, name, make, client, transport in sides:
        cases = _cases(make, client(transport=transport), client(transport=ring_transport(httpx2, transport)))
        times = alternate(cases, rounds=form.rounds, operations=form.pick(15, 60))
        own, ring = _slope(times, "ours"), _slope(times, "ring")
        row = {"ours µs/chunk": own, "ring µs/chunk": ring, "json.loads µs/chunk": parse}
        peer = f"ring {ring:.3f} µs, one json.loads {parse:.1f} µs"
        found.figures.append(Figure(bar=bar, ours=max(0.0, own), peer=peer, absolute=row))
        found.rows[f"each further chunk, {name}"] = row
    return found


def measure_growth(form: Form) -> Findings:
    """P5g, and the curve of memory and CPU over the length of a stream."""
    client = httpx2.Client(transport=httpx2.MockTransport(answer_to(httpx2)))
    bare_peaks, own_peaks, bare_cpu, own_cpu = [], [], [], []
    lengths = (SHORT, LENGTHS[-1]) if form.quick else LENGTHS
    for events in lengths:
        work = reading(client, events)
        work(2)
        bare_peaks.append(_steady_peak(work))
        with ours():
            work(3)
            own_peaks.append(_steady_peak(work))
        cases = {"bare": Case(work, warm=1), "ours": Case(work, ours, warm=1)}
        times = alternate(cases, rounds=form.pick(1, 5), operations=max(2, 20_000 // events))
        bare_cpu.append(times.of("bare") / 1000)
        own_cpu.append(times.of("ours") / 1000)
    added = [own - bare for own, bare in zip(own_peaks, bare_peaks, strict=True)]
    growth = added[-1] - added[lengths.index(SHORT)]
    row = {f"{events} chunks +B": float(value) for events, value in zip(lengths, added, strict=True)}
    return Findings(
        figures=[Figure(bar="P5g", ours=max(0.0, growth), peer="keeping every chunk: 6 MB", absolute=row)],
        rows={"stream, peak memory added over a raw client": row},
        curves=[
            Curve(
                name="chunks-memory",
                title="Peak memory added to one stream",
                across="chunks in the stream",
                unit="kB",
                places=lengths,
                lines={"otel-agentcost": [value / 1000 for value in added]},
            ),
            Curve(
                name="chunks-cpu",
                title="CPU of reading one stream of raw bytes",
                across="chunks in the stream",
                unit="µs",
                places=lengths,
                lines={"bare client": bare_cpu, "with otel-agentcost": own_cpu},
            ),
        ],
    )


def _steady_peak(work: Callable[[int], None]) -> int:
    return sorted(peak_of(work) for _ in range(3))[1]
