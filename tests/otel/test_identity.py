"""Who may be told whose work it is: nobody, unless the application says so, and then only the hosts it names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_agentcost.otel import identity
from otel_agentcost.otel.config import Capture, Config, Identity
from otel_agentcost.otel.install import install, uninstall
from otel_agentcost.otel.propagation import IdentityPropagator, host_of
from otel_agentcost.otel.session import session


@pytest.fixture
def server() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """An HTTP server that keeps the headers it got; reachable as 127.0.0.1 and as localhost."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append({key.lower(): value for key, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made.server_address[1], got
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    before = propagate.get_global_textmap()
    yield
    uninstall()
    assert propagate.get_global_textmap() is before


@pytest.mark.parametrize(
    ("host", "allowed", "told"),
    [
        ("api.example", ("api.example",), True),
        ("API.Example.", ("api.example",), True),
        ("a.internal.example", (".internal.example",), True),
        ("a.b.internal.example", ("x", ".Internal.example"), True),
        ("evil-internal.example", (".internal.example",), False),
        ("internal.example", (".internal.example",), False),
        ("api.example.evil.com", ("api.example",), False),
        ("api.example", (), False),
        ("", (".example",), False),
    ],
)
def test_a_host_is_allowed_by_its_name_or_a_whole_suffix(host: str, allowed: tuple[str, ...], told: bool) -> None:
    """Never by an unanchored pattern."""
    with session("s", tenant="acme", agent="a"):
        entries = identity.outgoing(host, allowed)

    assert entries == ({"session.id": "s", "agentcost.tenant": "acme"} if told else {})


@pytest.mark.parametrize("inner", ["default", "tracecontext only"])
def test_only_allowed_hosts_hear_whose_work_it_is(
    server: tuple[int, list[dict[str, str]]], inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests of one session: the allowed host gets the identity, the other one the trace context alone."""
    import httpx

    port, got = server
    before = propagate.get_global_textmap()
    if inner != "default":
        propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator()]))
    provider = TracerProvider(shutdown_on_exit=False)
    settings = Identity(baggage=True, baggage_hosts=("localhost",))
    handle = install(provider, config=Config(identity=settings, capture=Capture(http=False, http_spans=True)))
    try:
        with session("s 1", tenant="ac,me"), httpx.Client() as client:
            client.get(f"http://localhost:{port}/")
            client.get(f"http://127.0.0.1:{port}/")
    finally:
        handle.shutdown()
        propagate.set_global_textmap(before)

    told, other = got
    assert "traceparent" in told
    assert "traceparent" in other
    assert "baggage" not in other
    arrived = propagate.extract({"baggage": told["baggage"]})
    assert identity.received(arrived) == {"session.id": "s 1", "agentcost.tenant": "ac,me"}


def test_without_being_asked_nobody_is_told(server: tuple[int, list[dict[str, str]]]) -> None:
    """The default sends no identity anywhere, and changes no propagator."""
    import httpx

    port, got = server
    handle = install(
        TracerProvider(shutdown_on_exit=False), config=Config(capture=Capture(http=False, http_spans=True))
    )
    try:
        with session("s", tenant="acme"), httpx.Client() as client:
            client.get(f"http://localhost:{port}/")
    finally:
        handle.shutdown()

    assert "baggage" not in got[0]
    assert "acme" not in str(got)


def test_baggage_of_the_application_travels_as_before() -> None:
    """What the application put into baggage itself is its own affair."""
    carrier: dict[str, str] = {}
    propagator = IdentityPropagator(propagate.get_global_textmap(), ("api.example",))
    propagator.inject(carrier, baggage.set_baggage("theirs", "1"))

    assert carrier["baggage"] == "theirs=1"
    assert "traceparent" in propagator.fields


def test_the_identity_that_arrives_is_believed_only_when_asked() -> None:
    """Our keys only, bounded, and what the session here says stands above."""
    memory = InMemorySpanExporter()
    arriving = context.Context()
    for key, value in {
        "agentcost.tenant": "acme", "session.id": "remote", "theirs": "x", "user.id": "u" * 300,
        "gen_ai.agent.name": "spoofed",
    }.items():  # fmt: skip
        arriving = baggage.set_baggage(key, value, arriving)
    for believed in (False, True):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        handle = install(provider, config=Config(identity=Identity(baggage=believed), capture=Capture(http=False)))
        provider.get_tracer("t").start_span("server", context=arriving).end()
        handle.shutdown()

    plain, believing = memory.get_finished_spans()
    assert dict(plain.attributes or {}) == {}
    assert dict(believing.attributes or {}) == {"agentcost.tenant": "acme", "session.id": "remote"}


@pytest.mark.parametrize(
    ("attributes", "kind", "host"),
    [
        ({"url.full": "https://a.example:8443/x"}, trace.SpanKind.CLIENT, "a.example"),
        ({"http.url": "http://[::1]:80/"}, trace.SpanKind.CLIENT, "::1"),
        ({"server.address": "b.example"}, trace.SpanKind.CLIENT, "b.example"),
        ({"http.host": "c.example:81"}, trace.SpanKind.CLIENT, "c.example"),
        ({"url.full": "https://a.example/", "server.address": "proxy"}, trace.SpanKind.CLIENT, "a.example"),
        ({"server.address": "me"}, trace.SpanKind.SERVER, ""),
        ({}, trace.SpanKind.CLIENT, ""),
    ],
)
def test_the_host_is_the_one_a_client_span_is_about(attributes: dict[str, str], kind: Any, host: str) -> None:
    """Old and new names; a server's own address is nobody to tell."""
    provider = TracerProvider(shutdown_on_exit=False)

    assert host_of(provider.get_tracer("t").start_span("s", kind=kind, attributes=attributes)) == host
    assert host_of(trace.INVALID_SPAN) == ""
