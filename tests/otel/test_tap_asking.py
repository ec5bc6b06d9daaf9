"""Usage that a stream would not tell: asked for at OpenAI, hidden again, byte for byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agentcost.otel.config import Capture
from otel_agentcost.otel.http.asking import Hider, asking
from otel_agentcost.testing.emulator import ProviderEmulator
from tests.otel.tap_fixtures import MODULES, Collected, tapped
from tests.otel.tap_server import EVENT_STREAM, chat_events, cut

URL = "https://api.openai.com/v1/chat/completions"
STREAM = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}
TELLING = b"".join(chat_events(usage=True))
SILENT = b"".join(chat_events(usage=False))


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    with tapped() as collected:
        yield collected


class Host:
    """An OpenAI that tells usage when asked; `pieces` is how it cuts its streams."""

    def __init__(self, module: ModuleType, size: int = 50, encoding: str = "", refuses: bool = False) -> None:
        self.module = module
        self.size = size
        self.encoding = encoding
        self.refuses = refuses
        self.requests: list[Any] = []

    def answer(self, request: Any) -> tuple[int, dict[str, str], list[bytes]]:
        self.requests.append(request)
        options = json.loads(request.content).get("stream_options") or {}
        if self.refuses and options:
            return 400, {"content-type": "application/json"}, [b'{"error": {"message": "unknown stream_options"}}']
        body = TELLING if options.get("include_usage") else SILENT
        headers = dict(EVENT_STREAM)
        if self.encoding:
            headers["content-encoding"] = self.encoding
            body = gzip.compress(body)
        return 200, headers, cut(body, self.size)

    def transport(self) -> Any:
        """Answer a sync or an async client, in pieces."""
        module, answer = self.module, self.answer

        class Body(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
            def __init__(self, pieces: list[bytes]) -> None:
                self.pieces = pieces

            def __iter__(self) -> Iterator[bytes]:
                yield from self.pieces

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for piece in self.pieces:
                    yield piece

        class Transport(module.BaseTransport, module.AsyncBaseTransport):  # type: ignore[misc, name-defined]
            def handle_request(self, request: Any) -> Any:
                status, headers, pieces = answer(request)
                return module.Response(status, headers=headers, stream=Body(pieces))

            async def handle_async_request(self, request: Any) -> Any:
                return self.handle_request(request)

        return Transport()


def usages(seen: Collected) -> list[tuple[int, int]]:
    return [(r.billable.input_tokens, r.billable.output_tokens) for r in seen.readings]


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 500, 100_000])
def test_the_application_sees_the_stream_it_asked_for(module: ModuleType, seen: Collected, size: int) -> None:
    """The host is asked and tells; the application receives the bytes of a stream that was not asked."""
    host = Host(module, size)
    with module.Client(transport=host.transport()) as client:
        with client.stream("POST", URL, json=STREAM) as response:
            assert b"".join(response.iter_raw()) == SILENT
            assert json.loads(response.request.content) == STREAM
            assert response.request.headers["accept-encoding"] != "identity"
        assert client.post(URL, json=STREAM).content == SILENT
    (asked, _) = host.requests
    assert json.loads(asked.content) == STREAM | {"stream_options": {"include_usage": True}}
    assert asked.headers["content-length"] == str(len(asked.content))
    assert usages(seen) == [(12, 7)] * 2


async def test_async_clients_too(module: ModuleType, seen: Collected) -> None:
    """The same for async clients, early break included."""
    host = Host(module, 33)
    async with module.AsyncClient(transport=host.transport()) as client:
        async with client.stream("POST", URL, json=STREAM) as response:
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == SILENT
        async with client.stream("POST", URL, json=STREAM) as response:
            async for _ in response.aiter_bytes():
                break
    assert usages(seen)[0] == (12, 7)
    assert seen.readings[1].reason.startswith("cut")


def test_content_that_is_in_memory_is_hidden_too(module: ModuleType, seen: Collected) -> None:
    """A mock transport's ready content loses the extra event as well."""
    transport = module.MockTransport(lambda request: module.Response(200, content=TELLING, headers=EVENT_STREAM))
    with module.Client(transport=transport) as client:
        assert client.post(URL, json=STREAM).content == SILENT
    assert usages(seen) == [(12, 7)]


def test_a_compressed_answer_reaches_the_application_decoded(module: ModuleType, seen: Collected) -> None:
    """We ask for no compression; a host that compresses all the same is decompressed before hiding."""
    host = Host(module, 40, encoding="gzip")
    with module.Client(transport=host.transport()) as client:
        response = client.post(URL, json=STREAM)
    assert response.content == SILENT
    assert "content-encoding" not in response.headers
    assert usages(seen) == [(12, 7)]


def test_a_host_that_refuses_gets_the_applications_own_request(module: ModuleType, seen: Collected) -> None:
    """Refused: sent again as the application made it, once; that model is not asked again."""
    host = Host(module, refuses=True)
    with module.Client(transport=host.transport()) as client:
        assert client.post(URL, json=STREAM).content == SILENT
        assert client.post(URL, json=STREAM).content == SILENT
    asked = ["stream_options" in json.loads(request.content) for request in host.requests]
    assert asked == [True, False, False]
    assert len(seen.calls) == 2


