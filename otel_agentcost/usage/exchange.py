"""Read one HTTP exchange: recognise the request, meter the answer as it passes, give one Reading at the end.

    call = recognise("POST", url, body)
    meter = Meter(call, status, headers)
    for chunk in response: meter.feed(chunk)
    reading = meter.close()

This is the door of the readers; the work is done in recognition, meter, answers and counting, and what differs
between providers stands in semconv/apis.yaml.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from otel_agentcost.usage.answers import tell
from otel_agentcost.usage.apis import tables
from otel_agentcost.usage.bodies import array_objects, frame_objects
from otel_agentcost.usage.codecs import decode
from otel_agentcost.usage.meter import Meter
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.recognition import Call, is_free, recognise, stand_in
from otel_agentcost.usage.streams import events, frames, json_object, json_objects, lines, stream_format

__all__ = ["Call", "Meter", "read_exchange", "recognise"]


def read_exchange(record: Mapping[str, object]) -> Reading:
    """Return what a recorded exchange tells; never raises.

    A record has `method`, `url`, `status`, `response_headers`, and `request_body` / `response_body` as text, or as
    base64 when `request_body_enc` / `response_body_enc` says so. Where the URL says nothing, the answer's own shape
    decides, then `api` and `provider` of the record. An exchange nobody meters comes back without usage:
    `not_billed` (`free_endpoint`) or `no_usage` (`unknown_api`).
    """
    method = _text(record, "method") or "POST"
    url = _text(record, "url")
    request = _body(record, "request_body")
    response = _body(record, "response_body")
    headers = _headers(record.get("response_headers"))
    encoding = record.get("content_encoding_recorded")
    if isinstance(encoding, str) and encoding not in ("", "identity", "decoded"):
        headers.setdefault("content-encoding", encoding)
    raw_status = record.get("status")
    status = raw_status if isinstance(raw_status, int) else 200
    streamed = record.get("is_stream") is True
    call = recognise(method, url, request)
    if call is None:
        if is_free(method, url):
            return Reading(kind="api", status="not_billed", reason="free_endpoint")
        call = _by_answer(record, url, response, headers, streamed)
    if call is None:
        return Reading(kind="api", status="no_usage", reason="unknown_api")
    meter = Meter(call, status, headers)
    if response:
        meter.feed(response)
    return meter.close()


def _by_answer(
    record: Mapping[str, object], url: str, response: bytes, headers: Mapping[str, str], streamed: bool
) -> Call | None:
    """Recognise an exchange whose URL is nobody's by the shape of its answer, or by what the record calls it."""
    provider = _text(record, "provider") or None
    scheme, _, rest = url.partition("://")
    if scheme in ("http", "https") and "." in rest.partition("/")[0]:
        return None  # a real host with a path of its own: whatever it answers, it is not one of our calls
    for answer in _first_objects(response, headers, streamed):
        api = tell(answer)
        if api is not None:
            return stand_in(api, provider, streaming=streamed)
    named = _text(record, "api")
    return stand_in(named, provider, streaming=streamed) if named in tables().apis else None


def _first_objects(response: bytes, headers: Mapping[str, str], streamed: bool) -> list[dict[str, object]]:
    body = decode([response], headers.get("content-encoding")).data
    form = stream_format(headers.get("content-type"), body[:512], asked=streamed)
    if form == "events":
        return _some(json_objects(events(body)))
    if form == "lines":
        return _some(json_objects(lines(body)))
    if form == "frames":
        return _some(frame_objects(frames(body)))
    if body.lstrip()[:1] == b"[":
        return _some(array_objects(body))
    whole = json_object(body.lstrip(b"\xef\xbb\xbf \t\r\n"))
    return [] if whole is None else [whole]


def _some(found: object) -> list[dict[str, object]]:
    first: list[dict[str, object]] = []
    for one in found:  # type: ignore[attr-defined]
        first.append(one)
        if len(first) == 4:
            break
    return first


def _text(record: Mapping[str, object], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _headers(raw: object) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        return {}
    return {str(k).lower(): v if isinstance(v, str) else str(v) for k, v in raw.items()}


def _body(record: Mapping[str, object], key: str) -> bytes:
    value = record.get(key)
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return b""
    if record.get(f"{key}_enc") == "base64":
        try:
            return base64.b64decode(value)
        except (binascii.Error, ValueError):
            return b""
    return value.encode("utf-8", "surrogatepass")
