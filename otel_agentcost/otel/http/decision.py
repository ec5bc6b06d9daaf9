"""Decision: is this HTTP request a model call, and which span will carry what it consumed?

A span that says it *is* this model call is current already (native SDK spans, other instrumentations): its reading
is attached to it and no span is started. Otherwise a span `chat {model}` is started below the current one.

No HTTP library is known here; the adapters beside this file only move bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, TracerProvider

from otel_agentcost.otel.health import count, guard
from otel_agentcost.otel.http.asking import MAX_REFUSED, asking, worth_asking
from otel_agentcost.otel.http.estimate import Ratios
from otel_agentcost.otel.http.exchange import Exchange, name_of
from otel_agentcost.usage.apis import tables
from otel_agentcost.usage.exchange import Call, recognise

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from otel_agentcost.otel.config import Capture

SCOPE = "otel_agentcost.http"
"""Instrumentation scope of the spans the tap starts."""

SUPPRESS_KEYS = tuple(
    key
    for key in (getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None), "suppress_instrumentation")
    if key is not None
)
"""Context keys under which nothing is instrumented: exporters set them, and users who want silence. (The key that
silences HTTP spans only is not among them: SDK instrumentations set it around the very calls we are after.)"""

TAPPED_KEY = otel_context.create_key("agentcost-tapped")
"""Set while a tapped request is being sent: a transport below (httpx on aiohttp, botocore on urllib3) stands back."""

COVERING_KEYS = (
    "opentelemetry.genai.client.inference.context",
    "opentelemetry.genai.client.embedding.context",
    "opentelemetry.genai.client.retrieval.context",
    "opentelemetry.genai.client.fetch_response.context",
)
"""opentelemetry-util-genai sets one of these while a call of an instrumented SDK is under way."""

CALL_OPERATIONS = frozenset(
    {
        "chat",
        "text_completion",
        "completion",
        "generate_content",
        "embeddings",
        "embedding",
        "rerank",
        "fetch_response",
        "image_generation",
        "generate_image",
        "speech",
        "transcription",
        "moderation",
    }
)
"""`gen_ai.operation.name` of spans that are one request to a model; agents, tools and workflows are not."""

CALL_MARKS: tuple[tuple[str, frozenset[str]], ...] = (
    ("openinference.span.kind", frozenset({"LLM", "EMBEDDING", "RERANKER"})),
    ("llm.request.type", frozenset({"chat", "completion", "embedding", "rerank"})),
    ("langfuse.observation.type", frozenset({"generation", "embedding"})),
    ("langsmith.span.kind", frozenset({"llm", "embedding"})),
)
"""How other dialects say at the start of a span that it is one request to a model."""

OTEL_PROVIDER_NAMES = {
    "google": "gcp.gemini",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
    "moonshotai": "moonshot_ai",
}
"""Values of `gen_ai.provider.name` the conventions prescribe where they differ from our provider ids."""

DECODED_AWAY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that no longer describe a body once it was decoded."""

Current = Callable[[], "Tap | None"]
"""Tells at each request who decides, or None while nothing is installed."""


class Tap:
    """Decide for every request; one per installation."""

    def __init__(self, tracer_provider: TracerProvider | None = None, capture: Capture | None = None) -> None:
        self.include_usage = capture is None or capture.include_usage
        self._refused: set[tuple[str, str | None]] = set()
        self.ratios = Ratios() if capture is None or capture.estimate_streams else None
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)

    def might_be_call(self, url: str) -> bool:
        """Tell quickly, by its path alone, whether a request is worth making its body visible for `begin`."""
        index = tables().index
        *above, last = url.partition("?")[0].partition("#")[0].rstrip("/").split("/")
        return ":" in last or (last, "") in index or (above[-1] if above else "", "*") in index

    def begin(self, method: str, url: str, body: bytes | None, *, changeable: bool = False) -> Exchange | None:
        """Return the exchange to follow, or None for a request that is none of our business. Never raises.

        `changeable` says that the adapter can send another body than the application's (`Exchange.asking`).
        """
        with guard("tap.begin"):
            context = otel_context.get_current()
            for key in SUPPRESS_KEYS:
                if context.get(key):
                    return None
            if TAPPED_KEY in context:
                return None
            call = recognise(method, url, body)
            if call is None:
                return None
            exchange = self._begin(call, context)
            if exchange is not None and self.ratios is not None:
                exchange.body, exchange.ratios = body, self.ratios
            if exchange is not None and changeable and body and self._asks(call):
                exchange.asking = asking(body)
            return exchange
        return None

    def _asks(self, call: Call) -> bool:
        return self.include_usage and worth_asking(call) and (call.host, call.request_model) not in self._refused

    def refused(self, exchange: Exchange) -> None:
        """Remember that a host did not take the question for usage, so that it is not asked again."""
        count("include_usage_refused")
        if len(self._refused) < MAX_REFUSED:
            self._refused.add((exchange.call.host, exchange.call.request_model))

    def _begin(self, call: Call, context: Context) -> Exchange | None:
        attributes = start_attributes(call)
        current = trace.get_current_span(context)
        if covers_call(current, context):
            return Exchange(
                call,
                tracer=self._tracer,
                span=current,
                own=False,
                context=otel_context.set_value(TAPPED_KEY, True, context),
                attributes=attributes,
            )
        span = self._tracer.start_span(name_of(call), context=context, kind=SpanKind.CLIENT, attributes=attributes)
        if not span.is_recording():
            return None  # sampled out: nobody will ever ask for the reading
        inside = otel_context.set_value(TAPPED_KEY, True, trace.set_span_in_context(span, context))
        return Exchange(call, tracer=self._tracer, span=span, own=True, context=inside, attributes=attributes)


def undressed(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a body that reaches us decoded: without those that describe how it travelled."""
    return {key: value for key, value in headers.items() if key.lower() not in DECODED_AWAY}


def covers_call(span: Span, context: Context) -> bool:
    """Tell whether the current span itself stands for the model call that is about to be sent."""
    if not span.is_recording():
        return False
    attributes: Mapping[str, object] | None = getattr(span, "attributes", None)
    if attributes:
        operation = attributes.get("gen_ai.operation.name")
        if operation is not None:
            return operation in CALL_OPERATIONS
        for key, values in CALL_MARKS:
            value = attributes.get(key)
            if value is not None:
                return value in values
        if "gen_ai.request.model" in attributes and "gen_ai.agent.name" not in attributes:
            return True
    if getattr(span, "kind", None) is SpanKind.CLIENT:
        return any(key in context for key in COVERING_KEYS)
    return False


def start_attributes(call: Call) -> dict[str, AttributeValue]:
    """Return what is known about a call before it is sent; of the address only host and port."""
    attributes: dict[str, AttributeValue] = {"gen_ai.operation.name": call.operation}
    if call.provider:
        attributes["gen_ai.provider.name"] = OTEL_PROVIDER_NAMES.get(call.provider, call.provider)
    if call.request_model:
        attributes["gen_ai.request.model"] = call.request_model
    host, colon, port = call.host.rpartition(":")
    if colon and port.isdigit():
        attributes["server.address"] = host
        attributes["server.port"] = int(port)
    elif call.host:
        attributes["server.address"] = call.host
    return attributes
