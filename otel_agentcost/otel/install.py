"""install(): everything at once for a service, in one line.

    from otel_agentcost import install
    install()                      # after, or before, the OpenTelemetry set-up of the service

It adds the cost processor to the tracer provider (to the global one as soon as it is set) and the HTTP tap to the
process. Calling it again changes nothing.
"""

from __future__ import annotations

import importlib.util
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_agentcost.otel import awaiting, scope
from otel_agentcost.otel.config import Config
from otel_agentcost.otel.health import count, guard, log_once

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from otel_agentcost.otel.processor import AgentCostSpanProcessor

_lock = threading.RLock()  # protects _installed
_installed: Installation | None = None

_HTTP_SPAN_INSTRUMENTORS = (("httpx", "HTTPXClientInstrumentor"), ("httpx2", "HTTPX2ClientInstrumentor"))


class Installation:
    """What `install()` set up; `shutdown()` takes it away again."""

    def __init__(self, config: Config, meter_provider: MeterProvider | None) -> None:
        self.config = config
        self.providers: list[TracerProvider] = []
        """Tracer providers whose spans are charged."""
        self._processor: AgentCostSpanProcessor | None = None
        self._meter_provider = meter_provider
        self._beside: list[SpanProcessor] = []
        self._instrumentors: list[Any] = []
        self._tapped = False

    @property
    def active(self) -> bool:
        """Whether anything is set up; False with `enabled: false`, and after `shutdown()`."""
        return self._processor is not None

    @property
    def processor(self) -> AgentCostSpanProcessor | None:
        """The processor, or None while no SDK tracer provider is there."""
        return self._processor

    def follow(self, provider: TracerProvider) -> None:
        """Charge the spans of a provider, too; the ledger is one for all of them."""
        if any(known is provider for known in self.providers):
            return
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            count("no_sdk", provider=type(provider).__name__)
            log_once(
                "install.no_sdk",
                "otel-agentcost: %s takes no span processors, so nothing can be charged; set up the OpenTelemetry SDK",
                type(provider).__name__,
            )
            return
        self.providers.append(provider)
        add(self._processor)
        for processor in self._beside:
            add(processor)
        if self.config.capture.unsampled and hasattr(provider, "sampler"):
            from otel_agentcost.otel.sampling import AlwaysRecordSampler

            if not isinstance(provider.sampler, AlwaysRecordSampler):
                provider.sampler = AlwaysRecordSampler(provider.sampler)

    @property
    def recording(self) -> bool:
        """Whether another processor of ours stands behind the first, such as the local record."""
        return bool(self._beside)

    def beside(self, processor: SpanProcessor) -> None:
        """Put another processor behind ours, on every provider that is followed."""
        self._beside.append(processor)
        for provider in self.providers:
            provider.add_span_processor(processor)  # type: ignore[attr-defined]

    def start(self, tracer_provider: TracerProvider | None, *, http: bool) -> None:
        """Set everything up. Without a provider the global one is followed, now or as soon as it is set."""
        from otel_agentcost.otel.processor import AgentCostSpanProcessor

        self._processor = AgentCostSpanProcessor(self.config, meter_provider=self._meter_provider)
        self._processor.yields = True
        if tracer_provider is not None:
            self.follow(tracer_provider)
            scope.use_provider(tracer_provider)
        else:
            current = trace.get_tracer_provider()
            if awaiting.is_set(current):
                self.follow(current)
            else:
                awaiting.when_set(self.follow)
        if http and self.config.capture.http:
            from otel_agentcost.otel import http as tap

            tap.install(tracer_provider, self.config)
            self._tapped = True
        if self.config.capture.http_spans:
            self._make_http_spans(tracer_provider)
        if self.config.identity.baggage and self.config.identity.baggage_hosts:
            from otel_agentcost.otel.propagation import tell_hosts

            tell_hosts(self.config.identity.baggage_hosts)

    def _make_http_spans(self, tracer_provider: TracerProvider | None) -> None:
        """Let OpenTelemetry's own instrumentation make HTTP spans, with addresses redacted and sizes added."""
        try:
            from opentelemetry.instrumentation import httpx as instrumentation
        except ImportError:  # before 0.65b0 it imports httpx itself, which need not be installed
            return

        from otel_agentcost.otel.http.spans import span_hooks

        for module, name in _HTTP_SPAN_INSTRUMENTORS:
            made = getattr(instrumentation, name, None)
            if made is None or importlib.util.find_spec(module) is None:
                continue
            instrumentor = made()
            if instrumentor.is_instrumented_by_opentelemetry:
                continue  # by the application or by opentelemetry-instrument; theirs stays
            with guard("install.http_spans"):
                instrumentor.instrument(tracer_provider=tracer_provider, **span_hooks())
                self._instrumentors.append(instrumentor)

    def shutdown(self) -> None:
        """Take everything away again; what is under way is still charged. Calling it twice changes nothing."""
        global _installed
        with _lock:
            if _installed is self:
                _installed = None
        processor, self._processor = self._processor, None
        if processor is None:
            return
        awaiting.stop()
        with guard("install.shutdown"):
            if self._tapped:
                from otel_agentcost.otel import http as tap

                tap.flush()
                tap.uninstall()
        for instrumentor in self._instrumentors:
            with guard("install.shutdown"):
                instrumentor.uninstrument()
        self._instrumentors.clear()
        if self.config.identity.baggage_hosts:
            from otel_agentcost.otel.propagation import tell_nobody

            tell_nobody()
        scope.use_provider(None)
        processor.shutdown()
        for provider in self.providers:
            with guard("install.shutdown"):
                _remove(provider, (processor, *self._beside))
        for other in self._beside:
            with guard("install.shutdown"):
                other.shutdown()
        self.providers.clear()


def install(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    config: Config | None = None,
    *,
    http: bool = True,
) -> Installation:
    """Charge every model call, tool, API and machine of this process; return a handle with `shutdown()`.

    Without providers the global ones are used, whenever they are set. Without `config`, `Config.load()` reads the file
    and the environment. Called again, it returns what is there (and follows a further provider if one is given).

    Raises:
        ConfigError: a setting is wrong.
    """
    global _installed
    with _lock:
        if _installed is not None:
            if tracer_provider is not None and _installed.active:
                _installed.follow(tracer_provider)
            return _installed
        made = Installation(config if config is not None else Config.load(), meter_provider)
        if made.config.enabled:
            made.start(tracer_provider, http=http)
        _installed = made
        return made


def installed() -> Installation | None:
    """Return what `install()` set up in this process, or None."""
    return _installed


def uninstall() -> None:
    """Take away what `install()` set up; nothing happens if there is nothing."""
    found = _installed
    if found is not None:
        found.shutdown()


def _remove(provider: Any, processors: tuple[Any, ...]) -> None:
    """Take processors off a provider. The SDK has no way to; ours are idle after a shutdown, so failing is harmless."""
    group = getattr(provider, "_active_span_processor", None)
    held = getattr(group, "_span_processors", None)
    if group is not None and isinstance(held, tuple):
        group._span_processors = tuple(p for p in held if not any(p is ours for ours in processors))
