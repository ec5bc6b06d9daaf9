"""HTTP client spans, in the old and the stable conventions, as calls of an API that may have a fee."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from otel_agentcost.usage.quantities import decimal_of
from otel_agentcost.usage.reading import MAX_QUANTITY, Quantity, Reading, Status, Usage

_METHOD = ("http.request.method", "http.method")
_URL = ("url.full", "http.url")
_HOST = ("server.address", "net.peer.name", "http.host", "peer.hostname")
_PATH = ("url.path", "http.target")
_STATUS = ("http.response.status_code", "http.status_code")
_SIZE = ("http.response.body.size", "http.response_content_length", "http.response.header.content-length")
_MEGABYTE = 1_000_000
_ONE = Usage(api_requests=1)
_MAX_PATH = 1024


def read_http_client(attributes: Mapping[str, object]) -> Reading | None:
    """Return one request to an API, or None for a span that is no HTTP client span with a known host.

    Context: host, method, path. The query, a fragment and user names in the URL are never kept. A response of 400
    and above is a failed request (`status="error"`, `http_<code>`).
    """
    method = attributes.get("http.request.method") or attributes.get("http.method")
    if not isinstance(method, str) or not method:
        return None
    host, path = _address(attributes)
    if not host:
        return None
    usage = _ONE
    size = decimal_of(_first(attributes, _SIZE))
    if size is not None and 0 <= size <= MAX_QUANTITY and size == size.to_integral_value():
        quantities: dict[str, Quantity] = {"api_requests": 1, "response_megabytes": Decimal(int(size)) / _MEGABYTE}
        usage = Usage(quantities)
    status: Status = "usage"
    reason = ""
    code = _code(attributes)
    if code is not None and code >= 400:
        status, reason = "error", f"http_{code}"
    return Reading(
        kind="api",
        usage=usage,
        status=status,
        reason=reason,
        operation="http",
        context={"host": host, "method": method.upper()[:16], "path": path},
        dialect="http",
        tool=host,
    )


def _first(attributes: Mapping[str, object], keys: tuple[str, ...]) -> object:
    for key in keys:
        value = attributes.get(key)
        if value is not None:
            return value[0] if isinstance(value, (tuple, list)) and value else value
    return None


def _code(attributes: Mapping[str, object]) -> int | None:
    number = decimal_of(_first(attributes, _STATUS))
    return int(number) if number is not None and 100 <= number <= 999 else None


def _address(attributes: Mapping[str, object]) -> tuple[str, str]:
    """Host in lower case without port, and the path without query."""
    host, path = "", ""
    url = _first(attributes, _URL)
    if isinstance(url, str):
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts.path
        except ValueError:  # a URL nobody could have requested, e.g. an unclosed IPv6 bracket
            host, path = "", ""
    stated = _first(attributes, _HOST)
    if isinstance(stated, str) and stated.strip():
        host = _without_port(stated.strip())
    if not path:
        target = _first(attributes, _PATH)
        path = target.partition("?")[0].partition("#")[0] if isinstance(target, str) else ""
    return host.lower().rstrip("."), (path or "/")[:_MAX_PATH]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and ":" not in name else host
