"""The HTTP tap: see what model calls consumed, for any framework, without changing what the application sees.

    install()      # follow httpx, httpx2, aiohttp, urllib3 (requests, botocore) once the application imports them
    uninstall()    # as if nothing had been

Nothing is imported that the application has not imported itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from otel_agentcost.otel.http import aiohttp as aiohttp_adapter
from otel_agentcost.otel.http import httpx as httpx_adapter
from otel_agentcost.otel.http import urllib3 as urllib3_adapter
from otel_agentcost.otel.http.decision import Current, Tap
from otel_agentcost.otel.http.imports import stop_waiting, when_imported
from otel_agentcost.otel.http.orphans import ORPHANAGE
from otel_agentcost.otel.http.patching import unwrap_all

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otel_agentcost.otel.config import Capture, Config

Adapter = Callable[[Any, Current], None]

ADAPTERS: dict[str, Adapter] = {
    "httpx": httpx_adapter.patch,
    "httpx2": httpx_adapter.patch,
    "aiohttp": aiohttp_adapter.patch,
    "urllib3.connectionpool": urllib3_adapter.patch,
}
"""Module name -> how to follow it once it is there."""

_lock = threading.Lock()  # protects _tap while installing
_tap: Tap | None = None


def current() -> Tap | None:
    """Return the tap that decides now, or None."""
    return _tap


def install(tracer_provider: TracerProvider | None = None, config: Config | Capture | None = None) -> Tap:
    """Follow the HTTP clients that are imported, and those that will be; again only changes the settings."""
    global _tap
    capture: Any = getattr(config, "capture", config)
    with _lock:
        _tap = tap = Tap(tracer_provider, capture)
        for name, adapter in ADAPTERS.items():
            when_imported(name, _bound(adapter))
    return tap


def uninstall() -> None:
    """Stop following; what is under way ends as it should."""
    global _tap
    with _lock:
        _tap = None
        stop_waiting()
        unwrap_all()


def flush() -> None:
    """End what was dropped without being closed; call it before a flush of the span processors."""
    ORPHANAGE.settle()


def _bound(adapter: Adapter) -> Callable[[Any], None]:
    return lambda module: adapter(module, current)
