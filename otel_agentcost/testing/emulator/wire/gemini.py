"""Gemini generateContent, from the Gemini API or Vertex AI: thoughts beside the candidates, cumulative usage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt, PromptBuilder, Tool, audio_tokens, compact
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.sse import sse

ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
LOOKUPS = ("codeExecution", "code_execution", "urlContext", "url_context")
MODES = {"ANY": "required", "NONE": "none"}


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read a generateContent request; keys come in camelCase or snake_case."""
    built = PromptBuilder()
    tools = body.get("tools") or []
    declared = [d for tool in tools for d in _either(tool, "functionDeclarations") or []]
    built.offer(declared)
    system = _either(body, "systemInstruction")
    if system:
        built.say("system", "\n".join(part.get("text", "") for part in _parts(system)))
    for message in body["contents"]:
        _read_message(built, message)
    settings = _either(body, "generationConfig") or {}
    thinking = _either(settings, "thinkingConfig") or {}
    budget = _either(thinking, "thinkingBudget")
    grounded = any(_either(tool, "googleSearch") is not None for tool in tools)
    calling = _either(_either(body, "toolConfig") or {}, "functionCallingConfig") or {}
    names = _either(calling, "allowedFunctionNames") or []
    schema = _either(settings, "responseSchema") or _either(settings, "responseJsonSchema")
    return Prompt(
        provider=groups.get("provider", ""),
        api="google.generate_content",
        model=groups["model"],
        blocks=tuple(built.blocks),
        question=built.question,
        results=tuple(built.results),
        rounds=built.rounds,
        tools=tuple(Tool(name=d["name"], schema=_schema(d)) for d in declared),
        choice=names[0] if len(names) == 1 else MODES.get(str(calling.get("mode", "")).upper(), "auto"),
        search="google_search" if grounded else "",
        lookup=any(name in tool for tool in tools for name in LOOKUPS),
        stream=groups.get("verb") == "streamGenerateContent",
        effort="none" if budget == 0 else str(_either(thinking, "thinkingLevel") or "medium").lower(),
        limit=_either(settings, "maxOutputTokens"),
        schema=schema if isinstance(schema, Mapping) else None,
    )


def _either(mapping: Mapping[str, Any], name: str) -> Any:
    """Look a camelCase key up in either spelling."""
    if name in mapping:
        return mapping[name]
    return mapping.get(re.sub(r"[A-Z]", lambda letter: "_" + letter.group().lower(), name))


def _schema(declaration: JSON) -> Mapping[str, Any]:
    return _either(declaration, "parametersJsonSchema") or declaration.get("parameters") or {}


def _parts(message: Any) -> list[JSON]:
    if isinstance(message, str):
        return [{"text": message}]
    parts = message.get("parts") or []
    return [parts] if isinstance(parts, dict) else list(parts)


def _read_message(built: PromptBuilder, message: JSON) -> None:
    role = message.get("role") or "user"
    parts = _parts(message)
    if role == "model":
        if any(_either(part, "functionCall") for part in parts):
            built.turn()
        else:
            built.answer()
    results = any(_either(part, "functionResponse") for part in parts)
    for first, part in enumerate(parts):
        text, images, audio = _flatten(part)
        if _either(part, "functionResponse"):
            built.result(text)
        elif role == "user" and "text" in part and not results:
            built.ask(text)
        built.say(role, text, images=images, audio=audio, opens=first == 0)


def _flatten(part: JSON) -> tuple[str, int, int]:
    data = _either(part, "inlineData")
    if data is not None:
        if str(_either(data, "mimeType") or "").startswith("audio/"):
            return "", 0, audio_tokens(data["data"])
        return "", 1, 0
    for name in ("functionCall", "functionResponse"):
        call = _either(part, name)
        if call is not None:
            return f"{call['name']}{compact(call.get('args') or call.get('response') or {})}", 0, 0
    return ("" if part.get("thought") else str(part.get("text", ""))), 0, 0


