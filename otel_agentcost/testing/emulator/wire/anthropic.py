"""Anthropic messages: exclusive input counts, cache writes by lifetime, usage revised while a stream runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt, PromptBuilder, Tool, cache_mark, compact
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.openai_chat import call_id
from otel_agentcost.testing.emulator.wire.sse import sse

FINISH = {"stop": "end_turn", "calls": "tool_use", "length": "max_tokens"}
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a messages request; cache breakpoints stand on tools, system blocks and message blocks."""
    built = PromptBuilder()
    tools = body.get("tools") or []
    own = [tool for tool in tools if "input_schema" in tool]
    built.offer(own)
    system = body.get("system") or []
    for block in [{"type": "text", "text": system}] if isinstance(system, str) else system:
        built.say("system", block["text"], cache=cache_mark(block))
    for message in body["messages"]:
        _read_message(built, message)
    search = next((str(tool["type"]) for tool in tools if str(tool.get("type", "")).startswith("web_search_")), "")
    thinking = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    return Prompt(
        provider=groups.get("provider", ""),
        api="anthropic.messages",
        model=str(body["model"]),
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tuple(Tool(name=tool["name"], schema=tool["input_schema"]) for tool in own),
        choice=_choice(body.get("tool_choice") or {}),
        parallel=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        search=search,
        stream=bool(body.get("stream")),
        thinks=thinking,
        limit=int(body["max_tokens"]) if "counting" not in groups else None,
    )


def _choice(choice: Mapping[str, Any]) -> str:
    kind = str(choice.get("type", "auto"))
    return {"tool": str(choice.get("name")), "any": "required"}.get(kind, kind)


def _read_message(built: PromptBuilder, message: JSON) -> None:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    kinds = {block["type"] for block in blocks}
    role = message["role"]
    if role == "assistant":
        if "tool_use" in kinds:
            built.turn()
        else:
            built.answer()
    for first, block in enumerate(blocks):
        text, images = _flatten(block)
        if block["type"] == "tool_result":
            built.result(text)
        elif role == "user" and block["type"] == "text" and "tool_result" not in kinds:
            built.ask(text)
        built.say(role, text, cache=cache_mark(block), images=images, opens=first == 0)


def _flatten(block: JSON) -> tuple[str, int]:
    kind = block["type"]
    if kind == "text":
        return str(block["text"]), 0
    if kind == "image":
        return "", 1
    if kind == "tool_use":
        return f"{block['name']}{compact(block['input'])}", 0
    if kind == "tool_result":
        content = block.get("content") or ""
        if isinstance(content, str):
            return content, 0
        return "\n".join(str(part.get("text", "")) for part in content), 0
    if kind == "thinking":
        return "", 0  # earlier thoughts are dropped from the context
    return compact({k: v for k, v in block.items() if k != "cache_control"}), 0


def usage(answer: Answer, *, searched: bool = True) -> JSON:
    """Write usage: input without cache reads and writes; `searched` includes what web searches added."""
    cache = answer.cached + answer.cache_write_5m + answer.cache_write_1h
    late = 0 if searched else answer.searched
    counts: JSON = {
        "input_tokens": answer.input - cache - late,
        "cache_creation_input_tokens": answer.cache_write_5m + answer.cache_write_1h,
        "cache_read_input_tokens": answer.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": answer.cache_write_5m,
            "ephemeral_1h_input_tokens": answer.cache_write_1h,
        },
        "output_tokens": answer.output,
        "service_tier": answer.tier or "standard",
    }
    if answer.reasoning:
        counts["output_tokens_details"] = {"thinking_tokens": answer.reasoning}
    if answer.queries and searched:
        counts["server_tool_use"] = {"web_search_requests": len(answer.queries), "web_fetch_requests": 0}
    return counts


