"""Turn charges and rollups into span attributes: the only place where money becomes a double."""

from __future__ import annotations

from collections.abc import Mapping

from otel_agentcost.ledger.entry import Charge
from otel_agentcost.ledger.rollup import COMPONENTS, Rollup
from otel_agentcost.pricing.money import PICO

_BANDS = (
    (10**8, "0-0.0001"),
    (10**9, "0.0001-0.001"),
    (10**10, "0.001-0.01"),
    (10**11, "0.01-0.10"),
    (PICO, "0.10-1.00"),
    (10 * PICO, "1-10"),
    (100 * PICO, "10-100"),
)
_TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")


def band(pico: int) -> str:
    """Name the decade of an amount, for backends that only search for equal strings: `0.10-1.00`."""
    if pico <= 0:
        return "0"
    for limit, name in _BANDS:
        if pico < limit:
            return name
    return "100+"


def charge_attributes(
    charge: Charge, *, full: bool = False, mirrors: Mapping[str, bool] | None = None, call: bool = True
) -> dict[str, str | bool | int | float]:
    """Attributes of one charged span: amount, source and price id; a status and reason only when not simply priced."""
    result: dict[str, str | bool | int | float] = {}
    bill = charge.bill
    if charge.pico is not None:
        result["agentcost.cost.amount"] = charge.pico / PICO
        if charge.source:
            result["agentcost.cost.source"] = charge.source
        if bill is not None and bill.price_id and charge.counts:
            result["agentcost.price.id"] = bill.price_id
        if charge.currency != "USD":
            result["agentcost.cost.currency"] = charge.currency
        if call and mirrors and mirrors.get("gen_ai.usage.cost") and charge.counts:
            result["gen_ai.usage.cost"] = charge.pico / PICO
    if charge.status:
        result["agentcost.cost.status"] = charge.status
        if charge.reason:
            result["agentcost.cost.reason"] = charge.reason
    if full and bill is not None and charge.counts and charge.pico == bill.total:
        for detail, pico in sorted(bill.by_detail().items()):
            result[f"agentcost.cost.{detail}"] = pico / PICO
    return result


def rollup_attributes(rollup: Rollup, prefix: str, *, complete: bool) -> dict[str, str | bool | int | float]:
    """Attributes `agentcost.session.*` or `agentcost.subtree.*` of a span from the totals below it."""
    p = f"agentcost.{prefix}"
    result: dict[str, str | bool | int | float] = {
        f"{p}.cost.total": rollup.total / PICO,
    }
    if rollup.total.bit_length() < 64:  # an attribute has no more; beyond nine million the double stands alone
        result[f"{p}.cost.pico"] = rollup.total
    for component in COMPONENTS:
        pico = getattr(rollup, component)
        if pico or component == "llm":
            result[f"{p}.cost.{component}"] = pico / PICO
    for name in _TOKENS:
        count = getattr(rollup, f"{name}_tokens")
        if count or name in ("input", "output"):
            result[f"{p}.tokens.{name}"] = count
    for name in ("llm", "tool", "api"):
        count = getattr(rollup, f"{name}_calls")
        if count or name == "llm":
            result[f"{p}.calls.{name}"] = count
    result[f"{p}.complete"] = complete and not rollup.incomplete
    if rollup.errors:
        result[f"{p}.errors"] = rollup.errors
    if rollup.failed:
        result[f"{p}.cost.failed"] = rollup.failed / PICO
    if rollup.unpriced:
        result[f"{p}.unpriced"] = rollup.unpriced
    if rollup.driver:
        result[f"{p}.driver"] = rollup.driver
    if rollup.window:
        result[f"{p}.context_window.max_utilization"] = rollup.window
    if prefix == "session":
        result[f"{p}.cost.band"] = band(rollup.total)
    if rollup.late:
        result[f"{p}.late"] = rollup.late / PICO
    return result
