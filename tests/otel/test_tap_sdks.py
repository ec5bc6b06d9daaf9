"""Real SDKs against the provider emulator: what the tap reads is what the emulator billed, in every way to call."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from otel_agentcost.otel import evidence
from otel_agentcost.testing.emulator import BilledCall, ProviderEmulator, Reply
from otel_agentcost.usage.reading import Reading
from tests.otel.tap_fixtures import Collected, tapped

QUESTION = "What does one run of an agent cost? [[output 40]] [[reasoning 16]]"


@pytest.fixture
def emulator() -> Iterator[ProviderEmulator]:
    with ProviderEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[ProviderEmulator]:
    with ProviderEmulator() as emulator:
        yield emulator


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    with tapped() as collected:
        yield collected


def agree(reading: Reading, billed: BilledCall) -> None:
    """A reading tells what was billed."""
    assert reading.status == "usage", reading
    assert not reading.estimated
    usage = reading.billable
    assert (usage.input_tokens, usage.output_tokens) == (billed.input, billed.output)
    assert usage.get("cache_read_tokens", 0) == billed.cached
    assert usage.get("cache_write_tokens", 0) == billed.cache_write_5m + billed.cache_write_1h
    assert billed.model in (reading.model, "") or reading.model in billed.model


# ---- every SDK, each way to call it; a way is a function of the emulator's address


def openai_sync(url: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])


def openai_sync_stream(url: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        assert list(stream)[-1].usage is not None


def openai_responses(url: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        client.responses.create(model="gpt-5", input=QUESTION)


def openai_responses_stream(url: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        kinds = [event.type for event in client.responses.create(model="gpt-5", input=QUESTION, stream=True)]
        assert kinds[-1] == "response.completed"


def openai_embeddings(url: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        client.embeddings.create(model="text-embedding-3-small", input="some text")


async def openai_async(url: str) -> None:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])


async def openai_async_stream(url: str) -> None:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        assert [chunk async for chunk in stream][-1].usage is not None


def anthropic_sync(url: str) -> None:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="sk-secret", max_retries=0) as client:
        client.messages.create(
            model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
        )


def anthropic_stream(url: str) -> None:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="sk-secret", max_retries=0) as client:
        messages = [{"role": "user", "content": QUESTION}]
        for event in client.messages.create(  # type: ignore[call-overload]
            model="claude-haiku-4-5", max_tokens=100, messages=messages, stream=True
        ):
            assert event.type


def anthropic_stream_helper(url: str) -> None:
    import anthropic

    with (
        anthropic.Anthropic(base_url=url, api_key="sk-secret", max_retries=0) as client,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
        ) as stream,
    ):
        assert "".join(stream.text_stream)


async def anthropic_async(url: str) -> None:
    import anthropic

    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-secret", max_retries=0) as client:
        await client.messages.create(
            model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
        )


async def anthropic_async_stream(url: str) -> None:
    import anthropic

    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="sk-secret", max_retries=0) as client,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
        ) as stream,
    ):
        assert [text async for text in stream.text_stream]


def _gemini(url: str) -> Any:
    from google import genai

    return genai.Client(api_key="secret-key", http_options=genai.types.HttpOptions(base_url=url))


def gemini_sync(url: str) -> None:
    client = _gemini(url)
    client.models.generate_content(model="gemini-2.5-flash", contents=QUESTION)
    client.close()


def gemini_stream(url: str) -> None:
    client = _gemini(url)
    assert list(client.models.generate_content_stream(model="gemini-2.5-flash", contents=QUESTION))
    client.close()


async def gemini_async(url: str) -> None:
    client = _gemini(url)
    await client.aio.models.generate_content(model="gemini-2.5-flash", contents=QUESTION)
    await client.aio.aclose()


async def gemini_async_stream(url: str) -> None:
    client = _gemini(url)
    stream = await client.aio.models.generate_content_stream(model="gemini-2.5-flash", contents=QUESTION)
    assert [chunk async for chunk in stream]
    await client.aio.aclose()


def _mistral() -> Any:
    try:
        from mistralai.client import Mistral
    except ImportError:  # before version 2
        from mistralai import Mistral  # type: ignore[attr-defined, no-redef]
    return Mistral


def mistral_sync(url: str) -> None:
    Mistral = _mistral()  # noqa: N806
    with Mistral(api_key="secret", server_url=url) as client:
        client.chat.complete(model="mistral-large-2512", messages=[{"role": "user", "content": QUESTION}])  # type: ignore[list-item]


def mistral_stream(url: str) -> None:
    Mistral = _mistral()  # noqa: N806
    with Mistral(api_key="secret", server_url=url) as client:
        stream = client.chat.stream(
            model="mistral-large-2512",
            messages=[{"role": "user", "content": QUESTION}],  # type: ignore[list-item]
        )
        assert list(stream)


def groq_sync(url: str) -> None:
    import groq

    with groq.Groq(api_key="secret", base_url=url, max_retries=0) as client:
        client.chat.completions.create(
            model="llama-3.3-70b-versatile", messages=[{"role": "user", "content": QUESTION}]
        )


async def groq_async_stream(url: str) -> None:
    import groq

    async with groq.AsyncGroq(api_key="secret", base_url=url, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="llama-3.3-70b-versatile", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        assert [chunk async for chunk in stream]


def cohere_sync(url: str) -> None:
    import cohere

    client = cohere.ClientV2(api_key="secret", base_url=url)
    client.chat(model="command-a-03-2025", messages=[{"role": "user", "content": QUESTION}])  # type: ignore[list-item]


def cohere_stream(url: str) -> None:
    import cohere

    client = cohere.ClientV2(api_key="secret", base_url=url)
    stream = client.chat_stream(model="command-a-03-2025", messages=[{"role": "user", "content": QUESTION}])  # type: ignore[list-item]
    assert list(stream)


def ollama_sync(url: str) -> None:
    import ollama

    ollama.Client(host=url).chat(model="llama3.2", messages=[{"role": "user", "content": QUESTION}])


async def ollama_async_stream(url: str) -> None:
    import ollama

    client = ollama.AsyncClient(host=url)
    stream = await client.chat(model="llama3.2", messages=[{"role": "user", "content": QUESTION}], stream=True)
    assert [part async for part in stream]
    await client._client.aclose()


WAYS: list[Callable[[str], Any]] = [
    openai_sync, openai_sync_stream, openai_responses, openai_responses_stream, openai_embeddings, openai_async,
    openai_async_stream, anthropic_sync, anthropic_stream, anthropic_stream_helper, anthropic_async,
    anthropic_async_stream, gemini_sync, gemini_stream, gemini_async, gemini_async_stream, mistral_sync,
    mistral_stream, groq_sync, groq_async_stream, cohere_sync, cohere_stream, ollama_sync, ollama_async_stream,
]  # fmt: skip


def call(way: Callable[[str], Awaitable[None] | None], url: str) -> None:
    """Call an SDK, whatever its colour."""
    done = way(url)
    if done is not None:
        asyncio.run(done)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_sdk_call_is_read_as_it_was_billed(
    way: Callable[[str], Any], shared_emulator: ProviderEmulator, seen: Collected
) -> None:
    """One call of any SDK: one span, one reading, the emulator's figures, no secret."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    shared_emulator.reset()
    with seen.tracer.start_as_current_span("agent"):
        call(way, shared_emulator.url)
    span, reading = seen.only()
    gc.collect()  # some SDKs cannot be closed; their sockets are dropped here and not in a later test
    (billed,) = [row for row in shared_emulator.billed if row.status == 200]
    agree(reading, billed)
    assert span.parent is not None
    payload = encode_spans(seen.spans).SerializeToString()
    assert b"secret" not in payload
    assert b"agent cost" not in payload


