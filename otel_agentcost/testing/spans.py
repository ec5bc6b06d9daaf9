"""Captured spans: what would have gone over the wire, kept as it stood at the moment of export.

An in-memory exporter that keeps the SDK's span objects shows attributes that were written after the export; a backend
never sees those. This one encodes every batch as OTLP at once, and reads its spans back from those bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

Value: TypeAlias = "str | bool | int | float | bytes | list[Value] | dict[str, Value] | None"
"""An attribute value as OTLP knows it."""

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedEvent:
    """An event on a span."""

    name: str
    time: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedSpan:
    """A span as it was exported."""

    name: str
    kind: str
    """internal, server, client, producer or consumer."""
    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str
    """16 hexadecimal digits; empty for a root."""
    start: int
    """Unix nanoseconds."""
    end: int
    """Unix nanoseconds."""
    attributes: Mapping[str, Value]
    status: str = "unset"
    """unset, ok or error."""
    message: str = ""
    events: tuple[CapturedEvent, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Trace and span ids."""
    scope: str = ""
    resource: Mapping[str, Value] = field(default_factory=dict)
    dropped_attributes: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return what a test wants to compare: no resource, nothing that is empty."""
        shown: dict[str, object] = {
            "name": self.name,
            "kind": self.kind,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "start": self.start,
            "end": self.end,
            "scope": self.scope,
            "attributes": dict(self.attributes),
        }
        if self.status != "unset":
            shown["status"] = self.status
        if self.message:
            shown["message"] = self.message
        if self.events:
            shown["events"] = [{"name": e.name, "time": e.time, "attributes": dict(e.attributes)} for e in self.events]
        if self.links:
            shown["links"] = [list(link) for link in self.links]
        return shown


@dataclass(frozen=True, slots=True)
class Tree:
    """A span with the exported spans below it, in order of their start; `str()` draws it."""

    span: CapturedSpan
    children: tuple[Tree, ...] = ()

    def __iter__(self) -> Iterator[CapturedSpan]:
        """Walk the spans, parents first."""
        yield self.span
        for child in self.children:
            yield from child

    def __str__(self) -> str:
        return "\n".join(self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        yield indent + self.span.name
        for child in self.children:
            yield from child._lines(indent + "  ")


class CapturedSpans(SpanExporter):
    """An exporter that keeps, for every batch, the OTLP request a backend would have received.

    Use it like any exporter, e.g. `provider.add_span_processor(SimpleSpanProcessor(CapturedSpans()))`, or take
    `processor()`, which is just that. Reading is possible at any time; nothing is lost at shutdown.
    """

    def __init__(self) -> None:
        self._batches: list[bytes] = []
        self._lock = threading.Lock()
        # guards _batches

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Encode the batch now; later writes to the spans are not seen, as a backend would not see them."""
        encoded = encode_spans(spans).SerializeToString()
        with self._lock:
            self._batches.append(encoded)
        return SpanExportResult.SUCCESS

    def processor(self) -> SimpleSpanProcessor:
        """Return a processor that exports every span here as soon as it ends."""
        return SimpleSpanProcessor(self)

    def clear(self) -> None:
        """Forget what was captured."""
        with self._lock:
            self._batches.clear()

    @property
    def payloads(self) -> tuple[bytes, ...]:
        """Every serialized `ExportTraceServiceRequest`, in order: search them for what must never leave."""
        with self._lock:
            return tuple(self._batches)

    @property
    def spans(self) -> list[CapturedSpan]:
        """All spans in the order in which they were exported; a span exported twice stands here twice."""
        return [span for payload in self.payloads for span in read_payload(payload)]

    def as_dicts(self) -> list[dict[str, object]]:
        """Return all spans, ordered by start (then by export), in a form that compares and prints well."""
        return [span.as_dict() for span in sorted(self.spans, key=lambda span: span.start)]

    def find(self, name: str) -> CapturedSpan:
        """Return the one span of this name; raises LookupError where there is none or more than one."""
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            names = ", ".join(sorted({span.name for span in self.spans})) or "none at all"
            raise LookupError(f"{len(found)} spans are named {name!r}; captured: {names}")
        return found[0]

    def root(self) -> CapturedSpan:
        """Return the only root; raises LookupError where there is none or more than one."""
        roots = [tree.span for tree in self.trees()]
        if len(roots) != 1:
            raise LookupError(f"{len(roots)} roots: {', '.join(span.name for span in roots)}")
        return roots[0]

    def tree(self) -> Tree:
        """Return the only tree; raises LookupError where there is none or more than one."""
        trees = self.trees()
        if len(trees) != 1:
            raise LookupError(f"{len(trees)} trees:\n" + "\n".join(str(tree) for tree in trees))
        return trees[0]

    def trees(self) -> list[Tree]:
        """Return every trace as a tree; a span whose parent was not captured is a root."""
        spans = sorted(self.spans, key=lambda span: span.start)
        known = {(span.trace_id, span.span_id) for span in spans}
        below: dict[tuple[str, str], list[CapturedSpan]] = {}
        roots = []
        for span in spans:
            parent = (span.trace_id, span.parent_id)
            if parent in known:
                below.setdefault(parent, []).append(span)
            else:
                roots.append(span)

        def grow(span: CapturedSpan) -> Tree:
            return Tree(span, tuple(grow(child) for child in below.get((span.trace_id, span.span_id), ())))

        return [grow(span) for span in roots]


def read_payload(payload: bytes) -> Iterator[CapturedSpan]:
    """Read the spans of one serialized `ExportTraceServiceRequest`."""
    for group in ExportTraceServiceRequest.FromString(payload).resource_spans:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield _span(span, scoped.scope.name, resource)


def _span(span: WireSpan, scope: str, resource: Mapping[str, Value]) -> CapturedSpan:
    return CapturedSpan(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        status=STATUSES[span.status.code],
        message=span.status.message,
        events=tuple(
            CapturedEvent(name=event.name, time=event.time_unix_nano, attributes=_attributes(event.attributes))
            for event in span.events
        ),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        scope=scope,
        resource=resource,
        dropped_attributes=span.dropped_attributes_count,
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    plain: Value = getattr(value, kind)
    return plain
