"""Amazon Bedrock converse and converse-stream: exclusive input counts, a binary event stream, unchecked signatures."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Block, Prompt, PromptBuilder, Tool, compact
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.openai_chat import call_id

FINISH = {"stop": "end_turn", "calls": "tool_use", "length": "max_tokens"}
STRING_HEADER = 7
"""The event stream's type number of a header whose value is text."""


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a converse request; a cachePoint makes the block before it a breakpoint."""
    built = PromptBuilder()
    config = body.get("toolConfig") or {}
    tools = [tool["toolSpec"] for tool in config.get("tools") or [] if "toolSpec" in tool]
    built.offer(tools)
    _mark(built, [tool for tool in config.get("tools") or [] if "cachePoint" in tool])
    for block in body.get("system") or []:
        if "text" in block:
            built.say("system", block["text"])
        _mark(built, [block])
    for message in body["messages"]:
        _read_message(built, message)
    return Prompt(
        provider="aws",
        api="bedrock.converse",
        model=unquote(groups["model"]),
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tuple(Tool(name=t["name"], schema=t["inputSchema"]["json"]) for t in tools),
        choice=_choice(config.get("toolChoice") or {}),
        stream=groups["verb"] == "converse-stream",
        limit=(body.get("inferenceConfig") or {}).get("maxTokens"),
    )


def _choice(choice: Mapping[str, Any]) -> str:
    if "tool" in choice:
        return str(choice["tool"]["name"])
    return "required" if "any" in choice else "auto"


def _mark(built: PromptBuilder, blocks: list[JSON]) -> None:
    for block in blocks:
        point = block.get("cachePoint")
        if point is not None and built.blocks:
            last = built.blocks[-1]
            mark = "1h" if point.get("ttl") == "1h" else "5m"
            built.blocks[-1] = Block(content=last.content, tokens=last.tokens, audio=last.audio, cache=mark)


def _read_message(built: PromptBuilder, message: JSON) -> None:
    role, blocks = message["role"], message["content"]
    results = any("toolResult" in block for block in blocks)
    if role == "assistant":
        if any("toolUse" in block for block in blocks):
            built.turn()
        else:
            built.answer()
    for first, block in enumerate(blocks):
        if "toolResult" in block:
            parts = block["toolResult"]["content"]
            text = "\n".join(str(part.get("text") or compact(part.get("json", ""))) for part in parts)
            built.result(text)
        elif "toolUse" in block:
            text = f"{block['toolUse']['name']}{compact(block['toolUse']['input'])}"
        elif "text" in block:
            text = str(block["text"])
            if role == "user" and not results:
                built.ask(text)
        else:
            _mark(built, [block])
            continue
        built.say(role, text, opens=first == 0)


def usage(answer: Answer) -> JSON:
    """Write usage: input without cache reads and writes, the total with them."""
    writes = answer.cache_write_5m + answer.cache_write_1h
    counts: JSON = {
        "inputTokens": answer.input - answer.cached - writes,
        "outputTokens": answer.output,
        "totalTokens": answer.input + answer.output,
        "cacheReadInputTokens": answer.cached,
        "cacheWriteInputTokens": writes,
    }
    if answer.cache_write_1h:
        details = [{"ttl": "1h", "inputTokens": answer.cache_write_1h}]
        if answer.cache_write_5m:
            details.append({"ttl": "5m", "inputTokens": answer.cache_write_5m})
        counts["cacheDetails"] = details
    return counts


def _use(answer: Answer, index: int) -> JSON:
    return {"toolUseId": f"tooluse_{call_id(answer, index)}", "name": answer.calls[index].name}


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write a converse response."""
    blocks: list[JSON] = [{"text": answer.text}] if answer.text else []
    blocks += [
        {"toolUse": {**_use(answer, index), "input": dict(call.arguments)}} for index, call in enumerate(answer.calls)
    ]
    document: JSON = {
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": FINISH[answer.finish],
        "metrics": {"latencyMs": 12},
    }
    return {**document, "usage": usage(answer)} if answer.usage else document


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write a converse response as an event stream; usage stands in the `metadata` event."""
    yield _event("messageStart", 0, {"role": "assistant"})
    opened, produced = -1, 0
    texts = 1 if answer.text else 0
    for step in answer.steps():
        if step.kind == "text":
            opened, produced = 0, step.produced
            yield _event("contentBlockDelta", produced, {"contentBlockIndex": 0, "delta": {"text": step.data}})
        elif step.kind == "call":
            index = step.index + texts
            if index != opened:
                if opened >= 0:
                    yield _event("contentBlockStop", produced, {"contentBlockIndex": opened})
                opened = index
                start = {"contentBlockIndex": index, "start": {"toolUse": _use(answer, step.index)}}
                yield _event("contentBlockStart", produced, start)
            produced = step.produced
            delta = {"contentBlockIndex": index, "delta": {"toolUse": {"input": step.data}}}
            yield _event("contentBlockDelta", produced, delta)
    yield _event("contentBlockStop", answer.output, {"contentBlockIndex": max(opened, 0)})
    yield _event("messageStop", answer.output, {"stopReason": FINISH[answer.finish]})
    counts: JSON = {"usage": usage(answer)} if answer.usage else {}
    yield _event("metadata", answer.output, {**counts, "metrics": {"latencyMs": 12}})


def _event(kind: str, produced: int, document: JSON) -> Event:
    """Frame one message of the AWS event stream: lengths, headers, payload, two checksums."""
    names = ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event"))
    headers = b"".join(_header(name, value) for name, value in names)
    payload = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return Event(message + struct.pack(">I", zlib.crc32(message)), produced)


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", STRING_HEADER, len(value)) + value.encode()


def refuse(status: int, message: str) -> JSON:
    """Write an error as Bedrock does."""
    return {"message": message}


def _headers(prompt: Prompt, answer: Answer) -> Mapping[str, str]:
    return {
        "x-amzn-bedrock-input-token-count": str(answer.input),
        "x-amzn-bedrock-output-token-count": str(answer.output),
    }


CONVERSE = Wire(
    api="bedrock.converse",
    provider="aws",
    path=re.compile(r"/model/(?P<model>[^/]+)/(?P<verb>converse|converse-stream)"),
    read=read,
    whole=whole,
    stream=stream,
    media="application/vnd.amazon.eventstream",
    refuse=refuse,
    request_id="x-amzn-requestid",
)