def usage(answer: Answer, produced: int | None = None) -> JSON:
    """Write usage: thoughts are not among the candidates' tokens, tool-use input is not in the prompt's."""
    total = answer.output if produced is None else produced
    thoughts = min(answer.reasoning, total)
    prompt = answer.input - answer.looked_up
    modalities = [{"modality": "TEXT", "tokenCount": prompt - answer.audio_input}]
    if answer.audio_input:
        modalities.append({"modality": "AUDIO", "tokenCount": answer.audio_input})
    counts: JSON = {"promptTokenCount": prompt, "promptTokensDetails": modalities}
    if total > thoughts:
        counts["candidatesTokenCount"] = total - thoughts
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if answer.cached:
        counts["cachedContentTokenCount"] = answer.cached
        counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": answer.cached}]
    if answer.looked_up:
        counts["toolUsePromptTokenCount"] = answer.looked_up
    return {**counts, "totalTokenCount": answer.input + total}


def _document(answer: Answer, parts: list[JSON], finish: str | None, produced: int | None) -> JSON:
    candidate: JSON = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
        if answer.queries:
            chunks = [{"web": {"uri": f"https://example.com/{n}", "title": q}} for n, q in enumerate(answer.queries)]
            candidate["groundingMetadata"] = {"webSearchQueries": list(answer.queries), "groundingChunks": chunks}
    document: JSON = {"candidates": [candidate]}
    if answer.usage:
        document["usageMetadata"] = usage(answer, produced)
    return {**document, "modelVersion": answer.model, "responseId": answer.response_id}


def _call(answer: Answer, index: int) -> JSON:
    call = answer.calls[index]
    return {"functionCall": {"name": call.name, "args": dict(call.arguments)}}


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write a GenerateContentResponse."""
    parts: list[JSON] = [{"text": answer.text}] if answer.text else []
    parts += [_call(answer, index) for index in range(len(answer.calls))]
    return _document(answer, parts, "MAX_TOKENS" if answer.finish == "length" else "STOP", None)


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Write a response as growing chunks, each with the usage so far; a function call comes in one piece."""
    sent: set[int] = set()
    steps = [s for s in answer.steps() if s.kind != "thought"]
    for step in steps:
        if step.kind == "text":
            document = _document(answer, [{"text": step.data}], None, step.produced)
            yield Event(sse(document, end="\r\n"), step.produced)
        elif step.index not in sent:
            sent.add(step.index)
            upto = max(s.produced for s in steps if s.kind == "call" and s.index == step.index)
            yield Event(sse(_document(answer, [_call(answer, step.index)], None, upto), end="\r\n"), upto)
    finish = "MAX_TOKENS" if answer.finish == "length" else "STOP"
    yield Event(sse(_document(answer, [{"text": ""}], finish, None), end="\r\n"), answer.output)


def refuse(status: int, message: str) -> JSON:
    """Write an error as Google does."""
    return {"error": {"code": status, "message": message, "status": ERRORS.get(status, "UNKNOWN")}}


def _count(prompt: Prompt, answer: Answer) -> JSON:
    return {"totalTokens": answer.input, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.input}]}


_VERSION = r"/(?:v1|v1beta|v1beta1|v1alpha)"
_MODEL = _VERSION + r"(?:/projects/[^/]+/locations/[^/]+)?(?:/publishers/google)?/models/(?P<model>[^/:]+)"
COUNT_TOKENS = Wire(
    api="google.count_tokens",
    provider="google",
    path=re.compile(_MODEL + r":countTokens"),
    read=read,
    whole=_count,
    stream=stream,
    media="application/json",
    refuse=refuse,
    free=True,
)
GENERATE = Wire(
    api="google.generate_content",
    provider="google",
    path=re.compile(_MODEL + r":(?P<verb>generateContent|streamGenerateContent)"),
    read=read,
    whole=whole,
    stream=stream,
    media="text/event-stream",
    refuse=refuse,
)
