"""The tap on httpx and httpx2: every way to read a body, byte for byte the same, one span each, ended once."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_agentcost.otel.http.orphans import ORPHANAGE
from otel_agentcost.usage.reading import Usage
from tests.otel.tap_fixtures import MODULES, Collected, tapped
from tests.otel.tap_server import EVENT_STREAM, Answer, Wire, chat, chat_events, cut, wire, zipped

REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a secret prompt"}]}
STREAM = REQUEST | {"stream": True, "stream_options": {"include_usage": True}}
PATH = "/v1/chat/completions"
HEADERS = {"authorization": "Bearer sk-secret-key", "x-secret-header": "header-secret"}


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def server() -> Iterator[Wire]:
    with wire() as server:
        server.answers[PATH] = Answer(body=chat())
        yield server


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    with tapped() as collected:
        yield collected


def stream_answer(**more: Any) -> Answer:
    return Answer(chunks=chat_events(), headers=EVENT_STREAM, **more)


def totals(usage: Usage | None) -> tuple[object, object]:
    assert usage is not None
    return usage.get("input_tokens"), usage.get("output_tokens")


# ---- reading a body in every way


def test_a_plain_call_becomes_one_span_below_the_current_one(module: ModuleType, server: Wire, seen: Collected) -> None:
    """A model call without a span of its own gets `chat {model}`, a CLIENT span with usage and identity."""
    with seen.tracer.start_as_current_span("step") as step, module.Client() as client:
        response = client.post(server.url + PATH, json=REQUEST, headers=HEADERS)
        assert response.content == chat()
    span, reading = seen.only()
    assert span.name == "chat gpt-4o"
    assert span.kind is SpanKind.CLIENT
    assert span.parent is not None
    assert span.parent.span_id == step.get_span_context().span_id
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
        "server.port": server.port,
    } | {k: v for k, v in (span.attributes or {}).items() if k == "gen_ai.provider.name"}
    assert reading.status == "usage"
    assert totals(reading.usage) == (12, 7)
    assert reading.identity[0] == "chatcmpl-1"


async def test_an_async_call_becomes_one_span(module: ModuleType, server: Wire, seen: Collected) -> None:
    """Sync and async clients give the same span and the same reading."""
    async with module.AsyncClient() as client:
        response = await client.post(server.url + PATH, json=REQUEST)
    assert response.content == chat()
    span, reading = seen.only()
    assert span.name == "chat gpt-4o"
    assert totals(reading.usage) == (12, 7)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000_000])
@pytest.mark.parametrize("way", ["iter_raw", "iter_bytes", "iter_lines", "read"])
def test_a_stream_is_the_same_bytes_at_every_chunk_boundary(
    module: ModuleType, server: Wire, seen: Collected, size: int, way: str
) -> None:
    """However the network cuts a stream and however it is read, the application sees the very same bytes."""
    body = b"".join(chat_events())
    server.answers[PATH] = Answer(chunks=cut(body, size), headers=EVENT_STREAM)
    with module.Client() as client, client.stream("POST", server.url + PATH, json=STREAM) as response:
        if way == "read":
            received = response.read()
        elif way == "iter_lines":
            received = "".join(line + "\n" for line in response.iter_lines()).encode()
        else:
            received = b"".join(getattr(response, way)())
    assert received == body
    span, reading = seen.only()
    assert totals(reading.usage) == (12, 7)
    assert reading.reason == ""
    assert span.status.status_code is StatusCode.UNSET


async def test_an_async_stream_is_the_same_bytes_at_every_chunk_boundary(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """Async streams too, in pieces of 1 to 40 bytes."""
    body = b"".join(chat_events())
    async with module.AsyncClient() as client:
        for size in (1, 5, 11, 40):
            server.answers[PATH] = Answer(chunks=cut(body, size), headers=EVENT_STREAM)
            async with client.stream("POST", server.url + PATH, json=STREAM) as response:
                received = b"".join([chunk async for chunk in response.aiter_raw()])
            assert received == body
    assert [totals(reading.usage) for reading in seen.readings] == [(12, 7)] * 4


def test_compressed_bodies_stay_compressed_for_the_application(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """The tap decodes for itself; raw bytes and decoded bytes reach the application as without it."""
    body = zipped(chat())
    server.answers[PATH] = Answer(body=body, headers={"content-type": "application/json", "content-encoding": "gzip"})
    with module.Client() as client:
        with client.stream("POST", server.url + PATH, json=REQUEST) as response:
            assert b"".join(response.iter_raw()) == body
        assert client.post(server.url + PATH, json=REQUEST).json() == json.loads(chat())
    assert [totals(reading.usage) for reading in seen.readings] == [(12, 7)] * 2


def test_the_application_gets_the_very_same_chunk_objects(module: ModuleType, seen: Collected) -> None:
    """Chunks are handed through, not copied: identity is kept."""
    chunks = [bytes(bytearray(event)) for event in chat_events()]

    class Source(module.SyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            yield from chunks

    class Transport(module.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            return module.Response(200, headers=EVENT_STREAM, stream=Source())

    url = "https://api.openai.com" + PATH
    with module.Client(transport=Transport()) as client, client.stream("POST", url, json=STREAM) as response:
        received = list(response.stream)
    assert len(received) == len(chunks)
    assert all(got is sent for got, sent in zip(received, chunks, strict=True))
    assert totals(seen.only()[1].usage) == (12, 7)


def test_mock_transports_are_read_although_their_body_is_there_already(module: ModuleType, seen: Collected) -> None:
    """A response whose content was set by hand, compressed or not, is read from memory."""

    def plain(request: Any) -> Any:
        return module.Response(200, content=chat(), headers={"content-type": "application/json"})

    def gzipped(request: Any) -> Any:
        return module.Response(
            200,
            content=zipped(chat()),
            headers={"content-type": "application/json", "content-encoding": "gzip"},
        )

    for handler in (plain, gzipped):
        with module.Client(transport=module.MockTransport(handler)) as client:
            response = client.post("https://api.openai.com" + PATH, json=REQUEST)
            assert response.json() == json.loads(chat())
    assert [totals(reading.usage) for reading in seen.readings] == [(12, 7)] * 2


async def test_asgi_applications_in_the_process_are_read(module: ModuleType, seen: Collected) -> None:
    """An ASGI transport has no socket; its calls are followed all the same."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": chat()})

    async with module.AsyncClient(transport=module.ASGITransport(app=app)) as client:
        response = await client.post("https://api.openai.com" + PATH, json=REQUEST)
    assert response.content == chat()
    assert totals(seen.only()[1].usage) == (12, 7)


