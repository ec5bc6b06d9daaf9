"""Ollama chat and generate: JSON lines, counts in the last one, nothing to pay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt, PromptBuilder, Tool, compact
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.sse import line

FINISH = {"stop": "stop", "calls": "stop", "length": "length"}
TIME = "2026-11-20T12:00:00.000000Z"
MILLISECOND = 1_000_000


def _read_chat(body: JSON, groups: Mapping[str, str]) -> Prompt:
    built = PromptBuilder()
    tools = body.get("tools") or []
    built.offer(tools)
    for message in body["messages"]:
        role, text = message["role"], str(message.get("content") or "")
        calls = message.get("tool_calls") or []
        if role == "assistant" and calls:
            built.turn()
            text += compact(calls)
        elif role == "assistant":
            built.answer()
        elif role == "tool":
            built.result(text)
        elif role == "user":
            built.ask(text)
        built.say(role, text, images=len(message.get("images") or []))
    offered = tuple(Tool(name=t["function"]["name"], schema=t["function"].get("parameters") or {}) for t in tools)
    return _prompt(body, built, "ollama.chat", offered)


def _read_generate(body: JSON, groups: Mapping[str, str]) -> Prompt:
    built = PromptBuilder()
    if body.get("system"):
        built.say("system", str(body["system"]))
    built.ask(str(body["prompt"]))
    built.say("user", str(body["prompt"]), images=len(body.get("images") or []))
    return _prompt(body, built, "ollama.generate", ())


def _prompt(body: JSON, built: PromptBuilder, api: str, tools: tuple[Tool, ...]) -> Prompt:
    schema = body.get("format")
    return Prompt(
        provider="ollama",
        api=api,
        model=str(body["model"]).removesuffix(":latest"),
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tools,
        stream=body.get("stream", True) is not False,
        limit=(body.get("options") or {}).get("num_predict"),
        schema=schema if isinstance(schema, Mapping) else None,
    )


def _said(prompt: Prompt, answer: Answer, text: str, calls: bool) -> JSON:
    head: JSON = {"model": answer.model, "created_at": TIME}
    if prompt.api == "ollama.generate":
        return {**head, "response": text}
    message: JSON = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [{"function": {"name": c.name, "arguments": dict(c.arguments)}} for c in answer.calls]
    return {**head, "message": message}


def _counts(answer: Answer) -> JSON:
    times = {"total_duration": 9 * MILLISECOND, "load_duration": MILLISECOND}
    done: JSON = {"done": True, "done_reason": FINISH[answer.finish], **times}
    if not answer.usage:
        return done
    read = {"prompt_eval_count": answer.input, "prompt_eval_duration": MILLISECOND * answer.input}
    return {**done, **read, "eval_count": answer.output, "eval_duration": MILLISECOND * answer.output}


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write an answer with its counts."""
    return {**_said(prompt, answer, answer.text, bool(answer.calls)), **_counts(answer)}


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write an answer as JSON lines; the last one has the counts."""
    for step in answer.steps():
        if step.kind == "text":
            yield Event(line({**_said(prompt, answer, step.data, False), "done": False}), step.produced)
    if answer.calls:
        yield Event(line({**_said(prompt, answer, "", True), "done": False}), answer.output)
    yield Event(line({**_said(prompt, answer, "", False), **_counts(answer)}), answer.output)


def refuse(status: int, message: str) -> JSON:
    """Write an error as Ollama does."""
    return {"error": message}


def _wire(api: str, verb: str) -> Wire:
    return Wire(
        api=api,
        provider="ollama",
        path=re.compile(f"/api/{verb}"),
        read=_read_chat if verb == "chat" else _read_generate,
        whole=whole,
        stream=stream,
        media="application/x-ndjson",
        refuse=refuse,
    )


CHAT = _wire("ollama.chat", "chat")
GENERATE = _wire("ollama.generate", "generate")