def test_an_error_of_the_applications_own_request_stays_its_error(module: ModuleType, seen: Collected) -> None:
    """A request that fails either way shows the failure of the application's own request, and is one call."""
    requests: list[Any] = []

    def refuse(request: Any) -> Any:
        requests.append(request)
        return module.Response(400, json={"error": {"message": "bad messages"}})

    with module.Client(transport=module.MockTransport(refuse)) as client:
        response = client.post(URL, json=STREAM)
        assert response.status_code == 400
        assert response.request is requests[-1]
        client.post(URL, json=STREAM)
    assert len(requests) == 4, "a failing request says nothing about the option"
    assert [reading.status for reading in seen.readings] == ["not_billed", "not_billed"]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (URL, STREAM | {"stream_options": {"include_usage": True}}),
        (URL, STREAM | {"stream_options": {"include_usage": False}}),
        (URL, STREAM | {"stream": False}),
        ("https://api.mistral.ai/v1/chat/completions", STREAM),
        ("https://api.groq.com/openai/v1/chat/completions", STREAM),
        ("http://localhost:8000/v1/chat/completions", STREAM),
        ("https://api.openai.com.evil.example/v1/chat/completions", STREAM),
    ],
)
def test_nobody_else_is_asked(module: ModuleType, seen: Collected, url: str, body: dict[str, Any]) -> None:
    """Where the application decided, or the host is not known to need and accept it, the request is untouched."""
    host = Host(module)
    with module.Client(transport=host.transport()) as client:
        client.post(url, json=body)
    assert json.loads(host.requests[0].content) == body


def test_asking_can_be_switched_off(module: ModuleType) -> None:
    """`capture.include_usage: false` leaves every request alone; the reading says that usage is missing."""
    host = Host(module)
    with tapped(config=Capture(include_usage=False)) as seen:
        with module.Client(transport=host.transport()) as client:
            assert client.post(URL, json=STREAM).content == SILENT
        (reading,) = seen.readings
    assert json.loads(host.requests[0].content) == STREAM
    assert reading.estimated or reading.usage is None


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_openai_sdk_sees_no_difference(seen: Collected, is_async: bool) -> None:
    """The SDK's chunks are those of an unasked stream, and the emulator's bill is read."""
    import openai

    name = openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]
    (library,) = [module for module in MODULES if module.__name__ == name]
    emulator = ProviderEmulator()
    transport = emulator.transport(library)

    async def chunks() -> list[Any]:
        messages: Any = [{"role": "user", "content": "hi [[output 30]]"}]
        if is_async:
            http = library.AsyncClient(transport=transport)
            async with openai.AsyncOpenAI(api_key="k", http_client=http, max_retries=0) as client:
                stream = await client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
                return [chunk.model_dump(exclude={"id", "created"}) async for chunk in stream]
        with openai.OpenAI(api_key="k", http_client=library.Client(transport=transport), max_retries=0) as sync_client:
            return [
                chunk.model_dump(exclude={"id", "created"})
                for chunk in sync_client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
            ]

    received = await chunks()
    (reading,) = seen.readings
    assert (reading.billable.input_tokens, reading.billable.output_tokens) == (
        emulator.billed[0].input,
        emulator.billed[0].output,
    )
    with tapped(config=Capture(include_usage=False)):
        assert received == await chunks()


# ---- the parts


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"stream":true}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"stream": true }\n', b'{"stream": true ,"stream_options":{"include_usage":true}}'),
        (
            b'{"stream":true,"stream_options":{"include_obfuscation":false}}',
            b'{"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true}}',
        ),
        (b'{"stream":true,"stream_options":null}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{"include_usage":false}}', None),
        (b'{"stream_options":[]}', None),
        (b'{"stream_options":', None),
        (b"{}", None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_a_request_gains_the_option_and_nothing_else(body: bytes, asked: bytes | None) -> None:
    """Everything before stays as the application wrote it; its own choice is kept."""
    assert asking(body) == asked


TEXT = 'he said ,"usage":null and {"choices":[],"usage":{}}'


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=60),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_hiding_does_not_depend_on_how_the_stream_is_cut(sizes: list[int], line_end: str, ends: bool) -> None:
    """Any cut, any line end, with or without a last blank line, text that looks like the marks: the same bytes."""

    def stream(usage: bool) -> bytes:
        more: dict[str, Any] = {"usage": None} if usage else {}
        events = [{"choices": [{"delta": {"content": TEXT}}]} | more, {"choices": [], "other": 1} | more]
        if usage:
            events.append({"choices": [], "usage": {"prompt_tokens": 1}, "obfuscation": "x"})
        text = "".join(f"data: {json.dumps(one, separators=(',', ':'))}{line_end}{line_end}" for one in events)
        return (text + f": comment{line_end}{line_end}data: [DONE]" + line_end * 2 * ends).encode()

    hider, source, shown = Hider(None), stream(True), b""
    for size in sizes:
        shown += hider.take(source[:size])
        source = source[size:]
    shown += hider.take(source) + hider.rest()
    assert shown == stream(False)


def test_a_whole_event_is_passed_on_at_once() -> None:
    """Hiding holds back no complete event, so the first words arrive when they did before."""
    hider = Hider(None)
    for event in chat_events(usage=False):
        assert hider.take(event) == event


def test_an_endless_event_is_not_held_for_ever() -> None:
    """Memory is bounded: an event that never ends is passed on."""
    hider = Hider(None)
    shown = sum(len(hider.take(b"x" * 100_000)) for _ in range(40)) + len(hider.rest())
    assert shown == 4_000_000
