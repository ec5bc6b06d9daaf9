"""The tap on aiohttp: every way to read a body, the same bytes, one span each, ended once."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from opentelemetry.trace import StatusCode

from tests.otel.tap_fixtures import Collected, tapped
from tests.otel.tap_server import EVENT_STREAM, Answer, Wire, chat, chat_events, cut, wire, zipped

PATH = "/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a secret prompt"}]}
STREAM = REQUEST | {"stream": True, "stream_options": {"include_usage": True}}
ZIPPED = {"content-type": "application/json", "content-encoding": "gzip"}


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


def usages(seen: Collected) -> list[tuple[int, int]]:
    return [(r.billable.input_tokens, r.billable.output_tokens) for r in seen.readings]


@pytest.mark.parametrize(
    "body",
    [
        {"json": REQUEST},
        {"data": json.dumps(REQUEST)},
        {"data": json.dumps(REQUEST).encode()},
    ],
    ids=["json", "text", "bytes"],
)
async def test_a_call_is_followed_whatever_its_body_was_given_as(
    server: Wire, seen: Collected, body: dict[str, Any]
) -> None:
    """The model is known from the request, the figures from the answer."""
    async with aiohttp.ClientSession() as session, session.post(server.url + PATH, **body) as answer:
        assert await answer.read() == chat()
        assert await answer.json() == json.loads(chat())
    span, _ = seen.only()
    assert span.name == "chat gpt-4o"
    assert usages(seen) == [(12, 7)]


async def test_a_base_url_and_query_and_keys_stay_inside(server: Wire, seen: Collected) -> None:
    """A path below the session's base address is understood; no key and no query reaches the span."""
    headers = {"authorization": "Bearer sk-secret"}
    async with (
        aiohttp.ClientSession(base_url=server.url, headers=headers) as session,
        session.post(PATH + "?key=query-secret", json=REQUEST) as answer,
    ):
        await answer.read()
    span, reading = seen.only()
    assert (span.attributes or {})["server.port"] == server.port
    assert reading.model == "gpt-4o-2024-08-06"
    assert "secret" not in span.to_json()


READS = ["read", "iter_any", "iter_chunked", "iter_chunks", "lines", "readline", "readexactly", "readchunk", "nowait"]


@pytest.mark.parametrize("way", READS)
async def test_streams_are_the_same_bytes_however_they_are_read(server: Wire, seen: Collected, way: str) -> None:
    """Every method of the reader gives the bytes it gave before, and the reading is complete."""
    body = b"".join(chat_events())
    async with aiohttp.ClientSession() as session:
        for size in (1, 13, 100_000):
            server.answers[PATH] = Answer(chunks=cut(body, size), headers=EVENT_STREAM)
            async with session.post(server.url + PATH, json=STREAM) as answer:
                assert isinstance(answer.content, aiohttp.StreamReader)
                assert b"".join([piece async for piece in pieces(answer, way, len(body))]) == body
                assert answer.content.at_eof()
                assert answer.content.total_bytes == len(body)
    assert usages(seen) == [(12, 7)] * 3
    assert [reading.reason for reading in seen.readings] == [""] * 3


