"""One process of the live matrix: a set of instrumentations, every way of calling every SDK, one JSON line for each.

    python -m tests.live.driver '{"httpx": true, "openllmetry": true}'

Each line tells what the emulator billed in a session and what the session's root says. A process of its own, because
instrumentations and the global tracer provider cannot be taken back.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_agentcost.otel import health, http
from otel_agentcost.otel.processor import AgentCostSpanProcessor
from otel_agentcost.otel.session import session
from otel_agentcost.testing import CapturedSpans, ProviderEmulator
from tests.live import broken, loops, sdks

HOSTS = {
    "openai": "http://api.openai.com",
    "anthropic": "http://api.anthropic.com",
    "google": "http://generativelanguage.googleapis.com",
    "mistral": "http://api.mistral.ai",
    "cohere": "http://api.cohere.com",
    "groq": "http://api.groq.com",
    "openrouter": "http://openrouter.ai",
    "aws": "http://bedrock-runtime.us-east-1.amazonaws.com",
}
"""Where the SDKs go when the emulator is their proxy: the providers' own names, over plain http."""

TEXTS = ("Hello there", "Hello there", "Please search for news")
"""A first call, the same again (its beginning is cached now), one that searches the web where the SDK offers it."""


@dataclass(frozen=True)
class Set:
    """Who else watches, and how the SDKs reach the emulator."""

    httpx: bool = False
    """opentelemetry-instrumentation-httpx, both of its instrumentors."""
    native: bool = True
    """The spans that Anthropic's SDK emits itself."""
    openllmetry: bool = False
    openinference: bool = False
    hosts: bool = True
    """The providers' own host names, through the emulator as a proxy; else its loopback address as base URL."""
    encoding: str = "identity"
    processor_first: bool = False
    """Our processor is registered before the exporter."""
    wrap: bool = False
    """Our processor wraps the exporter's."""
    providers: tuple[str, ...] = ()
    """Only programs that call these; empty = all."""
    without: tuple[str, ...] = ()
    """Programs left out."""
    broken: bool = False
    """Streams that end before their end, instead of programs that run through."""


@dataclass(frozen=True)
class Outcome:
    """What one session cost: by the emulator's bill and by its root."""

    name: str
    billed: int
    """Pico-dollars."""
    roots: list[int | None]
    """`agentcost.session.cost.pico` of every root; must be one."""
    complete: list[bool | None]
    unpriced: list[int | None]
    labels: list[str]
    """`agentcost.cost.status` of the spans that have one."""
    spans: list[str]
    """Scope and name of every span, for a reader of a failure."""
    leaked: list[str]
    """Secrets and prompts found in the exported bytes, but for spans of instrumentations that record prompts."""
    faults: dict[str, int]
    """Our own errors, by reason."""


SECRETS = ("sk-secret", "AKIASECRET", "careful assistant", "Hello there", "news", "Tell me", "Bonn")
"""What must never be exported by us: keys, system prompts, user texts."""


def instrument(chosen: Set, provider: TracerProvider) -> None:
    """Turn the other instrumentations on, before the SDKs are used."""
    if chosen.httpx:
        import opentelemetry.instrumentation.httpx as http_instrumentation

        http_instrumentation.HTTPXClientInstrumentor().instrument(tracer_provider=provider)
        second = getattr(http_instrumentation, "HTTPX2ClientInstrumentor", None)
        if second is not None and sdks.importable("httpx2"):
            second().instrument(tracer_provider=provider)
    if chosen.openllmetry:
        from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor as LoopAnthropic
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor as LoopOpenAI

        LoopOpenAI().instrument(tracer_provider=provider)
        LoopAnthropic().instrument(tracer_provider=provider)
    if chosen.openinference:
        from openinference.instrumentation.anthropic import AnthropicInstrumentor
        from openinference.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=provider)
        AnthropicInstrumentor().instrument(tracer_provider=provider)