@pytest.mark.parametrize("way", [anthropic_sync, anthropic_stream, anthropic_stream_helper, anthropic_async,
                                 anthropic_async_stream], ids=lambda way: way.__name__)  # fmt: skip
def test_the_native_span_of_anthropic_is_enriched(
    way: Callable[[str], Any], emulator: ProviderEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the SDK's own tracing on: its span carries the reading, and we start none."""
    from opentelemetry import trace

    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
    with tapped() as seen:
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", seen.provider)
        call(way, emulator.url)
        assert seen.calls == []
        (native,) = [
            s for s in seen.spans
            if s.instrumentation_scope is not None and s.instrumentation_scope.name == "com.anthropic.sdk.python"
        ]  # fmt: skip
        context = native.get_span_context()
        assert context is not None
        (reading,) = seen.evidence[context.span_id]
        agree(reading, emulator.billed[0])
        assert len(evidence.EVIDENCE) == 0


def test_a_retry_inside_an_sdk_is_two_attempts_and_one_charge(emulator: ProviderEmulator, seen: Collected) -> None:
    """Rate-limited once: the refused attempt is an unbilled span of its own, the second is charged."""
    import openai

    emulator.script([Reply(status=429, retry_after=0.01)])
    with openai.OpenAI(base_url=f"{emulator.url}/v1", api_key="k", max_retries=2) as client:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    refused, answered = seen.readings
    assert refused.status == "not_billed"
    assert refused.usage is None
    agree(answered, emulator.billed[-1])


def test_a_client_that_leaves_a_stream_keeps_what_was_seen(emulator: ProviderEmulator, seen: Collected) -> None:
    """`with client.stream() ... break` ends the span; the reading says the stream was cut."""
    import openai

    question = [{"role": "user", "content": "hi [[output 400]] [[delay 0.01]]"}]
    with (
        openai.OpenAI(base_url=f"{emulator.url}/v1", api_key="k", max_retries=0) as client,
        client.chat.completions.create(model="gpt-4o", messages=question, stream=True) as stream,  # type: ignore[call-overload]
    ):
        for _ in stream:
            break
    _, reading = seen.only()
    assert reading.status != "usage" or reading.estimated
    assert reading.reason.startswith("cut")
