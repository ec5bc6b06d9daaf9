"""Cohere chat (v2): billed units beside the tokens the model really saw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt, PromptBuilder, Tool
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.openai_chat import call_id, read_message
from otel_agentcost.testing.emulator.wire.sse import sse

FINISH = {"stop": "COMPLETE", "calls": "TOOL_CALL", "length": "MAX_TOKENS"}
TEMPLATE_TOKENS = 61
"""What Cohere's chat template adds to the prompt; the model sees it, nobody is billed for it."""
CHOICES = {"REQUIRED": "required", "NONE": "none"}


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a v2 chat request: messages and tools in OpenAI's form."""
    built = PromptBuilder()
    tools = body.get("tools") or []
    built.offer(tools)
    for message in body["messages"]:
        read_message(built, message)
    style = body.get("response_format") or {}
    return Prompt(
        provider="cohere",
        api="cohere.chat",
        model=str(body["model"]),
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tuple(Tool(name=t["function"]["name"], schema=t["function"].get("parameters") or {}) for t in tools),
        choice=CHOICES.get(str(body.get("tool_choice")), "auto"),
        stream=bool(body.get("stream")),
        limit=body.get("max_tokens"),
        schema=style.get("json_schema") or style.get("schema"),
    )


def usage(answer: Answer) -> JSON:
    """Write both counts; only the billed units cost money."""
    return {
        "billed_units": {"input_tokens": answer.input, "output_tokens": answer.output},
        "tokens": {"input_tokens": answer.input + TEMPLATE_TOKENS, "output_tokens": answer.output},
    }


def _call(answer: Answer, index: int, arguments: str) -> JSON:
    function = {"name": answer.calls[index].name, "arguments": arguments}
    return {"id": call_id(answer, index), "type": "function", "function": function}


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write a chat response."""
    message: JSON = {"role": "assistant"}
    if answer.calls:
        message["tool_plan"] = "I will use the tools."
        message["tool_calls"] = [_call(answer, n, answer.arguments(n)) for n in range(len(answer.calls))]
    else:
        message["content"] = [{"type": "text", "text": answer.text}]
    document = {"id": answer.response_id, "finish_reason": FINISH[answer.finish], "message": message}
    return {**document, "usage": usage(answer)} if answer.usage else document


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write a chat response as typed events; usage stands in the last one."""

    def event(kind: str, produced: int, **more: Any) -> Event:
        return Event(sse({"type": kind, **more}, event=kind), produced)

    message: JSON = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield event("message-start", 0, id=answer.response_id, delta={"message": message})
    if answer.calls:
        yield event("tool-plan-delta", 0, delta={"message": {"tool_plan": "I will use the tools."}})
    else:
        yield event("content-start", 0, index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
    opened = -1
    produced = 0
    for step in answer.steps():
        if step.kind == "text":
            produced = step.produced
            yield event("content-delta", produced, index=0, delta={"message": {"content": {"text": step.data}}})
        elif step.kind == "call":
            if step.index != opened:
                if opened >= 0:
                    yield event("tool-call-end", produced, index=opened)
                opened = step.index
                call = _call(answer, opened, "")
                yield event("tool-call-start", produced, index=opened, delta={"message": {"tool_calls": call}})
            produced = step.produced
            piece = {"function": {"arguments": step.data}}
            yield event("tool-call-delta", produced, index=opened, delta={"message": {"tool_calls": piece}})
    if answer.calls:
        yield event("tool-call-end", answer.output, index=opened)
    else:
        yield event("content-end", answer.output, index=0)
    end: JSON = {"finish_reason": FINISH[answer.finish]}
    yield event("message-end", answer.output, delta={**end, **({"usage": usage(answer)} if answer.usage else {})})


def refuse(status: int, message: str) -> JSON:
    """Write an error as Cohere does."""
    return {"message": message}


CHAT = Wire(
    api="cohere.chat",
    provider="cohere",
    path=re.compile(r"/v2/chat"),
    read=read,
    whole=whole,
    stream=stream,
    media="text/event-stream",
    refuse=refuse,
    request_id="x-debug-trace-id",
    prefix="c14c80c3-18eb-4519-9460-",
)
