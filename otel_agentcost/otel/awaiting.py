"""Awaiting: act as soon as the application sets its global tracer provider, whoever holds which name of the setter.

`opentelemetry.trace.set_tracer_provider` may have been imported by name long before, so the one function it calls
is wrapped, not the name. Nothing else of the API is touched, and `stop()` undoes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import TracerProvider

from otel_agentcost.otel.health import count, guard

Then = Callable[[TracerProvider], None]

_INNER = "_set_tracer_provider"
_lock = threading.Lock()  # protects _waiting and _original
_waiting: list[Then] = []
_original: Callable[..., Any] | None = None


def is_set(provider: TracerProvider) -> bool:
    """Tell whether this is a real provider, not the proxy the API answers with until one is set."""
    return not isinstance(provider, trace.ProxyTracerProvider)


def when_set(then: Then) -> None:
    """Call `then(provider)` each time a global tracer provider is set from now on."""
    global _original
    with _lock:
        _waiting.append(then)
        if _original is not None:
            return
        original = getattr(trace, _INNER, None)
        if original is None:  # an API whose insides differ; the public name is all there is
            count("unpatched", owner="opentelemetry.trace", attribute=_INNER)
            return

        def set_and_tell(tracer_provider: TracerProvider, *args: Any, **kwargs: Any) -> Any:
            result = original(tracer_provider, *args, **kwargs)
            if trace.get_tracer_provider() is tracer_provider:  # it was accepted
                for waiting in list(_waiting):
                    with guard("awaiting.provider"):
                        waiting(tracer_provider)
            return result

        _original = original
        setattr(trace, _INNER, set_and_tell)


def stop() -> None:
    """Wait no longer."""
    global _original
    with _lock:
        _waiting.clear()
        if _original is not None:
            setattr(trace, _INNER, _original)
            _original = None
