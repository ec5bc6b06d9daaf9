"""Exchange: one HTTP attempt of a model call, from the request to the end of its body.

    exchange.respond(status, headers) ... feed(chunk) ... end(complete=True)   ->   one Reading, on one span

The span is ended exactly once, whoever comes first: the body's end, a close, an error, the garbage collector, the
end of the program. No error of ours leaves this file, no error of the application is changed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from otel_agentcost.otel import evidence
from otel_agentcost.otel.health import guard, report
from otel_agentcost.otel.http.estimate import SILENT, Ratios, estimated, learn
from otel_agentcost.otel.http.orphans import ORPHANAGE
from otel_agentcost.usage.exchange import Call, Meter
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.text_size import request_characters

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

USAGE_ATTRIBUTES = (
    ("input_tokens", "gen_ai.usage.input_tokens"),
    ("output_tokens", "gen_ai.usage.output_tokens"),
    ("cache_read_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("cache_write_tokens", "gen_ai.usage.cache_write.input_tokens"),
    ("output_reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
)
"""What the GenAI conventions have a name for; the exact reading travels as evidence."""

NEVER_SENT = frozenset(
    {
        *("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"),  # httpx, httpx2
        *("ClientConnectorError", "ClientConnectorDNSError", "ConnectionTimeoutError", "InvalidURL"),  # aiohttp
        *("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "EmptyPoolError"),  # urllib3
    }
)
"""Errors after which no provider can have seen the request."""


def ignore(chunk: bytes, /) -> None:
    """Take a chunk nobody needs any more."""


class _Forget:
    """Settle chunks after the end: let them go."""

    __slots__ = ("_pending",)

    def __init__(self, pending: list[bytes]) -> None:
        self._pending = pending

    def __call__(self) -> int:
        self._pending.clear()
        return 1


class Exchange:
    """One attempt: owns its span, or enriches the call span that somebody else has opened."""

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_meter",
        "_once",
        "_own",
        "_span",
        "_start",
        "_tracer",
        "asking",
        "body",
        "call",
        "context",
        "feed",
        "pending",
        "ratios",
        "settle",
    )

    def __init__(
        self,
        call: Call,
        *,
        tracer: Tracer,
        span: Span,
        own: bool,
        context: Context,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        self.call = call
        self.context = context
        """Current while the request is sent, so that HTTP spans become children and inner taps stand back."""
        self.feed: Callable[[bytes], object] = ignore
        """Give each chunk of the raw body to this, as it passes."""
        self.pending: list[bytes] = []
        """Or append it to this, and call `settle` as soon as as many are there as the last call returned."""
        self.settle: Callable[[], int] = _Forget(self.pending)
        self.body: bytes | None = None
        """The request as the application made it; kept where an estimate may need it."""
        self.ratios: Ratios | None = None
        """What is known about the length of tokens; None: nothing is estimated."""
        self.asking: bytes | None = None
        """The body to send instead, which asks for usage; None: send what the application made."""
        self._tracer = tracer
        self._span = span
        self._own = own
        self._attributes = attributes
        self._start = time_ns()
        self._meter: Meter | None = None
        self._once = [True]  # list.pop is atomic: whoever gets the item ends the exchange

    @property
    def span(self) -> Span:
        """The span that will carry the reading: ours, or the enriched one."""
        return self._span

    @property
    def ended(self) -> bool:
        """Tell whether the reading was handed over."""
        return not self._once

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the response has come."""
        with guard("tap.respond"):
            self._meter = meter = Meter(self.call, status, headers)
            self.feed, self.pending, self.settle = meter.feed, meter.pending, meter.settle
            if status >= 400:
                self._mark(str(status))

    def hand_over(self) -> None:
        """The application gets the unread body now; if it drops it, somebody else ends this exchange."""
        ORPHANAGE.expect(self)

    def stumble(self, error: Exception) -> Callable[[bytes], object]:
        """An error of ours while feeding: count it and feed no more."""
        self._stop()
        if not report("tap.feed", error):
            raise error
        return ignore

    def _stop(self) -> None:
        """Take no more chunks: whoever still appends them must not keep them."""
        self.feed = ignore
        self.settle = _Forget(self.pending)

    def end(self, *, complete: bool) -> None:
        """The body is over, or was left (`complete=False`): hand the reading over; a second time nothing happens."""
        if not self._once:
            return
        try:
            self._once.pop()
        except IndexError:  # another thread came first
            return
        with guard("tap.end"):
            ORPHANAGE.forget(self)
            meter, self._meter = self._meter, None
            if meter is None:
                reading = self._without_response("dropped")
            else:
                reading = meter.close(complete)
                if self.ratios is not None and self.body:
                    reading = self._estimated(reading, meter)
                del meter
            self._stop()
            self.body = None  # what was kept of request and answer is let go before the span is worked on
            self._deliver(reading)

    def _estimated(self, reading: Reading, meter: Meter) -> Reading:
        """Let this call teach the length of tokens, or estimate it by what others taught."""
        ratios, body = self.ratios, self.body
        if ratios is None or not body:
            return reading
        with guard("tap.estimate"):
            if reading.status == "usage" and not reading.estimated:
                model = reading.request_model or ""
                if ratios.wants(model, "input") or (self.call.streaming and ratios.wants(model, "output")):
                    learn(reading, ratios, body=body, written=meter.text_size())
            elif reading.reason in SILENT or reading.reason == "cut_stream":
                return estimated(reading, ratios, asked=request_characters(body), written=meter.text_size())
        return reading

    def fail(self, error: BaseException) -> None:
        """Sending or reading failed: hand over what was seen, and name the error's type, never its text.

        What is no `Exception` (cancellation, the end of the program) is somebody stopping us: no error of the call.
        """
        if not self._once:
            return
        kind = type(error)
        if kind.__module__ in ("builtins", "exceptions"):
            name = kind.__qualname__
        else:
            name = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(error, Exception):
            self._mark(name)
        if self._meter is not None:
            self.end(complete=False)
            return
        try:
            self._once.pop()
        except IndexError:
            return
        with guard("tap.fail"):
            cause = getattr(error, "reason", None)  # urllib3's MaxRetryError: why the last attempt failed
            self._deliver(self._without_response(type(cause if isinstance(cause, Exception) else error).__name__))

    def _mark(self, error_type: str) -> None:
        if self._own and self._span.is_recording():
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(Status(StatusCode.ERROR))

    def _without_response(self, error: str) -> Reading:
        call = self.call
        return Reading(
            kind="call",
            status="not_billed" if error in NEVER_SENT else "error",
            reason=f"no_response:{error}",
            provider=call.provider,
            model=call.request_model,
            request_model=call.request_model,
            operation=call.operation,
            context=call.context,
            dialect=call.api,
        )

    def _deliver(self, reading: Reading) -> None:
        span = self._span
        if self._own:
            if span.is_recording():
                span.set_attributes(describe(reading))
                evidence.attach(span, reading)
            span.end()
        elif span.is_recording():
            evidence.attach(span, reading)
        else:
            # The call span was over before its stream: the money goes to a child with the true times.
            late = self._tracer.start_span(
                name_of(self.call),
                context=set_span_in_context(span),
                kind=SpanKind.CLIENT,
                attributes=self._attributes,
                start_time=self._start,
            )
            if late.is_recording():
                late.set_attributes(describe(reading))
                evidence.attach(late, reading)
            late.end()

    def __del__(self) -> None:
        if self._once:
            ORPHANAGE.adopt(self)


def name_of(call: Call) -> str:
    """Name a call span as the GenAI conventions do: operation and model."""
    return f"{call.operation} {call.request_model}" if call.request_model else call.operation


def describe(reading: Reading) -> dict[str, AttributeValue]:
    """Return the GenAI attributes of a finished call; guesses are not shown as the provider's counts."""
    attributes: dict[str, AttributeValue] = {}
    if reading.model:
        attributes["gen_ai.response.model"] = reading.model
    if reading.identity:
        attributes["gen_ai.response.id"] = reading.identity[0]
    usage = reading.usage
    if usage is not None and not reading.estimated:
        for unit, name in USAGE_ATTRIBUTES:
            quantity = usage.get(unit)
            if quantity or (quantity is not None and unit in ("input_tokens", "output_tokens")):
                attributes[name] = int(quantity)
    return attributes
