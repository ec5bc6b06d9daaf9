"""Tell allowed hosts whose work a request is, and no other host.

OpenTelemetry's baggage goes to every host once it is in the context, so the identity is never put there. Instead the
global propagator is wrapped: HTTP instrumentations inject while their client span is current, its attributes name the
host, and only for an allowed one the identity joins the baggage that is about to be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators import textmap

from otel_agentcost.otel import identity
from otel_agentcost.otel.health import guard

_HOST_ATTRIBUTES = ("server.address", "net.peer.name", "http.host")
_URL_ATTRIBUTES = ("url.full", "http.url")


class IdentityPropagator(textmap.TextMapPropagator):
    """The propagator that was there, with the identity added for allowed hosts."""

    def __init__(self, inner: textmap.TextMapPropagator, hosts: tuple[str, ...]) -> None:
        self.inner = inner
        self._hosts = hosts
        self._baggage = None if "baggage" in inner.fields else W3CBaggagePropagator()

    @property
    def fields(self) -> set[str]:
        """Header names that may be written."""
        return {*self.inner.fields, "baggage"}

    def extract(
        self,
        carrier: Any,
        context: Context | None = None,
        getter: textmap.Getter[Any] = textmap.default_getter,
    ) -> Context:
        """Read what arrived, as before."""
        found = self.inner.extract(carrier, context, getter)
        return found if self._baggage is None else self._baggage.extract(carrier, found, getter)

    def inject(
        self,
        carrier: Any,
        context: Context | None = None,
        setter: textmap.Setter[Any] = textmap.default_setter,
    ) -> None:
        """Write what was written before, and for an allowed host the identity."""
        entries: Mapping[str, str] = {}
        with guard("propagation.inject"):
            host = host_of(trace.get_current_span(context))
            if host:
                entries = identity.outgoing(host, self._hosts, context)
        for key, value in entries.items():
            context = baggage.set_baggage(key, value, context)
        self.inner.inject(carrier, context, setter)
        if self._baggage is not None and entries:
            self._baggage.inject(carrier, context, setter)


def host_of(span: trace.Span) -> str:
    """Return the host an HTTP client span is about, or nothing."""
    if getattr(span, "kind", None) is not trace.SpanKind.CLIENT:
        return ""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    for key in _URL_ATTRIBUTES:  # the address that is asked; the other attributes may name a proxy
        url = attributes.get(key)
        if isinstance(url, str):
            return urlsplit(url).hostname or ""
    for key in _HOST_ATTRIBUTES:
        host = attributes.get(key)
        if isinstance(host, str) and host:
            return host.partition(":")[0]
    return ""


def tell_hosts(hosts: tuple[str, ...]) -> None:
    """From now on tell these hosts; replaces an earlier list."""
    tell_nobody()
    propagate.set_global_textmap(IdentityPropagator(propagate.get_global_textmap(), hosts))


def tell_nobody() -> None:
    """Give the global propagator back, unless somebody has replaced ours meanwhile."""
    current = propagate.get_global_textmap()
    if isinstance(current, IdentityPropagator):
        propagate.set_global_textmap(current.inner)
