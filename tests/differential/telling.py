"""Spans that tell what happened: in some dialect, by one instrumentation or another, at some time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tests.differential.spellings import Attributes, Facts, Spelling, spellings

MODELS = (
    ("openai", "gpt-4o", ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o")),
    ("openai", "gpt-5-mini", ("gpt-5-mini", "gpt-5-mini-2025-08-07")),
    ("openai", "o3", ("o3", "o3-2025-04-16")),
    (
        "anthropic",
        "claude-sonnet-4-5",
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5"),
    ),
    ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", ("us.anthropic.claude-sonnet-4-5-20250929-v1:0",)),
    ("gcp.vertex_ai", "gemini-2.5-flash", ("gemini-2.5-flash", "models/gemini-2.5-flash")),
    ("gcp.gemini", "gemini-2.5-pro", ("gemini-2.5-pro",)),
    ("mistral_ai", "mistral-large-latest", ("mistral-large-latest", "mistral-large-2411")),
    ("x_ai", "grok-4", ("grok-4", "grok-4-0709")),
    ("deepseek", "deepseek-chat", ("deepseek-chat",)),
    ("groq", "llama-3.3-70b-versatile", ("llama-3.3-70b-versatile",)),
    (
        "openrouter",
        "anthropic/claude-sonnet-4.5",
        ("anthropic/claude-sonnet-4.5", "openrouter/anthropic/claude-sonnet-4.5"),
    ),
    ("", "router/auto", ("router/auto", "auto")),
    ("", "in-house-7b", ("in-house-7b",)),
    ("", "", ("",)),
)
TOOLS = ("search", "calculator", "read_file", "tavily_search", "browser")
AGENTS = ("", "planner", "writer", "helper")


@dataclass(slots=True, kw_only=True)
class Draft:
    """One span to be exported."""

    span_id: str
    parent_id: str
    start: int
    end: int
    name: str
    kind: str
    scope: str
    attributes: Attributes
    resource: Attributes = field(default_factory=dict)
    failed: bool = False


class Teller:
    """Makes the spans of one trace, in the words of every dialect."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.spans: list[Draft] = []
        self.resource: Attributes = {}

    def _facts(self) -> Facts:
        rng = self.rng
        provider, _, names = rng.choice(MODELS)
        wanted = rng.choice((7, 100, 1000, 1000, 12_345, 250_000))
        usage = {"input_tokens": wanted, "output_tokens": rng.choice((0, 1, 100, 100, 4321))}
        if rng.random() < 0.35:
            usage["cache_read_tokens"] = rng.randint(0, wanted)
        if rng.random() < 0.2:
            usage["cache_write_tokens"] = rng.randint(0, wanted - usage.get("cache_read_tokens", 0))
        if rng.random() < 0.2:
            usage["output_reasoning_tokens"] = rng.randint(0, usage["output_tokens"])
        if rng.random() < 0.05:
            del usage["output_tokens"]
        if rng.random() < 0.06:
            usage = {}
        return Facts(
            provider=provider if rng.random() < 0.8 else "",
            model=rng.choice(names),
            request_model=rng.choice(names) if rng.random() < 0.5 else "",
            response_id=f"resp_{rng.getrandbits(40):x}" if rng.random() < 0.6 else "",
            agent=rng.choice(AGENTS),
            tool=rng.choice(TOOLS),
            tier=rng.choice(("", "", "", "priority", "flex", "default", "turbo")),
            cost=rng.choice((0.0, 0.0123, 1.5e-05, 3)) if rng.random() < 0.1 else None,
            usage=usage,
        )

    def _retold(self, facts: Facts) -> Facts:
        """The same call as another instrumentation sees it."""
        rng = self.rng
        usage = dict(facts.usage)
        pick = rng.random()
        if pick < 0.25:
            usage = {u: q for u, q in usage.items() if u in ("input_tokens", "output_tokens")}
        elif pick < 0.33 and "input_tokens" in usage:
            usage["input_tokens"] += rng.choice((1, 15, 200))
        elif pick < 0.40:
            usage = {}
        elif pick < 0.44:
            usage.pop("output_tokens", None)
        names = next((n for _, _, n in MODELS if facts.model in n), (facts.model,))
        return replace(
            facts,
            usage=usage,
            model=rng.choice(names) if rng.random() < 0.9 else "",
            response_id=facts.response_id if rng.random() < 0.5 else "",
            provider=facts.provider if rng.random() < 0.7 else "",
        )

    # -- spans --------------------------------------------------------------------------------------------------

    def _spelling(self, kind: str) -> Spelling:
        return self.rng.choice(spellings()[kind])

    def _tell(self, kind: str, facts: Facts, parent: Draft) -> Draft:
        span = self._span("", "internal", "", parent, {})
        self._retell(span, kind, facts)
        return span

    def _retell(self, span: Draft, kind: str, facts: Facts) -> None:
        rng = self.rng
        if rng.random() < 0.3 and kind == "call":
            span.attributes, span.scope = (
                self._otel(facts),
                rng.choice(("opentelemetry.instrumentation.openai_v2", "otel_agentcost")),
            )
            span.name, span.kind = f"chat {facts.model}", "client"
            return
        spelling = self._spelling(kind)
        span.attributes = spelling.write(facts)
        span.name, span.scope, span.kind = spelling.name, spelling.scope, spelling.span_kind
        span.resource = {**self.resource, **dict(spelling.resource)}
        if rng.random() < 0.03:
            span.failed = True

    def _otel(self, facts: Facts) -> Attributes:
        told: Attributes = {"gen_ai.operation.name": "chat"}
        for key, value in (
            ("gen_ai.provider.name", facts.provider),
            ("gen_ai.request.model", facts.request_model or facts.model),
            ("gen_ai.response.model", facts.model),
            ("gen_ai.response.id", facts.response_id),
            ("gen_ai.agent.name", facts.agent),
            ("openai.response.service_tier", facts.tier),
        ):
            if value:
                told[key] = value
        for unit, key in (
            ("input_tokens", "gen_ai.usage.input_tokens"),
            ("output_tokens", "gen_ai.usage.output_tokens"),
            ("cache_read_tokens", "gen_ai.usage.cache_read.input_tokens"),
            ("cache_write_tokens", "gen_ai.usage.cache_creation.input_tokens"),
            ("output_reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
        ):
            if unit in facts.usage:
                told[key] = facts.usage[unit]
        return told

    def _totals(self, facts: Facts, times: float) -> Facts:
        return replace(facts, usage={u: int(q * times) for u, q in facts.usage.items()})

    def _plain(self, parent_id: str, start: int, end: int) -> Draft:
        span = Draft(
            span_id=f"{self.rng.getrandbits(64) | 1:016x}",
            parent_id=parent_id,
            start=start,
            end=end,
            name="work",
            kind=self.rng.choice(("internal", "internal", "server")),
            scope="app",
            attributes={"code.function": "f", "n": 3},
            resource=self.resource,
        )
        self.spans.append(span)
        return span

    def _span(self, name: str, kind: str, scope: str, parent: Draft, attributes: Attributes) -> Draft:
        start, end = self._inside(parent)
        span = Draft(
            span_id=f"{self.rng.getrandbits(64) | 1:016x}",
            parent_id=parent.span_id,
            start=start,
            end=end,
            name=name,
            kind=kind,
            scope=scope,
            attributes=attributes,
            resource=self.resource,
        )
        self.spans.append(span)
        return span

    def _inside(self, parent: Draft) -> tuple[int, int]:
        """A time inside the parent's, now and then exactly it, or touching another's."""
        rng = self.rng
        if rng.random() < 0.1:
            return parent.start, parent.end
        step = max(1, (parent.end - parent.start) // 16)
        first = rng.randint(0, 14)
        start = parent.start + first * step
        return start, start + rng.randint(1, 16 - first) * step
