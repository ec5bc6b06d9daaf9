"""Jaeger's query JSON (`{"data": [{"traceID", "spans", "processes"}]}`) as OTLP JSON.

The reverse of Jaeger's own translation from OTLP: tags `span.kind`, `otel.status_code`, `otel.scope.*`,
`w3c.tracestate` go back to where they came from, microseconds become nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from otel_agentcost.cli.traces.collection import Object, any_value

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"OK": 1, "ERROR": 2}
_SCOPE_NAME = ("otel.scope.name", "otel.library.name")
_SCOPE_VERSION = ("otel.scope.version", "otel.library.version")
_MOVED = frozenset(
    ("span.kind", "otel.status_code", "otel.status_description", "w3c.tracestate", *_SCOPE_NAME, *_SCOPE_VERSION)
)


def payload_of(trace: Mapping[str, Any]) -> Object:
    """Translate one Jaeger trace into one OTLP JSON object: a resource per process, a scope per library."""
    processes = trace.get("processes") or {}
    groups: dict[str, dict[tuple[str, str], list[Object]]] = {}
    for span in trace.get("spans") or ():
        tags = {tag.get("key"): tag.get("value") for tag in span.get("tags") or ()}
        scope = (_first(tags, _SCOPE_NAME), _first(tags, _SCOPE_VERSION))
        by_scope = groups.setdefault(str(span.get("processID") or ""), {})
        by_scope.setdefault(scope, []).append(_span(span, tags))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _resource(processes.get(process) or {})},
                "scopeSpans": [
                    {"scope": {k: v for k, v in (("name", name), ("version", release)) if v}, "spans": spans}
                    for (name, release), spans in by_scope.items()
                ],
            }
            for process, by_scope in groups.items()
        ]
    }


def _first(tags: Mapping[str, object], names: Iterable[str]) -> str:
    return next((str(tags[name]) for name in names if tags.get(name)), "")


def _resource(process: Mapping[str, Any]) -> list[Object]:
    attributes = _attributes(process.get("tags") or ())
    if process.get("serviceName"):
        attributes.insert(0, {"key": "service.name", "value": any_value(process["serviceName"])})
    return attributes


def _attributes(tags: Iterable[Mapping[str, Any]], moved: frozenset[str] = frozenset()) -> list[Object]:
    return [
        {"key": str(tag.get("key")), "value": _value(tag.get("type"), tag.get("value"))}
        for tag in tags
        if tag.get("key") not in moved
    ]


def _value(kind: object, value: object) -> Object:
    """Write a typed Jaeger value as AnyValue; JSON alone cannot tell 1 from 1.0, so the tag's type decides."""
    if kind == "float64" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"doubleValue": float(value)}
    if kind == "int64" and not isinstance(value, bool):
        return {"intValue": str(value)}
    if kind == "binary" and isinstance(value, str):
        return {"bytesValue": value}
    return any_value(value)


def _span(span: Mapping[str, Any], tags: Mapping[str, Any]) -> Object:
    trace_id = _hex(span.get("traceID"), 32)
    parent, links = _references(span, trace_id)
    start = _microseconds(span.get("startTime"), "startTime")
    result: Object = {
        "traceId": trace_id,
        "spanId": _hex(span.get("spanID"), 16),
        "parentSpanId": parent,
        "name": str(span.get("operationName") or ""),
        "kind": _KINDS.get(str(tags.get("span.kind") or ""), 1),
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + _microseconds(span.get("duration"), "duration")),
        "attributes": _attributes(span.get("tags") or (), _MOVED),
        "status": _status(tags),
    }
    if tags.get("w3c.tracestate"):
        result["traceState"] = tags["w3c.tracestate"]
    if span.get("logs"):
        result["events"] = [_event(log) for log in span["logs"]]
    if links:
        result["links"] = links
    return result


def _hex(identifier: object, digits: int) -> str:
    """Pad an id: Jaeger's older stores drop leading zeros."""
    text = str(identifier or "")
    return text.rjust(digits, "0") if text else ""


def _microseconds(value: object, name: str) -> int:
    """Read microseconds as nanoseconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value * 1000)
    raise ValueError(f"{name} {str(value)[:40]!r} is no count of microseconds")


def _references(span: Mapping[str, Any], trace_id: str) -> tuple[str, list[Object]]:
    """Split references into the parent (the first CHILD_OF of the same trace) and links (all others)."""
    parent = _hex(span.get("parentSpanID"), 16)
    links: list[Object] = []
    for reference in span.get("references") or ():
        other = _hex(reference.get("traceID"), 32)
        span_id = _hex(reference.get("spanID"), 16)
        if reference.get("refType") == "CHILD_OF" and other == trace_id and not parent:
            parent = span_id
        elif span_id != parent:
            links.append({"traceId": other, "spanId": span_id})
    return parent, links


def _status(tags: Mapping[str, Any]) -> Object:
    code = _STATUS.get(str(tags.get("otel.status_code") or "").upper(), 0)
    if not code and tags.get("error") in (True, "true"):
        code = 2
    status: Object = {"code": code} if code else {}
    if tags.get("otel.status_description"):
        status["message"] = str(tags["otel.status_description"])
    return status


def _event(log: Mapping[str, Any]) -> Object:
    fields = log.get("fields") or []
    name = next((str(f.get("value")) for f in fields if f.get("key") == "event"), "")
    return {
        "timeUnixNano": str(_microseconds(log.get("timestamp"), "timestamp")),
        "name": name,
        "attributes": _attributes(fields, frozenset(("event",))),
    }
