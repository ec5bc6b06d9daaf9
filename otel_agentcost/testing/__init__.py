"""Test what your agents cost: captured spans, a ticking clock, and a stand-in for the model providers.

    >>> from otel_agentcost.testing import ProviderEmulator
    >>> emulator = ProviderEmulator()
    >>> body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}'
    >>> answer = emulator.respond("POST", "/v1/chat/completions", body=body)
    >>> b"You asked: Hello there" in b"".join(answer.body)
    True
    >>> [(call.model, call.input, call.output, call.amount_pico) for call in emulator.billed]
    [('gpt-4o-2024-08-06', 6, 6, 75000000)]

As a context manager the emulator is a server at `emulator.url`, to be given to any SDK as its base address. That
needs the extra `otel-agentcost[testing]`; nothing of it is imported before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_agentcost.testing.clock import CountingIds, TickingClock
    from otel_agentcost.testing.emulator import BilledCall, Fee, ProviderEmulator, Rates, Reply, ToolCall
    from otel_agentcost.testing.spans import CapturedSpan, CapturedSpans

__all__ = [
    "BilledCall",
    "CapturedSpan",
    "CapturedSpans",
    "CountingIds",
    "Fee",
    "ProviderEmulator",
    "Rates",
    "Reply",
    "TickingClock",
    "ToolCall",
]

_ROOMS = {
    "BilledCall": "emulator",
    "CapturedSpan": "spans",
    "CapturedSpans": "spans",
    "CountingIds": "clock",
    "Fee": "emulator",
    "ProviderEmulator": "emulator",
    "Rates": "emulator",
    "Reply": "emulator",
    "TickingClock": "clock",
    "ToolCall": "emulator",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
