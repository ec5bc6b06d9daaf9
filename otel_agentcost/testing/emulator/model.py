"""The deterministic model: the same requests in the same order get the same answers and the same usage.

answer     with a script or directives, what they say. Otherwise, while tools are offered and none was asked for
           since the question: the tools whose names stand in the question (all of them when a tool is required,
           in the order offered, only the first when parallel calls are off). Otherwise one sentence that repeats
           the question, or the tools' results.
output     ceil(characters of the answer / 4), a tool call counting its name and its arguments; cut at the limit.
reasoning  models that think: 32, 64 or 128 tokens for low, medium and high effort (0 for none or minimal).
searches   one when the provider's web search is offered and the question contains the word "search".
cache      automatic (OpenAI, Groq, Gemini ...): the longest run of leading blocks that some earlier request
           of the model began with, when it has `cache_minimum` tokens, rounded down to whole 128s (OpenAI,
               Groq); audio ends it.
           marked (Anthropic, Bedrock): up to the longest breakpoint seen before it is read, from there to the last
           1h breakpoint it is written for an hour, from there to the last breakpoint for five minutes.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from otel_agentcost.testing.emulator.prices import REASONING, Rates
from otel_agentcost.testing.emulator.prompt import SEARCH_TOKENS, Block, Prompt, compact, tokens
from otel_agentcost.testing.emulator.reply import Reply, ToolCall

CACHE_STEP = {"openai": 128, "groq": 128, "openrouter": 128}
MARKED = frozenset({"anthropic", "aws"})
UNCACHED = frozenset({"mistral", "cohere", "ollama"})
UNCACHED_APIS = frozenset({"openai.embeddings", "openai.completions"})
THOUGHTS = {"none": 0, "minimal": 0, "low": 32, "medium": 64, "high": 128}
MOST_STEPS = 48


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of an answer on its way out, with the output tokens produced up to its end."""

    kind: Literal["thought", "text", "call"]
    index: int
    """Which tool call."""
    data: str
    produced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said and what it counted."""

    response_id: str
    serial: int
    model: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thought: str = ""
    queries: tuple[str, ...] = ()
    finish: Literal["stop", "calls", "length"] = "stop"
    input: int = 0
    """All input, cached tokens, cache writes and what web searches added included."""
    searched: int = 0
    """The part of the input that web searches added while answering."""
    looked_up: int = 0
    """The part of the input that the provider's other tools added while answering."""
    cached: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    output: int = 0
    reasoning: int = 0
    tier: str = ""
    """The service tier that was billed; empty for the ordinary one."""
    usage: bool = True
    """False: say nothing about usage."""
    cost_pico: int = 0
    """What the call costs, for providers that state it (OpenRouter)."""

    def arguments(self, index: int) -> str:
        """Write the arguments of a tool call as JSON text."""
        return compact(self.calls[index].arguments)

    def steps(self) -> Iterator[Step]:
        """Yield the answer in small pieces; the last one has produced exactly `output` tokens."""
        pieces: list[tuple[Literal["text", "call"], int, str]] = []
        size = 4 * max(1, -(-len(self.text) // (4 * MOST_STEPS)))
        pieces += [("text", 0, self.text[at : at + size]) for at in range(0, len(self.text), size)]
        for index in range(len(self.calls)):
            text = self.arguments(index)
            pieces += [("call", index, text[at : at + 16]) for at in range(0, len(text), 16)]
        if self.thought:
            yield Step("thought", 0, self.thought, self.reasoning)
        visible = self.output - self.reasoning
        for number, (kind, index, data) in enumerate(pieces, start=1):
            yield Step(kind, index, data, self.reasoning + visible * number // len(pieces))


@dataclass(slots=True)
class Model:
    """Answers prompts and remembers which beginnings it has seen."""

    cache_minimum: int = 1024
    """Fewest tokens worth caching (OpenAI's and most others' rule)."""
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards `seen`."""

    def answer(
        self, prompt: Prompt, rates: Rates, question: str, reply: Reply, response_id: str, serial: int
    ) -> Answer:
        """Answer a prompt as the reply says, else by the rules at the head of this module."""
        calls = reply.tools
        if not calls and reply.text is None:
            calls = _wanted(prompt, question)
        searches = reply.web_searches if reply.web_searches is not None else int(_searches(prompt, question))
        searched = 0 if _content_is_free(prompt) else searches * SEARCH_TOKENS
        looked_up = SEARCH_TOKENS if prompt.lookup and "look" in question.lower() else 0
        thinks = prompt.thinks or prompt.model.startswith(REASONING)
        reasoning = reply.reasoning_tokens
        if reasoning is None:
            reasoning = THOUGHTS.get(prompt.effort, THOUGHTS["medium"]) if thinks else 0
        text = "" if calls else _words(prompt, question, reply)
        spoken = tokens(text) + sum(tokens(c.name) + tokens(compact(c.arguments)) for c in calls)
        finish: Literal["stop", "calls", "length"] = "calls" if calls else "stop"
        if reply.output_tokens is not None:
            reasoning = min(reasoning, reply.output_tokens)
            spoken = reply.output_tokens - reasoning
            if not calls and reply.text is None:
                text = _stretched(text, spoken)
        elif prompt.limit is not None and reasoning + spoken > prompt.limit and not calls:
            reasoning = min(reasoning, prompt.limit)
            spoken, finish = prompt.limit - reasoning, "length"
            text = text[: 4 * spoken]
        tier = reply.service_tier or prompt.tier
        cached, write_5m, write_1h = self._cache(prompt)
        total = prompt.input_tokens + searched + looked_up
        if reply.input_tokens is not None:
            total, cached, write_5m, write_1h = reply.input_tokens, 0, 0, 0
            searched = min(searched, total)
        cached = cached if reply.cached_tokens is None else reply.cached_tokens
        write_5m = write_5m if reply.cache_write_5m_tokens is None else reply.cache_write_5m_tokens
        write_1h = write_1h if reply.cache_write_1h_tokens is None else reply.cache_write_1h_tokens
        return Answer(
            response_id=response_id,
            serial=serial,
            model=reply.model or rates.snapshot or prompt.model,
            text=text,
            calls=calls,
            thought=_stretched("Let me think about it. ", reasoning) if reasoning else "",
            queries=tuple(f"{question[:60]} {n}".strip() for n in range(1, searches + 1)),
            finish=finish,
            input=total,
            searched=searched,
            looked_up=looked_up,
            cached=cached,
            cache_write_5m=write_5m,
            cache_write_1h=write_1h,
            audio_input=min(sum(b.audio for b in prompt.blocks), total - cached),
            output=(spoken + reasoning) * prompt.choices,
            reasoning=reasoning * prompt.choices,
            tier=tier if tier in rates.tiers else "",
            usage=reply.usage,
        )

    def _cache(self, prompt: Prompt) -> tuple[int, int, int]:
        """Return tokens read from the cache, written for five minutes, written for an hour; remember the prompt."""
        if prompt.provider in UNCACHED or prompt.api in UNCACHED_APIS:
            return 0, 0, 0
        prefixes = _prefixes(prompt.blocks)
        with self.lock:
            if prompt.provider in MARKED:
                return self._marked(prompt, prefixes)
            hit = 0
            for block, digest, upto in prefixes:
                if block.audio or (prompt.provider, prompt.model, digest) not in self.seen:
                    break
                hit = upto
            self.seen.update((prompt.provider, prompt.model, digest) for _, digest, _ in prefixes)
            if hit < self.cache_minimum:
                return 0, 0, 0
            return hit - hit % CACHE_STEP.get(prompt.provider, 1), 0, 0

    def _marked(self, prompt: Prompt, prefixes: list[tuple[Block, str, int]]) -> tuple[int, int, int]:
        read = hour = last = 0
        fresh: list[tuple[str, str, str]] = []
        for block, digest, upto in prefixes:
            if not block.cache or upto < self.cache_minimum:
                continue
            key = (prompt.provider, prompt.model, digest)
            if key in self.seen:
                read = upto
            else:
                fresh.append(key)
            last = upto
            hour = upto if block.cache == "1h" else hour
        self.seen.update(fresh)
        write_1h = max(hour - read, 0)
        return read, max(last - max(read, hour), 0), write_1h


def _prefixes(blocks: tuple[Block, ...]) -> list[tuple[Block, str, int]]:
    """Return every leading run of blocks: its last block, its digest, its tokens."""
    digest, upto, runs = hashlib.sha256(), 0, []
    for block in blocks:
        digest.update(f"{len(block.content)}:{block.content}".encode())
        upto += block.tokens
        runs.append((block, digest.hexdigest(), upto))
    return runs


def _wanted(prompt: Prompt, question: str) -> tuple[ToolCall, ...]:
    """Choose the tools to ask for by the rule."""
    if not prompt.tools or prompt.choice == "none" or prompt.rounds:
        return ()
    if prompt.choice not in ("auto", "required"):
        names = [t for t in prompt.tools if t.name == prompt.choice]
    elif prompt.choice == "required":
        named = [t for t in prompt.tools if _mentions(question, t.name)]
        names = named or [prompt.tools[0]]
    else:
        names = [t for t in prompt.tools if _mentions(question, t.name)]
    names = names if prompt.parallel else names[:1]
    return tuple(ToolCall(t.name, example(t.schema, question)) for t in names)


def _mentions(question: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", question) is not None


def _searches(prompt: Prompt, question: str) -> bool:
    return bool(prompt.search) and "search" in question.lower() and not prompt.rounds


def _content_is_free(prompt: Prompt) -> bool:
    """Gemini never bills the pages of a search; OpenAI's older search tool bills none to models that do not think."""
    return prompt.provider == "google" or ("preview" in prompt.search and not prompt.model.startswith(REASONING))


def _words(prompt: Prompt, question: str, reply: Reply) -> str:
    if reply.text is not None:
        return reply.text
    if prompt.schema is not None:
        return compact(example(prompt.schema, question))
    if prompt.results:
        return f"Found: {' | '.join(result[:160] for result in prompt.results)}"
    return f"You asked: {question[:160]}" if question else "Hello."


def _stretched(text: str, count: int) -> str:
    """Repeat or cut a text to exactly `count` tokens."""
    padded = (text.rstrip() or "word") + " "
    return (padded * (4 * count // len(padded) + 1))[: 4 * count]


def example(schema: Mapping[str, Any], text: str) -> Any:
    """Make a value that satisfies a JSON schema, using the text wherever words are wanted."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema and isinstance(schema.get("$defs"), Mapping):
        return example(
            {**schema["$defs"].get(str(schema["$ref"]).rsplit("/", 1)[-1], {}), "$defs": schema["$defs"]}, text
        )
    for alternatives in ("anyOf", "oneOf", "allOf"):
        if schema.get(alternatives):
            return example({"$defs": schema.get("$defs", {}), **schema[alternatives][0]}, text)
    kind = schema.get("type", "object")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        wanted = schema.get("required", list(schema.get("properties", {})))
        known = schema.get("properties", {})
        return {name: example({**defs, **known.get(name, {"type": "string"})}, text) for name in wanted}
    if kind == "array":
        return [example({"$defs": schema.get("$defs", {}), **schema.get("items", {"type": "string"})}, text)]
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(kind, text[:80] or "text")