def content(answer: Answer) -> list[JSON]:
    """Write the content blocks: thoughts, searches with their results, words, tool calls."""
    out: list[JSON] = []
    if answer.thought:
        out.append({"type": "thinking", "thinking": answer.thought, "signature": f"sig{answer.serial:08d}"})
    for number, query in enumerate(answer.queries):
        use = f"srvtoolu_{answer.serial:08d}{number:02d}"
        found = {
            "type": "web_search_result",
            "title": query,
            "url": f"https://example.com/{number}",
            "encrypted_content": "x" * 24,
            "page_age": None,
        }
        out.append({"type": "server_tool_use", "id": use, "name": "web_search", "input": {"query": query}})
        out.append({"type": "web_search_tool_result", "tool_use_id": use, "content": [found]})
    if answer.text:
        out.append({"type": "text", "text": answer.text})
    for index, call in enumerate(answer.calls):
        use = f"toolu_{call_id(answer, index)}"
        out.append({"type": "tool_use", "id": use, "name": call.name, "input": dict(call.arguments)})
    return out


def _message(answer: Answer, blocks: list[JSON], finish: str | None, counts: JSON) -> JSON:
    return {
        "id": answer.response_id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": blocks,
        "stop_reason": finish,
        "stop_sequence": None,
        "usage": counts,
    }


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write a message."""
    message = _message(answer, content(answer), FINISH[answer.finish], usage(answer))
    return message if answer.usage else {k: v for k, v in message.items() if k != "usage"}


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write a message as events: input at the start, the revised and final figures in `message_delta`."""

    def event(kind: str, produced: int, **more: Any) -> Event:
        return Event(sse({"type": kind, **more}, event=kind), produced)

    begun = {k: v for k, v in usage(answer, searched=False).items() if k != "output_tokens_details"}
    begun["output_tokens"] = min(1, answer.output)
    yield event("message_start", 0, message=_message(answer, [], None, begun))
    yield event("ping", 0)
    steps = list(answer.steps())
    produced = call = 0
    for index, block in enumerate(content(answer)):
        kind = block["type"]
        deltas: list[tuple[JSON, int]] = []
        if kind == "thinking":
            deltas.append(({"type": "thinking_delta", "thinking": block["thinking"]}, answer.reasoning))
            deltas.append(({"type": "signature_delta", "signature": block["signature"]}, answer.reasoning))
            block = {**block, "thinking": "", "signature": ""}
        elif kind == "text":
            deltas += [({"type": "text_delta", "text": s.data}, s.produced) for s in steps if s.kind == "text"]
            block = {**block, "text": ""}
        elif kind == "server_tool_use":
            deltas.append(({"type": "input_json_delta", "partial_json": compact(block["input"])}, produced))
            block = {**block, "input": {}}
        elif kind == "tool_use":
            deltas += [
                ({"type": "input_json_delta", "partial_json": s.data}, s.produced)
                for s in steps
                if s.kind == "call" and s.index == call
            ]
            block = {**block, "input": {}}
            call += 1
        yield event("content_block_start", produced, index=index, content_block=block)
        for delta, upto in deltas:
            produced = upto
            yield event("content_block_delta", produced, index=index, delta=delta)
        yield event("content_block_stop", produced, index=index)
    final = {k: v for k, v in usage(answer).items() if k not in ("cache_creation", "service_tier")}
    delta = {"stop_reason": FINISH[answer.finish], "stop_sequence": None}
    yield event("message_delta", answer.output, delta=delta, usage=final if answer.usage else {"output_tokens": 0})
    yield event("message_stop", answer.output)


def refuse(status: int, message: str) -> JSON:
    """Write an error as Anthropic does."""
    return {"type": "error", "error": {"type": ERRORS.get(status, "api_error"), "message": message}}


def _count(prompt: Prompt, answer: Answer) -> JSON:
    return {"input_tokens": answer.input}


COUNT_TOKENS = Wire(
    api="anthropic.count_tokens",
    provider="anthropic",
    path=re.compile(r"(?:/v1)?/messages/(?P<counting>count_tokens)"),
    read=read,
    whole=_count,
    stream=stream,
    media="application/json",
    refuse=refuse,
    request_id="request-id",
    free=True,
)
MESSAGES = Wire(
    api="anthropic.messages",
    provider="anthropic",
    path=re.compile(r"(?:/v1)?/messages"),
    read=read,
    whole=whole,
    stream=stream,
    media="text/event-stream; charset=utf-8",
    refuse=refuse,
    request_id="request-id",
    prefix="msg_",
)
