"""The real SDKs, each way of calling them a `Way`: run it against an address, get back the usage the SDK showed.

Every way sends the same long system prompt (so that a second call hits the provider's cache) and one user text.
"""

from __future__ import annotations

import asyncio
import importlib.util
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

SYSTEM = (
    "You are a careful assistant of a small company. " + "Answer in one short sentence and cite what you used. " * 40
)


@dataclass(frozen=True)
class Seen:
    """Usage as an SDK's own types show it, in inclusive totals; a detail the API does not have stays 0."""

    input: int
    output: int
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    searches: int = 0


@dataclass(frozen=True)
class Way:
    """One way of calling one SDK."""

    name: str
    package: str
    """What must be importable."""
    provider: str
    run: Callable[[str, str], Seen]
    """Call it: (address of the emulator, user text) -> usage the SDK showed."""


WAYS: list[Way] = []


def way(name: str, package: str, provider: str) -> Any:
    """Register a sync or async function as a way."""

    def register(function: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
        def run(url: str, text: str) -> Seen:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                result = function(url, text)
                if isinstance(result, Awaitable):

                    async def main() -> Seen:
                        return await result

                    return asyncio.run(main())
                return result

        WAYS.append(Way(name, package, provider, run))
        return function

    return register


def importable(package: str) -> bool:
    """Tell whether a package is installed, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def available() -> list[Way]:
    """The ways that can run here."""
    return [way for way in WAYS if importable(way.package)]


def absent() -> list[str]:
    """The SDKs that are not installed here, so that nobody takes a short run for a whole one."""
    return sorted({way.package for way in WAYS if not importable(way.package)})


def _chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def _from_chat(usage: Any) -> Seen:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Seen(
        input=usage.prompt_tokens,
        output=usage.completion_tokens,
        cached=(prompt.cached_tokens or 0) if prompt else 0,
        reasoning=(completion.reasoning_tokens or 0) if completion else 0,
    )


def _from_responses(response: Any) -> Seen:
    usage = response.usage
    searches = [i for i in response.output if i.type == "web_search_call" and i.action.type == "search"]
    return Seen(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cached=usage.input_tokens_details.cached_tokens,
        reasoning=usage.output_tokens_details.reasoning_tokens,
        searches=len(searches),
    )


@way("openai-chat", "openai", "openai")
def _(url: str, text: str) -> Seen:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        return _from_chat(client.chat.completions.create(model="gpt-4o", messages=_chat(text)).usage)


@way("openai-chat-stream", "openai", "openai")
def _(url: str, text: str) -> Seen:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        options = {"include_usage": True}
        *_, last = client.chat.completions.create(
            model="o3", messages=_chat(text), stream=True, stream_options=options, service_tier="flex"
        )
        return _from_chat(last.usage)


@way("openai-chat-async", "openai", "openai")
async def _(url: str, text: str) -> Seen:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        answer = await client.chat.completions.create(
            model="gpt-4o-mini", messages=_chat(text), service_tier="priority"
        )
        return _from_chat(answer.usage)


@way("openai-chat-async-stream", "openai", "openai")
async def _(url: str, text: str) -> Seen:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        options = {"include_usage": True}
        stream = await client.chat.completions.create(
            model="gpt-5-mini", messages=_chat(text), stream=True, stream_options=options
        )
        chunks = [chunk async for chunk in stream]
        return _from_chat(chunks[-1].usage)


@way("openai-responses", "openai", "openai")
def _(url: str, text: str) -> Seen:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        tools = [{"type": "web_search"}]
        return _from_responses(client.responses.create(model="gpt-5", instructions=SYSTEM, input=text, tools=tools))


@way("openai-responses-stream", "openai", "openai")
def _(url: str, text: str) -> Seen:
    import openai

    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client,
        client.responses.stream(model="gpt-5-mini", instructions=SYSTEM, input=text) as stream,
    ):
        return _from_responses(stream.get_final_response())


@way("openai-responses-async", "openai", "openai")
async def _(url: str, text: str) -> Seen:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        return _from_responses(await client.responses.create(model="gpt-4.1", instructions=SYSTEM, input=text))


@way("openai-responses-async-stream", "openai", "openai")
async def _(url: str, text: str) -> Seen:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        stream = await client.responses.create(model="o3", instructions=SYSTEM, input=text, stream=True)
        events = [event async for event in stream]
        return _from_responses(events[-1].response)


@way("openai-completions-stream", "openai", "openai")
def _(url: str, text: str) -> Seen:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        options = {"include_usage": True}
        *_, last = client.completions.create(
            model="gpt-3.5-turbo-instruct", prompt=text, stream=True, stream_options=options
        )
        return Seen(last.usage.prompt_tokens, last.usage.completion_tokens)


@way("openai-embeddings", "openai", "openai")
def _(url: str, text: str) -> Seen:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret") as client:
        answer = client.embeddings.create(model="text-embedding-3-small", input=[SYSTEM, text])
        assert len(answer.data) == 2
        return Seen(answer.usage.prompt_tokens, 0)


@way("openrouter-chat", "openai", "openrouter")
def _(url: str, text: str) -> Seen:
    import openai

    with openai.OpenAI(base_url=f"{url}/api/v1", api_key="sk-secret") as client:
        return _from_chat(client.chat.completions.create(model="openai/gpt-4o-mini", messages=_chat(text)).usage)


def _system(lifetime: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral", "ttl": lifetime}}]


def _from_message(usage: Any) -> Seen:
    details, tools = getattr(usage, "output_tokens_details", None), usage.server_tool_use
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return Seen(
        input=usage.input_tokens + cached + written,
        output=usage.output_tokens,
        cached=cached,
        written=written,
        reasoning=details.thinking_tokens if details else 0,
        searches=tools.web_search_requests if tools else 0,
    )


def _asks(text: str, lifetime: str, model: str = "claude-haiku-4-5") -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 400,
        "system": _system(lifetime),
        "messages": [{"role": "user", "content": text}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }


@way("anthropic", "anthropic", "anthropic")
def _(url: str, text: str) -> Seen:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="sk-secret") as client:
        return _from_message(client.messages.create(**_asks(text, "5m")).usage)


@way("anthropic-stream", "anthropic", "anthropic")
def _(url: str, text: str) -> Seen:
    import anthropic

    with (
        anthropic.Anthropic(base_url=url, api_key="sk-secret") as client,
        client.messages.stream(**_asks(text, "1h", "claude-opus-4-5")) as stream,
    ):
        return _from_message(stream.get_final_message().usage)


@way("anthropic-async", "anthropic", "anthropic")
async def _(url: str, text: str) -> Seen:
    import anthropic

    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-secret") as client:
        return _from_message((await client.messages.create(**_asks(text, "1h"))).usage)


@way("anthropic-async-stream", "anthropic", "anthropic")
async def _(url: str, text: str) -> Seen:
    import anthropic

    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="sk-secret") as client,
        client.messages.stream(**_asks(text, "5m", "claude-opus-4-1")) as stream,
    ):
        return _from_message((await stream.get_final_message()).usage)


def _gemini(url: str) -> Any:
    from google import genai

    return genai.Client(api_key="sk-secret", http_options={"base_url": url})


def _from_gemini(usage: Any) -> Seen:
    thoughts = usage.thoughts_token_count or 0
    return Seen(
        input=usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0),
        output=(usage.candidates_token_count or 0) + thoughts,
        cached=usage.cached_content_token_count or 0,
        reasoning=thoughts,
    )


@way("google", "google.genai", "google")
def _(url: str, text: str) -> Seen:
    config = {"system_instruction": SYSTEM}
    with _gemini(url) as client:
        answer = client.models.generate_content(model="gemini-2.5-flash", contents=text, config=config)
    return _from_gemini(answer.usage_metadata)


@way("google-stream", "google.genai", "google")
def _(url: str, text: str) -> Seen:
    config = {"system_instruction": SYSTEM}
    with _gemini(url) as client:
        *_, last = client.models.generate_content_stream(model="gemini-2.5-pro", contents=text, config=config)
    return _from_gemini(last.usage_metadata)


@way("google-async", "google.genai", "google")
async def _(url: str, text: str) -> Seen:
    async with _gemini(url).aio as client:
        answer = await client.models.generate_content(model="gemini-2.5-pro", contents=text)
    return _from_gemini(answer.usage_metadata)


@way("google-async-stream", "google.genai", "google")
async def _(url: str, text: str) -> Seen:
    async with _gemini(url).aio as client:
        stream = await client.models.generate_content_stream(model="gemini-2.5-flash", contents=text)
        chunks = [chunk async for chunk in stream]
    return _from_gemini(chunks[-1].usage_metadata)


def _from_mistral(usage: Any) -> Seen:
    return Seen(usage.prompt_tokens, usage.completion_tokens)


@way("mistral", "mistralai.client", "mistral")
def _(url: str, text: str) -> Seen:
    from mistralai.client import Mistral

    with Mistral(api_key="sk-secret", server_url=url) as client:
        return _from_mistral(client.chat.complete(model="mistral-large-2512", messages=_chat(text)).usage)


@way("mistral-stream", "mistralai.client", "mistral")
def _(url: str, text: str) -> Seen:
    from mistralai.client import Mistral

    with Mistral(api_key="sk-secret", server_url=url) as client:
        *_, last = client.chat.stream(model="mistral-small-2603", messages=_chat(text))
        return _from_mistral(last.data.usage)


@way("mistral-async", "mistralai.client", "mistral")
async def _(url: str, text: str) -> Seen:
    from mistralai.client import Mistral

    async with Mistral(api_key="sk-secret", server_url=url) as client:
        answer = await client.chat.complete_async(model="mistral-small-2603", messages=_chat(text))
        return _from_mistral(answer.usage)


@way("cohere", "cohere", "cohere")
def _(url: str, text: str) -> Seen:
    import cohere

    with cohere.ClientV2(api_key="sk-secret", base_url=url) as client:
        units = client.chat(model="command-a-03-2025", messages=_chat(text)).usage.billed_units
        return Seen(int(units.input_tokens), int(units.output_tokens))


@way("cohere-stream", "cohere", "cohere")
def _(url: str, text: str) -> Seen:
    import cohere

    with cohere.ClientV2(api_key="sk-secret", base_url=url) as client:
        *_, last = client.chat_stream(model="command-r7b-12-2024", messages=_chat(text))
        units = last.delta.usage.billed_units
        return Seen(int(units.input_tokens), int(units.output_tokens))


@way("cohere-async", "cohere", "cohere")
async def _(url: str, text: str) -> Seen:
    import cohere

    async with cohere.AsyncClientV2(api_key="sk-secret", base_url=url) as client:
        units = (await client.chat(model="command-r-plus-08-2024", messages=_chat(text))).usage.billed_units
        return Seen(int(units.input_tokens), int(units.output_tokens))


@way("groq", "groq", "groq")
def _(url: str, text: str) -> Seen:
    import groq

    with groq.Groq(api_key="sk-secret", base_url=url) as client:
        answer = client.chat.completions.create(model="llama-3.3-70b-versatile", messages=_chat(text))
        return _from_chat(answer.usage)


@way("groq-stream", "groq", "groq")
def _(url: str, text: str) -> Seen:
    import groq

    with groq.Groq(api_key="sk-secret", base_url=url) as client:
        *_, last = client.chat.completions.create(model="openai/gpt-oss-120b", messages=_chat(text), stream=True)
        return _from_chat(last.x_groq.usage)


@way("groq-async", "groq", "groq")
async def _(url: str, text: str) -> Seen:
    import groq

    async with groq.AsyncGroq(api_key="sk-secret", base_url=url) as client:
        answer = await client.chat.completions.create(model="llama-3.1-8b-instant", messages=_chat(text))
        return _from_chat(answer.usage)


@way("ollama", "ollama", "ollama")
def _(url: str, text: str) -> Seen:
    import ollama

    client = ollama.Client(host=url)
    answer = client.chat(model="llama3.2", messages=_chat(text))
    client._client.close()
    return Seen(answer.prompt_eval_count, answer.eval_count)


@way("ollama-stream", "ollama", "ollama")
def _(url: str, text: str) -> Seen:
    import ollama

    client = ollama.Client(host=url)
    *_, last = client.chat(model="qwen3", messages=_chat(text), stream=True)
    client._client.close()
    return Seen(last.prompt_eval_count, last.eval_count)


def _bedrock(url: str) -> Any:
    import boto3

    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIASECRET",
        aws_secret_access_key="secret",
    )


def _from_converse(usage: Any) -> Seen:
    cached, written = usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]
    return Seen(usage["inputTokens"] + cached + written, usage["outputTokens"], cached, written)


def _converse(text: str) -> dict[str, Any]:
    return {
        "modelId": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "system": [{"text": SYSTEM}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": text}]}],
    }


@way("bedrock", "boto3", "aws")
def _(url: str, text: str) -> Seen:
    client = _bedrock(url)
    answer = client.converse(**_converse(text))
    client.close()
    return _from_converse(answer["usage"])


@way("bedrock-stream", "boto3", "aws")
def _(url: str, text: str) -> Seen:
    client = _bedrock(url)
    events = list(client.converse_stream(**_converse(text))["stream"])
    client.close()
    return _from_converse(events[-1]["metadata"]["usage"])
