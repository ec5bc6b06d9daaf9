"""OTLP protobuf: one ExportTraceServiceRequest, or many with length prefixes, to and from OTLP JSON objects.

Two prefixes are in use: a varint (protobuf's own delimited form) and four bytes big-endian (the Collector's file
exporter). Fields newer than the installed `opentelemetry-proto` are not carried over.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

Object = dict[str, Any]

_RESOURCE_SPANS = 0x0A
"""Tag of ExportTraceServiceRequest.resource_spans (field 1, length-delimited): how every request begins."""


@dataclass(frozen=True, slots=True)
class _Level:
    """A message that is taken apart when a file is cut: its fields by number, to the level or type below."""

    fields: Mapping[int, Any]


_REQUEST = _Level({1: _Level({1: Resource, 2: _Level({1: InstrumentationScope, 2: OtlpSpan})})})
"""request -> resource_spans -> (resource, scope_spans -> (scope, spans)), numbers of opentelemetry-proto."""


class CutError(ValueError):
    """The bytes end, or stop making sense, inside a message; `rest` is what whole spans could be saved from it."""

    def __init__(self, offset: int, what: str, rest: Object | None) -> None:
        self.offset = offset
        self.rest = rest
        super().__init__(what)


def requests(data: bytes) -> Iterator[tuple[int, Object]]:
    """Yield (offset, OTLP JSON object) for each request in the bytes. Raises CutError where they make no sense."""
    if not data:
        return
    if data[0] == _RESOURCE_SPANS and _looks_whole(data):
        yield 0, _decode(data, 0)
        return
    position = 0
    while position < len(data):
        start, size = _prefix(data, position)
        if size is None:
            raise CutError(position, "neither an OTLP trace request nor a length prefix", None)
        if start + size > len(data):
            raise CutError(
                len(data),
                f"the file ends inside a message of {size} bytes that begins at byte {start}",
                _rescued(data[start:]),
            )
        yield start, _decode(data[start : start + size], start)
        position = start + size


def _looks_whole(data: bytes) -> bool:
    """Tell one request from a delimited file whose first message happens to be ten bytes long."""
    start, size = _prefix(data, 0)
    if size is not None and start + size < len(data) and data[start] == _RESOURCE_SPANS and start == 1:
        try:
            ExportTraceServiceRequest.FromString(data)
        except DecodeError:
            return False
    return True


def _prefix(data: bytes, position: int) -> tuple[int, int | None]:
    """Read a length prefix: (where the message begins, its length or None)."""
    if data[position] == 0 and position + 4 <= len(data):
        return position + 4, int.from_bytes(data[position : position + 4], "big")
    size, start = _varint(data, position)
    return start, size


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return None, position


def _decode(data: bytes, offset: int) -> Object:
    try:
        message = ExportTraceServiceRequest.FromString(data)
    except DecodeError as error:
        rest = _rescued(data)
        raise CutError(offset + len(data), f"truncated or damaged protobuf ({error})", rest) from error
    return _as_object(message)


def _as_object(message: Any) -> Object:
    result: Object = MessageToDict(message, use_integers_for_enums=True)
    return result


def _rescued(data: bytes) -> Object | None:
    """Return the whole spans of a damaged request, or None when there is none."""
    rest = _as_object(ExportTraceServiceRequest.FromString(_whole_fields(data, _REQUEST)))
    return rest if rest.get("resourceSpans") else None


def _whole_fields(data: bytes, level: _Level) -> bytes:
    """Keep the fields of a message that are whole and readable, on every level down to the spans."""
    kept = bytearray()
    position = 0
    while position < len(data):
        tag, after = _varint(data, position)
        if tag is None or tag & 7 != 2:
            break  # every field on the way to a span is length-delimited, so this is damage
        size, start = _varint(data, after)
        if size is None:
            break
        inner = data[start : start + size]
        below = level.fields.get(tag >> 3)
        if isinstance(below, _Level):
            inner = _whole_fields(inner, below)
            kept += data[position:after] + _as_varint(len(inner)) + inner
        elif below is not None and len(inner) == size and _readable(below, inner):
            kept += data[position : start + size]
        position = start + size
    return bytes(kept)


def _readable(message: Any, data: bytes) -> bool:
    try:
        message.FromString(data)
    except DecodeError:
        return False
    return True


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode(payload: Object, unreadable: Collection[Object] = ()) -> bytes:
    """Write an OTLP JSON object (ids in hex) as one ExportTraceServiceRequest. Raises ValueError for a wrong type."""
    left_out = {id(span) for span in unreadable}
    try:
        message = ParseDict(
            _with_base64_ids(payload, left_out), ExportTraceServiceRequest(), ignore_unknown_fields=True
        )
    except ParseError as error:
        raise ValueError(str(error)) from error
    encoded: bytes = message.SerializeToString(deterministic=True)
    return encoded


def _with_base64_ids(payload: Object, left_out: Collection[int]) -> Object:
    """Copy the payload down to its spans, with ids as protobuf's JSON mapping wants them."""
    return {
        "resourceSpans": [
            {
                **resource_spans,
                "scopeSpans": [
                    {
                        **scope_spans,
                        "spans": [_base64_ids(s) for s in scope_spans["spans"] if id(s) not in left_out],
                    }
                    for scope_spans in resource_spans.get("scopeSpans") or ()
                ],
            }
            for resource_spans in payload.get("resourceSpans") or ()
        ]
    }


def _base64_ids(span: Object) -> Object:
    copy = {**span}
    for key in ("traceId", "spanId", "parentSpanId"):
        if copy.get(key):
            copy[key] = base64.b64encode(bytes.fromhex(copy[key])).decode("ascii")
    if copy.get("links"):
        copy["links"] = [_base64_ids(link) for link in copy["links"]]
    return copy