async def pieces(answer: aiohttp.ClientResponse, way: str, length: int) -> Any:
    content = answer.content
    if way == "read":
        yield await answer.read()
    elif way == "iter_any":
        async for piece in content.iter_any():
            yield piece
    elif way == "iter_chunked":
        async for piece in content.iter_chunked(10):
            yield piece
    elif way == "iter_chunks":
        async for piece, _ in content.iter_chunks():
            yield piece
    elif way == "lines":
        async for piece in content:
            yield piece
    elif way == "readline":
        while piece := await content.readline():
            yield piece
    elif way == "readexactly":
        yield await content.readexactly(length // 2)
        yield await content.readexactly(length - length // 2)
        assert await content.read() == b""
    elif way == "readchunk":
        while True:
            piece, last = await content.readchunk()
            yield piece
            if not piece and not last:
                return
    else:
        while not content.at_eof():
            yield await content.readany()
            yield content.read_nowait()


async def test_compressed_bodies_reach_the_application_decoded_as_before(server: Wire, seen: Collected) -> None:
    """aiohttp decompresses unless told not to; both are read."""
    server.answers[PATH] = Answer(body=zipped(chat()), headers=ZIPPED)
    for decompress, expected in ((True, chat()), (False, zipped(chat()))):
        async with (
            aiohttp.ClientSession(auto_decompress=decompress) as session,
            session.post(server.url + PATH, json=REQUEST) as answer,
        ):
            assert await answer.read() == expected
    assert usages(seen) == [(12, 7)] * 2


async def test_leaving_a_stream_early_hangs_up_and_ends_the_span(server: Wire, seen: Collected) -> None:
    """`break` and leaving the `async with` close the socket as before."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, stall_after=3)
    async with aiohttp.ClientSession() as session:
        async with session.post(server.url + PATH, json=STREAM) as answer:
            async for _ in answer.content:
                break
        assert await asyncio.to_thread(server.seen[-1].hung_up.wait, 2)
    span, reading = seen.only()
    assert reading.reason.startswith("cut")
    assert span.status.status_code is StatusCode.UNSET


async def test_a_cancelled_task_hangs_up_and_ends_the_span(server: Wire, seen: Collected) -> None:
    """Cancellation in the middle of a read."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, stall_after=2)
    started = asyncio.Event()

    async def consume() -> None:
        async with aiohttp.ClientSession() as session, session.post(server.url + PATH, json=STREAM) as answer:
            async for _ in answer.content:
                started.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(started.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.seen[-1].hung_up.wait, 2)
    assert seen.only()[1].reason.startswith("cut")


async def test_a_read_that_timed_out_may_be_tried_again(server: Wire, seen: Collected) -> None:
    """`wait_for` around one read gives up that read, not the body."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, pause=0.1)
    async with aiohttp.ClientSession() as session, session.post(server.url + PATH, json=STREAM) as answer:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(answer.content.readexactly(10_000), 0.01)
        assert await answer.content.read() == b"".join(chat_events())
    assert usages(seen) == [(12, 7)]


async def test_a_broken_connection_passes_on_aiohttps_own_error(server: Wire, seen: Collected) -> None:
    """ClientPayloadError reaches the application; the span names it."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, drop_after=4)
    async with aiohttp.ClientSession() as session, session.post(server.url + PATH, json=STREAM) as answer:
        with pytest.raises(aiohttp.ClientError) as raised:
            await answer.read()
    span, reading = seen.only()
    assert str((span.attributes or {})["error.type"]).endswith(type(raised.value).__name__)
    assert not reading.usage or reading.estimated


async def test_failures_before_an_answer(server: Wire, seen: Collected) -> None:
    """Refused: not billed. `raise_for_status`: the status, and nothing billed."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post("http://127.0.0.1:1" + PATH, json=REQUEST)
        server.answers[PATH] = Answer(status=429, body=b"{}")
        with pytest.raises(aiohttp.ClientResponseError):
            await session.post(server.url + PATH, json=REQUEST, raise_for_status=True)
    assert [reading.status for reading in seen.readings] == ["not_billed", "not_billed"]
    assert (seen.calls[1].attributes or {})["error.type"] == "429"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_dropped_response_is_ended_by_the_garbage_collector(server: Wire, seen: Collected) -> None:
    """A stream nobody reads ends its span when it is collected."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, stall_after=2)
    session = aiohttp.ClientSession()
    answer = await session.post(server.url + PATH, json=STREAM)
    assert seen.calls == []
    del answer
    await session.close()
    await asyncio.sleep(0)
    gc.collect()
    assert seen.only()[1].reason.startswith("cut")


async def test_httpx_on_top_of_aiohttp_is_one_call(server: Wire, seen: Collected) -> None:
    """A transport of one library below a client of the other: the outer one follows, the inner stands back."""
    import httpx

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            async with (
                aiohttp.ClientSession() as session,
                session.post(str(request.url), data=request.content) as answer,
            ):
                return httpx.Response(answer.status, content=await answer.read())

    async with httpx.AsyncClient(transport=Transport()) as client:
        assert (await client.post(server.url + PATH, json=REQUEST)).content == chat()
    assert usages(seen) == [(12, 7)]
    assert len(seen.calls) == 1


async def test_other_requests_keep_their_reader(server: Wire, seen: Collected) -> None:
    """A request that is no model call is left alone."""
    server.answers["/search"] = Answer(body=b"x")
    async with aiohttp.ClientSession() as session, session.get(server.url + "/search?q=1") as answer:
        assert type(answer.content) is aiohttp.StreamReader
        assert await answer.read() == b"x"
    assert seen.spans == []
