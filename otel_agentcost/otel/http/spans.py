"""HTTP spans: take secrets out of their addresses, add what a fee may depend on.

Ordinary HTTP spans come from opentelemetry-instrumentation-httpx. Its spans carry the query string, and with it
API keys; they carry no response size, by which some APIs charge. Both are mended by hooks:

    HTTPXClientInstrumentor().instrument(**span_hooks())
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from otel_agentcost.otel.health import guard

if TYPE_CHECKING:
    from opentelemetry.trace import Span

URL_ATTRIBUTES = ("url.full", "http.url")
QUERY_ATTRIBUTES = ("url.query", "http.target")
SIZE_ATTRIBUTES = ("http.response.body.size", "http.response_content_length")
"""Today's name of the size of a response body in bytes, and the one before."""
METHOD_ATTRIBUTES = ("http.request.method", "http.method")


def without_query(url: str) -> str:
    """Return an address without query, fragment, user and password; host, port and path stay.

    >>> without_query("https://u:p@api.example.com:8443/v1/search?key=secret#top")
    'https://api.example.com:8443/v1/search'
    """
    if "?" not in url and "#" not in url and "@" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # not an address anybody could call; keep nothing of it
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def redact(span: Span) -> None:
    """Take query strings and credentials out of the address attributes of an HTTP client span that is still open.

    For any instrumentation: call it from a processor's `on_start`, or from a request hook.
    """
    attributes: Mapping[str, object] | None = getattr(span, "attributes", None)
    if not attributes:
        return
    for key in URL_ATTRIBUTES:
        url = attributes.get(key)
        if isinstance(url, str):
            clean = without_query(url)
            if clean != url:
                span.set_attribute(key, clean)
    query = attributes.get("url.query")
    if query:
        span.set_attribute("url.query", "REDACTED")
    target = attributes.get("http.target")
    if isinstance(target, str) and "?" in target:
        span.set_attribute("http.target", target.partition("?")[0])


def is_http_client_span(attributes: Mapping[str, object] | None) -> bool:
    """Tell whether a span describes an HTTP request, old names or new."""
    return attributes is not None and any(key in attributes for key in METHOD_ATTRIBUTES)


def request_hook(span: Span, request: Any) -> None:
    """Redact the address of a request span of opentelemetry-instrumentation-httpx. Never raises."""
    with guard("spans.request"):
        if span.is_recording():
            redact(span)


def response_hook(span: Span, request: Any, response: Any) -> None:
    """Add the size of the response body where its headers tell it. Never raises."""
    with guard("spans.response"):
        if span.is_recording():
            size = body_size(response.headers)
            if size is not None:
                span.set_attribute(SIZE_ATTRIBUTES[0], size)


async def async_request_hook(span: Span, request: Any) -> None:
    """Do the same for an async client."""
    request_hook(span, request)


async def async_response_hook(span: Span, request: Any, response: Any) -> None:
    """Do the same for an async client."""
    response_hook(span, request, response)


def span_hooks() -> dict[str, Callable[..., None] | Callable[..., Awaitable[None]]]:
    """Return the hooks as arguments for `HTTPXClientInstrumentor().instrument()` and its httpx2 sister."""
    return {
        "request_hook": request_hook,
        "response_hook": response_hook,
        "async_request_hook": async_request_hook,
        "async_response_hook": async_response_hook,
    }


def body_size(headers: Any) -> int | None:
    """Return the length a response states for its body in bytes, or None (chunked, absent, nonsense)."""
    if headers is None:
        return None
    pairs: Iterable[tuple[Any, Any]] = headers.items() if hasattr(headers, "items") else headers
    for key, value in pairs:
        name = key.decode("latin-1") if isinstance(key, bytes) else str(key)
        if name.lower() == "content-length":
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            return int(text) if text.strip().isdigit() else None
    return None
