"""Price readings with the Python engine: JSON lines in, JSON lines out (the other side of differential_test.go).

The first line may be {"overrides": {...}}, the price part of an agentcost.yaml.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal

from otel_agentcost.errors import ConfigError
from otel_agentcost.pricing.book import NO_CHARGE, PriceBook
from otel_agentcost.pricing.overrides import Overrides
from otel_agentcost.usage.reading import Part, Reading, Usage


def quantity(text: str) -> int | Decimal:
    """Counts are digits, measured amounts decimal text."""
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)


def usage(raw: dict[str, str]) -> Usage:
    return Usage({unit: quantity(text) for unit, text in raw.items()})


def reading(raw: dict) -> Reading:
    values = {key: value for key, value in raw.items() if key not in ("usage", "parts", "reported_cost", "at")}
    return Reading(
        **values,
        usage=usage(raw["usage"]) if raw.get("usage") is not None else None,
        parts=tuple(Part(model=p["model"] or None, usage=usage(p["usage"])) for p in raw.get("parts", ())),
        reported_cost=Decimal(raw["reported_cost"]) if "reported_cost" in raw else None,
    )


def main() -> None:
    book = PriceBook.bundled()
    for line in sys.stdin:
        raw = json.loads(line)
        if "overrides" in raw:
            try:
                book = PriceBook.bundled().with_overrides(Overrides.from_mapping(raw["overrides"]))
                print(json.dumps({"error": "", "key": ""}))
            except ConfigError as error:
                print(json.dumps({"error": str(error), "key": error.key}))
            continue
        if "window" in raw:
            print(json.dumps({"window": book.context_window(raw["window"]["provider"], raw["window"]["model"])}))
            continue
        bill = book.price(reading(raw), at=raw["at"])
        answer = {
            "status": bill.status,
            "total": None if bill.total is None else str(bill.total),
            "lines": [
                f"{i.unit} {format(Decimal(i.quantity).normalize(), 'f')} {i.pico} {i.model}".strip()
                for i in bill.items
            ],
            "reasons": list(bill.reasons),
            "source": bill.source,
            "price_id": bill.price_id,
            "component": bill.component,
            "currency": bill.currency,
            "no_charge": bill is NO_CHARGE,
        }
        print(json.dumps(answer))


main()
