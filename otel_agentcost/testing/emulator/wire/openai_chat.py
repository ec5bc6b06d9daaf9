"""OpenAI chat completions, and their dialects at Groq, OpenRouter and Mistral."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt, PromptBuilder, Tool, audio_tokens, compact
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.sse import DONE, sse

CREATED = 1_760_000_000
FINISH = {"stop": "stop", "calls": "tool_calls", "length": "length"}
ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a chat completion request."""
    built = PromptBuilder()
    tools = [tool for tool in body.get("tools") or [] if tool.get("type") == "function"]
    built.offer(tools)
    for message in body["messages"]:
        read_message(built, message)
    options = body.get("stream_options") or {}
    style = body.get("response_format") or {}
    schema = (style.get("json_schema") or {}).get("schema") if style.get("type") == "json_schema" else None
    if style.get("type") == "json_object":
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    return Prompt(
        provider=groups.get("provider", ""),
        api="openai.chat",
        model=str(body["model"]),
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tuple(Tool(name=t["function"]["name"], schema=t["function"].get("parameters") or {}) for t in tools),
        choice=tool_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls", True) is not False,
        search="web_search_options" if "web_search_options" in body else "",
        stream=bool(body.get("stream")),
        stream_usage=bool(options.get("include_usage")),
        tier=str(body.get("service_tier") or ""),
        effort=str(body.get("reasoning_effort") or "medium"),
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        choices=int(body.get("n") or 1),
        schema=schema,
    )


def tool_choice(choice: Any) -> str:
    """Read OpenAI's tool choice: auto, none, required, or the tool's name."""
    if isinstance(choice, Mapping):
        return str((choice.get("function") or choice).get("name", "required"))
    return "required" if choice == "any" else str(choice or "auto")


def read_message(built: PromptBuilder, message: JSON) -> None:
    """Read one message of a chat into the prompt."""
    role = message["role"]
    text, images, audio = flatten(message.get("content"))
    if role == "assistant":
        calls = message.get("tool_calls") or []
        text += "".join(f"{c['function']['name']}{c['function']['arguments']}" for c in calls)
        if calls:
            built.turn()
        else:
            built.answer()
    elif role == "tool":
        built.result(text)
    elif role == "user":
        built.ask(text)
    built.say(role, text, images=images, audio=audio)


def flatten(content: Any) -> tuple[str, int, int]:
    """Return the text of a message's content, its images and its audio tokens."""
    if content is None or isinstance(content, str):
        return content or "", 0, 0
    texts, images, audio = [], 0, 0
    for part in content:
        kind = part.get("type", "text")
        if kind in ("image_url", "input_image", "image"):
            images += 1
        elif kind == "input_audio":
            audio += audio_tokens(part["input_audio"]["data"])
        else:
            texts.append(str(part.get("text") or part.get("refusal") or ""))
    return "\n".join(texts), images, audio


