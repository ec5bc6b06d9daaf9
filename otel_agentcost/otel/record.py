"""Local record: every ended span as OTLP JSON lines, the form the Collector's file exporter writes.

    agentcost-runs/<run>/spans-<process id>.jsonl      one ExportTraceServiceRequest a line

`agentcost run` keeps one beside whatever else the program exports, so that a run can be looked at, explained and
replayed without a backend. Bounded: lines are flushed when a root ends, every 128 spans or every second; a process
writes at most `max_bytes`, after which spans are counted and not written. Each process writes its own file.
"""

from __future__ import annotations

import base64
import json
import math
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, StatusCode

from otel_agentcost.otel.health import count, guard, log_once

FLUSH_SPANS = 128
FLUSH_SECONDS = 1.0
MAX_BYTES = 1024 * 1024 * 1024

_KINDS = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
_CODES = {StatusCode.OK: 1, StatusCode.ERROR: 2}


class SpanRecorder(SpanProcessor):
    """Append every ended span to a file of this process, as it is seen by exporters.

    Register it after the agentcost processor, or wrap it, so that the money is on the spans. Sampled-out spans are
    not written, as no exporter gets them. `_lock` protects `_waiting`, `_file` and `_written`.
    """

    def __init__(self, directory: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> None:
        self._directory = Path(directory)
        self._max_bytes = max_bytes
        self._start()
        _fork_safe(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[ReadableSpan] = []
        self._written = 0
        self._flushed_at = time.monotonic()
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """The file of this process, or None while nothing was written."""
        return self._path

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span; write when a root ended, or enough spans or time have gathered."""
        with guard("record.on_end"):
            context = span.context
            if context is None or not context.trace_flags.sampled:
                return
            root = span.parent is None or span.parent.is_remote
            with self._lock:
                self._waiting.append(span)
                due = root or len(self._waiting) >= FLUSH_SPANS or time.monotonic() - self._flushed_at > FLUSH_SECONDS
            if due:
                self._write()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what is waiting."""
        with guard("record.flush"):
            self._write()
        return True

    def shutdown(self) -> None:
        """Write what is waiting."""
        self.force_flush()

    def _write(self) -> None:
        with self._lock:
            spans, self._waiting = self._waiting, []
            self._flushed_at = time.monotonic()
            if not spans:
                return
            line = (encode_spans(spans) + "\n").encode()
            if self._written + len(line) > self._max_bytes:
                count("record_dropped", len(spans))
                log_once("record.full", "otel-agentcost: the local record is full; further spans are not written")
                return
            try:
                if self._path is None:
                    self._directory.mkdir(parents=True, exist_ok=True)
                    self._path = self._directory / f"spans-{os.getpid()}.jsonl"
                # opened for each batch: no descriptor is inherited, and a line is one write
                with self._path.open("ab") as file:
                    file.write(line)
                self._written += len(line)
            except OSError as error:
                count("record_dropped", len(spans))
                log_once(f"record.{error.errno}", "otel-agentcost: the local record cannot be written: %s", error)


def _fork_safe(recorder: SpanRecorder) -> None:
    """A forked child starts a file of its own; what its parent had not written yet stays the parent's."""
    import weakref

    alive = weakref.ref(recorder)

    def restart() -> None:
        found = alive()
        if found is not None:
            found._start()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=restart)


def encode_spans(spans: Iterable[ReadableSpan]) -> str:
    """Write spans as one OTLP/JSON trace request, without a line break.

    Ids are lower-case hex, 64-bit integers are strings, enums are numbers, bytes are base64: the OTLP/JSON mapping.
    """
    resources: dict[int, dict[str, Any]] = {}
    scopes: dict[tuple[int, int], dict[str, Any]] = {}
    for span in spans:
        resource, scope = span.resource, span.instrumentation_scope
        outer = resources.get(id(resource))
        if outer is None:
            outer = {"resource": {"attributes": _attributes(resource.attributes)}, "scopeSpans": []}
            if resource.schema_url:
                outer["schemaUrl"] = resource.schema_url
            resources[id(resource)] = outer
        inner = scopes.get((id(resource), id(scope)))
        if inner is None:
            inner = {"scope": _scope(scope), "spans": []}
            if scope is not None and scope.schema_url:
                inner["schemaUrl"] = scope.schema_url
            scopes[(id(resource), id(scope))] = inner
            outer["scopeSpans"].append(inner)
        inner["spans"].append(_span(span))
    return json.dumps({"resourceSpans": list(resources.values())}, ensure_ascii=False, separators=(",", ":"))


def _scope(scope: InstrumentationScope | None) -> dict[str, Any]:
    if scope is None:
        return {}
    result: dict[str, Any] = {"name": scope.name}
    if scope.version:
        result["version"] = scope.version
    if scope.attributes:
        result["attributes"] = _attributes(scope.attributes)
    return result


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.context
    assert context is not None
    result: dict[str, Any] = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if context.trace_state:
        result["traceState"] = context.trace_state.to_header()
    if span.parent is not None:
        result["parentSpanId"] = f"{span.parent.span_id:016x}"
    result["flags"] = _flags(context.trace_flags, span.parent is not None and span.parent.is_remote)
    result["name"] = span.name
    result["kind"] = _KINDS.get(span.kind, 0)
    result["startTimeUnixNano"] = str(span.start_time or 0)
    result["endTimeUnixNano"] = str(span.end_time or 0)
    if span.attributes:
        result["attributes"] = _attributes(span.attributes)
    if span.dropped_attributes:
        result["droppedAttributesCount"] = span.dropped_attributes
    if span.events:
        result["events"] = [_event(event) for event in span.events]
    if span.dropped_events:
        result["droppedEventsCount"] = span.dropped_events
    if span.links:
        result["links"] = [_link(link) for link in span.links]
    if span.dropped_links:
        result["droppedLinksCount"] = span.dropped_links
    status: dict[str, Any] = {}
    if span.status.description:
        status["message"] = span.status.description
    if span.status.status_code in _CODES:
        status["code"] = _CODES[span.status.status_code]
    result["status"] = status
    return result


def _flags(flags: int, parent_is_remote: bool) -> int:
    """W3C flags in the low byte; bit 8 says that bit 9, `the parent is remote`, is known."""
    return (int(flags) & 0xFF) | 0x100 | (0x200 if parent_is_remote else 0)


def _event(event: Event) -> dict[str, Any]:
    result: dict[str, Any] = {"timeUnixNano": str(event.timestamp), "name": event.name}
    if event.attributes:
        result["attributes"] = _attributes(event.attributes)
    return result


def _link(link: Link) -> dict[str, Any]:
    context = link.context
    result: dict[str, Any] = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if link.attributes:
        result["attributes"] = _attributes(link.attributes)
    result["flags"] = _flags(context.trace_flags, context.is_remote)
    return result


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": attribute_value(value)} for key, value in attributes.items()]


def attribute_value(value: Any) -> dict[str, Any]:
    """Write one attribute value as an OTLP/JSON AnyValue."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [attribute_value(item) for item in value]}}
    return {"stringValue": str(value)} if value is not None else {}


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