# ---- what does not end well


def test_leaving_a_stream_early_ends_the_span_and_hangs_up(module: ModuleType, server: Wire, seen: Collected) -> None:
    """`break` and leaving the `with` close the socket as without us; the reading says aborted."""
    server.answers[PATH] = stream_answer(stall_after=3)
    with module.Client() as client, client.stream("POST", server.url + PATH, json=STREAM) as response:
        for _ in response.iter_raw():
            break
    assert server.seen[-1].hung_up.wait(2)
    span, reading = seen.only()
    assert reading.reason.startswith("cut")
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in (span.attributes or {})


async def test_cancelling_an_async_stream_ends_the_span_and_hangs_up(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """A cancelled task ends its span with what it saw, and the provider sees the socket close."""
    server.answers[PATH] = stream_answer(stall_after=2)
    started = asyncio.Event()

    async def consume() -> None:
        url = server.url + PATH
        async with module.AsyncClient() as client, client.stream("POST", url, json=STREAM) as response:
            async for _ in response.aiter_raw():
                started.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(started.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.seen[-1].hung_up.wait, 2)
    span, reading = seen.only()
    assert reading.reason.startswith("cut")
    assert span.status.status_code is StatusCode.UNSET


async def test_breaking_out_of_an_async_stream_hangs_up(module: ModuleType, server: Wire, seen: Collected) -> None:
    """`break` in an `async for` and leaving the `async with` close the socket."""
    server.answers[PATH] = stream_answer(stall_after=2)
    async with module.AsyncClient() as client:
        async with client.stream("POST", server.url + PATH, json=STREAM) as response:
            async for _ in response.aiter_raw():
                break
        assert await asyncio.to_thread(server.seen[-1].hung_up.wait, 2)
    assert seen.only()[1].reason.startswith("cut")


async def test_a_timeout_before_the_first_byte_ends_the_span(module: ModuleType, server: Wire, seen: Collected) -> None:
    """A request without any answer has a reading without usage: unknown, not 0."""
    server.answers[PATH] = stream_answer(stall_after=0)
    async with module.AsyncClient() as client:
        with pytest.raises(module.TimeoutException):
            await client.post(server.url + PATH, json=REQUEST, timeout=0.1)
    span, reading = seen.only()
    assert reading.usage is None
    assert reading.status != "usage"
    assert span.status.status_code is StatusCode.ERROR
    assert str((span.attributes or {})["error.type"]).endswith("ReadTimeout")


def test_a_refused_connection_is_not_billed(module: ModuleType, seen: Collected) -> None:
    """Nothing was sent, so nothing can have been billed; the application gets the client's own error."""
    with module.Client() as client, pytest.raises(module.ConnectError):
        client.post("http://127.0.0.1:1" + PATH, json=REQUEST)
    span, reading = seen.only()
    assert reading.status == "not_billed"
    assert reading.reason == "no_response:ConnectError"
    assert (span.attributes or {})["error.type"] == f"{module.__name__}.ConnectError"
    assert span.events == ()


def test_a_broken_connection_passes_the_clients_own_error_on(module: ModuleType, server: Wire, seen: Collected) -> None:
    """The provider dies in mid-stream: the application gets its RemoteProtocolError or ReadError, we what was seen."""
    server.answers[PATH] = stream_answer(drop_after=4)
    with (
        module.Client() as client,
        pytest.raises(module.TransportError) as raised,
        client.stream("POST", server.url + PATH, json=STREAM) as response,
    ):
        list(response.iter_raw())
    span, reading = seen.only()
    assert (span.attributes or {})["error.type"] == f"{module.__name__}.{type(raised.value).__name__}"
    assert reading.reason.startswith("cut")


def test_a_dropped_response_is_ended_by_the_garbage_collector(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """A stream that is never read nor closed still ends its span, once its last reference is gone."""
    server.answers[PATH] = stream_answer()
    with module.Client() as client:
        request = client.build_request("POST", server.url + PATH, json=STREAM)
        response = client.send(request, stream=True)
        assert seen.calls == []
        del response
        gc.collect()
        _, reading = seen.only()
    assert reading.reason.startswith("cut")


def test_streams_still_open_at_exit_are_ended(module: ModuleType, server: Wire, seen: Collected) -> None:
    """At the end of the program what was seen of an open stream is handed over."""
    server.answers[PATH] = stream_answer()
    with module.Client() as client:
        response = client.send(client.build_request("POST", server.url + PATH, json=STREAM), stream=True)
        ORPHANAGE.close_all()
        _, reading = seen.only()
        assert reading.reason.startswith("cut")
        response.close()
        assert len(seen.calls) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
def test_a_failed_attempt_says_its_status_and_has_no_usage(
    module: ModuleType, server: Wire, seen: Collected, status: int
) -> None:
    """An error response is an error span; nothing is billed, and nothing is claimed."""
    server.answers[PATH] = Answer(status=status, body=b'{"error": {"message": "no", "type": "rate_limit"}}')
    with module.Client() as client:
        assert client.post(server.url + PATH, json=REQUEST).status_code == status
    span, reading = seen.only()
    assert (span.attributes or {})["error.type"] == str(status)
    assert span.status.status_code is StatusCode.ERROR
    assert reading.usage is None
    assert reading.status in ("not_billed", "error")


def test_a_redirect_is_followed_and_only_the_answer_is_charged(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """Each hop is one attempt; only the hop that answers has usage."""
    server.answers["/old" + PATH] = Answer(status=307, headers={"location": server.url + PATH})
    with module.Client(follow_redirects=True) as client:
        assert client.post(server.url + "/old" + PATH, json=REQUEST).json()["id"] == "chatcmpl-1"
    charged = [reading for reading in seen.readings if reading.usage]
    assert [totals(reading.usage) for reading in charged] == [(12, 7)]
