"""The emulator as a server, as an ASGI application and as a transport."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest

from otel_agentcost.testing import ProviderEmulator

CHAT = "/v1/chat/completions"
MODULES = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderEmulator]:
    with ProviderEmulator() as running:
        yield running


@pytest.fixture
def emulator(server: ProviderEmulator) -> ProviderEmulator:
    server.reset()
    return server


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def chat(text: str = "Hello there", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


def test_the_address_exists_only_while_it_runs() -> None:
    """Before and after, url says how to start it; the bill stays readable."""
    emulator = ProviderEmulator()
    with pytest.raises(RuntimeError, match="not running"):
        emulator.url  # noqa: B018
    with emulator:
        address = emulator.url
        assert httpx.post(address + CHAT, json=chat()).status_code == 200
    with pytest.raises(RuntimeError, match="not running"):
        emulator.url  # noqa: B018
    with pytest.raises(httpx.ConnectError):
        httpx.post(address + CHAT, json=chat())
    assert len(emulator.billed) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "provider-emulator"]


def test_it_can_be_started_again() -> None:
    """The same emulator serves twice, and the bill goes on."""
    emulator = ProviderEmulator()
    for _ in range(2):
        with emulator:
            httpx.post(emulator.url + CHAT, json=chat())

    assert len(emulator.billed) == 2


def test_a_broken_connection_reaches_the_client_as_one(emulator: ProviderEmulator) -> None:
    """The body ends without its end; what came before was delivered."""
    with httpx.stream("POST", emulator.url + CHAT, json=chat("Hi [[output 9]] [[cut 4]]", stream=True)) as response:
        got: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            got.extend(response.iter_raw())

    assert b"".join(got).count(b"data: ") == 4
    assert (emulator.billed[0].output, emulator.billed[0].complete) == (3, False)


def test_a_client_that_leaves_early_stops_the_bill(emulator: ProviderEmulator) -> None:
    """With a slow stream, events after the client left are not produced."""
    body = chat("Hi [[output 40]] [[delay 0.02]]", stream=True)
    with httpx.stream("POST", emulator.url + CHAT, json=body) as response:
        next(response.iter_raw())

    for _ in range(200):
        before = emulator.billed[0].output
        threading.Event().wait(0.06)
        if before == emulator.billed[0].output:
            break
    assert emulator.billed[0].output < 40
    assert not emulator.billed[0].complete


def test_a_slow_stream_arrives_piece_by_piece(emulator: ProviderEmulator) -> None:
    """One chunk for each event, with time between them."""
    body = chat("Hi [[output 2]] [[delay 0.03]]", stream=True)
    with httpx.stream("POST", emulator.url + CHAT, json=body) as response:
        pieces = list(response.iter_raw())

    assert len(pieces) == 5
    assert all(piece.startswith(b"data: ") for piece in pieces)


def test_as_a_proxy_it_knows_the_provider_by_the_host(emulator: ProviderEmulator) -> None:
    """An application keeps the provider's host name; over plain http the emulator answers for it."""
    body = {**chat(), "model": "llama-3.1-8b-instant"}
    with httpx.Client(proxy=emulator.url) as client:
        answer = client.post("http://api.groq.com/openai/v1/chat/completions", json=body)
        paid = client.get("http://api.search.example/v1/search", params={"q": "otel"})

    assert (answer.status_code, paid.status_code) == (200, 200)
    assert [call.provider for call in emulator.billed] == ["groq", "api.search.example"]
    assert emulator.requests[0].host == "api.groq.com"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_encodings_are_sent_to_who_accepts_them(emulator: ProviderEmulator, encoding: str) -> None:
    """The client decodes to the same events."""
    body = chat(f"Hi [[encoding {encoding}]]", stream=True)
    coded = httpx.post(emulator.url + CHAT, json=body, headers={"accept-encoding": encoding})
    plain = httpx.post(emulator.url + CHAT, json=body, headers={"accept-encoding": "identity"})

    assert (coded.headers["content-encoding"], plain.headers.get("content-encoding")) == (encoding, None)
    assert re.sub(r"\d{8,}", "", coded.text) == re.sub(r"\d{8,}", "", plain.text)  # but for ids and times


def test_an_emulator_can_encode_everything() -> None:
    """encoding="auto" takes the best the client accepts."""
    emulator = ProviderEmulator(encoding="auto")
    with httpx.Client(transport=emulator.transport(httpx)) as client:
        best = client.post("https://api.openai.com" + CHAT, json=chat())

    assert best.headers["content-encoding"] == "zstd"
    assert best.json()["object"] == "chat.completion"


def test_a_fault_of_the_emulator_is_told_not_hidden(
    emulator: ProviderEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug answers 500 with its traceback, so that nobody looks for it in the SDK."""
    monkeypatch.setattr(emulator._providers, "desk", None)
    answer = httpx.post(emulator.url + CHAT, json=chat())

    assert answer.status_code == 500
    assert "AttributeError: 'NoneType' object has no attribute 'serve'" in answer.json()["error"]["message"]


def test_many_at_once_are_all_billed(emulator: ProviderEmulator) -> None:
    """No row is lost and every id is its own."""

    async def main() -> list[str]:
        async with httpx.AsyncClient() as client:
            answers = await asyncio.gather(*(client.post(emulator.url + CHAT, json=chat(str(n))) for n in range(40)))
        return [answer.json()["id"] for answer in answers]

    ids = asyncio.run(main())

    assert sorted(ids) == sorted(call.response_id for call in emulator.billed)
    assert len(set(ids)) == 40


def test_the_transport_answers_in_this_process_under_any_host(module: ModuleType) -> None:
    """Sync, with httpx and httpx2; whole and streamed."""
    emulator = ProviderEmulator()
    with module.Client(transport=emulator.transport(module)) as client:
        whole = client.post("https://api.openai.com" + CHAT, json=chat())
        with client.stream("POST", "https://api.openai.com" + CHAT, json=chat(stream=True)) as response:
            events = [line for line in response.iter_lines() if line]

    assert whole.json()["usage"]["total_tokens"] == 12
    assert events[-1] == "data: [DONE]"
    assert [call.complete for call in emulator.billed] == [True, True]


async def test_the_transport_answers_async_clients_too(module: ModuleType) -> None:
    """Streams are async streams, and break where they are told to."""
    emulator = ProviderEmulator()
    async with module.AsyncClient(transport=emulator.transport(module)) as client:
        whole = await client.post("https://api.openai.com" + CHAT, json=chat())
        body = chat("Hi [[output 9]] [[cut 4]]", stream=True)
        async with client.stream("POST", "https://api.openai.com" + CHAT, json=body) as response:
            with pytest.raises(module.RemoteProtocolError):
                await response.aread()

    assert whole.status_code == 200
    assert [call.complete for call in emulator.billed] == [True, False]


async def test_it_is_an_asgi_application() -> None:
    """Any ASGI client or server can run it."""
    emulator = ProviderEmulator()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(emulator.app)) as client:
        answer = await client.post("http://emulator" + CHAT, json=chat())

    assert json.loads(answer.content)["model"] == "gpt-4o-2024-08-06"
    with pytest.raises(RuntimeError, match="http only, not websocket"):
        await emulator.app({"type": "websocket"}, None, None)  # type: ignore[arg-type]