def usage(prompt: Prompt, answer: Answer) -> JSON:
    """Write usage in the dialect of the provider."""
    counts: JSON = {
        "prompt_tokens": answer.input,
        "completion_tokens": answer.output,
        "total_tokens": answer.input + answer.output,
    }
    if prompt.provider == "mistral":
        return counts
    if prompt.provider == "groq":
        counts |= {"queue_time": 0.001, "prompt_time": 0.002, "completion_time": 0.003, "total_time": 0.006}
        if answer.cached:
            counts["prompt_tokens_details"] = {"cached_tokens": answer.cached}
        if answer.reasoning:
            counts["completion_tokens_details"] = {"reasoning_tokens": answer.reasoning}
        return counts
    counts["prompt_tokens_details"] = {"cached_tokens": answer.cached, "audio_tokens": answer.audio_input}
    counts["completion_tokens_details"] = {
        "reasoning_tokens": answer.reasoning,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    if prompt.provider == "openrouter":
        counts |= {
            "cost": answer.cost_pico / 10**12,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": None},
        }
    return counts


def _head(prompt: Prompt, answer: Answer, kind: str) -> JSON:
    head: JSON = {"id": answer.response_id, "object": kind, "created": CREATED + answer.serial, "model": answer.model}
    if prompt.provider == "openai":
        head |= {"service_tier": answer.tier or "default", "system_fingerprint": "fp_emulator"}
    elif prompt.provider == "groq":
        head |= {"system_fingerprint": "fp_emulator"}
    elif prompt.provider == "openrouter":
        head |= {"provider": "OpenAI"}
    return head


def _calls(answer: Answer) -> list[JSON]:
    return [
        {
            "id": call_id(answer, index),
            "type": "function",
            "function": {"name": call.name, "arguments": answer.arguments(index)},
        }
        for index, call in enumerate(answer.calls)
    ]


def call_id(answer: Answer, index: int) -> str:
    """Name a tool call: nine letters and digits, the form every provider accepts."""
    return f"{answer.serial:06d}c{index:02d}"


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write a chat completion."""
    message: JSON = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = _calls(answer)
    elif prompt.provider == "openai":
        message |= {"refusal": None, "annotations": []}
    finish = FINISH[answer.finish]
    choices = [
        {"index": n, "message": message, "logprobs": None, "finish_reason": finish} for n in range(prompt.choices)
    ]
    document = {**_head(prompt, answer, "chat.completion"), "choices": choices}
    if answer.usage:
        document["usage"] = usage(prompt, answer)
    if prompt.provider == "groq":
        document |= {"x_groq": {"id": f"req_{answer.serial:026d}"}, "service_tier": "on_demand"}
    return document


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write a chat completion as chunks; where and whether usage stands depends on the provider."""
    head = _head(prompt, answer, "chat.completion.chunk")
    provider = prompt.provider
    told = answer.usage and (prompt.stream_usage or provider in ("groq", "mistral", "openrouter"))
    blank: JSON = {"usage": None} if told and provider == "openai" else {}
    if provider == "openrouter":
        yield Event(b": OPENROUTER PROCESSING\n\n", 0)

    def chunk(delta: JSON, produced: int, finish: str | None = None, **more: Any) -> Event:
        choices = [
            {"index": n, "delta": delta, "logprobs": None, "finish_reason": finish} for n in range(prompt.choices)
        ]
        return Event(sse({**head, "choices": choices, **blank, **more}), produced)

    opening: JSON = {"x_groq": {"id": f"req_{answer.serial:026d}"}} if provider == "groq" else {}
    yield chunk({"role": "assistant", "content": ""}, 0, **opening)
    opened: set[int] = set()
    for step in answer.steps():
        if step.kind == "text":
            yield chunk({"content": step.data}, step.produced)
        elif step.kind == "call" and provider == "mistral":
            if step.index not in opened:  # Mistral sends every tool call in one piece
                call = {**_calls(answer)[step.index], "index": step.index}
                yield chunk({"tool_calls": [call]}, step.produced)
        elif step.kind == "call":
            piece: JSON = {"index": step.index, "function": {"arguments": step.data}}
            if step.index not in opened:
                piece |= {"id": call_id(answer, step.index), "type": "function"}
                piece["function"] = {"name": answer.calls[step.index].name, "arguments": step.data}
            yield chunk({"tool_calls": [piece]}, step.produced)
        if step.kind == "call":
            opened.add(step.index)
    finish = FINISH[answer.finish]
    counts: JSON = {"usage": usage(prompt, answer)} if told else {}
    if provider == "groq":
        yield chunk({}, answer.output, finish, x_groq={"id": f"req_{answer.serial:026d}", **counts})
        if prompt.stream_usage and told:
            yield Event(sse({**head, "choices": [], **counts}), answer.output)
    elif provider in ("mistral", "openrouter"):
        yield chunk({"content": ""}, answer.output, finish, **counts)
    else:
        yield chunk({}, answer.output, finish)
        if told:
            yield Event(sse({**head, "choices": [], **counts}), answer.output)
    yield Event(DONE, answer.output)


def refuse(status: int, message: str) -> JSON:
    """Write an error as OpenAI does."""
    kind, code = ERRORS.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _read_completion(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a legacy completion request: a prompt, or several."""
    asked = body["prompt"]
    prompts = [asked] if isinstance(asked, str) else [p if isinstance(p, str) else compact(p) for p in asked]
    built = PromptBuilder()
    for text in prompts:
        built.ask(text)
        built.say("prompt", text, opens=False)
    options = body.get("stream_options") or {}
    return Prompt(
        provider="",
        api="openai.completions",
        model=str(body["model"]),
        blocks=tuple(built.blocks),
        question=built.question,
        stream=bool(body.get("stream")),
        stream_usage=bool(options.get("include_usage")),
        limit=body.get("max_tokens"),
        choices=len(prompts) * int(body.get("n") or 1),
    )


def _bare_usage(answer: Answer) -> JSON:
    total = answer.input + answer.output
    return {"prompt_tokens": answer.input, "completion_tokens": answer.output, "total_tokens": total}


def _whole_completion(prompt: Prompt, answer: Answer) -> JSON:
    finish = FINISH[answer.finish]
    choices = [
        {"index": n, "text": answer.text, "logprobs": None, "finish_reason": finish} for n in range(prompt.choices)
    ]
    head = {k: v for k, v in _head(prompt, answer, "text_completion").items() if k != "service_tier"}
    return {**head, "choices": choices, **({"usage": _bare_usage(answer)} if answer.usage else {})}


def _stream_completion(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    head = {k: v for k, v in _head(prompt, answer, "text_completion").items() if k != "service_tier"}
    told = answer.usage and prompt.stream_usage
    blank: JSON = {"usage": None} if told else {}
    for step in answer.steps():
        choices = [
            {"index": n, "text": step.data, "logprobs": None, "finish_reason": None} for n in range(prompt.choices)
        ]
        yield Event(sse({**head, "choices": choices, **blank}), step.produced)
    finish = FINISH[answer.finish]
    choices = [{"index": n, "text": "", "logprobs": None, "finish_reason": finish} for n in range(prompt.choices)]
    yield Event(sse({**head, "choices": choices, **blank}), answer.output)
    if told:
        yield Event(sse({**head, "choices": [], "usage": _bare_usage(answer)}), answer.output)
    yield Event(DONE, answer.output)


def _chat(provider: str, path: str) -> Wire:
    return Wire(
        api="openai.chat",
        provider=provider,
        path=re.compile(path),
        read=read,
        whole=whole,
        stream=stream,
        media="text/event-stream; charset=utf-8",
        refuse=refuse,
        prefix="chatcmpl-",
    )


CHAT = (
    _chat("openai", r"(?:/v1)?/chat/completions"),
    _chat("groq", r"/openai/v1/chat/completions"),
    _chat("openrouter", r"/api/v1/chat/completions"),
)
COMPLETIONS = Wire(
    api="openai.completions",
    provider="openai",
    path=re.compile(r"(?:/v1)?/completions"),
    read=_read_completion,
    whole=_whole_completion,
    stream=_stream_completion,
    media="text/event-stream; charset=utf-8",
    refuse=refuse,
    prefix="cmpl-",
)
