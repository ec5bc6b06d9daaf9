"""HTTP spans of opentelemetry-instrumentation-httpx: no secrets in addresses, sizes where they are known."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import opentelemetry.instrumentation.httpx as instrumentation
import pytest

from otel_agentcost.otel.http.spans import (
    body_size,
    is_http_client_span,
    redact,
    span_hooks,
    without_query,
)
from tests.otel.tap_fixtures import MODULES, Collected, tapped
from tests.otel.tap_server import Answer, Wire, chat, wire

PATH = "/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": []}


INSTRUMENTORS = {"httpx": "HTTPXClientInstrumentor", "httpx2": "HTTPX2ClientInstrumentor"}
PAIRS = [
    (module, getattr(instrumentation, INSTRUMENTORS[module.__name__]))
    for module in MODULES
    if hasattr(instrumentation, INSTRUMENTORS[module.__name__])  # the second one exists since 0.65b0
]


@pytest.fixture(params=PAIRS, ids=lambda pair: pair[0].__name__)
def pair(request: pytest.FixtureRequest) -> tuple[ModuleType, Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def server() -> Iterator[Wire]:
    with wire() as server:
        server.answers[PATH] = Answer(body=chat())
        server.answers["/search"] = Answer(body=b"12345")
        yield server


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://api.example.com/v1/search?key=secret", "https://api.example.com/v1/search"),
        ("https://u:p@api.example.com:8443/a#b", "https://api.example.com:8443/a"),
        ("https://api.example.com/a", "https://api.example.com/a"),
        ("/relative?x=1", "/relative"),
        ("http://[broken?key=1", ""),
        ("", ""),
    ],
)
def test_an_address_loses_query_fragment_and_credentials(url: str, clean: str) -> None:
    """Scheme, host, port and path stay, for the fee tables; nothing else."""
    assert without_query(url) == clean


def test_redaction_covers_old_and_new_names() -> None:
    """Both generations of HTTP attributes are redacted on an open span, and nothing else is written."""
    seen = Collected()
    with seen.tracer.start_as_current_span(
        "GET",
        attributes={
            "url.full": "https://x/y?k=secret",
            "http.url": "https://x/y?k=secret",
            "http.target": "/y?k=secret",
            "url.query": "k=secret",
            "url.path": "/y",
        },
    ) as span:
        redact(span)
    assert dict(seen.spans[0].attributes or {}) == {
        "url.full": "https://x/y",
        "http.url": "https://x/y",
        "http.target": "/y",
        "url.query": "REDACTED",
        "url.path": "/y",
    }


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"Content-Length": "17"}, 17),
        ([(b"content-length", b"17")], 17),
        ({"content-length": "many"}, None),
        ({"transfer-encoding": "chunked"}, None),
        (None, None),
    ],
)
def test_a_body_size_is_what_the_headers_state_or_unknown(headers: Any, size: int | None) -> None:
    """Unknown is None, never 0."""
    assert body_size(headers) == size


def test_http_spans_are_told_by_their_method() -> None:
    """Old and new HTTP conventions count; other spans do not."""
    assert is_http_client_span({"http.request.method": "GET"})
    assert is_http_client_span({"http.method": "GET"})
    assert not is_http_client_span({"gen_ai.operation.name": "chat"})
    assert not is_http_client_span(None)


@pytest.mark.parametrize("tap_first", [True, False])
def test_tap_and_http_instrumentation_compose_in_either_order(
    pair: tuple[ModuleType, Any], server: Wire, tap_first: bool
) -> None:
    """Whoever comes first: one call span with usage, and below it the HTTP span, redacted and with a size."""
    module, instrumentor = pair
    outside = Collected()

    def instrument(provider: Any) -> None:
        instrumentor().instrument(tracer_provider=provider, **span_hooks())

    if not tap_first:
        instrument(outside.provider)
    try:
        with tapped() as seen:
            if tap_first:
                instrument(outside.provider)
            with module.Client() as client:
                client.post(server.url + PATH + "?key=query-secret", json=REQUEST)
                client.get(server.url + "/search?key=query-secret")
    finally:
        instrumentor().uninstrument()
    call, reading = seen.only()
    assert reading.usage is not None
    model_request, search = outside.spans
    assert model_request.parent is not None
    assert call.context is not None
    assert model_request.parent.span_id == call.context.span_id
    for span, path, size in ((model_request, PATH, len(chat())), (search, "/search", 5)):
        attributes = span.attributes or {}
        assert attributes["http.url"] == server.url + path
        assert attributes["http.response.body.size"] == size
        assert "secret" not in span.to_json()


async def test_async_clients_are_redacted_too(pair: tuple[ModuleType, Any], server: Wire) -> None:
    """The async hooks do the same."""
    module, instrumentor = pair
    outside = Collected()
    instrumentor().instrument(tracer_provider=outside.provider, **span_hooks())
    try:
        with tapped():
            async with module.AsyncClient() as client:
                await client.get(server.url + "/search?key=query-secret")
    finally:
        instrumentor().uninstrument()
    (span,) = outside.spans
    assert (span.attributes or {})["http.response.body.size"] == 5
    assert "secret" not in span.to_json()
