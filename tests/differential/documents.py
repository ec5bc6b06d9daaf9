"""Random traces as OTLP JSON lines: many traces at once, each split over batches and mixed with the others."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from otel_agentcost.cli.traces.collection import any_value
from tests.differential.random_traces import Grower, Trace
from tests.differential.telling import Draft

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS_ERROR = 2


def random_traces(seed: int, count: int) -> list[Trace]:
    """Grow at least `count` traces. Each seed gives the same ones in every process."""
    traces: list[Trace] = []
    number = 0
    while len(traces) < count:
        traces.extend(Grower(seed * 1_000_003 + number).traces())
        number += 1
    return traces


def write_lines(traces: Iterable[Trace], path: Path, seed: int) -> int:
    """Write traces as JSON lines in batches of some fifty spans; return how many spans there are."""
    rng = random.Random(seed)
    waiting: list[tuple[str, Draft]] = []
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            waiting.extend((trace.trace_id, span) for span in trace.spans)
            written += len(trace.spans)
            if len(waiting) >= 200:
                rng.shuffle(waiting)
                for start in range(0, 150, 50):
                    file.write(json.dumps(_payload(waiting[start : start + 50], rng)) + "\n")
                del waiting[:150]
        rng.shuffle(waiting)
        for start in range(0, len(waiting), 50):
            file.write(json.dumps(_payload(waiting[start : start + 50], rng)) + "\n")
    return written


def _payload(batch: list[tuple[str, Draft]], rng: random.Random) -> dict[str, Any]:
    resources: dict[str, tuple[Draft, dict[str, list[dict[str, Any]]]]] = {}
    for trace_id, span in batch:
        key = repr(sorted(span.resource.items(), key=repr))
        _, scopes = resources.setdefault(key, (span, {}))
        scopes.setdefault(span.scope, []).append(_span(trace_id, span, rng))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(first.resource, rng)},
                "scopeSpans": [{"scope": {"name": name}, "spans": spans} for name, spans in scopes.items()],
            }
            for first, scopes in resources.values()
        ]
    }


def _span(trace_id: str, span: Draft, rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes, rng),
    }
    if span.parent_id:
        made["parentSpanId"] = span.parent_id
    if span.failed:
        made["status"] = {"code": _STATUS_ERROR}
    return made


def _attributes(attributes: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value, rng)} for key, value in attributes.items()]


def _value(value: object, rng: random.Random) -> dict[str, Any]:
    if value is None:
        return {}
    written = any_value(value)
    if "intValue" in written and rng.random() < 0.3:
        return {"intValue": int(written["intValue"])}
    return written
