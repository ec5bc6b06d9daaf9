"""OpenAI responses: typed items in, typed items out, and a stream of numbered events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt, PromptBuilder, Tool, compact
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.openai_chat import CREATED, call_id, flatten, refuse, tool_choice
from otel_agentcost.testing.emulator.wire.sse import sse

SEARCH_TOOLS = ("web_search", "web_search_preview", "web_search_2025_08_26", "web_search_preview_2025_03_11")


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a responses request; `previous_response_id` was already unfolded into the input."""
    built = PromptBuilder()
    tools = body.get("tools") or []
    functions = [tool for tool in tools if tool.get("type") == "function"]
    built.offer(functions)
    if body.get("instructions"):
        built.say("system", str(body["instructions"]))
    asked = body.get("input", "")
    items = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
    _read_items(built, items)
    search = next((tool["type"] for tool in tools if tool.get("type") in SEARCH_TOOLS), "")
    style = (body.get("text") or {}).get("format") or {}
    model = str(body["model"])
    if search and "mini" in model and "preview" not in search and not model.startswith("gpt-5"):
        raise ValueError(f"{search} on {model} is billed by a fixed block the emulator does not imitate")
    return Prompt(
        provider=groups.get("provider", ""),
        api="openai.responses",
        model=model,
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tuple(Tool(name=tool["name"], schema=tool.get("parameters") or {}) for tool in functions),
        choice=tool_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls", True) is not False,
        search=search,
        stream=bool(body.get("stream")),
        tier=str(body.get("service_tier") or ""),
        effort=str((body.get("reasoning") or {}).get("effort") or "medium"),
        limit=body.get("max_output_tokens"),
        schema=style.get("schema") if style.get("type") == "json_schema" else None,
        extra={
            "input": items,
            "store": body.get("store", True) is not False,
            "previous": body.get("previous_response_id"),
            "instructions": body.get("instructions"),
            "tools": tools,
            "tool_choice": body.get("tool_choice") or "auto",
        },
    )


def _read_items(built: PromptBuilder, items: list[JSON]) -> None:
    calling = False
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            if not calling:
                built.turn()
            built.say("assistant", f"{item['name']}{item['arguments']}")
        elif kind == "function_call_output":
            text = item["output"] if isinstance(item["output"], str) else compact(item["output"])
            built.result(text)
            built.say("tool", text)
        elif kind == "message":
            text, images, audio = flatten(item.get("content"))
            role = item["role"]
            if role == "user":
                built.ask(text)
            elif role == "assistant":
                built.answer()
            built.say(role, text, images=images, audio=audio)
        calling = kind == "function_call"


def usage(answer: Answer) -> JSON:
    """Write usage: cached tokens are part of the input, reasoning is part of the output."""
    return {
        "input_tokens": answer.input,
        "input_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": 0},
        "output_tokens": answer.output,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
        "total_tokens": answer.input + answer.output,
    }


def items(answer: Answer) -> list[JSON]:
    """Write the items of an answer: thoughts, searches (and one page opened, which costs nothing), words or calls."""
    serial, done = f"{answer.serial:08d}", "completed"
    out: list[JSON] = []
    if answer.reasoning:
        out.append({"id": f"rs_{serial}", "type": "reasoning", "summary": []})
    for number, query in enumerate(answer.queries):
        action: JSON = {"type": "search", "query": query}
        out.append({"id": f"ws_{serial}{number:02d}", "type": "web_search_call", "status": done, "action": action})
    if len(answer.queries) > 1:
        action = {"type": "open_page", "url": "https://example.com/1"}
        out.append({"id": f"ws_{serial}99", "type": "web_search_call", "status": done, "action": action})
    for index, call in enumerate(answer.calls):
        out.append(
            {
                "id": f"fc_{serial}{index:02d}",
                "type": "function_call",
                "status": done,
                "call_id": f"call_{call_id(answer, index)}",
                "name": call.name,
                "arguments": answer.arguments(index),
            }
        )
    if not answer.calls:
        content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
        out.append({"id": f"msg_{serial}", "type": "message", "status": done, "role": "assistant", "content": content})
    return out


def _response(prompt: Prompt, answer: Answer, status: str, output: list[JSON]) -> JSON:
    cut = answer.finish == "length" and status == "completed"
    return {
        "id": answer.response_id,
        "object": "response",
        "created_at": CREATED + answer.serial,
        "status": "incomplete" if cut else status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": prompt.extra["instructions"],
        "max_output_tokens": prompt.limit,
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": prompt.parallel,
        "previous_response_id": prompt.extra["previous"],
        "reasoning": {"effort": prompt.effort if answer.reasoning else None, "summary": None},
        "service_tier": (answer.tier or "default") if status == "completed" else "auto",
        "store": prompt.extra["store"],
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": prompt.extra["tool_choice"],
        "tools": prompt.extra["tools"],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage(answer) if status == "completed" and answer.usage else None,
        "metadata": {},
    }


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write a response."""
    return _response(prompt, answer, "completed", items(answer))


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write a response as numbered events; usage stands in the last one only."""
    number = -1

    def event(kind: str, produced: int, **more: Any) -> Event:
        nonlocal number
        number += 1
        return Event(sse({"type": kind, "sequence_number": number, **more}, event=kind), produced)

    begun = _response(prompt, answer, "in_progress", [])
    yield event("response.created", 0, response=begun)
    yield event("response.in_progress", 0, response=begun)
    output = items(answer)
    steps = list(answer.steps())
    produced = 0
    for position, item in enumerate(output):
        where: JSON = {"output_index": position, "item_id": item["id"]}
        if item["type"] == "reasoning":
            produced = answer.reasoning
        begun_item = _begun(item)
        yield event("response.output_item.added", produced, output_index=position, item=begun_item)
        if item["type"] == "web_search_call":
            for stage in ("in_progress", "searching", "completed"):
                yield event(f"response.web_search_call.{stage}", produced, **where)
        elif item["type"] == "function_call":
            index = [o["id"] for o in output if o["type"] == "function_call"].index(item["id"])
            for step in steps:
                if step.kind == "call" and step.index == index:
                    produced = step.produced
                    yield event("response.function_call_arguments.delta", produced, **where, delta=step.data)
            arguments = item["arguments"]
            yield event(
                "response.function_call_arguments.done", produced, **where, name=item["name"], arguments=arguments
            )
        elif item["type"] == "message":
            part = item["content"][0]
            place = {**where, "content_index": 0}
            yield event("response.content_part.added", produced, **place, part={**part, "text": ""})
            for step in steps:
                if step.kind == "text":
                    produced = step.produced
                    yield event("response.output_text.delta", produced, **place, delta=step.data, logprobs=[])
            yield event("response.output_text.done", produced, **place, text=answer.text, logprobs=[])
            yield event("response.content_part.done", produced, **place, part=part)
        yield event("response.output_item.done", produced, output_index=position, item=item)
    final = _response(prompt, answer, "completed", output)
    kind = "response.incomplete" if final["status"] == "incomplete" else "response.completed"
    yield event(kind, answer.output, response=final)


def _begun(item: JSON) -> JSON:
    blank: dict[str, JSON] = {"message": {"content": []}, "function_call": {"arguments": ""}}
    empty = blank.get(item["type"], {})
    status = {"status": "in_progress"} if "status" in item else {}
    return {**item, **status, **empty}


RESPONSES = Wire(
    api="openai.responses",
    provider="openai",
    path=re.compile(r"(?:/v1)?/responses"),
    read=read,
    whole=whole,
    stream=stream,
    media="text/event-stream; charset=utf-8",
    refuse=refuse,
    prefix="resp_",
)
