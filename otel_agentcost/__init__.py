"""OpenTelemetry-native cost telemetry for AI agents: what one run cost, exact, on the root span of its trace.

    import otel_agentcost as agentcost

    agentcost.install()                                   # beside the OpenTelemetry set-up of the service
    with agentcost.session(tenant="acme", agent="triage") as s:
        ...
        print(s.cost())

Names are loaded when they are first used: importing the package loads neither the SDK nor the price book.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_agentcost.errors import AgentCostError, ConfigError
    from otel_agentcost.otel.compute import meter_tasks
    from otel_agentcost.otel.config import Capture, Config, Identity, Limits
    from otel_agentcost.otel.install import Installation, install, uninstall
    from otel_agentcost.otel.processor import AgentCostSpanProcessor
    from otel_agentcost.otel.sampling import AlwaysRecordSampler
    from otel_agentcost.otel.session import Session, charge, compute, current_session, session, step, tool
    from otel_agentcost.pricing.bill import Bill
    from otel_agentcost.pricing.book import PriceBook
    from otel_agentcost.pricing.money import Money
    from otel_agentcost.pricing.overrides import Overrides
    from otel_agentcost.usage.reading import Reading, Usage

__all__ = [
    "AgentCostError",
    "AgentCostSpanProcessor",
    "AlwaysRecordSampler",
    "Bill",
    "Capture",
    "Config",
    "ConfigError",
    "Identity",
    "Installation",
    "Limits",
    "Money",
    "Overrides",
    "PriceBook",
    "Reading",
    "Session",
    "Usage",
    "charge",
    "compute",
    "current_session",
    "install",
    "meter_tasks",
    "session",
    "step",
    "tool",
    "uninstall",
]

_ROOMS = {
    "otel_agentcost.errors": ("AgentCostError", "ConfigError"),
    "otel_agentcost.otel.compute": ("meter_tasks",),
    "otel_agentcost.otel.config": ("Capture", "Config", "Identity", "Limits"),
    "otel_agentcost.otel.install": ("Installation", "install", "uninstall"),
    "otel_agentcost.otel.processor": ("AgentCostSpanProcessor",),
    "otel_agentcost.otel.sampling": ("AlwaysRecordSampler",),
    "otel_agentcost.otel.session": ("Session", "charge", "compute", "current_session", "session", "step", "tool"),
    "otel_agentcost.pricing.bill": ("Bill",),
    "otel_agentcost.pricing.book": ("PriceBook",),
    "otel_agentcost.pricing.money": ("Money",),
    "otel_agentcost.pricing.overrides": ("Overrides",),
    "otel_agentcost.usage.reading": ("Reading", "Usage"),
}
_HOME = {name: module for module, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name of the door on first use."""
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the door, loaded or not."""
    return sorted({*globals(), *__all__})
