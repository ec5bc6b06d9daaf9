"""A local stand-in for the model providers: real wire formats, deterministic usage, and a bill of its own."""

from __future__ import annotations

from otel_agentcost.testing.emulator.billing import BilledCall
from otel_agentcost.testing.emulator.exchange import Exchange
from otel_agentcost.testing.emulator.fees import Fee
from otel_agentcost.testing.emulator.prices import Rates
from otel_agentcost.testing.emulator.reply import Reply, ToolCall
from otel_agentcost.testing.emulator.server import ProviderEmulator

__all__ = ["BilledCall", "Exchange", "Fee", "ProviderEmulator", "Rates", "Reply", "ToolCall"]
