"""Traces: the spans of some files, each beside the OTLP JSON object it came from, so that nothing else is lost.

Every input form becomes the one normal form of OTLP JSON (`{"resourceSpans": [...]}`, ids in hex, enums as numbers).
Writing puts our attributes into those objects; events, links, status and foreign attributes stay as they came.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_agentcost.ledger.accounting import SpanRecord

Object = dict[str, Any]
"""A parsed JSON object. `Any` ends in this module: what leaves it is a SpanRecord."""

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
"""OTLP SpanKind by number; 0 (unspecified) counts as internal."""
STATUS_ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in a file that could not be read, and where."""

    file: str
    where: str
    """`line 12`, `byte 4711`, `span 5` ...; empty for the whole file."""
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.where, self.what) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as the accounting sees it, and the OTLP JSON object it is written back to."""

    record: SpanRecord
    source: Object

    @property
    def key(self) -> tuple[str, str]:
        """Trace id and span id."""
        return self.record.trace_id, self.record.span_id


@dataclass(slots=True)
class Traces:
    """All spans of some files, in input order, with what could not be read."""

    payloads: list[Object] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    duplicates: int = 0
    """Spans that came a second time (a retried export) and are written once."""
    unreadable: list[Object] = field(default_factory=list)
    """Spans that are no spans; JSON carries them on as they came, protobuf has no place for them."""
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    """Where in `spans` each one is."""

    @property
    def records(self) -> list[SpanRecord]:
        """The spans for the accounting."""
        return [span.record for span in self.spans]

    def add(self, payload: Object, *, file: str, where: str) -> None:
        """Take one `{"resourceSpans": [...]}` object; a span that cannot be read is reported and written unchanged."""
        self.payloads.append(payload)
        for scope_spans, scope, resource in _scopes(payload):
            kept = []
            for number, source in enumerate(scope_spans["spans"], start=1):
                place = f"{where}, span {number}" if where else f"span {number}"
                try:
                    record = span_record(source, scope=scope, resource=resource)
                except (ValueError, TypeError, AttributeError) as error:
                    self.problems.append(Problem(file=file, where=place, what=str(error)))
                    self.unreadable.append(source)
                    kept.append(source)
                    continue
                span = Span(record=record, source=source)
                place_before = self._places.get(span.key)
                if place_before is not None:
                    self.duplicates += 1
                    self._richer(place_before, span)
                    continue
                self._places[span.key] = len(self.spans)
                kept.append(source)
                self.spans.append(span)
            scope_spans["spans"] = kept

    def _richer(self, place: int, span: Span) -> None:
        """Let the richer of two exports of one span stand, as the accounting does."""
        before = self.spans[place]
        if len(span.record.attributes) > len(before.record.attributes):
            before.source.clear()
            before.source.update(span.source)
            self.spans[place] = Span(record=span.record, source=before.source)

    def enrich(self, attributes: Mapping[tuple[str, str], Mapping[str, object]], *, anew: bool = False) -> None:
        """Write attributes on their spans, in place of the figures of an earlier accounting.

        With `anew` nothing of the earlier one stays, also on spans that get no figures now.
        """
        for span in self.spans:
            new = attributes.get(span.key)
            if not new and not anew:
                continue
            new = new or {}
            unchanged = new.get(_AMOUNT) == span.record.attributes.get(_AMOUNT)
            stale = {k for k in span.record.attributes if k in new or _is_stale(k, unchanged=unchanged)}
            kept = [a for a in span.source.get("attributes") or () if a["key"] not in stale]
            span.source["attributes"] = kept + [{"key": k, "value": any_value(v)} for k, v in new.items()]
            for name in stale:
                del span.record.attributes[name]
            span.record.attributes.update(new)


_AMOUNT = "agentcost.cost.amount"
_TOTALS = ("agentcost.session.", "agentcost.subtree.", "agentcost.conversation.")
_VERDICT = ("agentcost.cost.status", "agentcost.cost.reason")


def _is_stale(name: str, *, unchanged: bool) -> bool:
    """Tell whether an attribute of an earlier accounting goes when a new one is written.

    Totals always do. The breakdown and the source of an own cost stay true as long as its amount does.
    """
    if name.startswith(_TOTALS) or name in _VERDICT:
        return True
    return not unchanged and name.startswith(("agentcost.cost.", "agentcost.price."))


def _scopes(payload: Object) -> Iterator[tuple[Object, str, dict[str, object]]]:
    """Walk the scopes of a payload with scope name and resource attributes; `spans` is a list afterwards."""
    for resource_spans in payload.get("resourceSpans") or ():
        resource = attribute_map((resource_spans.get("resource") or {}).get("attributes"))
        # Files of the years before 2022 say instrumentationLibrarySpans.
        old = resource_spans.pop("instrumentationLibrarySpans", None)
        if old and not resource_spans.get("scopeSpans"):
            resource_spans["scopeSpans"] = old
        for scope_spans in resource_spans.get("scopeSpans") or ():
            library = scope_spans.pop("instrumentationLibrary", None)
            if library and "scope" not in scope_spans:
                scope_spans["scope"] = library
            scope_spans["spans"] = list(scope_spans.get("spans") or ())
            yield scope_spans, str((scope_spans.get("scope") or {}).get("name") or ""), resource


def span_record(source: Object, *, scope: str, resource: dict[str, object]) -> SpanRecord:
    """Read one OTLP JSON span; normalises its ids and enums in place. Raises ValueError saying what is wrong."""
    if not isinstance(source, dict):
        raise ValueError(f"a span must be an object, not {type(source).__name__}")
    trace_id = source["traceId"] = _identifier(source.get("traceId"), 16, "traceId")
    span_id = source["spanId"] = _identifier(source.get("spanId"), 8, "spanId")
    parent_id = source.get("parentSpanId") or ""
    if parent_id:
        parent_id = _identifier(parent_id, 8, "parentSpanId", zero_is_none=True)
        source["parentSpanId"] = parent_id
    kind = source["kind"] = _enum(source.get("kind"), "SPAN_KIND_", _KIND_NUMBERS)
    status = source.get("status") or {}
    if "code" in status:
        status["code"] = _enum(status["code"], "STATUS_CODE_", _STATUS_NUMBERS)
    for link in source.get("links") or ():
        link["traceId"] = _identifier(link.get("traceId"), 16, "traceId of a link")
        link["spanId"] = _identifier(link.get("spanId"), 8, "spanId of a link")
    start = _nanoseconds(source.get("startTimeUnixNano"), "startTimeUnixNano")
    end = _nanoseconds(source.get("endTimeUnixNano"), "endTimeUnixNano")
    return SpanRecord(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=str(source.get("name") or ""),
        kind=KINDS[kind] if kind < len(KINDS) else "internal",
        scope=scope,
        start_ns=start,
        end_ns=end,
        attributes=attribute_map(source.get("attributes")),
        resource=resource,
        failed=status.get("code") == STATUS_ERROR,
    )


_KIND_NUMBERS = {"UNSPECIFIED": 0, "INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_STATUS_NUMBERS = {"UNSET": 0, "OK": 1, "ERROR": 2}


def _identifier(value: object, size: int, name: str, *, zero_is_none: bool = False) -> str:
    """Read a trace or span id written in hex (OTLP) or base64 (Tempo, protobuf's JSON mapping); the length tells."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing")
    raw = b""
    try:
        if len(value) == 2 * size:
            raw = bytes.fromhex(value)
        elif len(value) in ((size * 8 + 5) // 6, -(-size // 3) * 4):
            raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_" if set(value) & set("-_") else None)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != size:
        raise ValueError(f"{name} {value[:40]!r} is no id of {size} bytes in hex or base64")
    if not any(raw):
        if zero_is_none:
            return ""
        raise ValueError(f"{name} is all zeros")
    return raw.hex()


def _enum(value: object, prefix: str, numbers: Mapping[str, int]) -> int:
    """Read an enum written as a number (OTLP) or as a name (protobuf's JSON mapping)."""
    if value is None:
        return 0
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, str):
        return numbers.get(value.removeprefix(prefix), 0)
    raise ValueError(f"{prefix.lower().rstrip('_')} {value!r} is neither a number nor a name")


def _nanoseconds(value: object, name: str) -> int:
    """Read unix nanoseconds written as a string (OTLP) or a number; absent is 0, as in protobuf."""
    if value is None:
        return 0
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value >= 0 and value == int(value):
        return int(value)
    raise ValueError(f"{name} {str(value)[:40]!r} is no count of nanoseconds")


def attribute_map(attributes: object) -> dict[str, object]:
    """Read an OTLP attribute list; a malformed value stays what it is, for its reader to refuse."""
    if attributes is None:
        return {}
    if not isinstance(attributes, list):
        raise ValueError(f"attributes must be a list, not {type(attributes).__name__}")
    result: dict[str, object] = {}
    for attribute in attributes:
        if not isinstance(attribute, dict) or not isinstance(attribute.get("key"), str):
            raise ValueError("an attribute has no key")
        result[attribute["key"]] = plain_value(attribute.get("value"))
    return result


def plain_value(value: object) -> object:
    """Turn an OTLP AnyValue into str, bool, int, float, bytes, list, dict or None."""
    if not isinstance(value, dict):
        return value
    if "stringValue" in value:
        return value["stringValue"]
    if "boolValue" in value:
        return value["boolValue"]
    if "intValue" in value:
        return _converted(value["intValue"], int)
    if "doubleValue" in value:
        return _converted(value["doubleValue"], float)
    if "arrayValue" in value:
        return [plain_value(v) for v in (value["arrayValue"] or {}).get("values") or ()]
    if "kvlistValue" in value:
        return attribute_map((value["kvlistValue"] or {}).get("values"))
    if "bytesValue" in value:
        try:
            return base64.b64decode(value["bytesValue"])
        except (ValueError, TypeError):
            return value["bytesValue"]
    return None


def _converted(value: object, number: type[int] | type[float]) -> object:
    """Read a number that JSON may carry as a string (int64, NaN); leave anything else to its reader."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    try:
        return number(value)
    except (ValueError, OverflowError):
        return value


def any_value(value: object) -> Object:
    """Write a value as OTLP AnyValue: 64-bit integers as strings, doubles with their shortest round-trip digits."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        # JSON has no NaN and no infinity; OTLP writes them as strings.
        return {
            "doubleValue": value if value - value == 0 else str(value).replace("inf", "Infinity").replace("nan", "NaN")
        }
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [any_value(v) for v in value]}}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": [{"key": str(k), "value": any_value(v)} for k, v in value.items()]}}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode("ascii")}
    return {"stringValue": str(value)}
