"""Floors: the least code that does a part of the job, to compare with. None of them is exact, bounded or safe.

span20       a span of 20 attributes around the call, written by hand
tap          the least wire tap: a span, the last few chunks, usage out of the end
price        one dictionary look-up and three integer products
trace_sum    one accumulator per trace, attributes on the root
tree_sum     the same with subtotals on every inner span
noop         a processor that does nothing
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, Tracer

ATTRIBUTES_20: dict[str, str | int | float | bool] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.top_p": 1.0,
    "gen_ai.request.max_tokens": 1024,
    "gen_ai.request.seed": 200,
    "gen_ai.output.type": "text",
    "gen_ai.conversation.id": "conv-5f3a9c71",
    "gen_ai.agent.name": "triage",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-B7xQ2mZp9vKq3LwT8sYd1NcR5hGf",
    "gen_ai.usage.input_tokens": 1843,
    "gen_ai.usage.output_tokens": 412,
    "gen_ai.usage.cache_read.input_tokens": 1024,
    "openai.response.service_tier": "default",
    "openai.response.system_fingerprint": "fp_cbf1785567",
    "server.address": "api.openai.com",
    "server.port": 443,
    "app.request.retries": 0,
}
"""What a careful engineer writes on the span of a model call."""

RING = 8
"""Chunks the least tap keeps."""


class Ring:
    """A response body that passes through, its last chunks kept; `done` is called once at the end."""

    def __init__(self, stream: Any, done: Any = None) -> None:
        self._stream = stream
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        ring: deque[bytes] = deque(maxlen=RING)
        keep = ring.append
        for chunk in self._stream:
            keep(chunk)
            yield chunk
        if self._done is not None:
            self._done(b"".join(ring))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        ring: deque[bytes] = deque(maxlen=RING)
        keep = ring.append
        async for chunk in self._stream:
            keep(chunk)
            yield chunk
        if self._done is not None:
            self._done(b"".join(ring))

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def ring_transport(module: Any, inner: Any, tracer: Tracer | None = None) -> Any:
    """Return a transport of `httpx` or `httpx2` with the least tap in it; with a tracer it makes a span."""

    class SyncRing(Ring, module.SyncByteStream):  # type: ignore[misc]
        pass

    class AsyncRing(Ring, module.AsyncByteStream):  # type: ignore[misc]
        pass

    class Transport(module.BaseTransport, module.AsyncBaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            span = None if tracer is None else tracer.start_span("chat gpt-4o", kind=SpanKind.CLIENT)
            response = inner.handle_request(request)
            if span is None:
                response.stream = SyncRing(response.stream)
            elif response.is_stream_consumed:
                _note(span, response.content)
            else:
                response.stream = SyncRing(response.stream, lambda end: _note(span, _last_event(end)))
            return response

        async def handle_async_request(self, request: Any) -> Any:
            response = await inner.handle_async_request(request)
            response.stream = AsyncRing(response.stream)
            return response

    return Transport()


def _last_event(end: bytes) -> bytes:
    place = end.rfind(b'"usage":{')
    begin = end.rfind(b"data: ", 0, place)
    return end[begin + 6 : end.find(b"\n\n", begin)]


def _note(span: Any, body: bytes) -> None:
    answer = json.loads(body)
    usage = answer["usage"]
    span.set_attributes(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": answer["model"],
            "gen_ai.response.id": answer["id"],
            "gen_ai.usage.input_tokens": usage["prompt_tokens"],
            "gen_ai.usage.output_tokens": usage["completion_tokens"],
            "gen_ai.usage.cache_read.input_tokens": usage["prompt_tokens_details"]["cached_tokens"],
            "server.address": "api.openai.com",
        }
    )
    span.end()


BOOK: dict[tuple[str, str], tuple[int, int, int]] = {
    ("filler", f"model-{number}"): (number, number, number) for number in range(2_998)
} | {
    ("openai", "gpt-4o-2024-08-06"): (2_500_000, 1_250_000, 10_000_000),
    ("openai", "gpt-4o-mini-2024-07-18"): (150_000, 75_000, 600_000),
    ("anthropic", "claude-sonnet-4-5-20250929"): (3_000_000, 300_000, 15_000_000),
}
"""Pico-USD per uncached input, cached input and output token."""


def price(provider: str, model: str, total: int, cached: int, output: int) -> int:
    """Pico-USD of a call."""
    fresh, read, written = BOOK[provider, model]
    return (total - cached) * fresh + cached * read + output * written


class Noop(SpanProcessor):
    """Do nothing."""


class TraceSum(SpanProcessor):
    """Add up each trace and write the sum on its root."""

    def __init__(self) -> None:
        self._sums: dict[int, list[int]] = {}

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if span.parent is None:
            self._sums[span.context.trace_id] = [0, 0, 0, 0]

    def on_end(self, span: ReadableSpan) -> None:
        attributes: Mapping[str, Any] = span.attributes or {}
        sums = self._sums.get(span.context.trace_id)
        if sums is None:
            return
        model = attributes.get("gen_ai.response.model")
        if model is not None:
            total = attributes.get("gen_ai.usage.input_tokens", 0)
            output = attributes.get("gen_ai.usage.output_tokens", 0)
            cached = attributes.get("gen_ai.usage.cache_read.input_tokens", 0)
            sums[0] += price(attributes.get("gen_ai.provider.name", ""), model, total, cached, output)
            sums[1] += total
            sums[2] += output
            sums[3] += 1
        if span.parent is None:
            _put(span, self._sums.pop(span.context.trace_id))


class TreeSum(SpanProcessor):
    """Add up every subtree, child into parent at its end, and write the sum on every inner span."""

    def __init__(self) -> None:
        self._sums: dict[int, list[int]] = {}

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self._sums[span.context.span_id] = [0, 0, 0, 0]

    def on_end(self, span: ReadableSpan) -> None:
        sums = self._sums.pop(span.context.span_id)
        attributes: Mapping[str, Any] = span.attributes or {}
        model = attributes.get("gen_ai.response.model")
        if model is not None:
            total = attributes.get("gen_ai.usage.input_tokens", 0)
            output = attributes.get("gen_ai.usage.output_tokens", 0)
            cached = attributes.get("gen_ai.usage.cache_read.input_tokens", 0)
            sums[0] += price(attributes.get("gen_ai.provider.name", ""), model, total, cached, output)
            sums[1] += total
            sums[2] += output
            sums[3] += 1
        elif sums[3]:
            _put(span, sums)
        if span.parent is not None:
            above = self._sums.get(span.parent.span_id)
            if above is not None:
                for place in range(4):
                    above[place] += sums[place]


def _put(span: ReadableSpan, sums: list[int]) -> None:
    span._attributes._dict.update(  # type: ignore[union-attr]
        {"cost.total": sums[0] / 10**12, "tokens.input": sums[1], "tokens.output": sums[2], "calls": sums[3]}
    )
