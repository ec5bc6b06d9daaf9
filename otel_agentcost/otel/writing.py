"""Write attributes on a span that is ending, in whatever way the installed SDK allows.

From SDK 1.43 a span is frozen before `_on_ending` is called, so that a public `set_attribute` there is dropped
(opentelemetry-python issue 5614); before that it refuses because the span has an end time. Two ways are left: the
public one, for the SDK that lifts this (pull request 5613), and a guarded write into the attribute store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, Span

from otel_agentcost.otel.health import count

Written = Mapping[str, "str | bool | int | float"]


def stored(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the span's attributes without a copy; read only."""
    inner = getattr(getattr(span, "_attributes", None), "_dict", None)
    if isinstance(inner, dict):
        return inner
    return span.attributes or {}


def write(span: ReadableSpan, attributes: Written) -> bool:
    """Add attributes to a live or just ended span; tell whether they are on it now.

    A span at its attribute limit would lose the oldest attribute of its user: then nothing is written, only counted.
    """
    if isinstance(span, Span) and span.is_recording():
        span.set_attributes(attributes)
        return True
    bounded = getattr(span, "_attributes", None)
    inner = getattr(bounded, "_dict", None)
    lock = getattr(bounded, "_lock", None)
    if bounded is None or not isinstance(inner, dict) or lock is None:
        return False
    with lock:
        limit = getattr(bounded, "maxlen", None)
        if limit is not None and len(inner.keys() | attributes.keys()) > limit:
            full = True
        else:
            full = False
            inner.update(attributes)
    if full:
        count("attribute_limit")
    return True


def derived(span: ReadableSpan, attributes: Written) -> ReadableSpan:
    """Return a span that is the same but for more attributes, for a processor behind ours.

    The attribute store is copied with its counts of dropped attributes; the public constructor would walk and clean
    every attribute again (about 5 microseconds for twenty).
    """
    store = getattr(span, "_attributes", None)
    merged: Any
    if store is not None and isinstance(getattr(store, "_dict", None), dict):
        limit = getattr(store, "maxlen", None)
        if limit is not None and len(store._dict.keys() | attributes.keys()) > limit:
            count("attribute_limit")
            return span
        merged = type(store)(maxlen=limit, immutable=False, max_value_len=store.max_value_len)
        merged._dict.update(store._dict)
        merged._dict.update(attributes)
        merged.dropped = store.dropped
        merged._immutable = True
    else:
        merged = {**(span.attributes or {}), **attributes}
    copy = ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=merged,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
    # Events and links keep their own bounded lists, and with them the counts of what was dropped.
    copy._events = span._events
    copy._links = span._links
    return copy
