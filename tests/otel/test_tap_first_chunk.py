"""Nothing is held back: the server sends its second event only after the application has read the first."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_agentcost.otel import http
from otel_agentcost.testing import CapturedSpans

FIRST = b'data: {"id":"c1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
REST = (
    b'data: {"id":"c1","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)
BODY = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}


class Patient:
    """A server that waits for its reader between the first event and the rest."""

    def __init__(self) -> None:
        self.read = threading.Event()
        self.in_time: list[bool] = []
        patient = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self._send(FIRST)
                patient.in_time.append(patient.read.wait(5))
                self._send(REST)
                self._send(b"")

            def _send(self, data: bytes) -> None:
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/chat/completions"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def patient() -> Iterator[Patient]:
    server = Patient()
    yield server
    server.close()


@pytest.fixture
def captured() -> Iterator[CapturedSpans]:
    spans = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(spans.processor())
    http.install(tracer_provider=provider)
    yield spans
    http.uninstall()


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_a_sync_client_reads_the_first_event_when_it_was_sent(
    module: str, patient: Patient, captured: CapturedSpans
) -> None:
    """The tap keeps references; it does not collect, look ahead or delay."""
    library = pytest.importorskip(module, reason=f"{module} is not installed")
    seen = b""
    with library.Client() as client, client.stream("POST", patient.url, json=BODY) as response:
        for chunk in response.iter_raw():
            seen += chunk
            if seen == FIRST:
                patient.read.set()
    assert patient.in_time == [True]
    assert seen == FIRST + REST
    assert [s.attributes["gen_ai.usage.output_tokens"] for s in captured.spans] == [2]


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_an_async_client_reads_the_first_event_when_it_was_sent(
    module: str, patient: Patient, captured: CapturedSpans
) -> None:
    """The same in an event loop."""
    library = pytest.importorskip(module, reason=f"{module} is not installed")

    async def read() -> bytes:
        seen = b""
        async with library.AsyncClient() as client, client.stream("POST", patient.url, json=BODY) as response:
            async for chunk in response.aiter_raw():
                seen += chunk
                if seen == FIRST:
                    patient.read.set()
        return seen

    assert asyncio.run(read()) == FIRST + REST
    assert patient.in_time == [True]
    assert len(captured.spans) == 1


def test_aiohttp_reads_the_first_event_when_it_was_sent(patient: Patient, captured: CapturedSpans) -> None:
    """The same for aiohttp."""
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (dependency group sdks)")

    async def read() -> bytes:
        seen = b""
        async with aiohttp.ClientSession() as session, session.post(patient.url, json=BODY) as response:
            async for chunk in response.content.iter_any():
                seen += chunk
                if seen == FIRST:
                    patient.read.set()
        return seen

    assert asyncio.run(read()) == FIRST + REST
    assert patient.in_time == [True]
    assert len(captured.spans) == 1


def test_an_sdk_gives_the_first_word_when_it_was_sent(patient: Patient, captured: CapturedSpans) -> None:
    """A user of the openai client sees the first word before the server goes on."""
    openai = pytest.importorskip("openai", reason="openai is not installed (extra demo)")
    client = openai.OpenAI(api_key="none", base_url=patient.url.removesuffix("/chat/completions"), max_retries=0)
    words = []
    for event in client.chat.completions.create(**json.loads(json.dumps(BODY))):
        if event.choices and event.choices[0].delta.content:
            words.append(event.choices[0].delta.content)
            patient.read.set()
    client.close()
    assert patient.in_time == [True]
    assert words == ["Hel"]
    assert len(captured.spans) == 1
