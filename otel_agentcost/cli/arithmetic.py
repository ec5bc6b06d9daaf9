"""A bill as text and as JSON: every figure as quantity x rate, so that a person can check it with a pencil."""

from __future__ import annotations

import click

from otel_agentcost.cli.console import count_text, money_text, table
from otel_agentcost.pricing.bill import Bill, LineItem
from otel_agentcost.pricing.money import decimal_text


def bill_json(bill: Bill) -> dict[str, object]:
    """Describe a bill: exact money as integers (`pico`, 1e-12 of the currency) and as decimal strings."""
    return {
        "status": bill.status,
        "reason": bill.reason,
        "total": bill.text,
        "pico": bill.total,
        "currency": bill.currency,
        "source": bill.source,
        "price_id": bill.price_id,
        "lines": [line_json(item) for item in bill.items],
        "notes": list(bill.notes),
    }


def line_json(item: LineItem) -> dict[str, object]:
    """Describe one line item with its rate."""
    described: dict[str, object] = {
        "unit": item.unit,
        "quantity": item.quantity,
        "price": item.rate.price,
        "per": item.rate.per,
        "pico": item.pico,
        "amount": decimal_text(item.pico),
    }
    if (item.rate.factor_num, item.rate.factor_den) != (1, 1):
        described["factor"] = f"{item.rate.factor_num}/{item.rate.factor_den}"
    if item.rate.note:
        described["note"] = item.rate.note
    if item.model:
        described["model"] = item.model
    return described


def bill_lines(bill: Bill) -> list[str]:
    """Lay a bill out as an addition: one row per line item, then the total with status and reason."""
    models = {item.model for item in bill.items}
    rows = []
    for item in bill.items:
        name = item.unit if len(models) < 2 else f"{item.unit} ({item.model})"
        rows.append((name, count_text(item.quantity), rate_text(item, bill.currency), "=", _amount(item, bill)))
    total = bill.text
    rows.append(("total", "", "", "=" if total is not None else "", money_text(bill.total, bill.currency)))
    lines = table(rows, right=(1, 4))
    lines[-1] = click.style(lines[-1], bold=True)
    status = bill.status + (f": {bill.reason}" if bill.reason else "")
    plain = bill.status in ("priced", "provider_reported", "free")
    lines.append("status  " + click.style(status, fg="green" if plain else "yellow"))
    if bill.price_id:
        lines.append(f"price   {bill.price_id}" + (f" (source: {bill.source})" if bill.source else ""))
    elif bill.source:
        lines.append(f"source  {bill.source}")
    return lines


def rate_text(item: LineItem, currency: str) -> str:
    """Write a rate with what was applied to it: `x $2.5 / 1,000,000 x 1/2 (processing=batch)`."""
    rate = item.rate
    price = f"${rate.price}" if currency == "USD" else f"{rate.price} {currency}"
    text = f"x {price}"
    if rate.per != 1:
        text += f" / {count_text(rate.per)}"
    if (rate.factor_num, rate.factor_den) != (1, 1):
        text += f" x {rate.factor_num}/{rate.factor_den}"
    if rate.note:
        text += f" ({rate.note})"
    return text


def _amount(item: LineItem, bill: Bill) -> str:
    return money_text(item.pico, bill.currency)