def broken_streams() -> Iterator[tuple[str, str, Callable[[str], object]]]:
    """Yield every stream that ends early; what the application gets to see of it is its own business."""
    for name, (_, serves, run) in broken.available().items():

        def program(url: str, run: Callable[[str], None] = run) -> None:
            try:
                run(url)
            except Exception as error:
                if "emulator" in str(error):
                    raise

        yield name, serves, program


def programs() -> Iterator[tuple[str, str, Callable[[str], object]]]:
    """Yield every program of the matrix: its name, the provider it calls, what to run with an address."""
    for way in sdks.available():
        yield way.name, way.provider, lambda url, way=way: [way.run(url, text) for text in TEXTS]  # type: ignore[misc]
        if way.provider == "openai" and "embeddings" not in way.name:
            retried = f"{TEXTS[0]} [[fail 429]] [[times 2]]"
            yield f"{way.name}-retried", way.provider, lambda url, way=way, text=retried: way.run(url, text)  # type: ignore[misc]
    providers = {"boto3": "aws", "google.genai": "google", "mistralai.client": "mistral"}
    for loop in loops.available():
        package = loops.LOOPS[loop]
        name = f"agent-{loop.__name__}"
        yield name, providers.get(package, package), lambda url, loop=loop: loop(url, [])  # type: ignore[misc]


def main(chosen: Set) -> None:
    """Run every program in a session of its own and print its outcome."""
    os.environ["AGENTCOST_RAISE"] = "1"
    os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "true" if chosen.native else "false"
    provider, spans = TracerProvider(), CapturedSpans()
    if chosen.wrap:
        provider.add_span_processor(AgentCostSpanProcessor.wrap(spans.processor()))
    elif chosen.processor_first:
        provider.add_span_processor(AgentCostSpanProcessor())
        provider.add_span_processor(spans.processor())
    else:
        provider.add_span_processor(spans.processor())
        provider.add_span_processor(AgentCostSpanProcessor())
    trace.set_tracer_provider(provider)
    instrument(chosen, provider)
    http.install(provider)
    with ProviderEmulator(cache_minimum=128, encoding=chosen.encoding) as emulator:
        if chosen.hosts:
            os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = emulator.url
        for name, serves, program in broken_streams() if chosen.broken else programs():
            if name in chosen.without or (chosen.providers and serves not in chosen.providers):
                continue
            emulator.reset()
            spans.clear()
            health.reset()
            url = HOSTS.get(serves, emulator.url) if chosen.hosts else emulator.url
            url = f"{url}/groq" if serves == "groq" and not chosen.hosts else url
            with session(f"session of {name}"):
                program(url)
            http.flush()
            print(json.dumps(asdict(outcome(name, emulator, spans))), flush=True)


def outcome(name: str, emulator: ProviderEmulator, spans: CapturedSpans) -> Outcome:
    """Compare the bill with the root."""
    roots: list[dict[str, Any]] = [dict(span.attributes) for span in spans.spans if not span.parent_id]
    recorders = ("opentelemetry.instrumentation.openai", "opentelemetry.instrumentation.anthropic", "openinference.")
    ours = b"".join(spans.payloads)
    if any(span.scope.startswith(recorders) for span in spans.spans):  # they record prompts, as they are meant to
        ours = repr([span for span in spans.spans if not span.scope.startswith(recorders)]).encode()
    return Outcome(
        name=name,
        billed=emulator.total_pico,
        roots=[root.get("agentcost.session.cost.pico") for root in roots],
        complete=[root.get("agentcost.session.complete") for root in roots],
        unpriced=[root.get("agentcost.session.unpriced") for root in roots],
        labels=[
            str(s.attributes["agentcost.cost.status"]) for s in spans.spans if "agentcost.cost.status" in s.attributes
        ],
        spans=[f"{span.scope}: {span.name}" for span in spans.spans],
        leaked=[secret for secret in SECRETS if secret.encode() in ours],
        faults=health.snapshot(),
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Set(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")))
